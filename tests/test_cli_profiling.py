"""``ffedge profile``: what it draws, saves and refuses."""

import json
import re
from pathlib import Path

import pytest
from test_cli import ffedge, one_object, program

from ffedge.cli.profile_text import report, shows_blocks
from ffedge.cli.profiling import percent
from ffedge.errors import ConfigError
from ffedge.profiling.file import check_profile, load_profile

QUICK = ["profile", "digits", "--hidden", "20,16", "--batch-size", "32"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(path, profile) of a layerwise int8 training."""
    path = tmp_path_factory.mktemp("profile") / "old.json"
    words = ["--precision", "int8", "--schedule", "layerwise", "--budget", "64KiB", "-o", path]
    assert ffedge(*QUICK, *words, "--json") == 0
    return path, load_profile(path)


def profiled(capsys, *more):
    code = ffedge(*QUICK, *more)
    return code, *capsys.readouterr()


def test_json_is_one_object_and_the_profile(capsys):
    code, out, err = profiled(capsys, "--json", "--budget", "1MiB")

    found = one_object(out)
    assert (code, err) == (0, "")
    assert check_profile(found) == found
    assert found["measured_bytes"] == found["planned_bytes"] <= found["budget"] == 1 << 20
    assert (found["network"], found["data"]) == ("64-20-16-10", "digits")
    assert found["recipe"]["epochs"] == 2
    assert found["seconds_unwatched"] is None


def test_text_shows_every_part(capsys):
    code, out, err = profiled(capsys, "--budget", "512KiB", "--epochs", "1")

    assert code == 0
    assert len(err.splitlines()) == 1  # progress
    for pattern in (
        r"^profile   64-20-16-10, float32, rule readout; digits, batch 32, epochs 1$",
        r"^  layer 1 ", r"budget 524,288 B", r"^measured .*: \+0 B, error \+0.000 %$",
        r"layer0\.weight +float32 2x64x16", r"^process ", r"^storage ", r"^  nrf52840 +no",
        r"^  pi-zero-2w ",
    ):  # fmt: skip
        assert re.search(pattern, out, re.M), pattern
    assert max(map(len, out.splitlines())) <= 100


def test_the_overhead_is_shown_when_asked(capsys):
    _, out, _ = profiled(capsys, "--overhead")

    assert re.search(r"^overhead  [+-][\d.]+ % of processor time; [\d.]+ s unwatched$", out, re.M)


@pytest.mark.parametrize("columns", [20, 80, 90, 300])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_terminal(saved, columns, ascii_only):
    text = report(saved[1], columns=columns, ascii_only=ascii_only)

    assert max(map(len, text.splitlines())) <= min(max(columns, 80), 100)
    assert text.isascii() is ascii_only
    assert all(line == line.rstrip() for line in text.splitlines())


def bars(text):
    """The bars of the timeline, without label and numbers."""
    lines = text.split("\n\n")[1].splitlines()[1:]
    rows = [re.match(r"  (?:scaler|stage \d (?:fetch|layer \d)) +(\S.*?) +[\d.]+ \w+ +[\d.]+ s$", x)
            for x in lines]  # fmt: skip
    return [row[1] for row in rows if row]


def test_bars_are_as_long_as_the_bytes_they_stand_for(saved):
    profile = saved[1]

    drawn = bars(report(profile | {"budget": None}, columns=100, ascii_only=True))

    sizes = [sum(row["bytes"].values()) for row in profile["timeline"]]
    assert len(drawn) == len(sizes) == 6
    full = max(sizes) / len(drawn[sizes.index(max(sizes))])
    for bar, row, size in zip(drawn, profile["timeline"], sizes, strict=True):
        assert len(bar) == pytest.approx(size / full, abs=1)
        for sign, name in zip("#=+-o.", profile["categories"], strict=True):
            assert bar.count(sign) == pytest.approx(row["bytes"][name] / full, abs=1)


def test_the_budget_is_a_line_at_its_place(saved):
    profile = saved[1]
    planned = profile["planned_bytes"]

    text = report(profile | {"budget": 2 * planned}, columns=100, ascii_only=True)
    far = report(profile | {"budget": 100 * planned}, columns=100, ascii_only=True)

    places = {line.index("|") for line in text.splitlines() if line.count("|") and " s" in line}
    assert len(places) == 1
    assert "far beyond the right edge" in far
    assert "|" not in far


def test_many_phases_are_shortened(saved):
    profile = saved[1]
    row = profile["timeline"][-1]
    many = [row | {"phase": i, "label": f"layer {i}", "layer": i} for i in range(300)]

    text = report(profile | {"timeline": many}, columns=100)

    assert "260 more in --json and --html" in text
    assert "layer 299" in text
    assert len(text.splitlines()) < 120


def test_what_the_system_does_not_tell_is_said(saved):
    nothing = dict.fromkeys(("interpreter", "numpy", "kernels", "ffedge", "training"), 0)
    without_proc = saved[1] | {"process": nothing | {"peak": 5 << 20, "kernels_by": "jit"}}
    unknown = saved[1] | {"process": nothing | {"peak": 0, "kernels_by": "jit"}}

    assert "this system has no /proc" in report(without_proc)
    assert "process   unknown: this system does not tell" in report(unknown)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", True), ("ascii", False), ("latin-1", False), (None, False), ("nonsense", False)],
)
def test_blocks_are_drawn_where_the_encoding_has_them(encoding, shown):
    assert shows_blocks(encoding) is shown


def test_an_ascii_terminal_gets_ascii(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    done = program(*QUICK, "--epochs", "1")

    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "# weights" in done.stdout
    assert "\\u" not in done.stdout


def test_the_profile_and_the_page_are_saved(capsys):
    pytest.importorskip("ffedge.profiling.page")

    code, out, _ = profiled(capsys, "--html", "p.html", "-o", "p.json")

    assert code == 0
    assert out.endswith("saved     p.json\nsaved     p.html\n")
    assert Path("p.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert load_profile("p.json")["network"] == "64-20-16-10"


# --- comparison -------------------------------------------------------------------------------


def older(saved, change):
    """The saved profile with another measured peak, as a file."""
    profile = saved[1] | {"measured_bytes": saved[1]["measured_bytes"] + change}
    Path("older.json").write_text(json.dumps(profile))
    return "older.json"


AGAIN = ["--precision", "int8", "--schedule", "layerwise", "--budget", "64KiB"]


def test_an_unchanged_peak_passes(capsys, saved):
    code, out, err = profiled(
        capsys, *AGAIN, "--fail-if-peak-grows", "0%", "--against", older(saved, 0)
    )

    assert code == 0
    assert "ffedge:" not in err
    assert re.search(r"training peak, measured +([\d,]+) -> +\1 B  \+0\.00 %$", out, re.M)
    assert "process peak" in out
    assert "another training" not in out


def test_a_peak_that_grew_ends_with_3_and_words(capsys, saved):
    smaller = older(saved, -1000)

    code, out, err = profiled(capsys, *AGAIN, "--fail-if-peak-grows", "1%", "--against", smaller)

    assert code == 3
    assert re.search(r"^ffedge: profile: expected a training peak of at most 1 % above", err, re.M)
    assert "training peak, measured" in out


def test_in_json_a_peak_that_grew_is_told_beside_the_profile(capsys, saved):
    words = ["--fail-if-peak-grows", "1", "--against", older(saved, -1000), "--json", "-o", "p"]

    code, out, _ = profiled(capsys, *AGAIN, *words)

    found = one_object(out)
    assert code == 3
    assert found["comparison"]["grew"]
    assert found["comparison"]["measured"]["new"] - found["comparison"]["measured"]["old"] == 1000
    assert "comparison" not in load_profile("p")


def test_growth_within_what_is_allowed_passes(capsys, saved):
    words = ["--fail-if-peak-grows", "50%", "--against", older(saved, -1000)]

    assert profiled(capsys, *AGAIN, *words)[0] == 0


def test_against_alone_only_shows(capsys, saved):
    code, out, _ = profiled(capsys, "--against", older(saved, -1000))

    assert code == 0
    assert "another training: precision, recipe differ" in out


# --- refusals ---------------------------------------------------------------------------------

REFUSALS = {
    "a limit without an older profile": (["--fail-if-peak-grows", "3%"], "expected --against FILE"),
    "a percentage that is none": (["--fail-if-peak-grows", "some"], "expected a percentage"),
    "a negative one": (["--fail-if-peak-grows=-3%"], "expected a percentage"),
    "an older profile that is missing": (["--against", "none.json"], r"none\.json: expected"),
    "one that is none": (["--against", "odd.json"], r"odd\.json: expected the JSON"),
    "a folder that is missing": (["-o", "no/p.json"], "profile: expected a folder for"),
    "a page into a folder": (["--html", "."], "profile: expected a file to write"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_exit_code_2_and_words_before_training(capsys, case):
    words, pattern = REFUSALS[case]
    Path("odd.json").write_text("{")

    code, out, err = profiled(capsys, *words)

    assert (code, out) == (2, "")
    assert re.search(pattern, err)
    assert "goodness" not in err  # no progress
    assert [path.name for path in Path().iterdir()] == ["odd.json"]


def test_a_budget_that_is_too_small_is_refused(capsys):
    assert profiled(capsys, "--budget", "1KiB")[0] == 3


@pytest.mark.parametrize(("text", "value"), [("3%", 3.0), ("0.5", 0.5), ("12 %", 12.0), ("0", 0.0)])
def test_percentages_are_read(text, value):
    assert percent(text) == value


@pytest.mark.parametrize("text", ["", "%", "1e3", "-1", "nan", "3%%", "9" * 30])
def test_other_percentages_are_refused(text):
    with pytest.raises(ConfigError, match="expected a percentage"):
        percent(text)
