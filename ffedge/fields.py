"""Receptive fields: which inputs the units of a layer see, without sharing weights.

Hinton 2022 (arXiv 2212.13345), sections 3.2 and 4: a layer's units stand in a grid of regions,
each of which sees a window of the grid below. The weights lie in memory as those of a full
layer; those outside a unit's window are set to zero when they are made and after each update.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import ConfigError
from .kernels.fields import clear_outside

Array = np.ndarray[Any, Any]

#: More cells than the largest fan-in are refused.
_MOST = 131_071


@dataclass(frozen=True, slots=True)
class Fields:
    """The windows that a layer's regions look through, on a grid of cells: an image or a series.

    grid: cells, (rows, columns) or (steps,). field: cells of one window. stride: cells between
    neighbouring windows; the last window ends where the grid does. depth: inputs of one cell,
    which lie side by side: colours, channels, or the units of a region of the layer below.

    Region r owns units ``r * N / R`` to ``(r + 1) * N / R - 1`` of N, so that the next layer's
    grid is this one's ``regions`` with depth ``N / R``. Inputs behind the grid, a rule's label
    inputs, are seen by all units.

    >>> first = Fields((28, 28), (10, 10), (6, 6))
    >>> first.regions, first.fan_in(784 + 10)
    ((4, 4), 110)
    >>> Fields(first.regions, (2, 2), (1, 1), depth=128).regions
    (3, 3)
    """

    name: ClassVar[str] = "fields"
    grid: tuple[int, ...]
    field: tuple[int, ...]
    stride: tuple[int, ...]
    depth: int = 1

    def __post_init__(self) -> None:
        for name in ("grid", "field", "stride"):
            value = getattr(self, name)
            whole = isinstance(value, tuple) and all(type(each) is int for each in value)
            if not whole or len(value) not in (1, 2) or not all(1 <= n <= _MOST for n in value):
                raise ConfigError(
                    f"Fields: expected {name} one or two whole numbers from 1 to {_MOST:,}, got "
                    f"{value!r:.40}"
                )
        if not len(self.grid) == len(self.field) == len(self.stride):
            raise ConfigError(
                "Fields: expected as many numbers in field and stride as in the grid's "
                f"{len(self.grid)}, got {len(self.field)} and {len(self.stride)}"
            )
        if type(self.depth) is not int or not 1 <= self.depth <= _MOST:
            raise ConfigError(f"Fields: expected depth in 1..{_MOST:,}, got {self.depth!r:.40}")
        for cells, window, step in zip(self.grid, self.field, self.stride, strict=True):
            if window > cells:
                raise ConfigError(
                    f"Fields: expected windows of at most the grid's {cells} cells, got {window}"
                )
            if (cells - window) % step:
                raise ConfigError(
                    f"Fields: expected windows of {window} cells, {step} apart, to end with the "
                    f"grid's {cells}, got a rest of {(cells - window) % step} cells; change "
                    "field or stride"
                )

    @property
    def regions(self) -> tuple[int, ...]:
        """The grid of the layer's own regions."""
        sides = zip(self.grid, self.field, self.stride, strict=True)
        return tuple((cells - window) // step + 1 for cells, window, step in sides)

    @property
    def inputs(self) -> int:
        """Inputs in the grid; what lies behind them is seen by all units."""
        return math.prod(self.grid) * self.depth

    def fan_in(self, inputs: int) -> int:
        """Inputs that each unit of a layer with ``inputs`` of them sees."""
        return math.prod(self.field) * self.depth + inputs - self.inputs

    def check(self, inputs: int, width: int) -> None:
        """Raise ConfigError unless a layer of these sizes can have such fields."""
        if self.inputs > inputs:
            raise ConfigError(
                f"Fields: expected at least the {self.inputs:,} inputs of a grid of {self.grid} "
                f"with depth {self.depth}, got {inputs:,}; fields need an image, a series or a "
                "layer with regions below: the columns of a table have no neighbours"
            )
        if width % math.prod(self.regions):
            raise ConfigError(
                f"Fields: expected a multiple of {math.prod(self.regions)} units, the same number "
                f"for each region of {self.regions}, got {width}"
            )

    def clear(self, weight: Array, width: int, first: int = 0) -> None:
        """Set weights outside the fields to zero; ``first``: panel at which ``weight`` begins."""
        rows, columns = self._sides(self.grid)
        _, across = self._sides(self.regions)
        tall, wide = self._sides(self.field)
        down, right = self._sides(self.stride)
        units = width // math.prod(self.regions)
        clear_outside(
            weight, first, width, units, rows, columns, across, tall, wide, down, right, self.depth
        )

    @staticmethod
    def _sides(sides: tuple[int, ...]) -> tuple[int, int]:
        return (sides[0], sides[1]) if len(sides) == 2 else (1, sides[0])
