"""What a layer learns from its goodness: local losses of positive against negative rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import losses


@dataclass(frozen=True)
class Loss:
    """Base of the local losses. sharpness: factor on the goodness, 1e-6 to 1e6."""

    sharpness: float = 1.0
    name: ClassVar[str]
    #: Whether a negative row must come from the same sample as its positive row.
    paired: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1e-6 <= self.sharpness <= 1e6:
            raise ConfigError(
                f"{type(self).__name__}: expected sharpness in 1e-6..1e6, got "
                f"{self.sharpness!r:.40}"
            )

    def slopes(
        self, run: Any, count: int, terms: int, threshold: float, scale: np.float32
    ) -> tuple[float, float]:
        """Write ``run.slopes`` from ``run.goodness`` of 2 * count rows; see ``kernels.losses``.

        Returns (sum of the samples' losses in nats, samples on the right side).
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Threshold(Loss):
    """``log(1 + exp(threshold - g))`` of positive rows, the mirror of it of negative ones.

    Hinton 2022, section 2; equation V1.
    """

    name: ClassVar[str] = "threshold"

    def slopes(
        self, run: Any, count: int, terms: int, threshold: float, scale: np.float32
    ) -> tuple[float, float]:
        """See ``kernels.losses.threshold_slopes``."""
        found: tuple[float, float] = losses.threshold_slopes(
            run.goodness, count, terms, np.float32(threshold), np.float32(self.sharpness), scale,
            run.slopes,
        )  # fmt: skip
        return found


@dataclass(frozen=True)
class SymBa(Loss):
    """``log(1 + exp(-sharpness * (g_positive - g_negative)))``: no threshold; equation V2.

    Lee and Song 2023 (arXiv 2303.08418), sharpness 4 on the mean of squares.
    """

    sharpness: float = 4.0
    name: ClassVar[str] = "symba"
    paired: ClassVar[bool] = True
    _swish: ClassVar[bool] = False

    def slopes(
        self, run: Any, count: int, terms: int, threshold: float, scale: np.float32
    ) -> tuple[float, float]:
        """See ``kernels.losses.paired_slopes``."""
        found: tuple[float, float] = losses.paired_slopes(
            run.goodness, count, terms, np.float32(self.sharpness), self._swish, scale, run.slopes
        )
        return found


@dataclass(frozen=True)
class Swish(SymBa):
    """``u * sigmoid(u)`` with ``u = -sharpness * (g_positive - g_negative)``; equation V2b.

    After the public study of small networks by dah33 (explore_forward_forward), sharpness 6 on
    the mean of squares. Bounded below: pairs that are well apart are left alone.
    """

    sharpness: float = 6.0
    name: ClassVar[str] = "swish"
    _swish: ClassVar[bool] = True


#: Losses by name, for model files.
LOSSES: dict[str, type[Loss]] = {kind.name: kind for kind in (Threshold, SymBa, Swish)}
