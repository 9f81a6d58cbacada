"""Hyperspherical Forward-Forward: each layer compares directions with one prototype per class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import prototypes, random
from ..tensor import PANEL, TensorSpec, panels
from .base import ClassRule, Work
from .class_step import gradient_of, gradient_specs, step

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Prototypes(ClassRule):
    """Cross-entropy of ``tau * h . q_k``, activity h and each class's prototype q_k of length 1.

    Hyperspherical Forward-Forward (HFF, arXiv 2605.00082). One pass, no negative data; a layer's
    scores lie in -tau..tau whatever its weights, so no layer can win by growing. Extra memory:
    C x N float32 per layer, and once as much for the step. Prototypes learn by the part of their
    gradient that turns them and are brought back to length 1 after every step.

    tau: 0.1 to 1000. frozen: leave the prototypes where they start, at random directions.
    """

    tau: float = 32.0
    frozen: bool = False
    name: ClassVar[str] = "prototypes"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.tau, int | float) or not 0.1 <= self.tau <= 1000.0:
            raise ConfigError(f"Prototypes: expected tau in 0.1..1000, got {self.tau!r:.40}")
        if not isinstance(self.frozen, bool):
            raise ConfigError(f"Prototypes: expected frozen True or False, got {self.frozen!r:.40}")

    def check(self, network: Network) -> None:
        """Lengths of 1 need more than 8 bits."""
        if network.precision == "int8":
            raise ConfigError(
                "Prototypes: expected precision float32, got int8, whose stochastically rounded "
                "steps cannot be followed by a prototype's return to length 1; use readout"
            )

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """prototypes (panels, C, 16) float32."""
        width = network.layers[index].out_features
        return {"prototypes": TensorSpec((panels(width), network.classes, PANEL), "float32")}

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's buffers, one number per row, and the gradient of the prototypes."""
        buffers = super().workspace(network, batch)
        buffers["inverse"] = TensorSpec((batch,), "float32")
        return buffers if self.frozen else buffers | gradient_specs(network)

    def work(self, network: Network) -> Work:
        """Scores, delta and gradient of the prototypes; scores alone in prediction."""
        products = network.classes * sum(network.hidden)
        return Work(1, 1, 1, (2 if self.frozen else 3) * products, products)

    def initialize(self, layer: Any, seed: int) -> None:
        """Random directions."""
        scale = np.float32(1.0 / math.sqrt(layer.width))
        random.fill_normal(seed, layer.width, scale, 0, layer.params["prototypes"])
        prototypes.unit_lengths(layer.params["prototypes"])

    def scores(self, run: Any, layer: Any, rows: int) -> None:
        """``tau * h . q``; see ``kernels.prototypes``."""
        prototypes.prototype_scores(
            layer.out, rows, layer.params["prototypes"], np.float32(self.tau), run.inverse,
            run.scores,
        )  # fmt: skip

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``(1 / |y|) (g - (g . h) h)`` where the unit is on, with ``g = tau * errors @ q``."""
        prototypes.prototype_delta(
            layer.out, rows, run.errors, layer.params["prototypes"], run.scores,
            np.float32(self.tau), run.inverse, run.index, run.offset, layer.delta,
        )  # fmt: skip

    def learn(self, run: Any, layer: Any, rows: int) -> None:
        """``q_k += tau * errors_k (h - (h . q_k) q_k)`` by the optimiser, then length 1."""
        if self.frozen:
            return
        gradient = gradient_of(run, layer)
        prototypes.prototype_gradient(
            layer.out, rows, run.errors, layer.params["prototypes"], run.scores,
            np.float32(self.tau), run.inverse, run.index, run.offset, gradient,
        )  # fmt: skip
        step(run, layer, "prototypes", gradient)
        prototypes.unit_lengths(layer.params["prototypes"])
