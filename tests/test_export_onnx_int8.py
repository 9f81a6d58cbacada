"""The int8 graph has the device's bits, in ONNX Runtime and in the reference evaluator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ffedge.buffers import model_needs
from ffedge.errors import ExportError
from ffedge.export.onnx_int8 import build, group_members, plain_weight
from ffedge.export.onnx_writer import to_bytes
from ffedge.kernels.int8.input import INPUT_EXP
from ffedge.layers import MAX_INPUTS, OUTPUT_EXP, weight_exponent
from ffedge.model import Model
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.rules import Group, Readout, hinton
from ffedge.tensor import PANEL

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")

RULES = {
    "readout": Readout(),
    "group of squares": Group(),
    "group of means": Group(squared=False, sharpness=20.0),
}
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")
OUTPUTS = ["label", "probabilities", "goodness"]
MAX_BIAS = 2**24


def packed(weight):
    """int8 (inputs, units) in the kernels' layout: ``[p, k, n, j]`` is input 4k+j, unit 16p+n."""
    inputs, units = weight.shape
    quads, count = -(-inputs // 4), -(-units // PANEL)
    out = np.zeros((count, quads, PANEL, 4), np.int8)
    for unit in range(units):
        column = np.zeros(quads * 4, np.int8)
        column[:inputs] = weight[:, unit]
        out[unit // PANEL, :, unit % PANEL, :] = column.reshape(quads, 4)
    return out


def make_model(network, weights, biases, readouts=None, mean=0.0, gain=1.0, classes=None):
    """A model of plain matrices: weights (inputs, units), biases (units,), readouts (C, units)."""
    params = {
        need.name: np.zeros(need.spec.shape, need.spec.dtype) for need in model_needs(network)
    }
    params["input.mean"][:], params["input.gain"][:] = mean, gain
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        params[f"layer{i}.weight"][:] = packed(np.asarray(weight, np.int8))
        params[f"layer{i}.bias"][: len(bias)] = bias
        if readouts is not None:
            params[f"layer{i}.readout"][:, : len(bias)] = readouts[i]
    names = tuple(range(network.classes)) if classes is None else classes
    return Model(network, params, names, (network.features,))


def random_model(rule, hidden=(35, 21), classes=3, parts=1, features=13, seed=0, extreme=False):
    """Random parameters of the size that training makes, or all at the ends of their ranges."""
    rng = np.random.default_rng([seed, features, classes, parts, *hidden])
    network = Network.dense(features, hidden, classes, rule, precision="int8", input_parts=parts)
    weights, biases, readouts = [], [], []
    for layer in network.layers:
        shape = layer.in_features, layer.out_features
        if extreme:
            # Some units are all positive or negative, some nearly cancel.
            weight = rng.choice([-127, 127], shape) * rng.choice([1, 0, 0.99], shape)
            weight[:, ::5] = rng.choice([-127, 127], (1, len(weight[0, ::5])))
            near = MAX_BIAS - rng.integers(0, 3, shape[1])
            bias = np.where(rng.random(shape[1]) < 0.3, near * rng.choice([-1, 1], shape[1]), 0)
            readout = rng.choice([-127, 127], (classes, shape[1]))
        else:
            weight = np.clip(np.rint(rng.normal(0, 16, shape)), -127, 127)
            bias = rng.integers(-600, 600, shape[1])
            readout = np.clip(np.rint(rng.normal(0, 16, (classes, shape[1]))), -127, 127)
        weights.append(weight)
        biases.append(bias)
        readouts.append(readout)
    mean = rng.standard_normal(features).astype(np.float32) * 3
    gain = np.abs(rng.standard_normal(features).astype(np.float32)) + np.float32(0.1)
    gain[::7] = 0.0
    return make_model(
        network, weights, biases, readouts if isinstance(rule, Readout) else None, mean, gain
    )


def samples(rows, features=13):
    """Raw features: ordinary, halves of a step, beyond the clipping on both sides, and huge."""
    rng = np.random.default_rng([rows, features])
    x = rng.standard_normal((rows, features)).astype(np.float32) * np.float32(3)
    x[1::5] = np.rint(x[1::5] * 32) / np.float32(32)
    x[2::5] *= np.float32(40)
    x[3::5] = rng.choice(np.array([-3e38, -1e9, 0.0, 1e9, 3e38], np.float32), x[3::5].shape)
    return x


def run(data, x, level="ORT_ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(OUTPUTS, {"X": x})


def assert_bits(results, model, x):
    label, probabilities, goodness = results
    predictor = Predictor(model)
    expected = predictor.scores(x)
    assert expected.dtype == np.int32
    assert goodness.dtype == np.float32
    assert goodness.tobytes() == expected.astype(np.float32).tobytes()
    assert label.tolist() == predictor.labels(x).tolist()
    np.testing.assert_allclose(probabilities, predictor.probabilities(x), rtol=1e-3, atol=1e-5)


def assert_bits_everywhere(model, x, form="integer"):
    data = to_bytes(build(model, form))
    for level in LEVELS:
        assert_bits(run(data, x, level), model, x)
    if form == "integer":
        evaluator = reference.ReferenceEvaluator(onnx.load_from_string(data))
        with np.errstate(over="ignore"):
            results = evaluator.run(OUTPUTS, {"X": x})
        assert_bits(results, model, x)


@pytest.mark.parametrize("extreme", [False, True], ids=["usual", "extreme"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("hidden", [(35,), (131, 21), (40, 33, 29)])
@pytest.mark.parametrize("rule", RULES)
def test_goodness_and_labels_have_the_predictors_bits(rule, hidden, parts, extreme):
    model = random_model(RULES[rule], hidden, parts=parts, extreme=extreme)
    x = samples(203)

    assert_bits_everywhere(model, x)


@pytest.mark.parametrize("seed", range(12))
def test_any_widths_and_classes_have_the_predictors_bits(seed):
    rng = np.random.default_rng(seed)
    classes, features = int(rng.integers(2, 21)), int(rng.integers(1, 132))
    rule = list(RULES.values())[seed % 3]
    low = 1 if isinstance(rule, Readout) else classes
    hidden = tuple(int(width) for width in rng.integers(low, 132, int(rng.integers(1, 4))))
    parts = 1 + seed % 2
    model = random_model(rule, hidden, classes, parts, features, seed, extreme=seed % 4 == 3)

    assert_bits_everywhere(model, samples(67, features))


@pytest.mark.parametrize("rows", [0, 1, 33])
@pytest.mark.parametrize("rule", RULES)
def test_any_number_of_rows_runs(rule, rows):
    model = random_model(RULES[rule])

    assert_bits(run(to_bytes(build(model)), samples(rows)), model, samples(rows))


#: One fan-in for every shift that there is.
FAN_INS = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 131_071)


def forward_shift(inputs):
    return INPUT_EXP + weight_exponent(inputs) - OUTPUT_EXP


@pytest.mark.parametrize("inputs", FAN_INS)
def test_sums_at_every_edge_shift_as_integers(inputs):
    shift = forward_shift(inputs)
    edges = [
        -MAX_BIAS, -MAX_BIAS + 1, -(1 << shift) - 1, -(1 << shift), -1, 0, 1, (1 << shift) - 1,
        1 << shift, (127 << shift) - 1, 127 << shift, (128 << shift) - 1, 128 << shift,
        MAX_BIAS - 1, MAX_BIAS,
    ]  # fmt: skip
    biases = np.array(edges * 3)
    units = len(biases)
    weight = np.repeat([[0, 127, -127]], len(edges)).reshape(1, units) * np.ones((inputs, 1), int)
    network = Network.dense(inputs, (units,), units, precision="int8")
    model = make_model(network, [weight], [biases], [np.eye(units, dtype=int)])
    x = np.array([[0.0], [1 / 16], [127 / 16]], np.float32) * np.ones(inputs, np.float32)

    goodness = run(to_bytes(build(model)), x, "ORT_DISABLE_ALL")[2]

    sums = np.array([[0], [1], [127]]) * weight.sum(axis=0) + biases
    assert goodness.tolist() == np.clip(sums >> shift, 0, 127).tolist()
    assert_bits_everywhere(model, x)


def test_the_edges_above_reach_every_shift_and_past_24_bits():
    widths = (*range(1, 2000), *range(2000, MAX_INPUTS, 50), MAX_INPUTS)
    shifts = {forward_shift(inputs) for inputs in widths}

    assert shifts == {forward_shift(inputs) for inputs in FAN_INS}
    assert 127 * 127 * FAN_INS[-1] > 2**29
    # Where float32 begins to round, the largest activity is already reached.
    assert 2**24 >> max(shifts) > 127


def test_the_widest_fan_in_has_the_predictors_bits():
    inputs = MAX_INPUTS
    network = Network.dense(inputs, (3,), 2, precision="int8")
    rng = np.random.default_rng(0)
    weight = np.stack([np.full(inputs, 127), np.full(inputs, -127), rng.integers(-9, 10, inputs)])
    biases = np.array([MAX_BIAS, -MAX_BIAS, 1 << 11])
    model = make_model(network, [weight.T], [biases], [np.array([[1, 2, 3], [3, 2, 1]])])
    x = np.stack([np.full(inputs, 127 / 16), rng.random(inputs)]).astype(np.float32)

    assert_bits_everywhere(model, x)


@pytest.mark.parametrize("rule", RULES)
def test_lengths_and_groups_beyond_24_bits_have_the_predictors_bits(rule):
    width = 2601
    model = random_model(RULES[rule], (width, 17), 2)
    shift = forward_shift(13)
    model.params["layer0.bias"][:2560] = 127 << shift
    model.params["layer0.weight"][:160] = 0
    x = samples(64)

    # 160 panels of 16 units are saturated: all of the first group, most of the second.
    assert 127 * 127 * -(-width // 2) > 2**24
    assert_bits_everywhere(model, x)


def test_classes_that_float32_cannot_tell_apart_are_told_apart():
    width = 2200
    network = Network.dense(1, (width,), 3, precision="int8")
    shift = forward_shift(1)
    biases = np.full(width, 127 << shift)
    biases[-1] = 1 << shift
    readout = np.full((3, width), 127)
    readout[:, -1] = 100, 125, 126
    model = make_model(network, [np.zeros((1, width))], [biases], [readout])

    label, _, goodness = run(to_bytes(build(model)), np.zeros((1, 1), np.float32))

    assert goodness[0, 1] == goodness[0, 2] > 2**24
    assert label.tolist() == [2]
    assert_bits_everywhere(model, np.zeros((2, 1), np.float32))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [(-3, 7, 2**40), ("", "Käse", "犬")])
def test_ties_go_to_the_first_class_by_its_own_name(rule, classes):
    model = dataclasses.replace(random_model(RULES[rule]), classes=classes)
    for name, array in model.params.items():
        if name.endswith(("weight", "bias")):
            array[:] = 0

    label, probabilities, goodness = run(to_bytes(build(model)), samples(4))

    assert label.tolist() == [classes[0]] * 4
    assert probabilities == pytest.approx(1 / 3)
    assert (goodness == 0).all()


def value_types(data):
    """Element type of every value, by name."""
    proto = onnx.load_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    graph = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return graph, found


@pytest.mark.parametrize("rule", RULES)
def test_products_take_uint8_activities_and_int8_weights_with_zero_points_0(rule):
    graph, types = value_types(to_bytes(build(random_model(RULES[rule], extreme=True))))
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}

    products = [node for node in graph.node if node.op_type == "MatMulInteger"]

    assert len(products) == (4 if rule == "readout" else 2)
    for node in products:
        x, weight, zero_x, zero_weight = node.input
        assert types[x] == types[zero_x] == onnx.TensorProto.UINT8
        assert types[weight] == types[zero_weight] == onnx.TensorProto.INT8
        assert constants[zero_x] == constants[zero_weight] == 0
        assert np.abs(constants[weight].astype(int)).max() == 127


@pytest.mark.parametrize("form", ["integer", "qdq"])
@pytest.mark.parametrize("rule", RULES)
def test_the_graph_is_opset_13_ir_7_standard_with_its_weights_inside(rule, form):
    proto = onnx.load_from_string(to_bytes(build(random_model(RULES[rule]), form)))

    assert [(item.domain, item.version) for item in proto.opset_import] == [("", 13)]
    assert proto.ir_version == 7
    assert {node.domain for node in proto.graph.node} == {""}
    for tensor in proto.graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        assert not tensor.external_data


def test_plain_weights_undo_panels_and_quads():
    weight = np.random.default_rng(0).integers(-127, 128, (13, 35)).astype(np.int8)
    network = Network.dense(13, (35,), 2, precision="int8")
    model = make_model(network, [weight], [np.zeros(35)], [np.zeros((2, 35))])

    assert plain_weight(model, 0).tolist() == weight.tolist()


def test_members_of_a_group_are_the_rules_own():
    assert group_members(Group(), 5, 2).T.tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]]


def test_an_unknown_rule_is_refused():
    model = random_model(Readout())
    network = dataclasses.replace(model.network)
    object.__setattr__(network, "rule", hinton())

    with pytest.raises(ExportError, match="one of the rules readout, group, got 'contrast'"):
        build(dataclasses.replace(model, network=network))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("hidden", [(35,), (131, 21), (40, 33, 29)])
@pytest.mark.parametrize("rule", RULES)
def test_qdq_has_the_predictors_bits_in_onnx_runtime(rule, hidden, parts):
    model = random_model(RULES[rule], hidden, parts=parts)

    assert_bits_everywhere(model, samples(500), "qdq")


def test_qdq_has_the_predictors_bits_up_to_24_bit_sums():
    # 127 * 127 * 1,010 + 2**19 lies just below 2**24.
    model = random_model(Readout(), (50, 30), features=1010)
    model.params["layer0.weight"][:, :, ::3] = 127
    model.params["layer0.weight"][-1, :, 2:] = 0
    model.params["layer0.bias"][::2] = -(2**18) - 1

    assert_bits_everywhere(model, np.abs(samples(100, 1010)), "qdq")


def test_qdq_wraps_every_dense_product_in_powers_of_two():
    graph, types = value_types(to_bytes(build(random_model(Readout()), "qdq")))
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}

    products = [node for node in graph.node if node.op_type == "MatMul"]

    assert len(products) == 4
    for node in products:
        x, weight = (made_by[name] for name in node.input)
        assert x.op_type == weight.op_type == "DequantizeLinear"
        assert types[x.input[0]] == onnx.TensorProto.UINT8
        assert types[weight.input[0]] == onnx.TensorProto.INT8
        assert constants[x.input[2]] == constants[weight.input[2]] == 0
        for dequantize in (x, weight):
            assert np.frexp(constants[dequantize.input[1]])[0] == 0.5
