"""``export_onnx``: what is written, who judges it, and what an old file survives."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ffedge
from ffedge.errors import ConfigError, DataError, ExportError, MissingDependencyError
from ffedge.export import export_onnx, onnx_file
from ffedge.export.onnx_check import default_probe
from ffedge.export.onnx_float import build
from ffedge.model import Model
from ffedge.model_file import save_model
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout, hinton
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer


def trained(rule=None, epochs=2):
    """A model of three separable classes with names."""
    rng = np.random.default_rng(1)
    codes = np.arange(90) % 3
    x = rng.normal(100, 5, (90, 6)).astype(np.float32)
    x[np.arange(90), codes] += np.float32(30)
    data = from_arrays(x, np.array(["left", "none", "right"])[codes])
    network = Network.dense(6, (20, 18), 3, rule)
    trainer = Trainer(network, Recipe(epochs=epochs, batch_size=16))
    trainer.learn_scaling(data)
    for _ in trainer.train(data):
        pass
    return Model(network, trainer.params, data.classes, data.feature_shape).copy(), x


@pytest.fixture(scope="module")
def model():
    return trained()[0]


def perturbed(model, name, factor):
    params = {key: array.copy() for key, array in model.params.items()}
    params[name] *= np.float32(factor)
    return dataclasses.replace(model, params=params)


@pytest.mark.parametrize("rule", [Readout(), Group(), hinton()], ids=lambda rule: rule.name)
def test_a_trained_model_is_exported_and_checked_by_both_judges(tmp_path, rule):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, x = trained(rule)
    path = tmp_path / "model.onnx"

    report = export_onnx(model, path, probe=x, check="require")

    assert report.path == path
    assert report.nbytes == path.stat().st_size
    assert (report.opset, report.ir_version) == (13, 7)
    assert report.checked_with == (
        f"onnx {onnx.__version__} checker",
        f"onnxruntime {onnxruntime.__version__}",
    )
    assert report.labels_equal is True
    assert report.largest_difference < 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels = session.run(["label"], {"X": x})[0]
    assert labels.tolist() == Predictor(model).labels(x).tolist()


def test_nothing_but_the_model_is_left_in_the_folder(tmp_path, model):
    export_onnx(model, tmp_path / "model.onnx")

    assert os.listdir(tmp_path) == ["model.onnx"]


def test_the_same_model_gives_the_same_bytes(tmp_path, model):
    export_onnx(model, tmp_path / "a.onnx", check="off")
    export_onnx(model, os.fspath(tmp_path / "b.onnx"), check="off")

    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_file_has_the_permissions_of_any_new_file(tmp_path, model):
    (tmp_path / "plain").touch()

    export_onnx(model, tmp_path / "model.onnx", check="off")

    assert (tmp_path / "model.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["layer0.weight", "layer1.bias", "layer1.readout", "input.gain"])
def test_a_graph_that_disagrees_is_refused_and_the_old_file_stays(
    tmp_path, monkeypatch, model, name
):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(onnx_file, "build", lambda model: build(perturbed(model, name, 1.05)))

    with pytest.raises(ExportError, match=f"onnxruntime {onnxruntime.__version__} to agree"):
        export_onnx(model, path)

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_graph_that_computes_nan_is_refused(tmp_path, monkeypatch, model):
    pytest.importorskip("onnxruntime")
    broken = perturbed(model, "layer1.readout", np.nan)
    monkeypatch.setattr(onnx_file, "build", lambda model: build(broken))

    with pytest.raises(ExportError, match="goodness off by up to nan"):
        export_onnx(model, tmp_path / "model.onnx")


def test_a_graph_with_the_classes_in_another_order_is_refused(tmp_path, monkeypatch, model):
    pytest.importorskip("onnxruntime")
    turned = dataclasses.replace(model, classes=model.classes[::-1])
    monkeypatch.setattr(onnx_file, "build", lambda model: build(turned))

    with pytest.raises(ExportError, match=r"and \d+ other labels; nothing was written"):
        export_onnx(model, tmp_path / "model.onnx")


def test_a_graph_that_breaks_the_format_is_refused_and_the_old_file_stays(
    tmp_path, monkeypatch, model
):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def with_an_unknown_operator(model):
        graph = build(model)
        graph.add_output(graph.add_node("Nonsense", ["goodness"]), "float32", ("N", 3))
        return graph

    monkeypatch.setattr(onnx_file, "build", with_an_unknown_operator)

    with pytest.raises(ExportError, match=f"onnx {onnx.__version__} checker, got .*Nonsense"):
        export_onnx(model, path)

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_graph_that_onnx_runtime_cannot_load_is_refused(tmp_path, monkeypatch, model):
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnx", None)
    write = onnx_file.write
    monkeypatch.setattr(onnx_file, "write", lambda *args, **more: write(*args, opset=999, **more))

    with pytest.raises(ExportError, match=r"onnxruntime .* to run the graph, got .*999"):
        export_onnx(model, tmp_path / "model.onnx")

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_judge_is_named_with_its_extra_if_required(tmp_path, monkeypatch, model, package):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*ffedge\[onnx\]"):
        export_onnx(model, tmp_path / "model.onnx", check="require")

    assert os.listdir(tmp_path) == []


def test_auto_uses_the_judges_that_are_there(tmp_path, monkeypatch, model):
    onnx = pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    report = export_onnx(model, tmp_path / "model.onnx")

    assert report.checked_with == (f"onnx {onnx.__version__} checker",)
    assert report.largest_difference is report.labels_equal is None


def test_exporting_needs_neither_onnx_nor_onnxruntime(tmp_path, model):
    save_model(model, tmp_path / "model.ff")
    program = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onnx", "onnxruntime", "google"):
            asked.append(name)
            raise ImportError(name)

asked = []
sys.meta_path.insert(0, Blocker())
from ffedge.export import export_onnx
from ffedge.model_file import load_model
model = load_model("model.ff")
report = export_onnx(model, "off.onnx", check="off")
assert asked == [], asked
assert report.checked_with == ()
assert export_onnx(model, "auto.onnx").checked_with == ()
assert asked == ["onnx", "onnxruntime"], asked
"""
    source = os.fspath(Path(ffedge.__file__).parents[1])

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "off.onnx").read_bytes() == (tmp_path / "auto.onnx").read_bytes()


