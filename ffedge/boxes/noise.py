"""Noise in a black box, drawn from counters: the same in every repetition of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ..kernels import random
from ..ranges import number_in
from ..tensor import PANEL, TensorSpec, panels
from .base import Array, Box


def noise_spec(count: int) -> TensorSpec:
    """The buffer of ``count`` random numbers."""
    return TensorSpec((panels(count), 1, PANEL), "float32")


def draw(count: int, seed: int, scale: float, buffer: Array) -> Array:
    """``count`` numbers about N(0, scale**2) in ``buffer``, as one row; see ``random.normal``."""
    used = buffer[: panels(count)]
    random.fill_normal(seed, count, np.float32(scale), 0, used)
    flat: Array = used.reshape(-1)[:count]
    return flat


def add_noise(rows: Array, seed: int, scale: float, buffer: Array) -> None:
    """``rows += N(0, scale**2)``; rows are C-contiguous."""
    flat = rows.reshape(-1)
    np.add(flat, draw(rows.size, seed, scale, buffer), out=flat)


@cache
def quantile(share: float) -> float:
    """Below which number a share 0..1 of what ``random.normal`` draws (scale 1) lies.

    It draws sums of eight uniform numbers; their distribution is Irwin and Hall's.

    >>> round(quantile(0.2), 3), round(quantile(0.8), 3)
    (-0.854, 0.854)
    """
    low, high = 0.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(
            (-1) ** k * math.comb(8, k) * (middle - k) ** 8 for k in range(math.floor(middle) + 1)
        ) / math.factorial(8)  # fmt: skip
        low, high = (middle, high) if below < share else (low, middle)
    return (low - 4.0) / math.sqrt(8.0 / 12.0)


@dataclass(frozen=True)
class NoisyDropout(Box):
    """``y = m * x / (1 - rate) + noise * n``: numbers go missing, others are disturbed.

    m: 0 with probability ``rate`` (0 to 0.95), else 1, drawn for each number; n about N(0, 1).
    noise: 0 to 1000. It is a property of the box and goes on in prediction.
    """

    rate: float = 0.2
    noise: float = 0.1
    name: ClassVar[str] = "noisy-dropout"

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self, "rate", 0.0, 0.95)
        number_in(self, "noise", 0.0, 1e3)

    @property
    def is_random(self) -> bool:
        """Always."""
        return True

    def workspace(self, inputs: int, rows: int) -> dict[str, TensorSpec]:
        """Random numbers of one call, and which of them drop something."""
        return {
            "noise": noise_spec(rows * inputs),
            "dropped": TensorSpec((rows * inputs,), "uint8"),
        }

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """As above."""
        flat = out.reshape(-1)
        dropped = arrays["dropped"][: out.size].view(np.bool_)
        drawn = draw(out.size, seed, 1.0, arrays["noise"])
        np.less(drawn, np.float32(quantile(self.rate)), out=dropped)
        np.multiply(x, np.float32(1.0 / (1.0 - self.rate)), out=out)
        np.copyto(flat, np.float32(0), where=dropped)
        if self.noise > 0.0:
            add_noise(out, seed ^ 0x5BD1E995, self.noise, arrays["noise"])
