"""Peer normalisation: units are pulled towards their layer's mean activity.

Hinton 2022, footnote 9. The derivative is taken to be 1 even where a unit is silent, so that dead
units revive.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .optimize import flush
from .provider import REORDER, kernel


@kernel(fastmath=REORDER)
def track_means(y, rows, rate, means):
    """``means += rate * (mean over rows of y - means)``: a unit's running mean activity.

    y      float32 (panels, capacity, 16)  read
    means  float32 (panels, 1, 16)         read, written
    """
    for p in range(y.shape[0]):
        for lane in range(PANEL):
            total = np.float32(0)
            for r in range(rows):
                total += y[p, r, lane]
            step = rate * (total / np.float32(rows) - means[p, 0, lane])
            # A dead unit's mean, and a padding lane's, would otherwise stay denormal for ever.
            means[p, 0, lane] = flush(means[p, 0, lane] + step)


@kernel()
def add_peers(rows, width, means, pull, delta):
    """``delta += pull * (mean of means - means)`` in rows 0..rows-1, the positive ones.

    means  float32 (panels, 1, 16)         read
    pull   float32                         read     strength, times 1 / batch and the rate
    delta  float32 (panels, capacity, 16)  read, written
    """
    average = np.float32(0)
    for p in range(means.shape[0]):
        for lane in range(PANEL):
            if p * PANEL + lane < width:
                average += means[p, 0, lane]
    average /= np.float32(width)
    for r in range(rows):
        for p in range(delta.shape[0]):
            for lane in range(PANEL):
                if p * PANEL + lane < width:
                    delta[p, r, lane] += pull * (average - means[p, 0, lane])
