"""Black boxes as operators: those whose definition is in the model and that always do the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..boxes import BlackBox, Box, Converter, FrozenNetwork, Permutation, Quantizer, Slot
from ..errors import ExportError
from ..model import Model
from .onnx_writer import Graph


def add_box(graph: Graph, model: Model, slot: Slot, x: str) -> str:
    """What the box makes of ``x`` (N, width), before it is normalised.

    Raises ExportError for a custom function and for a box that is random.
    """
    index = slot.index
    names = slot.box.params(slot.inputs)
    box = slot.box.settled({name: model.params[f"box{index}.{name}"] for name in names})
    if isinstance(box, BlackBox):
        raise ExportError(
            f"export: expected boxes whose definition is in the model, got the function "
            f"{box.title!r} in front of layer {index}; a graph holds operators, no functions: "
            "predict with ffedge, or use one of ffedge.boxes"
        )
    if type(box) not in _OPERATORS or box.is_random:
        raise ExportError(
            f"export: expected boxes that always do the same, got {box.name} in front of layer "
            f"{index}, which is random; runtimes have no common random numbers"
        )
    return _OPERATORS[type(box)](graph, box, f"box{index}", x, slot.inputs)


def _quantize(graph: Graph, name: str, x: str, low: Any, high: Any, step: Any) -> str:
    """``clip(round(x / step), low, high) * step``; Round takes halves to even, as NumPy does."""
    inverse = graph.add_constant(f"{name}.inverse", np.float32(1) / step)
    steps = graph.add_node("Round", [graph.add_node("Mul", [x, inverse])])
    bounds = [graph.add_constant(f"{name}.{bound:g}", np.float32(bound)) for bound in (low, high)]
    clipped = graph.add_node("Clip", [steps, *bounds])
    return graph.add_node("Mul", [clipped, graph.add_constant(f"{name}.step", step)])


def _add_quantizer(graph: Graph, box: Quantizer, name: str, x: str, inputs: int) -> str:
    return _quantize(graph, name, x, -box.levels, box.levels, box.step)


def _add_converter(graph: Graph, box: Converter, name: str, x: str, inputs: int) -> str:
    x = graph.add_node("Mul", [x, graph.add_constant(f"{name}.gain", np.float32(box.gain))])
    if box.offset != 0.0:
        offset = graph.add_constant(f"{name}.offset", np.float32(box.offset))
        x = graph.add_node("Add", [x, offset])
    return _quantize(graph, name, x, np.float32(0), box.levels, box.step)


def _add_permutation(graph: Graph, box: Permutation, name: str, x: str, inputs: int) -> str:
    order = graph.add_constant(f"{name}.order", np.array(box.order(inputs), np.int64))
    return graph.add_node("Gather", [x, order], axis=1)


def _add_network(graph: Graph, box: FrozenNetwork, name: str, x: str, inputs: int) -> str:
    arrays = {key: np.empty(spec.shape, spec.dtype) for key, spec in box.kept(inputs).items()}
    box.begin(inputs, arrays)
    for k, matrix in enumerate(box.matrices(inputs, arrays)):
        product = [x, graph.add_constant(f"{name}.matrix{k}", matrix)]
        x = graph.add_node("Relu", [graph.add_node("MatMul", product)])
    return x


#: What adds a box: (graph, box, name, input, its width) -> output.
_OPERATORS: dict[type[Box], Callable[[Graph, Any, str, str, int], str]] = {
    Quantizer: _add_quantizer,
    Converter: _add_converter,
    Permutation: _add_permutation,
    FrozenNetwork: _add_network,
}
