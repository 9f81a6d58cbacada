"""Profiles as files: whatever is not one is refused by its field, and two are compared."""

import json

import pytest
from test_profiling import DATA, trainer_of

from ffedge.errors import ConfigError
from ffedge.profiling.file import check_profile, compare, load_profile, save_profile
from ffedge.profiling.measure import profile_training


@pytest.fixture(scope="module")
def profile():
    return profile_training(trainer_of(), DATA)


def test_a_saved_profile_is_read_back(profile, tmp_path):
    save_profile(profile, tmp_path / "p.json")

    assert load_profile(tmp_path / "p.json") == profile


def changed(profile, path, value):
    """A copy with one field set, by its dotted path; ``KeyError`` deletes it."""
    copy = json.loads(json.dumps(profile))
    *way, last = path.split(".")
    place = copy
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return copy


WRONG = [
    ("format", 2, "expected a profile of format 1, got 2"),
    ("format", True, "expected a profile of format 1, got True"),
    ("measured_bytes", KeyError, "measured_bytes: expected a value, got none"),
    ("measured_bytes", -1, "measured_bytes: expected a whole number"),
    ("measured_bytes", True, "measured_bytes: expected a whole number"),
    ("measured_bytes", 1.5, "measured_bytes: expected a whole number"),
    ("measured_bytes", 10**4000, "measured_bytes: expected a whole number"),
    ("planned_bytes", 0, "planned_bytes: expected at least 1"),
    ("process", None, "process: expected an object"),
    ("process.peak", "much", "process.peak: expected a whole number"),
    ("timeline", [], "timeline: expected at least one row"),
    ("timeline", {}, "timeline: expected at least one row"),
    ("timeline.0.seconds", "long", r"timeline\[0\].seconds: expected a finite number"),
    ("timeline.1.bytes", {}, r"timeline\[1\].bytes: expected every category once"),
    ("timeline.1.bytes.weights", -5, r"timeline\[1\].bytes.weights: expected a whole"),
    ("buffers.0.stages", [0], r"buffers\[0\].stages: expected first and last"),
    ("buffers.0.shape", [1] * 17, r"buffers\[0\].shape: expected a list of at most 16"),
    ("buffers.0.name", "x" * 20_000, r"buffers\[0\].name: expected a text of at most"),
    ("fits.0.fits", 1, r"fits\[0\].fits: expected true or false"),
    ("recipe", [], "recipe: expected an object"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), WRONG)
def test_a_wrong_profile_is_refused_by_its_field(profile, path, value, words):
    with pytest.raises(ConfigError, match=words):
        check_profile(changed(profile, path, value))


CONTENTS = {
    "nothing": b"", "no JSON": b"profile", "a list": b"[1]", "null": b"null",
    "bytes": b"\xff\xfe\x00",
    "too deep": b"[" * 100_000, "not a number": b'{"format": NaN}',
    "a number too long": b'{"format": ' + b"9" * 10_000 + b"}", "another object": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTENTS)
def test_any_other_file_is_refused_with_its_name(tmp_path, kind):
    (tmp_path / "odd.json").write_bytes(CONTENTS[kind])

    with pytest.raises(ConfigError, match=r"odd\.json: expected"):
        load_profile(tmp_path / "odd.json")


def test_a_missing_file_a_folder_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"none\.json: expected a profile, got No such file"):
        load_profile(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="expected a profile, got Is a directory"):
        load_profile(tmp_path)
    monkeypatch.setattr("ffedge.profiling.file.MAX_BYTES", 10)
    (tmp_path / "huge.json").write_bytes(b" " * 11)
    with pytest.raises(ConfigError, match="got more than 10 B"):
        load_profile(tmp_path / "huge.json")


def with_measured(profile, count):
    return profile | {"measured_bytes": count}


@pytest.mark.parametrize(("now", "grew"), [(1030, False), (1031, True), (900, False)])
def test_the_peak_may_grow_by_what_is_allowed(profile, now, grew):
    found = compare(with_measured(profile, now), with_measured(profile, 1000), 3.0)

    assert found["grew"] is grew
    assert found["measured"]["old"] == 1000
    assert found["measured"]["new"] == now
    assert found["measured"]["grown_percent"] == pytest.approx((now - 1000) / 10)


def test_only_the_measured_training_peak_decides(profile):
    larger = changed(profile, "process.peak", 10 * profile["process"]["peak"] + 1)
    larger["planned_bytes"] *= 2

    found = compare(larger, profile, 0.0)

    assert not found["grew"]
    assert found["planned"]["grown_percent"] == 100.0
    assert found["process"]["new"] > found["process"]["old"]


def test_a_comparison_says_what_is_not_comparable(profile):
    assert compare(profile, profile, 0.0)["differs"] == []

    other = profile | {"precision": "int8", "recipe": {}}

    assert compare(other, profile, 0.0)["differs"] == ["precision", "recipe"]
