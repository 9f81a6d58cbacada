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
    #: Whether no activity is below 0.
    nonnegative: ClassVar[bool] = False
    #: Whether it is the ReLU, which the kernels of layers and rules have built in.
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
    nonnegative: ClassVar[bool] = True
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
    """``y = max(0, z - mean(z))``, the mean over the layer's units of one sample.

    Coates, Lee and Ng 2011, section 3.2; between the layers of SCFF (Chen et al. 2025,
    arXiv 2409.11593). Units mix: ``y' = diag(y > 0) (I - 1 / n)``.
    """

    name: ClassVar[str] = "triangle"
    nonnegative: ClassVar[bool] = True

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """``max(0, z - mean(z))``"""
        activations.triangle(out, rows, width)

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """The transposed Jacobian: gated like a ReLU's error, then its mean taken off."""
        activations.triangle_gate(delta, rows, width, out)


@dataclass(frozen=True)
class Standout(Activation):
    """``y = max(z - mean - offset * deviation, 0)`` over the layer's units: those that stand out.

    The triangle with a higher threshold, which makes it sparser; keeps the sums for rules that pair
    samples. offset: 0 to 3 standard deviations.
    """

    offset: float = 0.7
    name: ClassVar[str] = "standout"
    keeps_sums: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset <= 3.0:
            raise ConfigError(f"Standout: expected offset in 0..3, got {self.offset!r:.40}")

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """The sums are kept first, where there is a buffer for them."""
        if sums is not out:
            sums[:, :rows] = out[:, :rows]
        activations.standout(out, rows, width, np.float32(self.offset))

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """The transposed Jacobian: units share their row's mean and deviation."""
        activations.standout_gate(delta, rows, width, sums, out, np.float32(self.offset))


@dataclass(frozen=True)
class StudentT(Activation):
    """Negative log density under a t-distribution; Hinton 2022 (arXiv 2212.13345), section 10.

    ``y = (nu + 1) / 2 log(1 + z**2 / nu)``, ``y' = (nu + 1) z / (nu + z**2)``: even in z, and
    flat for large z. It is a goodness by itself, so the sum of y without squares goes with it,
    and division by that sum. nu: degrees of freedom, 0.1 to 1000.
    """

    nu: float = 1.0
    name: ClassVar[str] = "student-t"
    keeps_sums: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.1 <= self.nu <= 1000.0:
            raise ConfigError(f"StudentT: expected nu in 0.1..1000, got {self.nu!r:.40}")

    def apply(self, out: Array, rows: int, width: int, sums: Array) -> None:
        """``(nu + 1) / 2 log(1 + z**2 / nu)``, with z kept in ``sums``."""
        activations.student(out, rows, np.float32(self.nu), sums)

    def gate(self, delta: Array, rows: int, width: int, out: Array, sums: Array) -> None:
        """Times ``(nu + 1) z / (nu + z**2)``."""
        activations.student_gate(delta, rows, np.float32(self.nu), sums)


#: What layers have unless something else is said.
RELU = ReLU()

#: Activations by name, for model files and the command line.
ACTIVATIONS: dict[str, type[Activation]] = {
    kind.name: kind for kind in (ReLU, Leaky, Triangle, Standout, StudentT)
}


def activation_of(given: Any) -> Activation:
    """An activation by its name, or itself; ConfigError for anything else."""
    if isinstance(given, Activation):
        return given
    if not isinstance(given, str) or given not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ConfigError(f"activation: expected one of {known}, or an object, got {given!r:.40}")
    return ACTIVATIONS[given]()
