"""``ffedge reading``, and --reading of the commands that predict."""

import json
from dataclasses import replace

import numpy as np
import pytest
from read_models import data, trained_model

from ffedge.cli import main
from ffedge.model_file import load_model, save_model
from ffedge.reading import EarlyExit, Interval


@pytest.fixture
def files(tmp_path):
    """A model file and its training data."""
    samples = data()
    np.savez(tmp_path / "train.npz", x_train=samples.features, y_train=samples.labels)
    save_model(trained_model(), tmp_path / "m.ffedge")
    save_model(trained_model("hinton"), tmp_path / "h.ffedge")
    return tmp_path


def call(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_fitted_early_exit_is_kept_and_used_from_then_on(files, capsys):
    model, train = files / "m.ffedge", files / "train.npz"

    code, out, _ = call(capsys, "reading", model, train, "--fit", "early-exit", "--lose", "2",
                        "--validation", "0.4")  # fmt: skip

    assert code == 0
    assert "reading  early-exit:" in out
    assert "on 80 samples" in out
    reading = load_model(model).reading
    assert isinstance(reading, EarlyExit)
    code, out, _ = call(capsys, "eval", model, train, "--json")
    report = json.loads(out)
    assert report["reading"] == {"name": "early-exit", "margins": list(reading.margins)}
    assert report["multiply_adds_share"] < 1
    assert 0 < report["multiply_adds"] < 20 * 40 + 40 * 33 + 33 * 18 + 5 * 91
    code, out, _ = call(capsys, "inspect", model)
    assert f"reading    {reading.text}" in out


def test_eval_says_what_was_computed(files, capsys):
    model, train = files / "m.ffedge", files / "train.npz"

    plain = call(capsys, "eval", model, train)[1].splitlines()[-1]
    short = call(capsys, "eval", model, train, "--reading", "interval:0-0")[1].splitlines()[-1]

    assert plain == "reading everything: 3,169 multiply-adds a sample, 100.0 % of everything"
    assert short == "reading interval:0-0: 1,000 multiply-adds a sample, 31.6 % of everything"


def test_a_fitted_interval_can_be_trimmed_into_another_file(files, capsys):
    model, short = files / "m.ffedge", files / "short.ffedge"
    before = model.read_bytes()

    code, out, _ = call(capsys, "reading", model, files / "train.npz", "--fit", "interval",
                        "--lose", "50", "--trim", "-o", short, "--json")  # fmt: skip

    report = json.loads(out)
    assert code == 0
    assert report["network"] == "20-40-5"
    assert report["fitted"]["samples"] == 20
    assert report["fitted"]["held_out"] is None
    assert load_model(short).network.hidden == (40,)
    assert model.read_bytes() == before


def test_a_readout_is_set_and_cleared(files, capsys):
    model = files / "h.ffedge"

    assert call(capsys, "reading", model, "--set", "shortlist:3")[0] == 0
    assert call(capsys, "reading", model)[1].splitlines()[1] == "reading  shortlist:3"
    assert call(capsys, "reading", model, "--clear")[0] == 0

    assert load_model(model).reading is None
    assert call(capsys, "reading", model)[1].splitlines()[1] == "reading  per-label"


def test_predict_takes_a_readout(files, capsys):
    words = ("predict", files / "h.ffedge", files / "train.npz", "--json", "--reading")

    quick = json.loads(call(capsys, *words, "one-pass")[1])
    slow = json.loads(call(capsys, *words, "everything")[1])

    assert quick["multiply_adds_share"] < 0.3 < slow["multiply_adds_share"] == 1.0
    assert len(quick["labels"]) == 200


def test_export_takes_a_readout(files, capsys):
    model = files / "m.ffedge"
    save_model(replace(load_model(model), reading=EarlyExit((1.0, 1.0))), model)
    words = ("export", model, "-o", files / "m.onnx", "--check", "off")

    code, _, err = call(capsys, *words)
    assert code == 6
    assert "static graph" in err

    assert call(capsys, *words, "--reading", "everything")[0] == 0
    assert (files / "m.onnx").stat().st_size > 0


def test_firmware_reads_every_layer(files, capsys):
    model = files / "m8.ffedge"
    save_model(replace(trained_model(precision="int8"), reading=Interval(1, 2)), model)

    code, _, err = call(capsys, "export", model, "--format", "firmware", "--board", "nrf52840",
                        "-o", files / "fw")  # fmt: skip

    assert code == 2
    assert "--reading everything" in err


REFUSED = {
    "one pass of a readout": (("--set", "one-pass"), 2, "in one pass"),
    "an unknown one": (("--set", "best"), 2, "expected one of everything"),
    "a fit without data": (("--fit", "interval"), 2, "training data behind the model"),
    "data without a fit": (("train.npz",), 2, "expected data with --fit only"),
    "a share without a fit": (("--lose", "1", "--clear"), 2, "expected lose with --fit only"),
    "no samples": (("train.npz", "--fit", "interval", "--validation", "0"), 2, "leaves samples"),
    "too much to lose": (("train.npz", "--fit", "interval", "--lose", "60"), 2, "share to lose"),
    "a folder as output": (("--clear", "-o", "."), 2, "a file to write"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_and_the_model_stays(case, files, capsys):
    words, wanted, message = REFUSED[case]
    before = (files / "m.ffedge").read_bytes()

    code, _, err = call(
        capsys, "reading", files / "m.ffedge",
        *(files / word if word in ("train.npz", ".") else word for word in words),
    )  # fmt: skip

    assert code == wanted
    assert message in err
    assert (files / "m.ffedge").read_bytes() == before
