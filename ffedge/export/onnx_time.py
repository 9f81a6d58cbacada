"""Rules with steps in time as ONNX graphs, unrolled: every step has nodes of its own.

``TopDown``: tensors are (samples, labels, units). Until a label's influence has come down to a
layer, all labels share its state, and the second axis is 1 long; broadcasting does the rest.
``FastWeights``: tensors are (samples, steps, units); past states are one such tensor.
"""

from __future__ import annotations

import numpy as np

from ..model import Array, Model
from ..rules import FastWeights, MeanOfSquares, TopDown
from .onnx_layers import divide_by_length
from .onnx_writer import Graph


def _normalize(graph: Graph, x: str, width: int, axis: int) -> str:
    squares = graph.add_node("ReduceSumSquare", [x], axes=[axis], keepdims=1)
    return divide_by_length(graph, x, squares, width)


def add_top_down(graph: Graph, model: Model, rule: TopDown, x: str) -> None:
    """``goodness`` = each label's, summed over the layers, averaged over the steps read."""
    network = model.network
    hidden, last = network.hidden, len(network.hidden) - 1
    x = _normalize(graph, x, network.features, 1)
    drive = graph.add_node("MatMul", [x, graph.add_constant("layer0.weight", _weight(model, 0))])
    drive = graph.add_node("Add", [drive, graph.add_constant("layer0.bias", _bias(model, 0))])
    shape = graph.add_constant("shape.samples", np.array([-1, 1, hidden[0]]))
    drive = graph.add_node("Reshape", [drive, shape])
    states: list[str] = []
    passed: list[str] = []
    for i, width in enumerate(hidden):
        sums = drive if i == 0 else _from_below(graph, model, i, passed[-1])
        states.append(graph.add_node("Relu", [sums]))
        passed.append(_normalize(graph, states[-1], width, 2))
    value = np.float32(network.classes**0.5)
    table = graph.add_constant("labels", value * model.dense_weight(last, "down"))
    share = graph.add_constant("share", np.float32(rule.share))
    keep = graph.add_constant("keep", np.float32(1) - np.float32(rule.share))
    votes = []
    for step in range(1, rule.last_read + 1):
        found = []
        for i in range(last + 1):
            sums = drive if i == 0 else _from_below(graph, model, i, passed[i - 1])
            above = table if i == last else _from_above(graph, model, i, passed[i + 1])
            activity = graph.add_node("Relu", [graph.add_node("Add", [sums, above])])
            if step >= rule.first_read:
                votes.append(_goodness(graph, rule, activity, hidden[i]))
            if step < rule.last_read:
                old = graph.add_node("Mul", [states[i], keep])
                new = graph.add_node("Mul", [activity, share])
                found.append(graph.add_node("Add", [old, new]))
        states = found
        passed = [_normalize(graph, state, hidden[i], 2) for i, state in enumerate(states)]
    count = np.float32(1.0 / (rule.last_read - rule.first_read + 1))
    total = graph.add_node("Sum", votes)
    graph.add_node("Mul", [total, graph.add_constant("votes", count)], "goodness")


def _goodness(graph: Graph, rule: TopDown, activity: str, width: int) -> str:
    """(samples, labels or 1)"""
    squares = graph.add_node("ReduceSumSquare", [activity], axes=[2], keepdims=0)
    if not isinstance(rule.goodness, MeanOfSquares):
        return squares
    return graph.add_node(
        "Mul", [squares, graph.add_constant(f"mean_{width}", np.float32(1 / width))]
    )


def _weight(model: Model, index: int) -> Array:
    return model.dense_weight(index)


def _bias(model: Model, index: int) -> Array:
    bias: Array = model.dense_weight(index, "bias")[0]
    return bias


def _from_below(graph: Graph, model: Model, index: int, x: str) -> str:
    weight = graph.add_constant(f"layer{index}.weight", _weight(model, index))
    bias = graph.add_constant(f"layer{index}.bias", _bias(model, index))
    return graph.add_node("Add", [graph.add_node("MatMul", [x, weight]), bias])


def _from_above(graph: Graph, model: Model, index: int, x: str) -> str:
    down = graph.add_constant(f"layer{index}.down", model.dense_weight(index, "down"))
    return graph.add_node("MatMul", [x, down])


def add_fast_weights(graph: Graph, model: Model, rule: FastWeights, x: str) -> None:
    """``goodness`` = log-probabilities, summed over the layers, averaged over the voting steps."""
    network = model.network
    shape = np.array([-1, rule.steps, network.layers[0].in_features])
    x = graph.add_node("Reshape", [x, graph.add_constant("shape.sequence", shape)])
    first = int(rule.first_vote * rule.steps)
    votes = []
    for i in range(len(network.hidden)):
        sums = _from_below(graph, model, i, x)
        activity, passed = _sequence(graph, model, rule, i, sums)
        matrix = graph.add_constant(f"layer{i}.readout", model.dense_weight(i, "readout").T)
        voting = _join(graph, activity[first:])
        scores = graph.add_node("LogSoftmax", [graph.add_node("MatMul", [voting, matrix])], axis=2)
        votes.append(graph.add_node("ReduceMean", [scores], axes=[1], keepdims=0))
        if i < len(network.hidden) - 1:
            x = _join(graph, passed)
    graph.add_node("Sum", votes, "goodness")


def _join(graph: Graph, states: list[str]) -> str:
    """Tensors (samples, 1, units) in a row."""
    return graph.add_node("Concat", states, axis=1) if len(states) > 1 else states[0]


def _sequence(
    graph: Graph, model: Model, rule: FastWeights, index: int, sums: str
) -> tuple[list[str], list[str]]:
    """Activity of every step, (samples, 1, units), and the same normalised."""
    width = model.network.hidden[index]
    activity: list[str] = []
    passed: list[str] = []
    for t in range(rule.steps):
        at = graph.add_constant(f"step{t}", np.array([t]))
        now = graph.add_node("Gather", [sums, at], axis=1)
        if passed:
            slow = graph.add_constant(
                f"layer{index}.recurrent", model.dense_weight(index, "recurrent")
            )
            now = graph.add_node("Add", [now, graph.add_node("MatMul", [passed[-1], slow])])
        out = graph.add_node("Relu", [now])
        normal = _normalize(graph, out, width, 2)
        if passed and rule.turns and rule.rate > 0.0:
            past = _join(graph, passed)
            ages = np.float32(rule.rate / width) * np.float32(rule.decay) ** np.arange(
                t - 1, -1, -1, dtype=np.float32
            )
            shares = graph.add_constant(f"layer{index}.ages{t}", ages.astype(np.float32))
            turned = graph.add_node("Transpose", [past], perm=[0, 2, 1])
            for _ in range(rule.turns):
                match = graph.add_node("MatMul", [normal, turned])
                match = graph.add_node("Mul", [match, shares])
                recalled = graph.add_node("MatMul", [match, past])
                out = graph.add_node("Relu", [graph.add_node("Add", [now, recalled])])
                normal = _normalize(graph, out, width, 2)
        activity.append(out)
        passed.append(normal)
    return activity, passed
