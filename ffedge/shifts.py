"""Random shifts of images and windows while they are fetched for training, at no cost in memory.

A shift moves a sample by up to so many pixels or steps each way, drawn anew whenever it is
learned from; what enters at an edge repeats the edge, which needs no knowledge of what "nothing"
is in the data's units. Neighbours must be neighbours: the data say so by their shape.

    (height, width), (height, width, channels)  images, channels last
    (steps, channels)                           windows of a sensor, moved along the steps
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import ConfigError

#: Pixels or steps each way: of both axes, or (first axis, second axis).
Shift = int | tuple[int, int]

#: Largest shift; the data's own size bounds it too.
MOST = 1024

#: Sets these random numbers apart from the others of a seed.
STREAM = 0x51F7ED01


class Grid(NamedTuple):
    """A sample as rows, columns and channels, and how far it may move: what the kernels take."""

    height: int
    width: int
    channels: int
    down: int
    across: int


def check_shift(shift: Any) -> Shift:
    """``shift`` itself, a list as a tuple; ConfigError unless it is one."""
    pair = shift if isinstance(shift, tuple | list) else (shift, shift)
    whole = all(
        isinstance(reach, int | np.integer) and not isinstance(reach, bool) and 0 <= reach <= MOST
        for reach in pair
    )
    if len(pair) != 2 or not whole or (pair is shift and not any(pair)):
        raise ConfigError(
            f"Recipe: expected shift in 0..{MOST:,}, or a pair of which one is above 0, such as "
            f"(1, 0), got {shift!r:.60}"
        )
    first, second = (int(reach) for reach in pair)
    return (first, second) if pair is shift else first


def check_shape(shape: Sequence[int], width: int) -> tuple[int, ...]:
    """``shape`` as a tuple; ConfigError unless it is one of ``width`` features."""
    try:
        sizes = tuple(int(size) for size in shape)
    except (TypeError, ValueError):
        sizes = ()
    if not sizes or min(sizes) < 1 or math.prod(sizes) != width:
        raise ConfigError(
            f"FFClassifier: expected feature_shape as sizes whose product is the {width:,} "
            f"features, such as (28, 28), got {shape!r:.60}"
        )
    return sizes


def grid_of(shift: Shift, shape: tuple[int, ...]) -> Grid:
    """How samples of ``shape`` move; ConfigError for those that cannot, or not without a pair."""
    if len(shape) not in (2, 3):
        raise ConfigError(
            "shift: expected samples of shape (height, width), (height, width, channels) or "
            f"(steps, channels), got {shape}, whose columns have no neighbours; leave the shift "
            "out, or give the data their shape"
        )
    height, width, channels = (*shape, 1)[:3]
    if len(shape) == 3 and height <= 4 < channels:
        raise ConfigError(
            f"shift: expected images of shape (height, width, channels), got {shape}; move the "
            "channels to the end"
        )
    if isinstance(shift, int):
        if len(shape) == 2 and height != width:
            raise ConfigError(
                f"shift: expected square images, got samples of shape {shape}; name both axes: "
                f"({shift}, 0) for windows of (steps, channels), ({shift}, {shift}) for images"
            )
        shift = (shift, shift)
    down, across = shift
    if down >= height or across >= width:
        raise ConfigError(
            f"shift: expected less than the samples' height and width, got ({down}, {across}) "
            f"for shape {shape}"
        )
    return Grid(height, width, channels, down, across)
