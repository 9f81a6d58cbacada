"""Starting weights of the int8 network: the float32 ones, rounded to the grid."""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel
from ..random import normal


@kernel()
def to_s8(value):
    """Nearest integer, halves up, within +-127: float32 -> int8."""
    return np.int8(min(max(np.floor(value + np.float32(0.5)), np.float32(-127)), np.float32(127)))


@kernel()
def fill_weights(seed, inputs, width, scale, first, weight):
    """``weight[p, k, lane, j]`` about N(0, scale**2) in grid steps; 0 outside inputs x width.

    scale   float32                             read
    first   int                                 read     panel of the layer where ``weight`` begins
    weight  int8 (panels, ceil(I/4), 16, 4)     written

    The number behind input i and unit n is that of ``random.fill_normal``.
    """
    for p in range(weight.shape[0]):
        for k in range(weight.shape[1]):
            for lane in range(PANEL):
                for j in range(4):
                    unit, i = (first + p) * PANEL + lane, 4 * k + j
                    if unit < width and i < inputs:
                        weight[p, k, lane, j] = to_s8(normal(seed, unit * inputs + i, scale))
                    else:
                        weight[p, k, lane, j] = np.int8(0)


@kernel()
def fill_readout(seed, width, scale, readout):
    """``readout[c, n]`` about N(0, scale**2) in grid steps for n < width, else 0.

    readout  int8 (C, Y)  written
    """
    classes = readout.shape[0]
    for c in range(classes):
        for n in range(readout.shape[1]):
            if n < width:
                readout[c, n] = to_s8(normal(seed, n * classes + c, scale))
            else:
                readout[c, n] = np.int8(0)
