"""The int8 classifier as an ONNX graph whose goodness has the device's bits.

Activities travel as float32 that hold whole numbers 0..127, and are u7 in uint8 where a layer
reads them. Every step is exact or rounded once, in the kernels' order, so a runtime whose float32
is IEEE 754 has no choice (OpenVINO on bfloat16 CPUs needs INFERENCE_PRECISION_HINT=f32):

    sums      int32: u7 times s8 fits the 16 bits in which some CPUs add two products
    shift     Cast, Mul 2**-shift, Floor, Clip: ``(sum + bias) >> shift``, the half lies in the
              bias. Beyond +-2**24 the Cast rounds; 2**24 >> 13 is far past the 127 of the Clip
    length    int32 sum of squares; its square root, a division, a product and a sum, as in
              ``kernels.int8.normalize``
    votes     int32, shifted by a multiplication, added

Form "integer" is made of MatMulInteger and needs no optimiser. Form "qdq" puts QuantizeLinear
and DequantizeLinear around MatMul, for tools that look for this pattern; it is less portable:
a runtime that computes its MatMul in fewer than 24 bits changes it, and the reference evaluator
does not run it at this opset. See ``_Qdq``.
"""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

from ..errors import ExportError
from ..kernels.int8.dense import MAX_BIAS
from ..kernels.int8.group import FACTOR_EXP
from ..kernels.int8.input import INPUT_EXP
from ..layers import OUTPUT_EXP, forward_shift, readout_exponent, weight_exponent
from ..model import Array, Model
from ..rules import Group, Readout
from ..scales_int8 import group_factors
from .onnx_interface import add_outputs, add_scaled_input, first_vote
from .onnx_writer import Graph

#: Name of this arithmetic in the file's metadata: power-of-two units, activities of 7 bits.
ARITHMETIC = "int8-pow2-u7"

FORMS = ("integer", "qdq")


def build(model: Model, form: str = "integer") -> Graph:
    """The graph of ``model``; inputs and outputs as in ``onnx_interface``.

    form: "integer" or "qdq". Raises ExportError for another precision than int8, an unknown rule,
    parameters outside their range, and "qdq" for sums that float32 cannot hold.
    """
    network, rule = model.network, model.network.rule
    if model.precision != "int8":
        raise ExportError(f"export: expected a model of precision int8, got {model.precision!r}")
    if not isinstance(rule, Readout | Group):
        raise ExportError(f"export: expected one of the rules readout, group, got {rule.name!r}")
    _check_ranges(model)
    graph = Graph(
        "ffedge",
        f"Forward-Forward classifier {network.text}, rule {rule.name}, {ARITHMETIC}: "
        "label = argmax of goodness; X in raw units",
    )
    eight = _Qdq(graph) if form == "qdq" else _Integer(graph)
    x = eight.activity(_add_input(graph, model))
    total, voting = "", first_vote(model)
    for i, layer in enumerate(network.layers):
        shift = forward_shift(layer.in_features)
        y = eight.activity(eight.dense(x, i, plain_weight(model, i), plain_bias(model, i), shift))
        if i >= voting:
            if isinstance(rule, Readout):
                scores = _add_readout(graph, model, eight, i, y)
            else:
                scores = _add_group(graph, rule, network.classes, i, y, layer.out_features)
            total = graph.add_node("Add", [total, scores]) if total else scores
        if i + 1 < len(network.layers):
            x = eight.activity(_add_normalize(graph, y, i, layer.out_features))
    add_outputs(graph, model, graph.add_cast(total, "float32", "goodness"), total)
    return graph


def metadata(model: Model, form: str) -> dict[str, str]:
    """What an int8 file says beside ``onnx_interface.metadata``: its form and its units.

    A real value is its integer times 2**-exponent.
    """
    network = model.network
    exponents: dict[str, int | list[int]] = {
        "input": INPUT_EXP,
        "output": OUTPUT_EXP,
        "weights": [weight_exponent(layer.in_features) for layer in network.layers],
        "goodness": network.score_exponent,
    }
    if isinstance(network.rule, Readout):
        exponents["readout"] = [readout_exponent(width) for width in network.hidden]
    return {
        "ffedge.arithmetic": ARITHMETIC,
        "ffedge.form": form,
        "ffedge.exponents": json.dumps(exponents),
        "ffedge.input_parts": str(network.input_parts),
    }


