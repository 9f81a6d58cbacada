"""Goodness of a layer's activity: values, derivatives, and the lengths to divide by.

A row has one goodness or several (``terms``); ``slopes`` are downhill factors of the loss by
each, see ``losses``. All arrays are float32.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import REORDER, kernel


@kernel()
def scaled_squares(length, rows, scale, goodness):
    """``goodness[r, 0] = scale * length[r]``

    length    (capacity,)        read     sum of squares of each row
    scale     float32            read     1, 1 / width; below 0 for the minimising form
    goodness  (capacity, terms)  written  term 0
    """
    for r in range(rows):
        goodness[r, 0] = scale * length[r]


@kernel()
def squares_delta(y, rows, slopes, scale, delta):
    """``delta = slopes[r, 0] * scale * 2 * y``: the derivative of ``scaled_squares``.

    y       (panels, capacity, 16)  read
    slopes  (capacity, terms)       read
    delta   (panels, capacity, 16)  written
    """
    for r in range(rows):
        factor = slopes[r, 0] * scale * np.float32(2)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                delta[p, r, lane] = factor * y[p, r, lane]


@kernel(fastmath=REORDER)
def sums(y, rows, scale, width, goodness, length):
    """``goodness[r, 0] = scale * sum(y[r])``; ``length[r] = sum(abs(y[r]))**2 / width``

    With that length ``normalize.scale_rows`` divides by the mean magnitude instead of the root
    mean square: what an unsquared goodness needs (Hinton 2022, footnote 22).

    y         (panels, capacity, 16)  read
    scale     float32                 read
    goodness  (capacity, terms)       written  term 0
    length    (capacity,)             written
    """
    for r in range(rows):
        total = np.float32(0)
        size = np.float32(0)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                total += y[p, r, lane]
                size += abs(y[p, r, lane])
        goodness[r, 0] = scale * total
        length[r] = size * size / np.float32(width)


@kernel()
def sums_delta(rows, width, slopes, scale, delta):
    """``delta = slopes[r, 0] * scale`` for each of the ``width`` units, 0 in the lanes beyond."""
    for r in range(rows):
        factor = slopes[r, 0] * scale
        for p in range(delta.shape[0]):
            for lane in range(PANEL):
                used = p * PANEL + lane < width
                delta[p, r, lane] = factor if used else np.float32(0)


@kernel()
def add_goodness(goodness, rows, terms, label, total):
    """``total[r, label] += sum of goodness[r, :terms]``: what a label collects over the layers."""
    for r in range(rows):
        for t in range(terms):
            total[r, label] += goodness[r, t]


@kernel()
def add_others(kept, rows, index, goodness):
    """``goodness[r, 0] += kept[m, r]`` of every layer m but ``index``: layer collaboration.

    kept      (layers, capacity)  read     each layer's goodness of the same rows
    goodness  (capacity, terms)   read, written
    """
    for m in range(kept.shape[0]):
        if m != index:
            for r in range(rows):
                goodness[r, 0] += kept[m, r]
