"""Shapes and dtypes, without arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Lanes of one panel: 16 float32 are 64 bytes, one cache line and one AVX-512 register.
PANEL = 16


def panels(width: int) -> int:
    """How many panels of 16 lanes hold ``width`` values."""
    return -(-width // PANEL)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of a buffer that need not exist yet.

    >>> TensorSpec((784, 500), "float32").nbytes
    1568000
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Size in bytes, without padding."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize
