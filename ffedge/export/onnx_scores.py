"""A layer's own scores of classes or bins as a graph: a readout, or the goodness of groups."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..kernels.readout import frozen_panel
from ..model import Array, Model
from ..rules import Group, Readout
from ..tensor import PANEL, panels
from .onnx_layers import add_dense, divide_by_length
from .onnx_writer import Graph


def layer_scores(
    graph: Graph, model: Model, rule: Readout | Group, x: str, first: int = 0
) -> list[str]:
    """Each layer's scores (N, C) of classes or bins, from the scaled input ``x``.

    first: the lowest layer that has any.
    """
    found = []
    for i, layer in enumerate(model.network.layers):
        if i > 0:
            squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
            x = divide_by_length(graph, x, squares, model.network.hidden[i - 1])
        x = add_dense(graph, model, i, x)
        if i < first:
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
        found.append(graph.add_node("MatMul", [activity, readout]))
    return found


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