def test_the_default_probe_starts_at_the_mean_and_reaches_past_the_clipping_limit(model):
    probe = default_probe(model)

    scaled = (probe - model.params["input.mean"]) * model.params["input.gain"]
    assert probe.dtype == np.float32
    assert probe.shape == (64, 6)
    assert probe.tolist() == default_probe(model).tolist()
    assert probe[0] == pytest.approx(model.params["input.mean"])
    assert 8.0 < np.abs(scaled).max() < 32.0


def test_a_constant_feature_stays_constant_in_the_default_probe(model):
    constant = perturbed(model, "input.gain", 1.0)
    constant.params["input.gain"][2] = 0.0

    probe = default_probe(constant)

    assert np.unique(probe[:, 2]).tolist() == [constant.params["input.mean"][2]]


@pytest.mark.parametrize("gain", [1e-38, 1e30])
def test_features_of_extreme_size_export(tmp_path, model, gain):
    extreme = perturbed(model, "input.gain", 0.0)
    extreme.params["input.gain"][:] = gain

    export_onnx(extreme, tmp_path / "model.onnx")

    assert np.isfinite(default_probe(extreme)).all()


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (np.zeros((3, 5), np.float32), r"probe rows of 6 features, got .* \(3, 5\)"),
        (np.zeros(6, np.float32), r"probe rows of 6 features, got .* \(6,\)"),
        (np.zeros((0, 6), np.float32), r"probe rows of 6 features, got .* \(0, 6\)"),
        (np.full((1, 6), np.nan, np.float32), "finite numbers in the probe"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(tmp_path, model, probe, words):
    with pytest.raises(DataError, match=words):
        export_onnx(model, tmp_path / "model.onnx", probe=probe)


def test_parameters_that_are_not_finite_are_refused(tmp_path, model):
    broken = perturbed(model, "layer1.bias", np.nan)

    with pytest.raises(ExportError, match=r"expected finite numbers in layer1\.bias, got NaN"):
        export_onnx(broken, tmp_path / "model.onnx", check="off")


def test_an_unknown_check_is_refused(tmp_path, model):
    with pytest.raises(ConfigError, match="one of auto, require, off, got 'maybe'"):
        export_onnx(model, tmp_path / "model.onnx", check="maybe")


def test_a_folder_that_is_not_there_is_the_systems_own_error(tmp_path, model):
    with pytest.raises(FileNotFoundError):
        export_onnx(model, tmp_path / "nowhere" / "model.onnx", check="off")
