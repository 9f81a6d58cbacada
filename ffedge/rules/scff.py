"""Self-Contrastive Forward-Forward: pairs of samples instead of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..activations import Activation, Standout
from ..errors import ConfigError
from ..kernels import negatives
from ..tensor import TensorSpec
from .base import Rule

if TYPE_CHECKING:
    from ..network import Network

#: Sets the random pairs apart from the starting weights.
_PAIR_STREAM = 0x2545F491


@dataclass(frozen=True)
class SCFF(Rule):
    """Learns without labels; Chen, Liu, Laydevant and Grollier 2025 (arXiv 2409.11593).

    A positive example is a sample beside itself, (x, x), a negative one a sample beside another of
    its batch, (x, x'); both halves have the same weights. With z = W x + b the pairs' sums are 2 z
    and z + z', so one product for each sample serves all its pairs. A layer's goodness is
    ``g = mean(relu(sum)**2)``, its loss for each sample

        softplus(high - g+) + softplus(g- - low) + restraint * g+

    What it passes on is its activation of z: the paper's triangle, but sparser, units that stand
    out from their row.
    The score is the goodness of that activity, summed over the layers.

    high, low: thresholds from the first layer on, -100 to 100; the last one holds for all above.
    restraint: 0 to 1.

    A batch of one has no other sample and teaches nothing.
    """

    high: tuple[float, ...] = (4.0, 1.0)
    low: tuple[float, ...] = (6.0, 1.0)
    restraint: float = 1e-4
    name: ClassVar[str] = "scff"
    any_activation: ClassVar[bool] = True
    unlabelled: ClassVar[bool] = True
    #: Sparser than the paper's: more samples on validation data were told apart by what it passes.
    activation: ClassVar[Activation] = Standout(0.7)

    def __post_init__(self) -> None:
        for field in ("high", "low"):
            values = getattr(self, field)
            if not isinstance(values, tuple) or not values:
                raise ConfigError(f"SCFF: expected {field} as a tuple of numbers, got {values!r}")
            for value in values:
                if not -100.0 <= value <= 100.0:
                    raise ConfigError(f"SCFF: expected {field} in -100..100, got {value!r:.40}")
        if not 0.0 <= self.restraint <= 1.0:
            raise ConfigError(f"SCFF: expected restraint in 0..1, got {self.restraint!r:.40}")

    def check(self, network: Network) -> None:
        """Its pairs need sums that are not yet rectified, and more range than 8 bits."""
        if network.precision == "int8":
            raise ConfigError(
                "SCFF: expected precision float32, got int8, whose sums are rectified before "
                "samples could be paired"
            )
        for i, layer in enumerate(network.layers):
            if not layer.activation.keeps_sums:
                raise ConfigError(
                    f"SCFF: expected an activation that keeps its sums in layer {i}, such as "
                    f"Standout(), got {layer.activation.name}"
                )

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The goodness of both pairs of each sample."""
        return {"pairs": TensorSpec((2, batch), "float32")}

    @staticmethod
    def _of(values: tuple[float, ...], index: int) -> np.float32:
        return np.float32(values[min(index, len(values) - 1)])

    def train_batch(self, run: Any, count: int) -> None:
        """One pass: every sample's sums are paired with another's, layer by layer."""
        seed = run.seed ^ _PAIR_STREAM
        shift = negatives.partner_shift(seed, run.samples_seen, count)
        x = run.first_input
        layers = run.layers[run.first : run.last_active + 1]
        for layer in layers:
            layer.forward(x, count)
            if layer.active and shift > 0:
                z = layer.sums
                negatives.pair_goodness(z, count, shift, layer.width, run.pairs)
                loss, right = negatives.pair_delta(
                    z, count, shift, layer.width, self._of(self.high, layer.index),
                    self._of(self.low, layer.index), np.float32(self.restraint),
                    np.float32(layer.delta_rate()), run.pairs, layer.delta,
                )  # fmt: skip
                layer.note(loss / 2, right / 2, count)
                layer.update(x, count)
            if layer is not layers[-1]:
                layer.normalize(count)
                x = layer.out

    def score_batch(self, run: Any, count: int) -> None:
        """The mean squares of the layers' activity, summed."""
        run.total[:count] = 0.0
        for layer in self.features(run, count):
            run.total[:count, 0] += layer.length[:count] / np.float32(layer.width)
