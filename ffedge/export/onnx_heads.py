"""One pass with the neutral label, and a shortlist from it, as ONNX graphs for ``Contrast``.

The shortlist's labels differ from sample to sample: TopK finds them, and of the first layer's C
rows for each sample, which cost additions only, GatherND takes those that go on.
"""

from __future__ import annotations

import numpy as np

from ..model import Model
from ..reading import Shortlist
from ..rules import Contrast
from .onnx_contrast import (
    add_goodness,
    add_labelled_layer,
    check_label,
    hand_on,
    neutral_sign,
    signs_of,
)
from .onnx_layers import add_dense
from .onnx_writer import Graph


def add_one_pass(graph: Graph, model: Model, rule: Contrast, x: str) -> None:
    """``goodness`` = mean of the heads' log-probabilities."""
    _add_heads(graph, model, rule, x, "goodness")


def _add_heads(graph: Graph, model: Model, rule: Contrast, x: str, name: str | None) -> str:
    network = model.network
    check_label(rule)
    assert rule.label is not None
    x = add_labelled_layer(
        graph, model, rule.label, x, neutral_sign(network, rule.label), "neutral"
    )
    votes = []
    for i, width in enumerate(network.hidden):
        if i > 0:
            x = add_dense(graph, model, i, x)
        x = hand_on(graph, rule.goodness, x, width)
        if f"layer{i}.head" in model.params:
            head = graph.add_constant(f"layer{i}.head", model.dense_weight(i, "head").T)
            votes.append(
                graph.add_node("LogSoftmax", [graph.add_node("MatMul", [x, head])], axis=1)
            )
    return graph.add_node("Mean", votes, name)


def add_shortlist(graph: Graph, model: Model, rule: Contrast, x: str) -> None:
    """``goodness`` as ``reading.Shortlist`` defines it."""
    network, reading = model.network, model.reading
    assert isinstance(reading, Shortlist)
    most, width = reading.most, network.hidden[0]
    chances = _add_heads(graph, model, rule, x, None)
    best, places = graph.add_top(chances, most)
    assert rule.label is not None
    y = add_labelled_layer(graph, model, rule.label, x, signs_of(network, rule.label), "label")
    each = graph.add_constant("shape.labels", np.array([-1, network.classes, width]))
    one = graph.add_constant("shape.places", np.array([-1, most, 1]))
    rows = graph.add_node(
        "GatherND",
        [graph.add_node("Reshape", [y, each]), graph.add_node("Reshape", [places, one])],
        batch_dims=1,
    )
    flat = graph.add_constant("shape.list_rows", np.array([-1, width]))
    goodness = add_goodness(graph, model, rule, graph.add_node("Reshape", [rows, flat]))
    listed = graph.add_constant("shape.list", np.array([-1, most]))
    goodness = graph.add_node("Reshape", [goodness, listed])
    floor = graph.add_node("ReduceMin", [best], axes=[1], keepdims=1)
    factor = np.float32(rule.probability_factor(network))
    below = graph.add_node("Sub", [chances, floor])
    below = graph.add_node("Div", [below, graph.add_constant("list.factor", factor)])
    least = graph.add_node("ReduceMin", [goodness], axes=[1], keepdims=1)
    rest = graph.add_node("Add", [below, least])
    graph.add_node("ScatterElements", [rest, places, goodness], "goodness", axis=1)
