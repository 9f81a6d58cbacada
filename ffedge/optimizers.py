"""Optimisers: what state a weight needs, and the kernel that steps it.

Each is a frozen description; the state lives in the plan's arena. ``delta`` arrives as the
mean over the batch, pointing downhill, except that SGD wants its rate already inside
(``delta_rate``), so that the product can be added straight into the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import ConfigError
from .kernels import optimize

Array = np.ndarray[Any, Any]

_ALL = np.float32(1.0)


def _check(name: str, field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ConfigError(f"{name}: expected {field} in {low:g}..{high:g}, got {value!r}")


@dataclass(frozen=True, slots=True)
class SGD:
    """``w += rate * g``, and nothing kept: 0 bytes of state.

    rate: learning rate, 0 to 100. weight_decay: share of a weight lost per unit of rate.
    """

    rate: float = 0.1
    weight_decay: float = 0.0
    name: ClassVar[str] = "sgd"
    state: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _check("SGD", "rate", self.rate, 0.0, 100.0)
        _check("SGD", "weight_decay", self.weight_decay, 0.0, 1.0)

    def delta_rate(self, factor: float) -> float:
        """What delta must be multiplied by beforehand; ``factor`` is the schedule's."""
        return self.rate * factor

    def _keep(self, factor: float) -> np.float32:
        """What weight decay leaves of a weight."""
        if self.weight_decay == 0.0:
            return _ALL
        return np.float32(1.0 - self.rate * factor * self.weight_decay)

    def step(
        self, x: Array, rows: int, delta: Array, weight: Array, state: Sequence[Array],
        workspace: Any, factor: float, updates: int,
    ) -> None:  # fmt: skip
        """One update in place; see ``kernels.optimize.sgd``."""
        keep = self._keep(factor)
        optimize.sgd(x, rows, delta, workspace.index, workspace.offset, weight, keep)

    def step_layer(
        self, x: Array, rows: int, delta: Array, weight: Array, bias: Array, workspace: Any,
        factor: float,
    ) -> None:  # fmt: skip
        """``step`` of weight and bias in one call: what a stream's single sample can afford."""
        keep = self._keep(factor)
        optimize.sgd_layer(x, rows, delta, workspace.index, workspace.offset, weight, bias, keep)


@dataclass(frozen=True, slots=True)
class Momentum:
    """``v = beta * v + g;  w += rate * v``: one float32 of state per weight."""

    rate: float = 0.01
    beta: float = 0.9
    weight_decay: float = 0.0
    name: ClassVar[str] = "momentum"
    state: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        _check("Momentum", "rate", self.rate, 0.0, 100.0)
        _check("Momentum", "beta", self.beta, 0.0, 0.9999)
        _check("Momentum", "weight_decay", self.weight_decay, 0.0, 1.0)

    def delta_rate(self, factor: float) -> float:
        """Delta stays the plain mean gradient."""
        return 1.0

    def step(
        self, x: Array, rows: int, delta: Array, weight: Array, state: Sequence[Array],
        workspace: Any, factor: float, updates: int,
    ) -> None:  # fmt: skip
        """One update in place; see ``kernels.optimize.momentum``."""
        rate = self.rate * factor
        optimize.momentum(
            x, rows, delta, weight, state[0], workspace.tile,
            np.float32(rate), np.float32(self.beta), np.float32(1.0 - rate * self.weight_decay),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba 2015) with decoupled decay: two float32 of state per weight."""

    rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    name: ClassVar[str] = "adam"
    state: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        _check("Adam", "rate", self.rate, 0.0, 100.0)
        _check("Adam", "beta1", self.beta1, 0.0, 0.9999)
        _check("Adam", "beta2", self.beta2, 0.0, 0.999999)
        _check("Adam", "epsilon", self.epsilon, 1e-12, 1.0)
        _check("Adam", "weight_decay", self.weight_decay, 0.0, 1.0)

    def delta_rate(self, factor: float) -> float:
        """Delta stays the plain mean gradient."""
        return 1.0

    def step(
        self, x: Array, rows: int, delta: Array, weight: Array, state: Sequence[Array],
        workspace: Any, factor: float, updates: int,
    ) -> None:  # fmt: skip
        """One update in place; ``updates`` counts from 1. See ``kernels.optimize.adam``."""
        rate = self.rate * factor
        # Past some thousand updates both corrections are 1 and the powers underflow to 0.
        root = math.sqrt(1.0 - self.beta2**updates)
        optimize.adam(
            x, rows, delta, weight, state[0], state[1], workspace.tile,
            np.float32(rate * root / (1.0 - self.beta1**updates)),
            np.float32(self.beta1), np.float32(self.beta2), np.float32(self.epsilon * root),
            np.float32(1.0 - rate * self.weight_decay),
        )  # fmt: skip


Optimizer = SGD | Momentum | Adam
#: By the name used on the command line and in model files.
OPTIMIZERS: dict[str, type[SGD] | type[Momentum] | type[Adam]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
}


def named_optimizer(name: str, rate: float | None = None) -> Optimizer:
    """The optimiser of that name, at ``rate`` or its default; ConfigError if there is none."""
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}")
    kind = OPTIMIZERS[name]
    return kind() if rate is None else kind(rate)
