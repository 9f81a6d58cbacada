"""The buffers of an int8 step, beside the model's own; ``buffers`` asks here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .kernels.int8.dot4 import PANELS, ROWS
from .network import Network
from .plan import END, Need
from .rules import Group
from .tensor import PANEL, TensorSpec, panels


def padded(width: int) -> int:
    """Bytes of a row of ``width`` activations: whole panels."""
    return panels(width) * PANEL


def step_needs(network: Network, batch: int, stages: Sequence[int]) -> Iterator[Need]:
    """What one step needs in training and in prediction alike.

    stages: the first stage of the run in which each layer runs.
    """
    always = (min(stages), END)
    depth = len(network.layers)
    inputs = math.prod(network.layers[0].input_shape)
    spec = TensorSpec((batch, padded(inputs)), "uint8")
    yield Need("input", spec, "activations", always, phases=(0, 1))
    for i, layer in enumerate(network.layers):
        spec = TensorSpec((batch, padded(layer.out_features)), "uint8")
        # Read once more by the layer above, then dead.
        phases = (i + 1, min(i + 2, depth))
        yield Need(f"layer{i}.out", spec, "activations", (stages[i], END), phases)
    classes = network.classes
    workspace = {
        "tile": TensorSpec((PANELS * ROWS * PANEL,), "int32"),
        "length": TensorSpec((batch,), "int32"),
        "scores": TensorSpec((batch, classes), "int32"),
        "total": TensorSpec((batch, classes), "int32"),
    }
    if isinstance(network.rule, Group):
        for i in range(depth):
            workspace[f"layer{i}.groups"] = TensorSpec((classes + 1,), "int32")
            workspace[f"layer{i}.factors"] = TensorSpec((classes,), "int64")
            workspace[f"layer{i}.shares"] = TensorSpec((classes,), "int32")
    for name, spec in workspace.items():
        yield Need(name, spec, "workspace", always)
    yield Need("chosen", TensorSpec((batch,), "int64"), "data", always)
    yield Need("labels", TensorSpec((batch,), "int32"), "data", always)


def learning_needs(network: Network, batch: int, own: Sequence[tuple[int, int]]) -> Iterator[Need]:
    """What an update needs beyond that; ``own``: the stages in which each layer learns."""
    errors = TensorSpec((batch, network.classes), "int32")
    yield Need("errors", errors, "workspace", (1, END))
    groups = -(-batch // 4)
    for i, layer in enumerate(network.layers):
        count, quads = panels(layer.out_features), -(-layer.in_features // 4)
        scratch = {
            "xt": TensorSpec((4 * quads, groups, 4), "uint8"),
            "delta": TensorSpec((count, groups, PANEL, 4), "int8"),
            "row": TensorSpec((count * PANEL,), "int32"),
            "sums": TensorSpec((count * PANEL,), "int32"),
            "input_words": TensorSpec((4 * quads,), "uint32"),
            "unit_words": TensorSpec((count * PANEL,), "uint32"),
        }
        for name, spec in scratch.items():
            yield Need(f"layer{i}.{name}", spec, "workspace", own[i], phases=(i + 1, i + 1))
