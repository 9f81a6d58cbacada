"""Read-outs as ONNX graphs against ``Predictor``, or refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest
from read_models import data, trained_model

from ffedge.errors import ExportError
from ffedge.export import export_onnx
from ffedge.predict import Predictor
from ffedge.reading import EarlyExit, Everything, Interval, OnePass, PerLabel, Shortlist
from ffedge.rules import Append, Contrast, Overwrite, Pattern

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

LABELLED = {
    "hinton": "hinton",
    "automatic": Contrast(label=Append(None)),
    "overwrite": Contrast(label=Overwrite()),
    "pattern": Contrast(label=Pattern()),
    "unsquared": "hinton-unsquared",
}


def exported(model, path):
    """(label, probabilities, goodness) of the exported file, judged on real samples first."""
    export_onnx(model, path, probe=data().features, check="require")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, session.run(["label", "probabilities", "goodness"], {"X": data().features})


def assert_agrees(results, model):
    label, probabilities, goodness = results
    predictor = Predictor(model)
    np.testing.assert_allclose(goodness, predictor.scores(data().features), rtol=1e-4, atol=2e-3)
    wanted = predictor.probabilities(data().features)
    np.testing.assert_allclose(probabilities, wanted, rtol=1e-3, atol=1e-3)
    assert np.mean(label == predictor.labels(data().features)) > 0.99


@pytest.mark.parametrize("reading", [PerLabel(), OnePass(), Shortlist(2), Shortlist(5)])
@pytest.mark.parametrize("rule", LABELLED)
def test_passes_by_label_and_without_are_graphs(rule, reading, tmp_path):
    model = replace(trained_model(LABELLED[rule]), reading=reading)

    session, results = exported(model, tmp_path / "m.onnx")

    assert_agrees(results, model)
    told = session.get_modelmeta().custom_metadata_map["ffedge.reading"]
    assert told == reading.text


@pytest.mark.parametrize(
    ("rule", "precision"),
    [("readout", "float32"), ("readout", "int8"), ("group", "float32"), ("group", "int8"),
     ("prototypes", "float32"), ("side-channel", "float32"), ("side-channel-logistic", "float32")],
)  # fmt: skip
@pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 1), (2, 2)])
def test_an_interval_is_the_graph_of_the_trimmed_network(rule, precision, first, last, tmp_path):
    whole = trained_model(rule, precision=precision)
    model = replace(whole, reading=Interval(first, last))

    _, results = exported(model, tmp_path / "m.onnx")

    assert_agrees(results, model)
    export_onnx(whole, tmp_path / "whole.onnx", check="off")
    # Without the layers above it, and without the readouts below it.
    assert (tmp_path / "m.onnx").stat().st_size < (tmp_path / "whole.onnx").stat().st_size


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_early_exit_is_refused_since_a_graph_computes_every_layer(precision, tmp_path):
    model = replace(trained_model(precision=precision), reading=EarlyExit((1.0, None)))

    with pytest.raises(ExportError, match="static graph computes every layer"):
        export_onnx(model, tmp_path / "m.onnx")

    assert not list(tmp_path.iterdir())
    _, results = exported(replace(model, reading=Everything()), tmp_path / "m.onnx")
    assert_agrees(results, replace(model, reading=None))
