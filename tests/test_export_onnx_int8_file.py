"""``export_onnx`` of int8 models: who judges the file, what is refused, and what it says."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from test_export_onnx_int8 import assert_bits, random_model, run, samples

from ffedge.buffers import model_needs
from ffedge.errors import ConfigError, ExportError
from ffedge.export import export_onnx, onnx_file
from ffedge.export.onnx_check import default_probe
from ffedge.export.onnx_int8 import build
from ffedge.kernels.int8.input import INPUT_EXP
from ffedge.layers import OUTPUT_EXP, readout_exponent, weight_exponent
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import from_arrays
from ffedge.sources.digits import load_digits
from ffedge.trainer import Trainer

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")


def trained(data, hidden, rule, parts, scaling, epochs):
    network = Network.dense(
        data.features.shape[1], hidden, 10, rule, precision="int8", input_parts=parts
    )
    trainer = Trainer(network, Recipe(SGD(0.1), 32, epochs, scaling=scaling))
    trainer.learn_scaling(data)
    for _ in trainer.train(data):
        pass
    return Model(network, trainer.params, data.classes, data.feature_shape).copy()


TRAINED = {
    "readout": ((100, 70), Readout(), 1, "global"),
    "signed readout": ((61,), Readout(), 2, "standard"),
    "group of squares": ((90, 50, 30), Group(), 1, "global"),
}


@pytest.mark.parametrize("name", TRAINED)
def test_nets_trained_on_digits_export_without_a_differing_bit(tmp_path, name):
    train, test = load_digits()
    hidden, rule, parts, scaling = TRAINED[name]
    model = trained(train, hidden, rule, parts, scaling, epochs=3)
    rng = np.random.default_rng(0)
    x = test.features[rng.integers(0, len(test.features), 10_000)].astype(np.float32)
    x += rng.normal(0, 2, x.shape).astype(np.float32)

    report = export_onnx(model, tmp_path / "digits.onnx", probe=x)

    right = Predictor(model).labels(test.features) == np.asarray(test.classes)[test.labels]
    assert right.mean() > 0.8
    assert report.differing_values == 0
    assert report.labels_equal is True
    assert_bits(run((tmp_path / "digits.onnx").read_bytes(), x), model, x)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", TRAINED)
def test_nets_trained_on_mnist_export_without_a_differing_bit(tmp_path, shared_data, name):
    with np.load(shared_data("mnist")) as archive:
        x, y = archive["x_train"][:6000], archive["y_train"][:6000]
        probe = archive["x_test"].reshape(10_000, -1).astype(np.float32)
    data = from_arrays(x.reshape(len(x), -1), y, classes=range(10))
    model = trained(data, *TRAINED[name], epochs=1)

    for form in ("integer", "qdq"):
        report = export_onnx(model, tmp_path / "mnist.onnx", form=form, probe=probe)

        assert report.differing_values == 0
        assert report.largest_difference == 0.0
        assert report.labels_equal is True


def test_a_report_names_form_and_judges(tmp_path):
    model = random_model(Readout())

    report = export_onnx(model, tmp_path / "a.onnx", check="require")

    assert report.form == "integer"
    assert report.checked_with == (
        f"onnx {onnx.__version__} checker",
        f"onnxruntime {onnxruntime.__version__}",
        f"onnx {onnx.__version__} reference evaluator",
    )
    unchecked = export_onnx(model, tmp_path / "b.onnx", check="off")
    assert unchecked.differing_values is unchecked.largest_difference is None
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def flipped(model, name, bit):
    """The same model with one bit of its parameter's largest element the other way."""
    params = {key: array.copy() for key, array in model.params.items()}
    array = params[name]
    at = np.unravel_index(np.abs(array.astype(np.int64)).argmax(), array.shape)
    array[at] ^= array.dtype.type(1 << bit)
    return dataclasses.replace(model, params=params)


@pytest.mark.parametrize("form", ["integer", "qdq"])
@pytest.mark.parametrize(
    ("name", "bit"),
    [("layer0.weight", 0), ("layer1.weight", 1), ("layer1.readout", 0), ("layer0.bias", 4)],
)
def test_one_flipped_bit_of_a_weight_is_refused(tmp_path, monkeypatch, name, bit, form):
    model = random_model(Readout())
    probe = samples(2000)
    monkeypatch.setattr(
        onnx_file, "build_int8", lambda model, form: build(flipped(model, name, bit), form)
    )

    with pytest.raises(
        ExportError,
        match=rf"onnxruntime {onnxruntime.__version__} at ORT_DISABLE_ALL .*own bits on 2,000 .*"
        r"got [\d,]+ of 6,000 goodness values and [\d,]+ labels that differ",
    ):
        export_onnx(model, tmp_path / "model.onnx", form=form, probe=probe)

    assert list(tmp_path.iterdir()) == []


