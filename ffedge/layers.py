"""Layer descriptions: sizes and parameter shapes, never arrays.

Every kind of layer offers what ``Dense`` does: ``input_shape`` and ``output_shape`` (of one
sample), ``params()`` and ``index()`` (workspace of its kernels). Activities travel between
layers in panels, see ``activity``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import ConfigError
from .tensor import PANEL, TensorSpec, panels

#: Largest fan-in: 127 * 127 * 131,071 + 2**24 still fits the int8 kernels' int32 sums.
MAX_INPUTS = 131_071


def activity(shape: tuple[int, ...], rows: int) -> TensorSpec:
    """The buffer of ``rows`` activities of ``shape``: float32 (panels, rows, 16).

    >>> activity((500,), 64).shape
    (32, 64, 16)
    """
    return TensorSpec((panels(math.prod(shape)), rows, PANEL), "float32")


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer with ReLU. Holds sizes, never arrays.

    in_features, out_features: width in neurons, at least 1; in_features at most 131,071.
    Raises ConfigError if a width lies outside its range.

    >>> Dense(784, 128).params()["weight"].nbytes
    401408
    """

    in_features: int
    out_features: int

    def __post_init__(self) -> None:
        for name, width in (("in_features", self.in_features), ("out_features", self.out_features)):
            if not isinstance(width, int) or width < 1:
                raise ConfigError(f"Dense: expected {name} >= 1, got {width!r}")
        if self.in_features > MAX_INPUTS:
            raise ConfigError(
                f"Dense: expected in_features <= {MAX_INPUTS:,}, got {self.in_features:,}; "
                "reduce the input first, for instance by averaging neighbours"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return (self.in_features,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sample's activity."""
        return (self.out_features,)

    def params(self) -> dict[str, TensorSpec]:
        """weight (panels, I, 16) and bias (panels, 1, 16), float32; layout in kernels/dense.py."""
        count = panels(self.out_features)
        return {
            "weight": TensorSpec((count, self.in_features, PANEL), "float32"),
            "bias": TensorSpec((count, 1, PANEL), "float32"),
        }
