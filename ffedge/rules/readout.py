"""Mono-Forward: each layer is trained by the cross-entropy of its own class readout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import random, readout
from ..layers import OUTPUT_EXP, readout_exponent
from ..tensor import PANEL, TensorSpec, panels
from .base import ClassRule, Work

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Readout(ClassRule):
    """Local class scores ``h @ M.T``; Gong, Li and Abdulla 2025 (arXiv 2501.09238), Mono-Forward.

    One pass, no negative data, every layer can predict. Extra memory: M, C x N float32 per
    layer; with ``frozen`` M is a random sign matrix of magnitude ``3 / sqrt(N)``, made anew
    from ``seed`` wherever it is needed: 0 bytes, and a layer's error is still local.

    frozen: keep M random. seed: of the frozen M, 0..2**32-1.
    """

    frozen: bool = False
    seed: int = 0
    name: ClassVar[str] = "readout"
    any_activation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.frozen, bool):
            raise ConfigError(f"Readout: expected frozen True or False, got {self.frozen!r:.40}")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ConfigError(f"Readout: expected seed in 0..2**32-1, got {self.seed!r}")

    def check(self, network: Network) -> None:
        """A frozen M has no int8 form."""
        if self.frozen and network.precision == "int8":
            raise ConfigError(
                "Readout: expected a trained readout in int8, got frozen=True; its M takes "
                "1 byte per class and unit there"
            )

    def score_exponent(self, network: Network) -> int:
        """The finest of the layers' units."""
        return OUTPUT_EXP + max(readout_exponent(width) for width in network.hidden)

    def largest_score(self, network: Network) -> int:
        """All activities and readouts at 127, in the finest unit."""
        finest = max(readout_exponent(width) for width in network.hidden)
        return sum(
            127 * 127 * width << (finest - readout_exponent(width)) for width in network.hidden
        )

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """readout (panels, C, 16) float32 or (C, panels * 16) int8, unless frozen."""
        if self.frozen:
            return {}
        width = network.layers[index].out_features
        if network.precision == "int8":
            return {"readout": TensorSpec((network.classes, panels(width) * PANEL), "int8")}
        return {"readout": TensorSpec((panels(width), network.classes, PANEL), "float32")}

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's buffers, and one panel of a frozen M."""
        buffers = super().workspace(network, batch)
        if self.frozen:
            buffers["readout_panel"] = TensorSpec((1, network.classes, PANEL), "float32")
        return buffers

    def work(self, network: Network) -> Work:
        """Scores, the errors' way back and M's own update take C * N each."""
        once = network.classes * sum(network.hidden)
        return Work(1, 1, 1, once * (2 if self.frozen else 3), once)

    def initialize(self, layer: Any, seed: int) -> None:
        """M starts at N(0, 1 / N), like a weight of fan-in N."""
        if not self.frozen:
            width = layer.width
            scale = np.float32(1.0 / math.sqrt(width))
            random.fill_normal(seed, width, scale, 0, layer.params["readout"])

    def frozen_matrix(self, index: int, width: int) -> tuple[int, int, np.float32]:
        """What makes layer ``index``'s frozen M: seed, width, magnitude (``kernels.readout``)."""
        seed = (self.seed + 0x9E3779B9 * (index + 1)) % 2**32
        return seed, width, np.float32(3.0 / math.sqrt(width))

    def scores(self, run: Any, layer: Any, rows: int) -> None:
        """``h @ M.T``; see ``kernels.readout``."""
        if self.frozen:
            matrix = self.frozen_matrix(layer.index, layer.width)
            readout.frozen_scores(layer.out, rows, *matrix, run.readout_panel, run.scores)
        else:
            readout.readout_scores(layer.out, rows, layer.params["readout"], run.scores)

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``errors @ M`` through the activation's derivative, ``h > 0`` for a ReLU."""
        rectifies = layer.activation.rectifies
        last = run.index, run.offset, layer.delta
        if self.frozen:
            matrix = self.frozen_matrix(layer.index, layer.width)
            if rectifies:
                readout.frozen_delta(layer.out, rows, run.errors, *matrix, run.readout_panel, *last)
            else:
                readout.frozen_open_delta(rows, run.errors, *matrix, run.readout_panel, *last)
        elif rectifies:
            readout.readout_delta(layer.out, rows, run.errors, layer.params["readout"], *last)
        else:
            readout.open_delta(rows, run.errors, layer.params["readout"], *last)
        if not rectifies:
            layer.gate(rows)

    def learn(self, run: Any, layer: Any, rows: int) -> None:
        """``M += errors.T @ h``, stepped by the optimiser."""
        if not self.frozen:
            layer.step("readout", run.errors, rows, layer.out)
