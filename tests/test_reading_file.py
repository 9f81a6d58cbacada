"""Read-outs in words and in model files: round trips, old files, hostile descriptions."""

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from read_models import data, trained_model

from ffedge.errors import CheckpointError, ConfigError
from ffedge.model_file import load_model, save_model
from ffedge.predict import Predictor
from ffedge.reading import (
    EarlyExit,
    Everything,
    Interval,
    OnePass,
    PerLabel,
    Shortlist,
    named_reading,
)

READINGS = {
    "everything": Everything(),
    "per-label": PerLabel(),
    "one-pass": OnePass(),
    "shortlist:3": Shortlist(3),
    "interval:0-1": Interval(0, 1),
    "early-exit:2.5,-": EarlyExit((2.5, None)),
}


def model_with(reading):
    labelled = isinstance(reading, PerLabel | OnePass | Shortlist)
    return replace(trained_model("hinton" if labelled else "readout"), reading=reading)


@pytest.mark.parametrize("text", READINGS)
def test_every_readout_has_a_text(text):
    assert named_reading(text) == READINGS[text]
    assert READINGS[text].text == text


@pytest.mark.parametrize(
    "text",
    ["", "all", "everything:1", "shortlist", "shortlist:x", "interval:1", "interval:0-1-2",
     "interval:-1-0", "early-exit", "early-exit:", "early-exit:1,x", "one-pass:"],
)  # fmt: skip
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError, match="expected"):
        named_reading(text)


@pytest.mark.parametrize("text", READINGS)
def test_a_model_file_keeps_the_readout(text, tmp_path):
    model = model_with(READINGS[text])

    save_model(model, tmp_path / "m.ffedge")
    loaded = load_model(tmp_path / "m.ffedge")

    assert loaded.reading == READINGS[text]
    wanted = Predictor(model).scores(data().features)
    assert Predictor(loaded).scores(data().features).tobytes() == wanted.tobytes()


def test_a_file_without_a_readout_says_nothing_of_one(tmp_path):
    """As files of earlier versions, which load as before."""
    save_model(trained_model(), tmp_path / "m.ffedge")

    assert b"reading" not in (tmp_path / "m.ffedge").read_bytes()
    assert load_model(tmp_path / "m.ffedge").reading is None


def with_reading(path, description):
    """Rewrite the file's description, checksum and all, as somebody with bad intentions would."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, arrays = json.loads(content[8 : 8 + length]), content[8 + length :]
    about = json.loads(header["__metadata__"]["ffedge"]) | {"reading": description}
    text = json.dumps(about)
    checksum = zlib.crc32(arrays, zlib.crc32(text.encode()))
    header["__metadata__"] = {"ffedge": text, "crc32": f"{checksum:08x}"}
    words = json.dumps(header).encode()
    path.write_bytes(len(words).to_bytes(8, "little") + words + arrays)


HOSTILE = [
    7, "interval", [], {}, {"name": "interval"}, {"name": "layers"}, {"name": ["interval"]},
    {"name": "interval", "first": 0, "last": 9}, {"name": "interval", "first": 0.0, "last": 1},
    {"name": "interval", "first": 0, "last": 1, "more": 1}, {"name": "early-exit", "margins": 1},
    {"name": "early-exit", "margins": [1.0]}, {"name": "early-exit", "margins": ["1", "2"]},
    {"name": "early-exit", "margins": [1.0, -2.0]}, {"name": "early-exit", "margins": [[1], 2]},
    {"name": "early-exit", "margins": [float("nan"), 1.0]},
    {"name": "early-exit", "margins": [1.0] * 100_000},
    {"name": "one-pass"}, {"name": "shortlist", "most": 2}, {"name": "shortlist", "most": 10**30},
]  # fmt: skip


@pytest.mark.parametrize("description", HOSTILE, ids=lambda d: str(d)[:40])
def test_a_hostile_readout_is_refused(description, tmp_path):
    path = tmp_path / "m.ffedge"
    save_model(trained_model(), path)
    with_reading(path, {"name": "interval", "first": 1, "last": 1})
    assert load_model(path).reading == Interval(1, 1)

    with_reading(path, description)

    with pytest.raises(CheckpointError, match="complete model description") as caught:
        load_model(path)
    assert len(str(caught.value)) < 600


def test_a_model_with_an_unfit_readout_is_never_made():
    with pytest.raises(ConfigError, match="at most 2 in a network of 3"):
        replace(trained_model(), reading=Interval(0, 3))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_trimming_drops_the_layers_that_never_run(precision, tmp_path):
    model = replace(trained_model(precision=precision), reading=Interval(1, 1))

    short = model.trimmed()

    assert short.network.hidden == model.network.hidden[:2]
    assert short.reading == Interval(1, 1)
    save_model(short, tmp_path / "m.ffedge")
    chances = Predictor(load_model(tmp_path / "m.ffedge")).probabilities(data().features)
    wanted = Predictor(model).probabilities(data().features)
    np.testing.assert_array_equal(chances, wanted)


def test_a_trimmed_model_whose_layers_all_vote_needs_no_readout():
    assert replace(trained_model(), reading=Interval(0, 1)).trimmed().reading is None


def test_cutting_a_model_off_drops_a_readout_that_needs_more():
    model = replace(trained_model(), reading=EarlyExit((1.0, 2.0)))

    assert model.first_layers(3).reading == model.reading
    assert model.first_layers(2).reading is None
    assert model.copy().reading == model.reading
