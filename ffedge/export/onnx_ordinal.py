"""A regression as an ONNX graph: the layers' probabilities of bins, and the bins' mean.

value          float32 (N, 1)  ``Predictor.values``, in the target's units
probabilities  float32 (N, K)  of the bins, whose centres are in the metadata; rows sum to 1
"""

from __future__ import annotations

import numpy as np

from ..model import Model
from ..rules import Group, Ordinal, Readout
from ..rules.ordinal import CENTRES
from .onnx_scores import layer_scores
from .onnx_writer import Graph


def add_bin_goodness(graph: Graph, model: Model, rule: Ordinal, x: str) -> None:
    """``probabilities``: mean over the layers, or their normalised product."""
    assert isinstance(rule.scorer, Group | Readout)
    scores = layer_scores(graph, model, rule.scorer, x)
    count = np.float32(1.0 / len(scores))
    share = graph.add_constant("share", count)
    if rule.average:
        votes = [graph.add_node("Softmax", [score], axis=1) for score in scores]
        graph.add_node("Mul", [graph.add_node("Sum", votes), share], "probabilities")
        return
    votes = [graph.add_node("LogSoftmax", [score], axis=1) for score in scores]
    logits = graph.add_node("Mul", [graph.add_node("Sum", votes), share])
    graph.add_node("Softmax", [logits], "probabilities", axis=1)


def add_number_outputs(graph: Graph, model: Model) -> None:
    """``value`` from ``probabilities``: a difference from the middle centre, then that centre.

    So a target far from 0 loses no digits in the sum of products.
    """
    centres = model.params[CENTRES].astype(np.float64)
    middle = np.float32(centres[len(centres) // 2])
    apart = (centres - np.float64(middle)).astype(np.float32)[:, None]
    offsets = graph.add_constant("bins", apart)
    offset = graph.add_node("MatMul", ["probabilities", offsets])
    graph.add_node("Add", [offset, graph.add_constant("middle", middle)], "value")
    graph.add_output("value", "float32", ("N", 1))
    graph.add_output("probabilities", "float32", ("N", len(centres)))
