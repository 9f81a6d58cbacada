"""Goodness of every label as an ONNX graph, for ``Contrast`` with a label in the input.

Prediction takes one pass per class, but the label enters the first layer only. Row n with label c
is ``base(n) + scale(n) * sign(c)``, where base are the features (without those that a label
covers), scale the label's length and sign the encoding's fixed row for class c. So with

    squares(n, c) = sum(base**2) + 2 * scale * base . sign(c) + scale**2 * sum(sign(c)**2)
    layer0(n, c)  = activation((base @ W + scale * sign(c) @ W) / length(n, c) + b)

the product with the data is computed once, and the labels are a table with C rows. From the
second layer on, a sample is C rows of one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ExportError
from ..kernels.random import bits
from ..model import Array, Model
from ..network import Network
from ..rules import (
    Append,
    Contrast,
    Goodness,
    Label,
    MeanOfSquares,
    Overwrite,
    Pattern,
    Regions,
    Signed,
    Sum,
    SumOfSquares,
    TopK,
)
from .onnx_layers import add_bias, add_dense, divide_by_length, length
from .onnx_writer import Graph


def add_label_goodness(graph: Graph, model: Model, rule: Contrast, x: str) -> None:
    """``goodness`` = each label's goodness summed over all layers but the first."""
    network = model.network
    check_label(rule)
    assert rule.label is not None
    x = add_labelled_layer(graph, model, rule.label, x, signs_of(network, rule.label), "label")
    total = add_goodness(graph, model, rule, x)
    table = graph.add_constant("shape.goodness", np.array([-1, network.classes]))
    graph.add_node("Reshape", [total, table], "goodness")


def check_label(rule: Contrast) -> None:
    """Raise ExportError for a label encoding or a goodness without an ONNX form."""
    if rule.label is None:
        raise ExportError(
            "export: expected a rule whose input holds a label, got one that learns without "
            "labels; it has no score for a class"
        )
    if type(rule.label) not in _SIGNS or type(rule.goodness) not in _VALUES:
        raise ExportError(
            f"export: expected a label encoding and a goodness with an ONNX form, got "
            f"{rule.label.name} and {rule.goodness.name}"
        )


def add_goodness(graph: Graph, model: Model, rule: Contrast, x: str) -> str:
    """Goodness (rows, 1) summed over all layers but the first, of the first's activity x."""
    network = model.network
    votes = [_goodness(graph, rule.goodness, x, network.hidden[0])]
    for i in range(1, len(network.layers)):
        x = hand_on(graph, rule.goodness, x, network.hidden[i - 1])
        x = add_dense(graph, model, i, x)
        votes.append(_goodness(graph, rule.goodness, x, network.hidden[i]))
    # The first layer speaks only if it is alone.
    return graph.add_node("Sum", votes[1:] or votes)


def signs_of(network: Network, label: Label) -> Array:
    """What each label adds to the input, in units of its length: (C, inputs of layer 0)."""
    return _SIGNS[type(label)](network, label)


def neutral_sign(network: Network, label: Label) -> Array:
    """The same of the neutral label, (1, inputs)."""
    signs = signs_of(network, label)
    return np.zeros_like(signs[:1]) if isinstance(label, Pattern) else _mean(signs)


def _mean(signs: Array) -> Array:
    mean: Array = signs.mean(axis=0, keepdims=True)
    return mean


def add_labelled_layer(
    graph: Graph, model: Model, label: Label, x: str, signs: Array, name: str
) -> str:
    """The first layer's activity for every sample and row of ``signs`` (K, inputs): n * K + k.

    name: what the constants of these labels are called.
    """
    network, count = model.network, len(signs)
    width, features, classes = network.hidden[0], network.features, network.classes
    weight = model.dense_weight(0)
    covered = np.ones(features, np.float32)
    if isinstance(label, Overwrite):
        covered[:classes] = 0
        x = graph.add_node("Mul", [x, graph.add_constant("label.uncovered", covered)])
    if label.value is None:
        size = graph.add_node("ReduceMax", [graph.add_node("Abs", [x])], axes=[1], keepdims=1)
        zero, one = (graph.add_constant(f"label.{v}", np.float32(v)) for v in (0, 1))
        scale = graph.add_node("Where", [graph.add_node("Greater", [size, zero]), size, one])
    else:
        scale = graph.add_constant("label.scale", np.full((1, 1), label.value, np.float32))
    # (N, K): squares of the input of each row.
    own = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
    of_label = graph.add_constant(f"{name}.squares", (signs**2).sum(axis=1, keepdims=True).T)
    squares = graph.add_node("Mul", [graph.add_node("Mul", [scale, scale]), of_label])
    squares = graph.add_node("Add", [own, squares])
    if isinstance(label, Pattern):
        crossed = graph.add_constant(f"{name}.crossed", 2 * signs[:, :features].T)
        crossed = graph.add_node("Mul", [scale, graph.add_node("MatMul", [x, crossed])])
        squares = graph.add_node("Add", [squares, crossed])
    lengths = length(graph, squares, network.layers[0].in_features)
    data = graph.add_constant("layer0.weight", weight[:features])
    product = graph.add_node("MatMul", [x, data])
    # From here (N, K, width): samples, labels, units.
    per_label = graph.add_constant("shape.samples", np.array([-1, 1, width]))
    product = graph.add_node("Reshape", [product, per_label])
    single = graph.add_constant("shape.scale", np.array([-1, 1, 1]))
    rows = graph.add_constant(f"layer0.{name}s", signs @ weight)
    rows = graph.add_node("Mul", [graph.add_node("Reshape", [scale, single]), rows])
    product = graph.add_node("Add", [product, rows])
    each = graph.add_constant(f"{name}.lengths", np.array([-1, count, 1]))
    product = graph.add_node("Div", [product, graph.add_node("Reshape", [lengths, each])])
    flat = graph.add_constant("shape.rows", np.array([-1, width]))
    return add_bias(graph, model, 0, graph.add_node("Reshape", [product, flat]))


