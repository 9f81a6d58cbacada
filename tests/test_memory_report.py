"""The memory benchmark's report: ratios, a readable chart, and no shortfall left out."""

import xml.etree.ElementTree as ElementTree

import pytest

from tools.memory_report import Panel, draw, panels, shortfalls, table, ticks

SVG = "{http://www.w3.org/2000/svg}"


def row(system, depth=2, batch=64, peak=100, resident=200, seconds=1.0, accuracy=0.9):
    return {
        "system": system, "depth": depth, "batch": batch, "peak_bytes": peak,
        "resident_bytes": resident, "seconds": seconds, "accuracy": accuracy,
    }  # fmt: skip


def test_the_table_shows_every_row_with_its_ratios():
    rows = [row("torch adam", peak=1000, resident=4000), row("ffedge int8", peak=100, resident=500)]

    text = table(rows)

    assert "2 hidden layers, batches of 64" in text
    assert text.splitlines()[-1].split() == [
        "ffedge", "int8", "100", "0.100", "500", "0.125", "1.00", "90.00%",
    ]  # fmt: skip


def test_without_the_baseline_there_is_no_ratio():
    assert table([row("ffedge int8")]).splitlines()[-1].split()[3] == "-"


def test_points_stand_in_panels_by_what_varies():
    rows = [row("torch adam", depth, 64, 10 * depth) for depth in (8, 2)]
    rows += [row("torch adam", 8, 256, 160)]

    found = panels(rows, 64, 8)

    assert [panel.lines for panel in found] == [
        {"torch adam": [(2, 20), (8, 80)]},
        {"torch adam": [(64, 80), (256, 160)]},
    ]


def test_a_panel_without_points_is_left_out():
    assert [panel.label for panel in panels([row("torch adam")], 64, 32)] == ["hidden layers"]


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1, 1, [1, 4]), (5, 63, [4, 16, 64]), (4, 64, [4, 16, 64])]
)
def test_ticks_enclose_the_values(low, high, expected):
    assert ticks(low, high) == expected


def test_the_chart_shows_lines_units_and_legend():
    lines = {"torch <adam>": [(1, 1 << 20), (4, 1 << 22)], "ffedge": [(1, 1 << 14), (4, 1 << 16)]}

    root = ElementTree.fromstring(draw([Panel("A & B", "layers", lines)], "Bytes"))

    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"A & B", "layers", "Bytes", "torch <adam>", "ffedge", "1.0 MiB", "16.0 KiB"} <= {*texts}
    dashed = [line.get("stroke-dasharray") for line in root.iter(f"{SVG}polyline")]
    assert dashed == ["6 4", None]


def test_a_factor_of_four_is_as_far_anywhere_in_the_chart():
    lines = {"ffedge": [(1, 4), (2, 16), (4, 64)]}

    root = ElementTree.fromstring(draw([Panel("", "", lines)], ""))

    places = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert x1 > x0
    assert y1 < y0


def test_one_point_makes_a_chart_too():
    drawn = draw([Panel("", "", {"ffedge": [(32, 1000)]})], "")

    assert len(list(ElementTree.fromstring(drawn).iter(f"{SVG}circle"))) == 1


def test_being_behind_is_said_with_the_worst_case():
    rows = [
        row("torch adam", 2, seconds=1.0), row("ffedge sgd", 2, seconds=1.5),
        row("torch adam", 4, seconds=1.0), row("ffedge sgd", 4, seconds=3.0),
        row("torch adam", 8, seconds=1.0), row("ffedge sgd", 8, seconds=0.5),
    ]  # fmt: skip

    assert shortfalls(rows) == [
        "ffedge sgd, seconds: behind at 2 of 3 points; at worst 3.00 times torch adam's, "
        "with 4 hidden layers and batches of 64"
    ]


def test_the_best_of_the_others_is_the_measure():
    rows = [
        row("torch adam", peak=400, accuracy=0.95), row("torch sgd", peak=90, accuracy=0.5),
        row("ffedge int8", peak=100, accuracy=0.9),
    ]  # fmt: skip

    assert shortfalls(rows) == [
        "ffedge int8, counted memory: behind at 1 of 1 points; at worst 1.11 times torch sgd's, "
        "with 2 hidden layers and batches of 64",
        "ffedge int8, accuracy: behind at 1 of 1 points; at worst 5.00 points below torch adam, "
        "with 2 hidden layers and batches of 64",
    ]


def test_equal_is_not_behind():
    assert shortfalls([row("torch adam"), row("ffedge sgd")]) == []
