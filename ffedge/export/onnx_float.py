"""The float32 classifier as an ONNX graph of standard operators.

All rules share input, dense layers and normalisation; they differ in how goodness is read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ExportError
from ..kernels.readout import frozen_panel
from ..model import Array, Model
from ..reading import Interval, OnePass, Shortlist
from ..rules import (
    SCFF,
    Contrast,
    FastWeights,
    Group,
    Headed,
    Prototypes,
    Readout,
    SideChannel,
    TopDown,
)
from ..tensor import PANEL, panels
from .onnx_classes import add_prototype_goodness, add_side_goodness
from .onnx_contrast import add_label_goodness
from .onnx_heads import add_one_pass, add_shortlist
from .onnx_interface import add_input, add_outputs, first_vote
from .onnx_layers import add_dense, divide_by_length
from .onnx_time import add_fast_weights, add_top_down
from .onnx_unlabelled import add_head, add_score
from .onnx_writer import Graph


def build(model: Model) -> Graph:
    """The graph of ``model``; inputs and outputs as in ``onnx_interface``.

    Raises ExportError for another precision than float32 and for a rule that has no graph.
    """
    network = model.network
    if type(network.rule) not in _GOODNESS:
        names = ", ".join(kind.name for kind in _GOODNESS)
        raise ExportError(f"export: expected one of the rules {names}, got {network.rule.name!r}")
    if model.precision != "float32":
        raise ExportError(f"export: expected a model of precision float32, got {model.precision!r}")
    unlabelled = network.rule.unlabelled
    says = "score = how normal a sample is" if unlabelled else "label = argmax of goodness"
    graph = Graph(
        "ffedge",
        f"Forward-Forward {'detector' if unlabelled else 'classifier'} {network.text}, rule "
        f"{network.rule.name}: {says}; X in raw units",
    )
    x = add_input(graph, model)
    if network.normalize_input:
        squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
        x = divide_by_length(graph, x, squares, network.features)
    if unlabelled:
        add_score(graph, model, network.rule, x)
        return graph
    _reader(model)(graph, model, network.rule, x)
    add_outputs(graph, model, "goodness")
    return graph


def _reader(model: Model) -> Callable[[Graph, Model, Any, str], None]:
    """What adds the goodness, as the model's read-out has it; ExportError if nothing can."""
    rule, reading = model.network.rule, model.reading
    first_vote(model)
    add = _GOODNESS[type(rule)]
    if isinstance(reading, OnePass | Shortlist):
        return add_one_pass if isinstance(reading, OnePass) else add_shortlist
    if isinstance(reading, Interval) and type(rule) not in _INTERVALS:
        raise ExportError(
            f"export: expected another read-out of the rule {rule.name} than {reading.text}, which "
            "has no graph for it; use --reading everything"
        )
    return add


def _add_class_goodness(graph: Graph, model: Model, rule: Readout | Group, x: str) -> None:
    """``goodness`` = sum over the layers that vote of log-softmax of their class scores."""
    votes, voting = [], first_vote(model)
    for i, layer in enumerate(model.network.layers):
        if i > 0:
            squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
            x = divide_by_length(graph, x, squares, model.network.hidden[i - 1])
        x = add_dense(graph, model, i, x)
        if i < voting:
            continue
        activity = x
        if isinstance(rule, Group):
            matrix = group_matrix(rule, layer.out_features, model.network.classes)
            activity = graph.add_node("Mul", [x, x]) if rule.squared else x
        elif rule.frozen:
            matrix = frozen_matrix(rule, i, layer.out_features, model.network.classes)
        else:
            matrix = model.dense_weight(i, "readout").T
        readout = graph.add_constant(f"layer{i}.readout", matrix)
        scores = graph.add_node("MatMul", [activity, readout])
        votes.append(graph.add_node("LogSoftmax", [scores], axis=1))
    graph.add_node("Sum", votes, "goodness")


def frozen_matrix(rule: Readout, index: int, width: int, classes: int) -> Array:
    """A layer's frozen M.T, float32 (width, C), as its kernels make it from the seed."""
    seed, _, magnitude = rule.frozen_matrix(index, width)
    matrix = np.empty((panels(width) * PANEL, classes), np.float32)
    tile = np.empty((1, classes, PANEL), np.float32)
    for p in range(panels(width)):
        frozen_panel(seed, p, width, magnitude, tile)
        matrix[p * PANEL : (p + 1) * PANEL] = tile[0].T
    return matrix[:width]


def group_matrix(rule: Group, width: int, classes: int) -> Array:
    """``sharpness / |group c|`` where a unit belongs to class c, float32 (width, C)."""
    matrix = np.zeros((width, classes), np.float32)
    for c, (first, last) in enumerate(pairwise(rule.starts(width, classes))):
        matrix[first:last, c] = rule.factor / np.float32(last - first)
    return matrix


#: Rules of which a part of the layers can be exported.
_INTERVALS = (Readout, Group, Prototypes, SideChannel)

#: What adds ``goodness`` to the graph, by rule: (graph, model, rule, name of the scaled input).
_GOODNESS: dict[type[Any], Callable[[Graph, Model, Any, str], None]] = {
    Readout: _add_class_goodness,
    Group: _add_class_goodness,
    Prototypes: add_prototype_goodness,
    SideChannel: add_side_goodness,
    Contrast: add_label_goodness,
    Headed: add_head,
    SCFF: add_score,
    TopDown: add_top_down,
    FastWeights: add_fast_weights,
}
