"""Regressions as ONNX graphs: ``value`` and probabilities against the Predictor."""

import json

import numpy as np
import pytest

from ffedge import Predictor, export_onnx
from ffedge.errors import ExportError
from ffedge.export.onnx_float import build
from ffedge.export.onnx_interface import metadata
from ffedge.export.onnx_writer import to_bytes
from ffedge.model import Model
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.rules import Group, Ordinal, Readout
from ffedge.rules.ordinal import CENTRES
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")

RULES = {
    "readout": Ordinal(),
    "multiplied": Ordinal(average=False),
    "frozen": Ordinal(Readout(smoothing=0.0, frozen=True)),
    "group": Ordinal(Group(smoothing=0.0)),
    "group of means, multiplied": Ordinal(Group(smoothing=0.0, squared=False), average=False),
}


def model_of(rule, *, offset=100.0, hidden=(21, 19), normalize=False):
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 7), loc=3.0).astype(np.float32)
    data = from_arrays(X, offset + 10 * X[:, 0] + X[:, 1] ** 2, numeric=True)
    trainer = Trainer(
        Network.dense(7, hidden, 16, rule, normalize_input=normalize),
        Recipe(epochs=8, batch_size=8),
    )
    trainer.learn_scaling(data)
    list(trainer.train(data))
    return Model(trainer.network, trainer.params, (), (7,)), X


def run(data, x):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["value", "probabilities"]
    return session.run(["value", "probabilities"], {"X": x})


@pytest.mark.parametrize("hidden", [(17,), (21, 19), (20, 18, 16)])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_graph_computes_what_the_predictor_computes(rule, normalize, hidden):
    model, x = model_of(RULES[rule], hidden=hidden, normalize=normalize)
    predictor = Predictor(model)

    data = to_bytes(build(model))

    proto = onnx.load_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    evaluator = reference.ReferenceEvaluator(proto)
    for value, chances in (run(data, x), evaluator.run(["value", "probabilities"], {"X": x})):
        assert value.dtype == chances.dtype == np.float32
        assert value.shape == (len(x), 1)
        np.testing.assert_allclose(value[:, 0], predictor.values(x), rtol=1e-5)
        np.testing.assert_allclose(chances, predictor.probabilities(x), atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 33])
def test_any_number_of_rows_runs(rows):
    model, x = model_of(Ordinal())

    value, chances = run(to_bytes(build(model)), x[:rows])

    assert (value.shape, chances.shape) == ((rows, 1), (rows, 16))


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_an_export_is_compared_by_value(tmp_path, offset):
    model, _ = model_of(Ordinal(), offset=offset)

    report = export_onnx(model, tmp_path / "m.onnx", check="require")

    assert report.form == "float"
    assert report.largest_difference < 1e-4
    assert report.labels_equal is None
    assert len(report.checked_with) == 2


def test_an_export_that_says_something_else_is_refused(tmp_path, monkeypatch):
    model, _ = model_of(Ordinal())
    shifted = Model(
        model.network, model.params | {CENTRES: model.params[CENTRES] + np.float32(1)}, (), (7,)
    )
    monkeypatch.setattr("ffedge.export.onnx_file.build", lambda _: build(shifted))

    with pytest.raises(ExportError, match="to agree with the model on 64 probe rows"):
        export_onnx(model, tmp_path / "m.onnx", check="require")
    assert not (tmp_path / "m.onnx").exists()


def test_the_metadata_names_the_bins():
    model, _ = model_of(Ordinal())

    found = metadata(model)

    assert json.loads(found["ffedge.classes"]) == []
    assert np.allclose(json.loads(found["ffedge.centres"]), model.params[CENTRES])
    assert found["ffedge.rule"] == "ordinal"
