"""The float32 network as an ONNX graph of standard operators.

All rules share input, dense layers and normalisation; they differ in how goodness is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ExportError
from ..model import Model
from ..reading import Interval, OnePass, Shortlist
from ..rules import (
    SCFF,
    Contrast,
    FastWeights,
    Group,
    Headed,
    Ordinal,
    Prototypes,
    Readout,
    SideChannel,
    TopDown,
)
from .onnx_classes import add_prototype_goodness, add_side_goodness
from .onnx_contrast import add_label_goodness
from .onnx_heads import add_one_pass, add_shortlist
from .onnx_interface import add_input, add_outputs, first_vote
from .onnx_layers import divide_by_length
from .onnx_ordinal import add_bin_goodness, add_number_outputs
from .onnx_scores import layer_scores
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
    numeric, unlabelled = network.rule.numeric, network.rule.unlabelled
    kind, says = "classifier", "label = argmax of goodness"
    if numeric:
        kind, says = "regression", "value = mean of the bins"
    elif unlabelled:
        kind, says = "detector", "score = how normal a sample is"
    graph = Graph(
        "ffedge",
        f"Forward-Forward {kind} {network.text}, rule {network.rule.name}: {says}; X in raw units",
    )
    x = add_input(graph, model)
    if network.normalize_input:
        squares = graph.add_node("ReduceSumSquare", [x], axes=[1], keepdims=1)
        x = divide_by_length(graph, x, squares, network.features)
    if unlabelled:
        add_score(graph, model, network.rule, x)
        return graph
    _reader(model)(graph, model, network.rule, x)
    if numeric:
        add_number_outputs(graph, model)
    else:
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
    scores = layer_scores(graph, model, rule, x, first_vote(model))
    votes = [graph.add_node("LogSoftmax", [score], axis=1) for score in scores]
    graph.add_node("Sum", votes, "goodness")


#: Rules of which a part of the layers can be exported.
_INTERVALS = (Readout, Group, Prototypes, SideChannel)

#: What adds ``goodness`` to the graph, by rule: (graph, model, rule, name of the scaled input).
_GOODNESS: dict[type[Any], Callable[[Graph, Model, Any, str], None]] = {
    Readout: _add_class_goodness,
    Group: _add_class_goodness,
    Prototypes: add_prototype_goodness,
    SideChannel: add_side_goodness,
    Contrast: add_label_goodness,
    Ordinal: add_bin_goodness,
    Headed: add_head,
    SCFF: add_score,
    TopDown: add_top_down,
    FastWeights: add_fast_weights,
}
