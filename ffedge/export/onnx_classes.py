"""Class competition beyond a plain readout as a graph: directions and the label side-channel."""

from __future__ import annotations

import numpy as np

from ..kernels.prototypes import SHORTEST
from ..model import Model
from ..rules import CrossEntropy, Prototypes, SideChannel
from .onnx_interface import first_vote
from .onnx_layers import add_dense, divide_by_length
from .onnx_writer import Graph


def add_prototype_goodness(graph: Graph, model: Model, rule: Prototypes, x: str) -> None:
    """``goodness`` = sum over the layers of log-softmax of ``tau * (y / |y|) @ q.T``."""
    votes, voting = [], first_vote(model)
    shortest = graph.add_constant("shortest", SHORTEST)
    for i in range(len(model.network.layers)):
        x = add_dense(graph, model, i, x)
        squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
        if i >= voting:
            matrix = np.float32(rule.tau) * model.dense_weight(i, "prototypes").T
            readout = graph.add_constant(f"layer{i}.prototypes", matrix)
            products = graph.add_node("MatMul", [x, readout])
            # A silent row scores 0 for every class.
            length = graph.add_node("Max", [graph.add_node("Sqrt", [squares]), shortest])
            scores = graph.add_node("Div", [products, length])
            votes.append(graph.add_node("LogSoftmax", [scores], axis=1))
        if i < len(model.network.layers) - 1:
            x = divide_by_length(graph, x, squares, model.network.hidden[i])
    graph.add_node("Sum", votes, "goodness")


def add_side_goodness(graph: Graph, model: Model, rule: SideChannel, x: str) -> None:
    """``goodness`` = sum over the layers of every class's vote, from one product per layer."""
    network, votes, voting = model.network, [], first_vote(model)
    table = graph.add_constant("shape.goodness", np.array([-1, network.classes]))
    for i, width in enumerate(network.hidden):
        weight = graph.add_constant(f"layer{i}.weight", model.dense_weight(i))
        bias = graph.add_constant(f"layer{i}.bias", model.dense_weight(i, "bias")[0])
        sums = graph.add_node("Add", [graph.add_node("MatMul", [x, weight]), bias])
        if i >= voting:
            # Labels are (N, C, width): samples, labels, units.
            shape = graph.add_constant(f"shape.samples_{width}", np.array([-1, 1, width]))
            labels = graph.add_constant(f"layer{i}.labels", model.dense_weight(i, "labels")[None])
            moved = graph.add_node("Add", [graph.add_node("Reshape", [sums, shape]), labels])
            active = graph.add_node("Relu", [moved])
            squares = graph.add_node("ReduceSumSquare", [active], axes=[2], keepdims=0)
            factor = np.float32(rule.objective.sharpness) / np.float32(width)
            share = graph.add_constant(f"layer{i}.share", np.float32(factor))
            scores = graph.add_node("Reshape", [graph.add_node("Mul", [squares, share]), table])
            if isinstance(rule.objective, CrossEntropy):
                scores = graph.add_node("LogSoftmax", [scores], axis=1)
            votes.append(scores)
        if i < len(network.layers) - 1:
            x = graph.add_node("Relu", [sums])
            squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
            x = divide_by_length(graph, x, squares, width)
    graph.add_node("Sum", votes, "goodness")
