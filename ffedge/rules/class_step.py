"""One step of a parameter with a row per class, whose gradient had to be written down first.

Most gradients are a product of two activities and never exist as a whole. Where something must be
done to one before the optimiser sees it, it is written to a buffer of (panels, C, 16) float32; to
the optimiser each of its entries is then the gradient of a bias: a weight whose input is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import PANEL, TensorSpec, panels

if TYPE_CHECKING:
    from ..network import Network

Array = np.ndarray[Any, Any]


def gradient_specs(network: Network) -> dict[str, TensorSpec]:
    """The workspace of ``gradient_of`` and ``step``."""
    widest = max(panels(width) for width in network.hidden)
    return {
        "class_gradient": TensorSpec((widest, network.classes, PANEL), "float32"),
        "one": TensorSpec((1, 1, PANEL), "float32"),
    }


def gradient_of(run: Any, layer: Any) -> Array:
    """The buffer for the gradient of a layer's parameter, float32 (panels, C, 16)."""
    gradient: Array = run.class_gradient[: panels(layer.width)]
    return gradient


def step(run: Any, layer: Any, name: str, gradient: Array) -> None:
    """Step parameter ``name`` of the shape of ``gradient``, which points downhill."""
    run.one[:] = 0.0
    run.one[0, 0, 0] = 1.0
    recipe = run.recipe
    recipe.optimizer.step(
        run.one, 1, gradient.reshape(-1, 1, PANEL), layer.params[name].reshape(-1, 1, PANEL),
        [state.reshape(-1, 1, PANEL) for state in layer.state[name]],
        run, run.factor, layer.updates + 1,
    )  # fmt: skip
