"""The page of a profile: sound markup, nothing fetched, nothing run, nothing left out."""

import re
import xml.etree.ElementTree as ET
from html import escape
from html.parser import HTMLParser

import pytest
from profile_samples import sample_profile

from ffedge.profiling.columns import MOST_COLUMNS, columns, lowest_turn
from ffedge.profiling.drawing import draw_bar, draw_timeline
from ffedge.profiling.page import MOST_PANELS, page
from ffedge.units import short_bytes

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "br"}

CASES = {
    "float32": {},
    "int8": {"precision": "int8", "budget": 64 << 10},
    "layerwise": {"hidden": (48,) * 8, "schedule": "layerwise", "budget": 1 << 20},
    "int8 layerwise": {"hidden": (32, 16, 8), "schedule": "layerwise", "precision": "int8"},
    "64 layers": {"hidden": (64,) * 64, "budget": 1 << 30},
    "64 layers layerwise": {"hidden": (64,) * 64, "schedule": "layerwise"},
    "one layer": {
        "features": 3,
        "hidden": (2,),
        "classes": 2,
        "precision": "int8",
        "batch_size": 1,
    },
}
HOSTILE = """<script>alert('1')</script>"onload='x' & <b>"""


class Reader(HTMLParser):
    """Checks that every element is closed where it should be, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def drawings(text):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def section(text, heading):
    """The markup between a section's heading and its end."""
    return text[text.index(f"<h2>{heading}</h2>") :].split("</section>", 1)[0]


@pytest.fixture(scope="module", params=CASES, ids=str)
def made(request):
    profile = sample_profile(**CASES[request.param])
    return profile, page(profile)


def test_markup_is_sound(made):
    reader = read(made[1])

    assert reader.tags.count("h1") == 1
    assert ("name", "viewport") in reader.attributes


def test_every_drawing_is_sound_and_described(made):
    drawn = drawings(made[1])

    assert len(drawn) >= 3
    for svg in drawn:
        assert svg.get("role") == "img"
        assert svg.get("aria-label")
        assert svg.get("width") == "100%"


