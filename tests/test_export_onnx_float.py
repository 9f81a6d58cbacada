"""The float32 graph against ``Predictor``, in the reference evaluator and in ONNX Runtime."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ffedge.buffers import model_needs
from ffedge.errors import ExportError
from ffedge.export.onnx_float import build, frozen_matrix, group_matrix
from ffedge.export.onnx_interface import metadata
from ffedge.export.onnx_writer import to_bytes
from ffedge.model import Model
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.rules import (
    Append,
    Contrast,
    FastWeights,
    Group,
    MeanOfSquares,
    Overwrite,
    Pattern,
    Readout,
    Rule,
    Sum,
    SumOfSquares,
    Swish,
    SymBa,
    TopDown,
    hinton,
)
from ffedge.tensor import PANEL

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")

RULES = {
    "readout": Readout(),
    "frozen readout": Readout(frozen=True, seed=7),
    "group of squares": Group(),
    "group of means": Group(squared=False, sharpness=20.0),
    "hinton": hinton(label_value=2.0),
    "automatic label": Contrast(MeanOfSquares(), label=Append(None)),
    "covering label": Contrast(SumOfSquares(minimise=True), label=Overwrite()),
    "top-down": TopDown(),
    "top-down, two steps": TopDown(MeanOfSquares(), SymBa(), 4, 0.4, 2, 4),
    "fast weights": FastWeights(13),
    "fast weights, one step": FastWeights(first_vote=0.0),
    "fast weights, two turns": FastWeights(13, turns=2, rate=0.3, decay=0.5, first_vote=0.0),
    "pattern": Contrast(Sum(), Swish(), label=Pattern(0.7, seed=3)),
}
#: None a multiple of 16: the last panel of every layer has idle lanes.
WIDTHS = (35, 21, 19)
LEVELS = {
    "plain": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "optimised": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def random_model(
    rule, *, hidden=WIDTHS, classes=(10, 20, 40), scaling="standard", normalize=False, features=13
):
    """A model with random parameters; lanes beyond a layer's width are zero, as in training."""
    network = Network.dense(features, hidden, len(classes), rule, normalize_input=normalize)
    rng = np.random.default_rng(5)
    params = {}
    for need in model_needs(network):
        layer = need.name.split(".")[0]
        array = rng.standard_normal(need.spec.shape).astype(need.spec.dtype)
        if layer != "input":
            width = hidden[int(layer.removeprefix("layer"))]
            array /= math.sqrt(need.spec.shape[1])
            lanes = np.arange(array.shape[0] * PANEL).reshape(array.shape[0], 1, PANEL)
            array[np.broadcast_to(lanes >= width, array.shape)] = 0.0
        params[need.name] = array
    mean, gain = params["input.mean"], params["input.gain"]
    if scaling == "standard":
        gain[:] = np.abs(gain) + 0.1
        gain[3] = 0.0
        mean[4], gain[2] = 0.0, 1.0
    else:
        mean[:], gain[:] = 0.0, 0.25 if scaling == "global" else 1.0
    return Model(network, params, classes, (features,))


def samples(rows, features=13):
    """Raw features, some far outside the clipping limit."""
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, features)).astype(np.float32) * np.float32(3)
    x[::3, 1] *= np.float32(50)
    return x


