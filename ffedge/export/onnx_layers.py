"""The parts of a float32 graph that all rules share: lengths, dense layers, activations."""

from __future__ import annotations

import numpy as np

from ..activations import Activation, Leaky, ReLU, Standout, StudentT, Triangle
from ..errors import ExportError
from ..kernels.normalize import EPSILON
from ..model import Model
from .onnx_boxes import add_box
from .onnx_writer import Graph


def length(graph: Graph, squares: str, width: int) -> str:
    """``EPSILON + sqrt(squares / width)``, as in ``kernels.normalize``."""
    count = graph.add_constant(f"width_{width}", np.float32(width))
    root = graph.add_node("Sqrt", [graph.add_node("Div", [squares, count])])
    return graph.add_node("Add", [root, graph.add_constant("epsilon", EPSILON)])


def divide_by_length(graph: Graph, x: str, squares: str, width: int) -> str:
    """``x / length``; squares: the name of its rows' sums of squares."""
    return graph.add_node("Div", [x, length(graph, squares, width)])


def add_dense(graph: Graph, model: Model, index: int, x: str) -> str:
    """``activation(x @ weight + bias)``, x through the black box in front of the layer."""
    slot = model.network.box(index)
    if slot is not None:
        x = add_box(graph, model, slot, x)
        if slot.box.normalize:
            squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
            x = divide_by_length(graph, x, squares, slot.outputs)
    weight = graph.add_constant(f"layer{index}.weight", model.dense_weight(index))
    return add_bias(graph, model, index, graph.add_node("MatMul", [x, weight]))


def add_bias(graph: Graph, model: Model, index: int, product: str) -> str:
    """``activation(product + bias)``"""
    bias = graph.add_constant(f"layer{index}.bias", model.dense_weight(index, "bias")[0])
    sums = graph.add_node("Add", [product, bias])
    return add_activation(graph, model.network.layers[index].activation, sums)


def add_activation(graph: Graph, activation: Activation, sums: str) -> str:
    """The activity of a layer's sums. ExportError for an activation without a line here."""
    if isinstance(activation, ReLU):
        return graph.add_node("Relu", [sums])
    if isinstance(activation, Leaky):
        return graph.add_node("LeakyRelu", [sums], alpha=float(activation.slope))
    if isinstance(activation, Triangle):
        mean = graph.add_node("ReduceMean", [sums], axes=[-1], keepdims=1)
        return graph.add_node("Relu", [graph.add_node("Sub", [sums, mean])])
    if isinstance(activation, Standout):
        return _add_standout(graph, activation, sums)
    if isinstance(activation, StudentT):
        return _add_student(graph, activation, sums)
    raise ExportError(f"export: expected an activation with an ONNX form, got {activation.name}")


def _add_standout(graph: Graph, activation: Standout, sums: str) -> str:
    """``relu(z - mean - offset * deviation)``"""
    mean = graph.add_node("ReduceMean", [sums], axes=[-1], keepdims=1)
    distance = graph.add_node("Sub", [sums, mean])
    squares = graph.add_node("Mul", [distance, distance])
    variance = graph.add_node("ReduceMean", [squares], axes=[-1], keepdims=1)
    offset = graph.add_constant(f"standout_{activation.offset!r}", np.float32(activation.offset))
    cut = graph.add_node("Mul", [graph.add_node("Sqrt", [variance]), offset])
    return graph.add_node("Relu", [graph.add_node("Sub", [distance, cut])])


def _add_student(graph: Graph, activation: StudentT, sums: str) -> str:
    """``factor * log(1 + z**2 / nu)``"""
    name = f"student_{activation.nu!r}"
    squares = graph.add_node("Mul", [sums, sums])
    share = graph.add_node("Div", [squares, graph.add_constant(name, np.float32(activation.nu))])
    beyond = graph.add_node("Add", [share, graph.add_constant("one", np.float32(1))])
    factor = graph.add_constant(f"{name}.factor", np.float32((activation.nu + 1.0) / 2.0))
    return graph.add_node("Mul", [graph.add_node("Log", [beyond]), factor])
