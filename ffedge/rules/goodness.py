"""What a layer's activity is worth: the quantity that positive data raise and negative data lower.

A goodness is a frozen description with its value, its derivative and the normaliser that hides it
from the layer above. float32 only; see ``kernels.goodness``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import goodness
from ..tensor import TensorSpec

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Goodness:
    """Base: value, derivative, threshold and normaliser of one kind of goodness.

    level: threshold per unit, 1e-3 to 1e3: the mean over the units at which data count as half
    positive. minimise: positive data are those of LOW activity (Hinton 2022, section 4): value,
    threshold and derivative change their sign.
    """

    level: float = 1.0
    minimise: bool = False
    name: ClassVar[str]
    #: Whether the derivative by a silent unit's activity is 0, so that a ReLU needs no gate.
    silent_is_flat: ClassVar[bool] = False
    #: Whether the maximising form is never below 0, with activities that are not.
    nonnegative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not 1e-3 <= self.level <= 1e3:
            raise ConfigError(f"{kind}: expected level in 0.001..1000, got {self.level!r:.40}")
        if not isinstance(self.minimise, bool):
            raise ConfigError(f"{kind}: expected minimise True or False, got {self.minimise!r:.40}")

    @property
    def sign(self) -> float:
        """-1 in the minimising form."""
        return -1.0 if self.minimise else 1.0

    def check(self, network: Network) -> None:
        """Raise ConfigError if it makes no sense on the layers of ``network``."""

    def fitting_width(self, width: int) -> int:
        """The next width from ``width`` on that a layer without receptive fields may have."""
        return width

    def terms(self, network: Network, index: int) -> int:
        """How many values of goodness, each with its own loss, a row of layer ``index`` has."""
        return 1

    def threshold(self, width: int) -> float:
        """Of a term that ``width`` units make, in units of the goodness."""
        raise NotImplementedError

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Buffers of one step beyond goodness and slopes."""
        return {}

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """Write ``run.goodness[:rows, :terms]``, and to ``layer.length`` what ``rescale`` takes."""
        raise NotImplementedError

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``layer.delta = sum over terms of run.slopes * d goodness / d activity``."""
        raise NotImplementedError


@dataclass(frozen=True)
class SumOfSquares(Goodness):
    """``g = sum of y**2``, threshold = level * width: Hinton 2022, section 2; equation V1.

    The next layer gets ``y`` divided by its root mean square.
    """

    name: ClassVar[str] = "sum-of-squares"
    silent_is_flat: ClassVar[bool] = True

    def _scale(self, width: int) -> np.float32:
        return np.float32(self.sign)

    def threshold(self, width: int) -> float:
        """``level * width``"""
        return self.sign * self.level * width

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """``scale * sum of y**2``"""
        layer.measure(rows)
        goodness.scaled_squares(layer.length, rows, self._scale(layer.width), run.goodness)

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``slopes * scale * 2 * y``"""
        scale = self._scale(layer.width)
        goodness.squares_delta(layer.out, rows, run.slopes, scale, layer.delta)


@dataclass(frozen=True)
class MeanOfSquares(SumOfSquares):
    """``g = mean of y**2``, threshold = level: most ports; another temperature than the sum."""

    name: ClassVar[str] = "mean-of-squares"

    def _scale(self, width: int) -> np.float32:
        return np.float32(self.sign / width)

    def threshold(self, width: int) -> float:
        """``level``"""
        return self.sign * self.level


@dataclass(frozen=True)
class Sum(Goodness):
    """``g = sum of y``, unsquared, threshold = level * width: Hinton 2022, section 10.

    Its derivative is the same for all active units. The next layer gets ``y`` divided by its mean
    magnitude (footnote 22).
    """

    level: float = 0.5
    name: ClassVar[str] = "sum"

    def threshold(self, width: int) -> float:
        """``level * width``"""
        return self.sign * self.level * width

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """``sum of y``; the length is that of the mean magnitude."""
        sign = np.float32(self.sign)
        goodness.sums(layer.out, rows, sign, layer.width, run.goodness, layer.length)

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``slopes``, the same for every unit; silent ones are gated by the activation."""
        sign = np.float32(self.sign)
        goodness.sums_delta(rows, layer.width, run.slopes, sign, layer.delta)