def plain_weight(model: Model, index: int) -> Array:
    """A layer's weight as a plain matrix, int8 (inputs, units): panels and quads undone."""
    panels = model.params[f"layer{index}.weight"]
    layer = model.network.layers[index]
    count, quads, lanes, four = panels.shape
    rows = panels.transpose(1, 3, 0, 2).reshape(quads * four, count * lanes)
    return np.ascontiguousarray(rows[: layer.in_features, : layer.out_features])


def plain_bias(model: Model, index: int) -> Array:
    """A layer's bias, int32 (units,), with the half of the forward rounding in it."""
    return model.params[f"layer{index}.bias"][: model.network.layers[index].out_features]


def group_members(rule: Group, width: int, classes: int) -> Array:
    """1 where a unit belongs to class c, else 0: int32 (width, C)."""
    matrix = np.zeros((width, classes), np.int32)
    for c, (first, last) in enumerate(pairwise(rule.starts(width, classes))):
        matrix[first:last, c] = 1
    return matrix


def _check_ranges(model: Model) -> None:
    """What the kernels trust and never make: runtimes differ where they meet -128."""
    for name, array in model.params.items():
        limit = {"weight": 127, "readout": 127, "bias": MAX_BIAS}.get(name.split(".")[1])
        if limit is not None and array.size:
            low, high = int(array.min()), int(array.max())
            if low < -limit or high > limit:
                raise ExportError(
                    f"export: expected {name} within -{limit:,}..{limit:,}, got {low:,}..{high:,}; "
                    "ffedge trains no such model: check where this one comes from"
                )


