"""Remove the length of an activity vector: what is passed on is its direction only.

``y_hat = y / (EPSILON + sqrt(mean(y**2)))`` per row, without subtracting the mean (Hinton 2022,
section 2 and footnote 5): the goodness just computed must not be visible to the next layer.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import REORDER, kernel

#: Keeps a silent row at zero.
EPSILON = np.float32(1e-8)


@kernel(fastmath=REORDER)
def sum_of_squares(y, rows, out):
    """``out[r] = sum over units of y[r]**2``

    y    float32 (panels, capacity, 16)  read
    out  float32 (capacity,)             written  out[:rows]
    """
    for r in range(rows):
        total = np.float32(0)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                total += y[p, r, lane] * y[p, r, lane]
        out[r] = total


@kernel()
def scale_rows(y, rows, width, length, out):
    """``out[r] = y[r] / (EPSILON + sqrt(length[r] / width))``; ``out`` may be ``y``.

    y       float32 (panels, capacity, 16)  read
    width   int                             read     units of the layer
    length  float32 (capacity,)             read     sum of squares of each row
    out     float32 (panels, capacity, 16)  written

    Returns the mean over rows and units of the squares that were in y. No fast-math: square
    root, division and product are correctly rounded.
    """
    total = 0.0
    for r in range(rows):
        mean = length[r] / np.float32(width)
        total += np.float64(mean)
        factor = np.float32(1) / (EPSILON + np.sqrt(mean))
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                out[p, r, lane] = y[p, r, lane] * factor
    return total / rows


@kernel()
def normalize_rows(y, rows, width, length):
    """``sum_of_squares``, then ``scale_rows`` in place; returns what the latter does.

    length  float32 (capacity,)  written  sum of squares before
    """
    sum_of_squares(y, rows, length)
    return scale_rows(y, rows, width, length, y)
