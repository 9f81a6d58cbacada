"""Black boxes that mix units: a random permutation, and a network that nobody trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import random
from ..layers import MAX_INPUTS
from ..ranges import whole_in
from ..tensor import PANEL, TensorSpec, panels
from .base import MAX_NUMBERS, Array, Box


@dataclass(frozen=True)
class Permutation(Box):
    """``y[j] = x[p(j)]`` with p a random permutation of the units. seed: 0 to 2**32 - 1."""

    seed: int = 0
    name: ClassVar[str] = "permutation"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_in(self, "seed", 0, 2**32 - 1)

    def order(self, inputs: int) -> list[int]:
        """Where each output comes from; see ``kernels.random.shuffled``."""
        return [int(random.shuffled(j, inputs, self.seed)) for j in range(inputs)]

    def kept(self, inputs: int) -> dict[str, TensorSpec]:
        """The order."""
        return {"order": TensorSpec((inputs,), "int64")}

    def begin(self, inputs: int, arrays: dict[str, Array]) -> None:
        """Draw the order."""
        arrays["order"][:] = self.order(inputs)

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """As above."""
        # All numbers are in range; the mode keeps NumPy from a copy of ``out``.
        np.take(x, arrays["order"], axis=1, out=out, mode="clip")


@dataclass(frozen=True)
class FrozenNetwork(Box):
    """``y = relu(... relu(x @ A0) ... @ Ak)`` with random matrices that stay as they are.

    widths: of its layers, each 1 to 131,071; the last one is the box's. Ak about N(0, 2 / inputs),
    drawn from seed (0 to 2**32 - 1) wherever it is needed; at most 16,777,216 numbers in all.
    """

    widths: tuple[int, ...] = (500,)
    seed: int = 0
    name: ClassVar[str] = "frozen-network"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_in(self, "seed", 0, 2**32 - 1)
        widths = self.widths
        if (
            not isinstance(widths, tuple) or not 1 <= len(widths) <= 16
            or any(type(width) is not int or not 1 <= width <= MAX_INPUTS for width in widths)
        ):  # fmt: skip
            raise ConfigError(
                f"FrozenNetwork: expected a tuple of 1 to 16 widths, each 1 to {MAX_INPUTS:,}, got "
                f"{widths!r:.60}"
            )

    def shapes(self, inputs: int) -> list[tuple[int, int]]:
        """Inputs and outputs of each matrix."""
        return list(pairwise((inputs, *self.widths)))

    def check(self, inputs: int) -> None:
        """Its matrices have a limit."""
        count = sum(a * b for a, b in self.shapes(inputs))
        if count > MAX_NUMBERS:
            raise ConfigError(
                f"FrozenNetwork: expected at most {MAX_NUMBERS:,} numbers in its matrices, got "
                f"{count:,}; make it narrower"
            )

    def outputs(self, inputs: int) -> int:
        """The last width."""
        return self.widths[-1]

    def kept(self, inputs: int) -> dict[str, TensorSpec]:
        """The matrices, and a little space behind each to draw whole panels."""
        return {
            f"matrix{k}": TensorSpec((panels(a * b), 1, PANEL), "float32")
            for k, (a, b) in enumerate(self.shapes(inputs))
        }

    def workspace(self, inputs: int, rows: int) -> dict[str, TensorSpec]:
        """The activity between its layers."""
        return {
            f"hidden{k}": TensorSpec((rows, width), "float32")
            for k, width in enumerate(self.widths[:-1])
        }

    def begin(self, inputs: int, arrays: dict[str, Array]) -> None:
        """Draw the matrices."""
        for k, (a, b) in enumerate(self.shapes(inputs)):
            seed = (self.seed + 0x9E3779B9 * (k + 1)) % 2**32
            scale = np.float32(math.sqrt(2.0 / a))
            random.fill_normal(seed, a * b, scale, 0, arrays[f"matrix{k}"])

    def matrices(self, inputs: int, arrays: dict[str, Array]) -> list[Array]:
        """The matrices in ``arrays``, float32 (inputs, outputs) each."""
        return [
            arrays[f"matrix{k}"].reshape(-1)[: a * b].reshape(a, b)
            for k, (a, b) in enumerate(self.shapes(inputs))
        ]

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """As above."""
        matrices, last = self.matrices(x.shape[1], arrays), len(self.widths) - 1
        for k, matrix in enumerate(matrices):
            y = out if k == last else arrays[f"hidden{k}"][: len(x)]
            np.matmul(x, matrix, out=y)
            np.maximum(y, np.float32(0), out=y)
            x = y
