"""Black boxes that digitise: a uniform quantiser, and an analogue-to-digital converter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..ranges import number_in, whole_in
from ..tensor import TensorSpec
from .base import Array, Box
from .noise import add_noise, noise_spec


@dataclass(frozen=True)
class Quantizer(Box):
    """``y = clip(round(x / step), -levels, levels) * step``, halves to even.

    With ``levels = 2**(bits - 1) - 1`` and ``step = top / levels``. bits: 2 to 16. top: largest
    number that comes out, 0.001 to 1000; layers pass on numbers with root mean square 1.
    """

    bits: int = 8
    top: float = 8.0
    name: ClassVar[str] = "quantizer"
    rounds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_in(self, "bits", 2, 16)
        number_in(self, "top", 1e-3, 1e3)

    @property
    def levels(self) -> np.float32:
        """Steps from 0 to ``top``."""
        return np.float32(2 ** (self.bits - 1) - 1)

    @property
    def step(self) -> np.float32:
        """Distance of two numbers that come out."""
        return np.float32(self.top) / self.levels

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """As above: each step rounded once, so the same bits everywhere."""
        np.multiply(x, np.float32(1) / self.step, out=out)
        np.rint(out, out=out)
        np.maximum(out, -self.levels, out=out)
        np.minimum(out, self.levels, out=out)
        np.multiply(out, self.step, out=out)


@dataclass(frozen=True)
class Converter(Box):
    """A converter that saturates: ``y = clip(round(v / step), 0, levels) * step``.

    With ``v = gain * x + offset + noise * n``, n about N(0, 1), ``levels = 2**bits - 1`` and
    ``step = top / levels``: one range, from 0 to ``top``. gain: 0.001 to 1000, noise: 0 to 1000,
    top: 0.001 to 1000, offset: -1000 to 1000, bits: 1 to 16. With noise it is random.
    """

    gain: float = 1.0
    offset: float = 0.0
    noise: float = 0.0
    bits: int = 8
    top: float = 2.0
    name: ClassVar[str] = "converter"
    rounds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_in(self, "bits", 1, 16)
        number_in(self, "offset", -1e3, 1e3)
        for name, low in (("gain", 1e-3), ("noise", 0.0), ("top", 1e-3)):
            number_in(self, name, low, 1e3)

    @property
    def is_random(self) -> bool:
        """Whether there is noise."""
        return self.noise > 0.0

    @property
    def levels(self) -> np.float32:
        """Steps from 0 to ``top``."""
        return np.float32(2**self.bits - 1)

    @property
    def step(self) -> np.float32:
        """Distance of two numbers that come out."""
        return np.float32(self.top) / self.levels

    @property
    def size(self) -> int:
        """v: the logarithm of a factor on the gain, and what is added to the offset."""
        return 2

    def settled(self, params: dict[str, Array]) -> Converter:
        """With the gain and the offset of v."""
        gain, offset = self._tuned(params.get("v"))
        return replace(self, gain=float(gain), offset=float(offset))

    def _tuned(self, v: Array | None) -> tuple[np.float32, np.float32]:
        if v is None:
            return np.float32(self.gain), np.float32(self.offset)
        gain = min(max(self.gain * math.exp(v[0]), 1e-3), 1e3)
        return np.float32(gain), np.float32(min(max(self.offset + v[1], -1e3), 1e3))

    def workspace(self, inputs: int, rows: int) -> dict[str, TensorSpec]:
        """The noise of one call."""
        return {"noise": noise_spec(rows * inputs)} if self.is_random else {}

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """As above."""
        gain, offset = self._tuned(arrays.get("v"))
        np.multiply(x, gain, out=out)
        if offset != 0.0:
            np.add(out, offset, out=out)
        if self.is_random:
            add_noise(out, seed, self.noise, arrays["noise"])
        np.multiply(out, np.float32(1) / self.step, out=out)
        np.rint(out, out=out)
        np.maximum(out, np.float32(0), out=out)
        np.minimum(out, self.levels, out=out)
        np.multiply(out, self.step, out=out)
