"""ONNX graphs of layers that learned without labels: under a head, and as a score alone."""

from __future__ import annotations

from typing import Any

from ..errors import ExportError
from ..model import Model
from ..rules import SCFF, Contrast, Headed, MeanOfSquares, Rule
from .onnx_contrast import _VALUES, _goodness, hand_on
from .onnx_layers import add_dense, divide_by_length
from .onnx_writer import Graph


def _check(rule: Rule) -> None:
    if isinstance(rule, Contrast) and type(rule.goodness) not in _VALUES:
        raise ExportError(
            f"export: expected a goodness with an ONNX form, got {rule.goodness.name}"
        )


def _begin(graph: Graph, model: Model, rule: Rule, x: str) -> str:
    """The input as the first layer takes it."""
    if not isinstance(rule, Contrast) or not rule.normalize:
        return x
    squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
    return divide_by_length(graph, x, squares, model.network.features)


def _passed_on(graph: Graph, rule: Rule, x: str, width: int) -> str:
    """A layer's activity, normalised by the rule's own normaliser."""
    if isinstance(rule, Contrast):
        return hand_on(graph, rule.goodness, x, width)
    squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
    return divide_by_length(graph, x, squares, width)


def add_head(graph: Graph, model: Model, rule: Headed, x: str) -> None:
    """``goodness`` = the head's scores, summed over the layers it reads."""
    network, learned = model.network, rule.learned
    _check(learned)
    x = _begin(graph, model, learned, x)
    scores = []
    for i, width in enumerate(network.hidden):
        x = _passed_on(graph, learned, add_dense(graph, model, i, x), width)
        if rule.reads(network, i):
            head = graph.add_constant(f"layer{i}.head", model.dense_weight(i, "head").T)
            scores.append(graph.add_node("MatMul", [x, head]))
    graph.add_node("Sum", scores, "goodness")


def add_score(graph: Graph, model: Model, rule: Any, x: str) -> None:
    """``score`` (N, 1) = ``Predictor.scores``: how normal a sample is."""
    network = model.network
    _check(rule)
    x = _begin(graph, model, rule, x)
    terms = MeanOfSquares() if isinstance(rule, SCFF) else rule.goodness
    votes = []
    for i, width in enumerate(network.hidden):
        x = add_dense(graph, model, i, x)
        votes.append(_goodness(graph, terms, x, width))
        x = _passed_on(graph, rule, x, width)
    # In Contrast the first layer speaks only if it is alone.
    read = votes if isinstance(rule, SCFF) else votes[1:] or votes
    graph.add_node("Sum", read, "score")
    graph.add_output("score", "float32", ("N", 1))