class _Integer:
    """Products as on the device: MatMulInteger with zero points 0, int32 sums, one shift."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def activity(self, x: str) -> str:
        """``clip(x, 0, 127)`` of whole numbers in float32."""
        graph = self.graph
        low, high = graph.add_constant("u7.low", np.float32(0)), _constant(graph, "u7.high", 127)
        return graph.add_node("Clip", [x, low, high])

    def dense(self, x: str, index: int, weight: Array, bias: Array, shift: int) -> str:
        """``(x @ weight + bias) >> shift``, whole numbers in float32."""
        graph = self.graph
        sums = self.scores(x, f"layer{index}.weight", weight)
        sums = graph.add_node("Add", [sums, graph.add_constant(f"layer{index}.bias", bias)])
        step = _constant(graph, f"shift_{shift}", 2.0**-shift)
        product = graph.add_node("Mul", [graph.add_cast(sums, "float32"), step])
        return graph.add_node("Floor", [product])

    def scores(self, y: str, name: str, matrix: Array) -> str:
        """``y @ matrix``, int32."""
        graph = self.graph
        zero_u8 = graph.add_constant("zero.uint8", np.uint8(0))
        zero_s8 = graph.add_constant("zero.int8", np.int8(0))
        inputs = [graph.add_cast(y, "uint8"), graph.add_constant(name, matrix), zero_u8, zero_s8]
        return graph.add_node("MatMulInteger", inputs)


class _Qdq(_Integer):
    """Products as tools look for them: MatMul of dequantised uint8 activities and int8 weights.

    Scales are powers of two (1 for activities, 2**-shift for weights), so float32 sums below 2**24
    steps are exact in any order. Biases are whole steps, since ONNX Runtime's optimiser rounds them
    to such, and QuantizeLinear sees whole numbers only: it rounds half to even, the device down.
    """

    def activity(self, x: str) -> str:
        """``clip(x, 0, 127)`` of whole numbers in float32, by way of uint8."""
        graph = self.graph
        scale = _constant(graph, "scale", 1)
        zero = graph.add_constant("zero.uint8", np.uint8(0))
        x = graph.add_node("QuantizeLinear", [super().activity(x), scale, zero])
        return graph.add_node("DequantizeLinear", [x, scale, zero])

    def dense(self, x: str, index: int, weight: Array, bias: Array, shift: int) -> str:
        """``floor((x @ weight + bias) * 2**-shift)``."""
        graph = self.graph
        self._check_sums(f"layer{index}.weight", weight, np.abs(bias))
        product = self._product(x, f"layer{index}.weight", weight, shift)
        steps = bias.astype(np.float32) * np.float32(2.0**-shift)
        bias_name = graph.add_constant(f"layer{index}.bias", steps)
        return graph.add_node("Floor", [graph.add_node("Add", [product, bias_name])])

    def scores(self, y: str, name: str, matrix: Array) -> str:
        """``y @ matrix``, int32 again."""
        self._check_sums(name, matrix, 0)
        return self.graph.add_cast(self._product(y, name, matrix, 0), "int32")

    def _product(self, x: str, name: str, matrix: Array, shift: int) -> str:
        graph = self.graph
        scale = _constant(graph, f"shift_{shift}" if shift else "scale", 2.0**-shift)
        zero = graph.add_constant("zero.int8", np.int8(0))
        inputs = [graph.add_constant(name, matrix), scale, zero]
        return graph.add_node("MatMul", [x, graph.add_node("DequantizeLinear", inputs)])

    @staticmethod
    def _check_sums(name: str, matrix: Array, more: Array | int) -> None:
        largest = int((127 * np.abs(matrix).sum(axis=0, dtype=np.int64) + more).max())
        if largest >= 2**24:
            raise ExportError(
                f"export: expected sums below {2**24:,} in form qdq, whose float32 products are "
                f"exact up to there, got up to {largest:,} with {name}; use form integer"
            )


def _constant(graph: Graph, name: str, value: float) -> str:
    return graph.add_constant(name, np.float32(value))


def _floor_plus_half(graph: Graph, x: str) -> str:
    return graph.add_node("Floor", [graph.add_node("Add", [x, _constant(graph, "half", 0.5)])])


def _add_input(graph: Graph, model: Model) -> str:
    """``floor(t * 2**INPUT_EXP + 0.5)`` of t, or of [t, -t]: see ``kernels.int8.input``."""
    t = add_scaled_input(graph, model)
    if model.network.input_parts == 2:
        t = graph.add_node("Concat", [t, graph.add_node("Neg", [t])], axis=1)
    one = _constant(graph, "input.one", 2**INPUT_EXP)
    return _floor_plus_half(graph, graph.add_node("Mul", [t, one]))


def _add_normalize(graph: Graph, y: str, index: int, width: int) -> str:
    """``floor(y * (gain / sqrt(sum y**2)) + 0.5)``: see ``kernels.int8.normalize``."""
    whole = graph.add_cast(y, "int32")
    squares = graph.add_node("ReduceSumSquare", [whole], axes=[1], keepdims=1)
    squares = graph.add_cast(squares, "float32")
    # A silent row stays silent. 1 is the same number before and after the cast.
    length = graph.add_node("Sqrt", [graph.add_node("Max", [squares, _constant(graph, "one", 1)])])
    gain = np.float32(2**INPUT_EXP) * np.sqrt(np.float32(width))
    factor = graph.add_node("Div", [_constant(graph, f"layer{index}.gain", gain), length])
    return _floor_plus_half(graph, graph.add_node("Mul", [y, factor]))


def _add_readout(graph: Graph, model: Model, eight: _Integer, index: int, y: str) -> str:
    """``(y @ M.T) << k``, int32 in the network's unit of scores."""
    width = model.network.layers[index].out_features
    matrix = np.ascontiguousarray(model.params[f"layer{index}.readout"][:, :width].T)
    scores = eight.scores(y, f"layer{index}.readout", matrix)
    shift = model.network.score_exponent - OUTPUT_EXP - readout_exponent(width)
    if shift:
        step = graph.add_constant(f"layer{index}.votes", np.int32(1 << shift))
        scores = graph.add_node("Mul", [scores, step])
    return scores


def _add_group(graph: Graph, rule: Group, classes: int, index: int, y: str, width: int) -> str:
    """``(sum over group of y**2 (or y) * factor) >> FACTOR_EXP``, int32: ``kernels.int8.group``."""
    whole = graph.add_cast(y, "int32")
    if rule.squared:
        whole = graph.add_node("Mul", [whole, whole])
    members = group_members(rule, width, classes)
    sums = graph.add_node("MatMul", [whole, graph.add_constant(f"layer{index}.members", members)])
    factors = graph.add_constant(f"layer{index}.factors", group_factors(rule, members.sum(axis=0)))
    product = graph.add_node("Mul", [graph.add_cast(sums, "int64"), factors])
    # Both are at least 0, where Div's rounding towards 0 is the shift's rounding down.
    step = graph.add_constant("factor_one", np.int64(1 << FACTOR_EXP))
    return graph.add_cast(graph.add_node("Div", [product, step]), "int32")