def test_nothing_is_fetched_and_nothing_can_run(made):
    reader = read(made[1])

    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name in ("src", "href", "srcset")]
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert set(re.findall(r"https?://[^\"' <]*", made[1])) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\((?!#)|@import", made[1])
    assert "default-src 'none'" in dict(reader.attributes)["content"]


def test_no_number_is_missing(made):
    text = " ".join(read(made[1]).text)

    assert not re.search(r"\b(nan|inf|None|null)\b", text)
    assert not re.search(r"=\"[^\"]*\b(nan|inf|None)\b", made[1])


def test_no_rectangle_has_a_size_below_zero(made):
    for svg in drawings(made[1]):
        for rect in svg.iter(f"{SVG}rect"):
            assert float(rect.get("height")) >= 0
            assert float(rect.get("width").removesuffix("%")) > 0


def test_every_buffer_stands_in_the_table_with_its_bytes_and_place(made):
    profile, text = made
    table = section(text, "Every buffer")

    for buffer in profile["buffers"]:
        row = table.split(f'<th scope="row">{buffer["name"]}</th>')[1].split("</tr>")[0]
        assert f">{buffer['bytes']:,}<" in row
        assert f">{buffer['offset']:,}<" in row
        assert buffer["dtype"] in row
        assert escape(buffer["lifetime"]) in row


def test_a_page_is_no_larger_than_a_photograph(made):
    assert len(made[1].encode()) < 1_000_000


def test_every_table_says_what_its_cells_are(made):
    for table in re.findall(r"<table>.*?</table>", made[1], re.DOTALL):
        read(table)
        assert table.count("<caption>") == 1
        assert '<th scope="col"' in table
        assert table.count('<th scope="row"') + table.count('<th scope="rowgroup"') == (
            table.count("<tr>") - 1
        )


@pytest.mark.parametrize("field", ["data", "network", "rule", "precision", "ffedge"])
def test_text_of_the_profile_is_never_markup(field):
    text = page(sample_profile() | {field: HOSTILE})

    reader = read(text)
    assert "script" not in reader.tags
    assert HOSTILE in "".join(reader.text)
    assert HOSTILE not in text


def test_text_deep_in_the_profile_is_never_markup():
    profile = sample_profile()
    for entries, fields in (
        (profile["timeline"], ("label",)),
        (profile["buffers"], ("name", "lifetime", "dtype")),
        (profile["fits"], ("name", "title", "kind", "note")),
    ):
        for entry in entries:
            entry.update(dict.fromkeys(fields, HOSTILE))
    profile["categories"] = [HOSTILE if c == "data" else c for c in profile["categories"]]
    for buffer in profile["buffers"]:
        buffer["category"] = HOSTILE if buffer["category"] == "data" else buffer["category"]
    for moment in profile["timeline"]:
        moment["bytes"][HOSTILE] = moment["bytes"].pop("data")
    profile["recipe"] |= {HOSTILE: HOSTILE, "optimizer": {HOSTILE: HOSTILE}}
    profile["process"]["kernels_by"] = HOSTILE

    text = page(profile)

    reader = read(text)
    assert "<script" not in text
    assert escape(HOSTILE) in text
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert all(drawing.tag == f"{SVG}svg" for drawing in drawings(text))


def test_the_headline_tells_plan_measurement_error_and_budget():
    profile = sample_profile(
        budget=1 << 20, measured_bytes=200_000, planned_bytes=196_000, error_percent=2.0408
    )

    head = page(profile).split("<section>")[0]

    assert "196,000 B" in head
    assert "200,000 B: error +2.04 %" in head
    assert "✓ held" in head
    assert f"{short_bytes((1 << 20) - 200_000)} to spare" in head


def test_a_budget_that_did_not_hold_is_called_exceeded():
    profile = sample_profile(budget=1 << 20, measured_bytes=(1 << 20) + 2048)

    head = page(profile).split("<section>")[0]

    assert "✗ exceeded" in head
    assert "by 2.0 KiB" in head
    assert "held" not in head


def test_without_a_budget_no_line_is_drawn_for_one():
    text = page(sample_profile())

    assert "no limit was set" in text
    assert 'class="limit"' not in text
    assert 'class="planned"' in text


def test_a_budget_close_to_the_plan_is_a_line_and_a_far_one_only_a_word():
    planned = sample_profile()["planned_bytes"]

    near = page(sample_profile(budget=planned + 1000))
    far = page(sample_profile(budget=planned * 100))

    assert near.count('class="limit"') == 1
    assert 'class="limit"' not in far
    assert f"budget {short_bytes(planned * 100)} ↑" in far


def test_a_rounded_error_is_never_minus_zero():
    assert "-0.00" not in page(sample_profile(measured_bytes=1, error_percent=-0.0004))


def test_overhead_is_told_only_where_it_was_measured():
    without = page(sample_profile(overhead_percent=None, seconds_unwatched=None))

    assert "overhead of profiling" in page(sample_profile())
    assert "overhead of profiling" not in without
    assert "time without profiling" not in without


def test_targets_say_yes_or_no_and_how_many_bytes_are_missing():
    target = {
        "name": "n", "title": "Board", "kind": "microcontroller", "memory_bytes": 4096,
        "needed_bytes": 4096, "fits": True, "note": "",
    }  # fmt: skip
    small = target | {"memory_bytes": 1024, "fits": False}
    never = target | {"needed_bytes": None, "fits": False, "note": "no float32"}

    def table(**fits):
        return section(page(sample_profile(fits=[target | fits])), "Where it fits")

    assert "✓ yes" in table()
    assert "missing" not in table()
    assert "✗ no" in table(**small)
    assert "3.0 KiB missing" in table(**small)
    assert "✗ no" in table(**never)
    assert "no float32" in table(**never)
    assert "missing" not in table(**never)


def test_stacks_add_up_to_the_bytes_alive():
    profile = sample_profile()
    found = columns(profile["timeline"])
    planned = profile["planned_bytes"]

    svg = ET.fromstring(draw_timeline(found, profile["categories"], planned, None))

    stacks = [g for g in svg.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    assert len(stacks) == len(profile["timeline"])
    limit = max(planned, *(column.total for column in found))
    for column, stack in zip(found, stacks, strict=True):
        parts = [r for r in stack.iter(f"{SVG}rect") if r.get("class").startswith("c")]
        height = sum(float(part.get("height")) for part in parts)
        assert height == pytest.approx(column.total / limit * 260, abs=0.05)


def test_columns_keep_every_phase_and_the_highest_bytes():
    timeline = sample_profile(hidden=(8,) * 64, schedule="layerwise")["timeline"]

    found = columns(timeline)

    assert len(timeline) > 2000
    assert len(found) <= MOST_COLUMNS
    assert sum(c.last - c.first + 1 for c in found) == len(timeline)
    assert sum(c.seconds for c in found) == pytest.approx(sum(m["seconds"] for m in timeline))
    assert max(c.total for c in found) == max(sum(m["bytes"].values()) for m in timeline)


def test_a_short_timeline_keeps_a_column_for_each_phase():
    timeline = sample_profile()["timeline"]

    assert [c.label for c in columns(timeline)] == [moment["label"] for moment in timeline]


def test_at_most_four_stages_and_one_detail_are_drawn():
    text = section(page(sample_profile(**CASES["layerwise"])), "Where each buffer lies")

    assert text.count("<svg") - text.count("Closer:") == MOST_PANELS
    assert f"Drawn: {MOST_PANELS} of 9 stages" in text


def test_buffers_lie_in_the_drawing_at_their_offsets():
    profile = sample_profile(precision="int8", hidden=(64, 48))
    text = section(page(profile), "Where each buffer lies")
    planned = profile["planned_bytes"]

    svg = drawings(text)[0]

    top, height = 8, float(svg.get("height")) - 8 - 24
    for buffer in profile["buffers"]:
        if buffer["stages"][1] == 0:
            continue  # not in training
        title = f"{buffer['name']}: "
        [group] = [
            g for g in svg.iter(f"{SVG}g") if (g.findtext(f"{SVG}title") or "").startswith(title)
        ]
        rect = group.find(f"{SVG}rect")
        end = buffer["offset"] + buffer["bytes"]
        assert float(rect.get("y")) == pytest.approx(
            top + height - end / planned * height, abs=0.01
        )
        start, last = buffer["phases"]
        columns_alive = (2 if last is None else min(last, 2)) - start + 1
        assert float(rect.get("x").removesuffix("%")) == pytest.approx(100 / 3 * start, abs=0.01)
        assert float(rect.get("width").removesuffix("%")) == pytest.approx(
            100 / 3 * columns_alive, abs=0.01
        )


def test_the_lowest_turn_is_the_first_byte_not_held_all_the_time():
    profile = sample_profile()
    stage = columns([moment for moment in profile["timeline"] if moment["stage"] == 1])
    in_turn = [b for b in profile["buffers"] if b["phases"][1] is not None]

    assert lowest_turn(profile, 1, stage) == min(buffer["offset"] for buffer in in_turn)
    assert lowest_turn(profile, 0, stage[:1]) is None


def test_a_profile_without_moments_and_buffers_still_has_its_headline():
    text = page(sample_profile(timeline=[], buffers=[], fits=[]))

    read(text)
    assert "Planned peak" in text
    assert "Memory over time" not in text


def test_a_run_too_fast_to_measure_is_drawn_without_time():
    profile = sample_profile()
    for moment in profile["timeline"]:
        moment["seconds"] = 0.0

    text = page(profile)

    assert "Most time is spent" not in text
    assert len(drawings(text)) >= 3


def test_a_system_that_tells_no_memory_is_named_not_drawn():
    process = dict.fromkeys(("interpreter", "numpy", "kernels", "ffedge", "training", "peak"), 0)

    text = page(sample_profile(process=process | {"kernels_by": "jit"}))

    assert "Not measured" in section(text, "Memory of the whole process")


def test_the_bar_is_as_long_as_its_parts():
    svg = ET.fromstring(draw_bar([("a", 100), ("none", 0), ("b", 300)], "parts"))

    widths = [rect.get("width") for rect in svg.iter(f"{SVG}rect")]
    assert widths == ["25%", "75%"]


def test_memory_that_belongs_to_no_part_is_called_other():
    profile = sample_profile()
    parts = ("interpreter", "numpy", "kernels", "ffedge", "training")
    known = sum(profile["process"][part] for part in parts)
    profile["process"]["peak"] = known + 5_000_000

    text = section(page(profile), "Memory of the whole process")

    assert "other <b>5,000,000 B (4.8 MiB)</b>" in text