def run(data, x, level="optimised"):
    """(label, probabilities, goodness) by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(["label", "probabilities", "goodness"], {"X": x})


def assert_agrees(results, model, x):
    label, probabilities, goodness = results
    predictor = Predictor(model)
    expected = predictor.scores(x)
    assert goodness.dtype == probabilities.dtype == np.float32
    assert goodness.shape == probabilities.shape == (len(x), model.network.classes)
    np.testing.assert_allclose(goodness, expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(probabilities, predictor.probabilities(x), rtol=1e-3, atol=1e-4)
    assert label.tolist() == predictor.labels(x).tolist()


@pytest.mark.parametrize("scaling", ["standard", "global", "none"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("rule", RULES)
def test_the_graph_computes_what_the_predictor_computes(rule, depth, normalize, scaling):
    model = random_model(RULES[rule], hidden=WIDTHS[:depth], normalize=normalize, scaling=scaling)
    x = samples(33)

    data = to_bytes(build(model))

    proto = onnx.load_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    evaluator = reference.ReferenceEvaluator(proto)
    assert_agrees(evaluator.run(["label", "probabilities", "goodness"], {"X": x}), model, x)
    assert_agrees(run(data, x, "plain"), model, x)
    assert_agrees(run(data, x, "optimised"), model, x)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [(-3, 7, 2**40), ("", "Käse", "犬")])
def test_labels_are_the_models_own_names(rule, classes):
    model = random_model(RULES[rule], classes=classes)
    x = samples(20)

    label, _, _ = run(to_bytes(build(model)), x)

    assert label.tolist() == Predictor(model).labels(x).tolist()
    assert set(label.tolist()) <= set(classes)
    assert len(set(label.tolist())) > 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rows", [0, 1, 33])
def test_any_number_of_rows_runs(rule, rows):
    model = random_model(RULES[rule])

    results = run(to_bytes(build(model)), samples(rows))

    assert_agrees(results, model, samples(rows))


def test_many_classes_with_few_features_agree_under_hinton():
    model = random_model(hinton(), classes=tuple(range(37)), hidden=(17, 40), features=5)
    x = samples(9, 5)

    assert_agrees(run(to_bytes(build(model)), x), model, x)


@pytest.mark.parametrize("rule", RULES)
def test_a_silent_network_gives_the_first_class_and_even_probabilities(rule):
    model = random_model(RULES[rule])
    for name, array in model.params.items():
        if name.endswith(("weight", "bias")):
            array[:] = 0.0

    label, probabilities, goodness = run(to_bytes(build(model)), samples(4))

    assert label.tolist() == [10] * 4
    assert probabilities == pytest.approx(1 / 3)
    assert (goodness == goodness[:, :1]).all()


def test_the_graph_is_opset_13_ir_7_with_its_weights_inside():
    proto = onnx.load_from_string(to_bytes(build(random_model(hinton()))))

    assert [(item.domain, item.version) for item in proto.opset_import] == [("", 13)]
    assert proto.ir_version == 7
    for tensor in proto.graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        assert not tensor.external_data


def test_scaling_that_changes_nothing_takes_no_node():
    def operations(scaling):
        proto = onnx.load_from_string(to_bytes(build(random_model(Readout(), scaling=scaling))))
        return [node.op_type for node in proto.graph.node][:3]

    assert operations("standard") == ["Sub", "Mul", "Clip"]
    assert operations("global")[:2] == ["Mul", "Clip"]
    assert operations("none")[0] == "Clip"


def test_hinton_multiplies_the_data_once_for_all_labels():
    model = random_model(hinton(), classes=tuple(range(19)))

    graph = build(model)

    assert graph.constants["layer0.weight"].shape == (13, 35)
    assert graph.constants["layer0.labels"].shape == (19, 35)


def test_the_heads_of_hinton_are_training_only_and_stay_behind():
    graph = build(random_model(hinton()))

    assert not [name for name in graph.constants if "head" in name]


@pytest.mark.parametrize("width", [5, 16, 21])
def test_a_frozen_readout_is_made_of_signs_that_its_seed_and_layer_choose(width):
    matrix = frozen_matrix(Readout(frozen=True, seed=1), 0, width, 4)

    assert matrix.shape == (width, 4)
    assert np.unique(np.abs(matrix)).tolist() == [np.float32(3 / math.sqrt(width))]
    assert (matrix != frozen_matrix(Readout(frozen=True, seed=2), 0, width, 4)).any()
    assert (matrix != frozen_matrix(Readout(frozen=True, seed=1), 1, width, 4)).any()


def test_a_group_matrix_averages_each_class_group_times_the_sharpness():
    matrix = group_matrix(Group(sharpness=6.0), 5, 2)

    assert matrix.T.tolist() == [[2, 2, 2, 0, 0], [0, 0, 0, 3, 3]]


def test_metadata_survives_onnx_runtime():
    model = random_model(Group(), classes=("a", "b", "ü"))

    data = to_bytes(build(model), metadata=metadata(model))

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    read = session.get_modelmeta().custom_metadata_map
    assert read["ffedge.format"] == "1"
    assert json.loads(read["ffedge.classes"]) == ["a", "b", "ü"]
    assert Network.parse(json.loads(read["ffedge.network"])) == model.network
    assert (read["ffedge.rule"], read["ffedge.precision"]) == ("group", "float32")
    assert json.loads(read["ffedge.feature_shape"]) == [13]
    assert read["ffedge.version"]


def test_another_precision_and_an_unknown_rule_are_refused():
    model = random_model(Readout())
    int8 = Model(Network.dense(13, (5,), 3, precision="int8"), {}, model.classes, (13,))
    other = Model(Network(model.network.layers, 3, Rule()), model.params, model.classes, (13,))
    object.__setattr__(other.network.rule, "name", "other")

    with pytest.raises(ExportError, match="expected a model of precision float32, got 'int8'"):
        build(int8)
    with pytest.raises(ExportError, match=r"expected one of the rules .*, got 'other'"):
        build(other)