def _one_hot(network: Network, label: Any) -> Array:
    """Append and Overwrite: one input set, (C, inputs of the first layer)."""
    signs = np.zeros((network.classes, network.layers[0].in_features), np.float32)
    first = network.features if isinstance(label, Append) else 0
    signs[:, first : first + network.classes] = np.eye(network.classes, dtype=np.float32)
    return signs


def _pattern(network: Network, label: Any) -> Array:
    """Pattern: all features set to +-1, as in ``kernels.labels.add_pattern``."""
    count = network.classes * network.features
    words = [int(bits(label.seed, n)) & 1 for n in range(count)]
    signs: Array = np.where(words, 1, -1).astype(np.float32)
    return signs.reshape(network.classes, -1)


_SIGNS: dict[type[Label], Callable[[Network, Any], Array]] = {
    Append: _one_hot,
    Overwrite: _one_hot,
    Pattern: _pattern,
}


def _goodness(graph: Graph, goodness: Goodness, x: str, width: int) -> str:
    """Goodness (rows, 1) of a layer's activity."""
    return _VALUES[type(goodness)](graph, goodness, x, width)


def _squares(graph: Graph, goodness: Any, x: str, width: int) -> str:
    value = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
    factor = goodness.sign / (width if isinstance(goodness, MeanOfSquares) else 1)
    return _times(graph, value, factor)


def _sum(graph: Graph, goodness: Any, x: str, width: int) -> str:
    axis = graph.add_constant("axis.units", np.array([1]))
    return _times(graph, graph.add_node("ReduceSum", [x, axis], keepdims=1), goodness.sign)


def _top(graph: Graph, goodness: Any, x: str, width: int) -> str:
    count = graph.add_constant(f"largest_{width}", np.array([goodness.count(width)]))
    squares = graph.add_node("Mul", [x, x])
    largest = graph.add_node("TopK", [squares, count], unused=1, axis=1)
    return _times(
        graph, graph.add_node("ReduceMean", [largest], axes=[1], keepdims=1), goodness.sign
    )


def _signed(graph: Graph, goodness: Any, x: str, width: int) -> str:
    signs = np.where(np.arange(width) < goodness.split(width), goodness.sign, -goodness.sign)
    column = graph.add_constant(f"signs_{width}", signs.astype(np.float32)[:, None])
    return graph.add_node("MatMul", [graph.add_node("Mul", [x, x]), column])


def _times(graph: Graph, value: str, factor: float) -> str:
    if factor == 1:
        return value
    constant = graph.add_constant(f"factor_{factor}", np.float32(factor))
    return graph.add_node("Mul", [value, constant])


_VALUES: dict[type[Goodness], Callable[[Graph, Any, str, int], str]] = {
    SumOfSquares: _squares,
    MeanOfSquares: _squares,
    # The sum over the regions of their sums of squares is the layer's.
    Regions: _squares,
    TopK: _top,
    Signed: _signed,
    Sum: _sum,
}


def hand_on(graph: Graph, goodness: Goodness, x: str, width: int) -> str:
    """The activity as the layer above takes it; see ``Goodness.measure``."""
    if not isinstance(goodness, Sum):
        squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
        return divide_by_length(graph, x, squares, width)
    size = graph.add_node("ReduceL1", [x], axes=[1], keepdims=1)
    squares = graph.add_node("Mul", [size, size])
    # The square root of this over the width is the mean magnitude.
    return divide_by_length(graph, x, _times(graph, squares, 1 / width), width)
