"""The buffers of black boxes; ``buffers`` asks here.

What a custom function allocates itself is not among them: see ``Trainer.box_bytes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .layers import activity
from .network import Network
from .plan import END, Need
from .tensor import PANEL, TensorSpec, panels


def learned_needs(network: Network, index: int) -> Iterator[Need]:
    """What the box in front of layer ``index`` learns; part of the model file."""
    slot = network.box(index)
    for name, spec in {} if slot is None else slot.box.params(slot.inputs).items():
        yield Need(f"box{index}.{name}", spec, "weights")


def box_needs(network: Network, rows: int, stages: Sequence[int]) -> Iterator[Need]:
    """What the boxes need in training and in prediction alike.

    rows: activities that come at once. stages: the first stage of the run that runs each layer.
    """
    for slot in network.boxes:
        index, box, inputs, outputs = slot.index, slot.box, slot.inputs, slot.outputs
        for name, spec in box.kept(inputs).items():
            yield Need(f"box{index}.{name}", spec, "workspace")
        # In the layer's own phase: what comes out is there until the layer's update is over.
        life = (stages[index], END), (index + 1, index + 1)
        if network.precision == "int8":
            spec = TensorSpec((rows, panels(outputs) * PANEL), "uint8")
        else:
            spec = activity((outputs,), rows)
        yield Need(f"box{index}.out", spec, "activations", *life)
        yield Need(f"box{index}.rows", TensorSpec((rows, inputs), "float32"), "workspace", *life)
        made = TensorSpec((rows, outputs), "float32")
        yield Need(f"box{index}.made", made, "workspace", *life)
        for name, spec in box.workspace(inputs, rows).items():
            yield Need(f"box{index}.{name}", spec, "workspace", *life)
        for name, spec in _layout(network.precision, rows, outputs).items():
            yield Need(f"box{index}.{name}", spec, "workspace")


def _layout(precision: str, rows: int, outputs: int) -> dict[str, TensorSpec]:
    """What it takes to bring rows into the layout of activities, and to normalise them."""
    if precision == "int8":
        return {"length": TensorSpec((rows,), "int32")}
    return {
        "length": TensorSpec((rows,), "float32"),
        "chosen": TensorSpec((rows,), "int64"),
        "zeros": TensorSpec((outputs,), "float32"),
        "ones": TensorSpec((outputs,), "float32"),
    }
