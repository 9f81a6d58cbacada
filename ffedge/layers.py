"""Layer descriptions: sizes and parameter shapes, never arrays.

Every kind of layer offers what ``Dense`` does: ``input_shape`` and ``output_shape`` (of one
sample), ``params()`` and ``index()`` (workspace of its kernels). Activities travel between
layers in panels, see ``activity``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .activations import Activation, ReLU
from .errors import ConfigError
from .fields import Fields
from .kernels.int8.input import INPUT_EXP
from .tensor import PANEL, TensorSpec, panels

Array = np.ndarray[Any, Any]

#: Largest fan-in: 127 * 127 * 131,071 + 2**24 still fits the int8 kernels' int32 sums.
MAX_INPUTS = 131_071


#: Precisions a network can be trained and run in.
PRECISIONS = ("float32", "int8")

#: An int8 layer's output is in units of 2**-OUTPUT_EXP, before it is normalised.
OUTPUT_EXP = 3


def _exponent(fan_in: int, deviations: float) -> int:
    return -round(math.log2(deviations / math.sqrt(fan_in) / 127.0))


def weight_exponent(inputs: int) -> int:
    """e of the int8 weights' unit 2**-e: 127 units are about 3 standard deviations of the start.

    A finer grid than the weights need to start with did best on validation data; the few that
    are clipped do no harm.

    >>> weight_exponent(784), weight_exponent(5)
    (10, 7)
    """
    return _exponent(inputs, 3.0)


def readout_exponent(width: int) -> int:
    """The same for the readout of a layer of that width, which grows: 8 standard deviations.

    >>> readout_exponent(500)
    8
    """
    return _exponent(width, 8.0)


def forward_shift(inputs: int) -> int:
    """By how much an int8 layer of that fan-in shifts its sums to the output's unit: 4 to 15."""
    return INPUT_EXP + weight_exponent(inputs) - OUTPUT_EXP


def activity(shape: tuple[int, ...], rows: int) -> TensorSpec:
    """The buffer of ``rows`` activities of ``shape``: float32 (panels, rows, 16).

    >>> activity((500,), 64).shape
    (32, 64, 16)
    """
    return TensorSpec((panels(math.prod(shape)), rows, PANEL), "float32")


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer. Holds sizes, never arrays.

    in_features, out_features: width in neurons, at least 1; in_features at most 131,071.
    activation: one of ``ffedge.activations``. fields: which inputs each unit sees, ``Fields``;
    None: all.
    Raises ConfigError if a width lies outside its range.

    >>> Dense(784, 128).params()["weight"].nbytes
    401408
    """

    in_features: int
    out_features: int
    activation: Activation = field(default_factory=ReLU)
    fields: Fields | None = None

    def __post_init__(self) -> None:
        for name, width in (("in_features", self.in_features), ("out_features", self.out_features)):
            if not isinstance(width, int) or width < 1:
                raise ConfigError(f"Dense: expected {name} >= 1, got {width!r}")
        if self.in_features > MAX_INPUTS:
            raise ConfigError(
                f"Dense: expected in_features <= {MAX_INPUTS:,}, got {self.in_features:,}; "
                "reduce the input first, for instance by averaging neighbours"
            )
        if self.fields is not None:
            self.fields.check(self.in_features, self.out_features)

    @property
    def fan_in(self) -> int:
        """Inputs that one unit sees."""
        return self.in_features if self.fields is None else self.fields.fan_in(self.in_features)

    def clear(self, weight: Array, first: int = 0) -> None:
        """Set weights outside the fields to zero; ``first``: panel at which ``weight`` begins."""
        if self.fields is not None:
            self.fields.clear(weight, self.out_features, first)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return (self.in_features,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sample's activity."""
        return (self.out_features,)

    def params(self, precision: str = "float32") -> dict[str, TensorSpec]:
        """weight and bias in the layout of their kernels.

        float32: (panels, I, 16) and (panels, 1, 16), see ``kernels.dense``. int8: weight int8
        (panels, ceil(I/4), 16, 4), bias int32 (panels * 16,), see ``kernels.int8``.
        """
        count = panels(self.out_features)
        if precision == "int8":
            quads = -(-self.in_features // 4)
            return {
                "weight": TensorSpec((count, quads, PANEL, 4), "int8"),
                "bias": TensorSpec((count * PANEL,), "int32"),
            }
        return {
            "weight": TensorSpec((count, self.in_features, PANEL), "float32"),
            "bias": TensorSpec((count, 1, PANEL), "float32"),
        }
