"""From the command line: layers without labels, scores, and the head that follows."""

import csv
import io

import numpy as np
import pytest
from test_cli import ffedge, one_object

from ffedge.kernels.provider import LIBRARY
from ffedge.model_file import load_model
from ffedge.rules import Headed, Hybrid, RidgeHead
from ffedge.sources import load

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images():
    """Digits without labels, as an .npy file of images."""
    train, _ = load("digits")
    np.save("images.npy", np.asarray(train.features)[:400].reshape(-1, 8, 8))
    return "images.npy"


def train(*words):
    return ffedge("train", *words, "--hidden", "30,20", "--epochs", "3", "--json")


@pytest.mark.parametrize("rule", ["scff", "hybrid"])
def test_one_command_trains_layers_and_head(capsys, rule):
    assert train("digits", "--rule", rule) == 0

    report = one_object(capsys.readouterr().out)
    model = load_model(report["model"])
    assert isinstance(model.network.rule, Headed)
    assert report["test_accuracy"] > 0.6
    assert report["measured_bytes"] == report["planned_bytes"]


def test_layers_learn_from_data_without_labels_and_a_head_finishes_them(capsys, images):
    assert train(images, "--unlabelled", "--rule", "hybrid", "-o", "layers.ffedge") == 0
    layers = load_model("layers.ffedge")
    capsys.readouterr()

    words = ("digits", "--from", "layers.ffedge", "--head", "ridge", "-o", "m.ffedge", "--json")
    assert ffedge("train", *words) == 0

    report, model = one_object(capsys.readouterr().out), load_model("m.ffedge")
    assert layers.network.rule.negatives == Hybrid((8, 8))
    assert layers.classes == ("normal",)
    assert model.network.rule.head == RidgeHead()
    assert model.network.rule.learned == layers.network.rule
    assert report["test_accuracy"] > 0.7
    for name, array in layers.params.items():
        assert model.params[name].tobytes() == array.tobytes()


def test_predict_gives_scores_and_says_what_is_an_anomaly(capsys, images):
    train(images, "--unlabelled", "--rule", "hybrid", "--contamination", "0.1", "-o", "a.ffedge")
    capsys.readouterr()

    assert ffedge("predict", "a.ffedge", images) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert ffedge("predict", "a.ffedge", images, "--json") == 0
    report = one_object(capsys.readouterr().out)

    assert len(rows) == 400
    assert [row["anomaly"] == "yes" for row in rows] == report["anomalies"]
    assert 30 <= sum(report["anomalies"]) <= 40
    assert np.allclose([float(row["score"]) for row in rows], report["scores"], rtol=1e-4)


def test_a_csv_column_called_label_is_not_looked_at(capsys):
    lines = [f"{n % 7},{n % 5},{'ab'[n % 2]}" for n in range(60)]
    with open("table.csv", "w") as file:
        file.write("\n".join(["length,width,label", *lines]))

    assert train("table.csv", "--unlabelled", "--rule", "corrupted") == 0

    assert load_model(one_object(capsys.readouterr().out)["model"]).feature_names == (
        "length",
        "width",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rule", "readout"), "expected one of the rules scff, hybrid"),
        (("--rule", "scff", "--label", "x"), "expected no --label beside --unlabelled"),
        (("--rule", "scff", "--validation", "0.1"), "expected no --validation beside"),
        (("--rule", "scff", "--contamination", "0.7"), "expected --contamination in 0..0.5"),
        (("--rule", "scff", "--precision", "int8"), "int8"),
    ],
)
def test_what_makes_no_sense_without_labels_is_refused(capsys, images, words, said):
    assert ffedge("train", images, "--unlabelled", *words) == 2
    assert said in capsys.readouterr().err


def test_two_steps_keep_no_checkpoints(capsys):
    assert ffedge("train", "digits", "--rule", "scff", "--checkpoint", "kept") == 2
    assert "train the layers with --unlabelled" in capsys.readouterr().err


def test_probabilities_of_a_model_without_classes_are_refused(capsys, images):
    train(images, "--unlabelled", "--rule", "scff", "-o", "a.ffedge")

    assert ffedge("predict", "a.ffedge", images, "--probabilities") == 2
    assert "expected a model with classes" in capsys.readouterr().err


def test_plan_knows_both_steps(capsys):
    peaks = []
    for widths in ("64-30-1", "64-30-10"):
        assert ffedge("plan", widths, "--rule", "scff", "--json") == 0
        peaks.append(one_object(capsys.readouterr().out)["planned_bytes"])

    assert peaks[0] > peaks[1]  # the layers' optimiser state
