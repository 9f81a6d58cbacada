"""What a unit makes of its input: value and derivative, each in place and without a second array.

An activation is a frozen description. A layer calls ``apply`` on its sums, and ``gate`` turns
the error by the output into the error by those sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import ConfigError
from .kernels import activations

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Activation:
    """Base of the activations. Buffers are float32 (panels, capacity, 16)."""

    name: ClassVar[str]
    #: Whether the derivative needs the sums themselves, kept in a buffer of their own.
    keeps_sums: ClassVar[bool] = False
    #: Whether 0 sums to 0 activity and no unit goes below: what int8's bytes can hold.
    rectifies: ClassVar[bool] = False

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """Turn rows 0..rows-1 of ``out`` from sums into activity; lanes beyond width stay 0.

        sums: where ``keeps_sums``, the buffer that they are copied to first, else ``out``.
        """
        raise NotImplementedError

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """Multiply ``delta`` by the derivative (the transposed Jacobian, if units mix)."""
        raise NotImplementedError


@dataclass(frozen=True)
class ReLU(Activation):
    """``y = max(z, 0)``, ``y' = 1[z > 0]``. The kernels of all rules have it built in."""

    name: ClassVar[str] = "relu"
    rectifies: ClassVar[bool] = True

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """``max(z, 0)``, exactly."""
        activations.leaky(out, rows, np.float32(0))

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """0 where the unit is silent."""
        activations.leaky_gate(delta, rows, out, np.float32(0))


@dataclass(frozen=True)
class Leaky(Activation):
    """``y = z`` above 0, ``slope * z`` below. slope: 0.001 to 0.999."""

    slope: float = 0.1
    name: ClassVar[str] = "leaky"

    def __post_init__(self) -> None:
        if not 0.001 <= self.slope <= 0.999:
            raise ConfigError(f"Leaky: expected slope in 0.001..0.999, got {self.slope!r:.40}")

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """``max(z, slope * z)``"""
        activations.leaky(out, rows, np.float32(self.slope))

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """Times ``slope`` where the activity is not above 0."""
        activations.leaky_gate(delta, rows, out, np.float32(self.slope))


@dataclass(frozen=True)
class Triangle(Activation):
    """``y = max(z - mean - offset * deviation, 0)`` over the layer's units: those that stand out.

    offset: 0 to 3 standard deviations above the mean. 0 is the triangle activation of Coates, Lee
    and Ng 2011 as used by Self-Contrastive Forward-Forward (arXiv 2409.11593); more is sparser.
    """

    offset: float = 0.0
    name: ClassVar[str] = "triangle"
    keeps_sums: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset <= 3.0:
            raise ConfigError(f"Triangle: expected offset in 0..3, got {self.offset!r:.40}")

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """The sums are kept first, where there is a buffer for them."""
        if sums is not out:
            sums[:, :rows] = out[:, :rows]
        activations.triangle(out, rows, width, np.float32(self.offset))

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """The transposed Jacobian: units share their row's mean and deviation."""
        activations.triangle_gate(delta, rows, width, sums, out, np.float32(self.offset))


#: Activations by name, for model files and the command line.
ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leaky": Leaky,
    "triangle": Triangle,
}
