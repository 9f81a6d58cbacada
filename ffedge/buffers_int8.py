"""The buffers of an int8 step, beside the model's own; ``buffers`` asks here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .network import Network
from .plan import END, Need
from .rules import Group
from .streaming import Streaming
from .tensor import PANEL, TensorSpec, panels


def padded(width: int) -> int:
    """Bytes of a row of ``width`` activations: whole panels."""
    return panels(width) * PANEL


#: Samples brought in at once where a batch is smaller: a call costs as much as a sample's work.
GROUP = 16


def group_of(batch: int) -> int:
    """Samples of the batches brought in together: 1, 2, 4, 8 or 16 of them, that fit ``GROUP``.

    A power of two divides the updates that share a rate, see ``Trainer``.

    >>> group_of(1), group_of(3), group_of(64)
    (16, 12, 64)
    """
    return batch << max((GROUP // batch).bit_length() - 1, 0)


def step_needs(
    network: Network, batch: int, stages: Sequence[int], threads: int = 1
) -> Iterator[Need]:
    """What one step needs in training and in prediction alike.

    stages: the first stage of the run in which each layer runs. threads: with 2, all phases of
    a step are alive at once, and the upper layers have scratch of their own.
    """
    for need in _step_needs(network, batch, stages):
        yield need if threads == 1 else replace(need, phases=(0, END))
        if threads == 2 and need.name in ("length", "scores", "listed"):
            yield replace(need, name=f"{need.name}.upper")


def _step_needs(network: Network, batch: int, stages: Sequence[int]) -> Iterator[Need]:
    always = (min(stages), END)
    depth = len(network.layers)
    inputs = network.entering(0)
    spec = TensorSpec((batch, padded(inputs)), "uint8")
    yield Need("input", spec, "activations", always, phases=(0, 1))
    for i, layer in enumerate(network.layers):
        spec = TensorSpec((batch, padded(layer.out_features)), "uint8")
        # Read once more by the layer above, then dead.
        phases = (i + 1, min(i + 2, depth))
        yield Need(f"layer{i}.out", spec, "activations", (stages[i], END), phases)
    classes = network.classes
    workspace = {
        "length": TensorSpec((batch,), "int32"),
        "scores": TensorSpec((batch, classes), "int32"),
        "total": TensorSpec((batch, classes), "int32"),
        "listed": TensorSpec((max(-(-n.in_features // 4) for n in network.layers),), "int32"),
    }
    if isinstance(network.rule, Group):
        for width in network.hidden:
            workspace[f"groups{width}"] = TensorSpec((classes + 1,), "int32")
            workspace[f"factors{width}"] = TensorSpec((classes,), "int64")
            workspace[f"shares{width}"] = TensorSpec((classes,), "int32")
    for name, spec in workspace.items():
        yield Need(name, spec, "workspace", always)
    yield Need("chosen", TensorSpec((batch,), "int64"), "data", always)
    yield Need("labels", TensorSpec((batch,), "int32"), "data", always)


def learning_needs(
    network: Network, batch: int, group: int, own: Sequence[tuple[int, int]], threads: int = 1
) -> Iterator[Need]:
    """What an update needs beyond that.

    batch, group: samples per update, and brought in at once. own: the stages in which each layer
    learns.
    """
    errors = TensorSpec((batch, network.classes), "int32")
    for suffix in ("", ".upper")[:threads]:
        yield Need(f"errors{suffix}", errors, "workspace", (1, END))
    if threads == 2:
        width = padded(network.hidden[cut_of(network) - 1])
        for slot in ("slot0", "slot1"):
            yield Need(slot, TensorSpec((group, width), "uint8"), "activations", (1, END))
            yield Need(f"{slot}.labels", TensorSpec((group,), "int32"), "data", (1, END))
    fours = -(-batch // 4)
    for i, layer in enumerate(network.layers):
        count, quads = panels(layer.out_features), -(-layer.in_features // 4)
        scratch = {
            "xt": TensorSpec((4 * quads, fours, 4), "uint8"),
            "delta": TensorSpec((count, fours, PANEL, 4), "int8"),
            "row": TensorSpec((count * PANEL,), "int32"),
            "sums": TensorSpec((count * PANEL,), "int32"),
            "input_words": TensorSpec((4 * quads,), "uint32"),
            "unit_words": TensorSpec((count * PANEL,), "uint32"),
        }
        for name, spec in scratch.items():
            phases = (i + 1, i + 1) if threads == 1 else (0, END)
            if (i, name, threads) == (0, "xt", 1):
                # Rows of a mapped file are read into it, before the first layer needs it.
                phases = (0, 1)
            yield Need(f"layer{i}.{name}", spec, "workspace", own[i], phases)


def slice_needs(network: Network, group: int, streaming: Streaming) -> Iterator[Need]:
    """The activity of a slice of a layer, before it takes its place in the whole one.

    group: samples brought in at once.
    """
    for i in range(len(network.layers)):
        if streaming.slices(network, i):
            spec = TensorSpec((group, streaming.panels[i] * PANEL), "uint8")
            yield Need(f"layer{i}.slice", spec, "workspace", phases=(i + 1, i + 1))


def cut_of(network: Network) -> int:
    """Where two threads divide the layers: the cut that leaves the longer half shortest."""
    work = [math.prod(layer.input_shape) * layer.out_features for layer in network.layers]
    return min(range(1, len(work)), key=lambda cut: max(sum(work[:cut]), sum(work[cut:])))