def test_the_default_probe_sees_one_flipped_bit(tmp_path, monkeypatch):
    model = random_model(Readout())
    broken = flipped(model, "layer1.readout", 0)
    monkeypatch.setattr(onnx_file, "build_int8", lambda model, form: build(broken, form))

    with pytest.raises(ExportError, match="goodness values and"):
        export_onnx(model, tmp_path / "model.onnx")


def test_the_reference_evaluator_is_asked_too(tmp_path, monkeypatch):
    model = random_model(Readout())
    real = reference.ReferenceEvaluator

    class OffByOne:
        def __init__(self, path):
            self.real = real(path)

        def run(self, names, feeds):
            label, goodness = self.real.run(names, feeds)
            goodness[3, 1] += 1
            return label, goodness

    monkeypatch.setattr(reference, "ReferenceEvaluator", OffByOne)

    with pytest.raises(ExportError, match=r"reference evaluator to compute .*got 1 of 192 .*and 0"):
        export_onnx(model, tmp_path / "model.onnx", check="require")


def test_metadata_tells_units_and_fingerprint(tmp_path):
    model = random_model(Readout(), (35, 500), parts=2)
    path = tmp_path / "model.onnx"

    export_onnx(model, path)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    read = session.get_modelmeta().custom_metadata_map
    goodness = session.run(["goodness"], {"X": default_probe(model)})[0]
    assert read["ffedge.precision"] == "int8"
    assert read["ffedge.arithmetic"] == "int8-pow2-u7"
    assert read["ffedge.form"] == "integer"
    assert read["ffedge.input_parts"] == "2"
    assert json.loads(read["ffedge.exponents"]) == {
        "input": INPUT_EXP, "output": OUTPUT_EXP,
        "weights": [weight_exponent(26), weight_exponent(35)],
        "goodness": OUTPUT_EXP + readout_exponent(500),
        "readout": [readout_exponent(35), readout_exponent(500)],
    }  # fmt: skip
    assert read["ffedge.check"] == hashlib.sha256(goodness.tobytes()).hexdigest()
    assert read["ffedge.probe"] == hashlib.sha256(default_probe(model).tobytes()).hexdigest()
    assert Network.parse(json.loads(read["ffedge.network"])) == model.network


def test_qdq_is_checked_without_the_evaluator_that_cannot_run_it(tmp_path):
    report = export_onnx(
        random_model(Readout()), tmp_path / "model.onnx", form="qdq", check="require"
    )

    assert report.form == "qdq"
    assert report.differing_values == 0
    assert report.checked_with[1:] == (f"onnxruntime {onnxruntime.__version__}",)


def test_qdq_refuses_sums_that_float32_cannot_hold(tmp_path):
    model = random_model(Readout(), extreme=True, features=1100)

    with pytest.raises(ExportError, match=r"sums below 16,777,216 .*layer0\.weight; use form int"):
        export_onnx(model, tmp_path / "model.onnx", form="qdq", check="off")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("layer1.weight", -128, r"layer1\.weight within -127\.\.127, got -128\.\."),
        ("layer0.readout", -128, r"layer0\.readout within -127\.\.127, got -128\.\."),
        ("layer0.bias", 2**24 + 1, r"within -16,777,216\.\.16,777,216, got .*16,777,217"),
    ],
)
def test_parameters_that_runtimes_disagree_on_are_refused(tmp_path, name, value, words):
    model = random_model(Readout())
    model.params[name].reshape(-1)[0] = value

    with pytest.raises(ExportError, match=words):
        export_onnx(model, tmp_path / "model.onnx", check="off")


def test_forms_that_do_not_fit_are_refused(tmp_path):
    network = Network.dense(6, (20,), 3, Readout())
    params = {need.name: np.ones(need.spec.shape, np.float32) for need in model_needs(network)}
    model = Model(network, params, (0, 1, 2), (6,))

    with pytest.raises(ExportError, match="an int8 model for form qdq, got precision float32;"):
        export_onnx(model, tmp_path / "model.onnx", form="qdq")
    with pytest.raises(ConfigError, match="form to be one of integer, qdq, got 'fast'"):
        export_onnx(model, tmp_path / "model.onnx", form="fast")
    with pytest.raises(ExportError, match="expected a model of precision int8, got 'float32'"):
        build(model)
    assert export_onnx(model, tmp_path / "model.onnx").form == "float"
