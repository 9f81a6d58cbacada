"""What every exported model takes and gives, whatever happens between.

X              float32 (N, features)  raw units: scaling is part of the graph
label          int64 or string (N,)   the class of the largest goodness, ties to the first
probabilities  float32 (N, C)         rows sum to 1
goodness       float32 (N, C)         ``Predictor.scores``: for thresholds of one's own; of an
                                      int8 model, its integers rounded to float32

A regression gives other things: ``value`` and the probabilities of its bins, see ``onnx_ordinal``.
A model that learned without labels gives nothing but

score          float32 (N, 1)         how normal a sample is: ``Predictor.scores``
"""

from __future__ import annotations

import json

import numpy as np

from .. import __version__
from ..errors import ExportError
from ..model import Array, Model
from ..reading import EarlyExit, Interval, default_reading
from ..rules.ordinal import CENTRES
from ..scaling import LIMIT
from .onnx_writer import Graph

#: Version of the metadata and of the names above.
FORMAT = "1"


def first_vote(model: Model) -> int:
    """The lowest layer that votes, of a rule whose layers do.

    Raises ExportError for a read-out that a graph cannot express.
    """
    if isinstance(model.reading, EarlyExit):
        raise ExportError(
            "export: expected a read-out that is the same for every sample, got early-exit; a "
            "static graph computes every layer, so nothing would be saved. Export all layers with "
            "--reading everything, or a shorter network: `ffedge reading --fit interval`"
        )
    return model.reading.first if isinstance(model.reading, Interval) else 0


def add_scaled_input(graph: Graph, model: Model) -> str:
    """``(X - mean) * gain``, each step rounded; moves that change no bit are left out."""
    features = model.network.features
    x = graph.add_input("X", "float32", ("N", features))
    mean, gain = model.params["input.mean"], model.params["input.gain"]
    if (mean != 0.0).any():
        x = graph.add_node("Sub", [x, graph.add_constant("input.mean", _shorten(mean))])
    if (gain != 1.0).any():
        x = graph.add_node("Mul", [x, graph.add_constant("input.gain", _shorten(gain))])
    return x


def add_input(graph: Graph, model: Model) -> str:
    """``clip((X - mean) * gain)``, as in ``scaling``."""
    x = add_scaled_input(graph, model)
    low = graph.add_constant("input.low", np.float32(-LIMIT))
    high = graph.add_constant("input.high", np.float32(LIMIT))
    return graph.add_node("Clip", [x, low, high])


def _shorten(values: Array) -> Array:
    """One number if all are alike."""
    return values[0] if (values == values[0]).all() else values


def add_outputs(graph: Graph, model: Model, goodness: str, exact: str | None = None) -> None:
    """Declare ``goodness``, and add ``label`` and ``probabilities``.

    exact: the value that decides the label, where ``goodness`` is a rounded copy of it.
    """
    network, count = model.network, model.network.classes
    unit = 2.0**-network.score_exponent if model.precision == "int8" else 1.0
    reading = model.reading or default_reading(network)
    factor = np.float32(reading.probability_factor(network) * unit)
    logits = goodness
    if factor != 1.0:
        logits = graph.add_node("Mul", [goodness, graph.add_constant("factor", factor)])
    graph.add_node("Softmax", [logits], "probabilities", axis=1)
    code = graph.add_node("ArgMax", [exact or goodness], axis=1, keepdims=0)
    names = np.asarray(model.classes)
    graph.add_node("Gather", [graph.add_constant("classes", names), code], "label", axis=0)
    graph.add_output("label", "string" if names.dtype.kind == "U" else "int64", ("N",))
    graph.add_output("probabilities", "float32", ("N", count))
    graph.add_output(goodness, "float32", ("N", count))


def metadata(model: Model) -> dict[str, str]:
    """The file's ``metadata_props``: what a program needs to know about the model it loads."""
    numbers = {}
    if model.network.rule.numeric:
        numbers["ffedge.centres"] = json.dumps(model.params[CENTRES].astype(float).tolist())
    return numbers | {
        "ffedge.format": FORMAT,
        "ffedge.version": __version__,
        "ffedge.network": json.dumps(model.network.describe()),
        "ffedge.rule": model.network.rule.name,
        "ffedge.reading": (model.reading or default_reading(model.network)).text,
        "ffedge.precision": model.precision,
        "ffedge.classes": json.dumps(list(model.classes)),
        "ffedge.feature_shape": json.dumps(list(model.feature_shape)),
    }
