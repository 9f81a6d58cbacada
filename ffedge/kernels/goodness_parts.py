"""Goodness of parts of a layer: its largest units, its regions, units of two signs.

All arrays are float32 unless said otherwise; ``slopes`` as in ``goodness``.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import REORDER, kernel


@kernel()
def _square(y, row, unit):
    value = y[unit // PANEL, row, unit % PANEL]
    return value * value


@kernel()
def _below(y, row, a, b):
    """Whether unit a has to leave before unit b: a smaller square, or of equals the higher unit."""
    first, second = _square(y, row, a), _square(y, row, b)
    return first < second or (first == second and a > b)


@kernel()
def _sink(y, row, heap, count, at):
    """Let the unit at place ``at`` of a heap, whose top is the first to leave, find its place."""
    while True:
        least = at
        for child in range(2 * at + 1, min(2 * at + 3, count)):
            if _below(y, row, heap[row, child], heap[row, least]):
                least = child
        if least == at:
            return
        heap[row, at], heap[row, least] = heap[row, least], heap[row, at]
        at = least


@kernel()
def top_squares(y, rows, width, count, scale, largest, goodness):
    """``goodness[r, 0] = scale * mean of the count largest y[r]**2``

    y         (panels, capacity, 16)     read
    width, count  int                    read     1 <= count <= width units
    scale     float32                    read     1, or -1 for the minimising form
    largest   int32 (capacity, >=count)  written  the units meant, in no order
    goodness  (capacity, terms)          written  term 0

    Of equal squares those of the lowest units count. n log k comparisons a row.
    """
    for r in range(rows):
        for j in range(count):
            largest[r, j] = np.int32(j)
        for j in range(count // 2 - 1, -1, -1):
            _sink(y, r, largest, count, j)
        for j in range(count, width):
            if _square(y, r, j) > _square(y, r, largest[r, 0]):
                largest[r, 0] = np.int32(j)
                _sink(y, r, largest, count, 0)
        total = np.float32(0)
        for j in range(count):
            total += _square(y, r, largest[r, j])
        goodness[r, 0] = scale * total / np.float32(count)


@kernel()
def top_delta(y, rows, count, slopes, scale, largest, delta):
    """``delta = slopes[r, 0] * scale * 2 * y / count`` of the units in ``largest``, 0 elsewhere.

    delta  (panels, capacity, 16)  written

    Others as in ``top_squares``, which comes first.
    """
    for p in range(delta.shape[0]):
        delta[p, :rows] = np.float32(0)
    for r in range(rows):
        factor = slopes[r, 0] * scale * np.float32(2) / np.float32(count)
        for j in range(count):
            unit = largest[r, j]
            delta[unit // PANEL, r, unit % PANEL] = factor * y[unit // PANEL, r, unit % PANEL]


@kernel()
def region_squares(y, rows, width, terms, scale, goodness):
    """``goodness[r, t] = scale * sum of y[r]**2`` over units t * width / terms .. of region t.

    y         (panels, capacity, 16)  read
    width     int                     read     units, a multiple of ``terms``
    goodness  (capacity, >=terms)     written
    """
    units = width // terms
    for r in range(rows):
        for t in range(terms):
            total = np.float32(0)
            for j in range(t * units, (t + 1) * units):
                total += _square(y, r, j)
            goodness[r, t] = scale * total


@kernel()
def region_delta(y, rows, width, terms, slopes, scale, delta):
    """``delta = slopes[r, t] * scale * 2 * y`` for the units of region t.

    scale  float32                 read
    delta  (panels, capacity, 16)  written  lanes beyond the width become 0
    """
    units = width // terms
    for r in range(rows):
        delta[delta.shape[0] - 1, r] = np.float32(0)
        for t in range(terms):
            factor = slopes[r, t] * scale * np.float32(2)
            for j in range(t * units, (t + 1) * units):
                p, lane = j // PANEL, j % PANEL
                delta[p, r, lane] = factor * y[p, r, lane]


@kernel(fastmath=REORDER)
def signed_squares(y, rows, split, scale, goodness):
    """``goodness[r, 0] = scale * (sum of y**2 of units below split - that of the others)``

    y         (panels, capacity, 16)  read
    goodness  (capacity, terms)       written  term 0
    """
    for r in range(rows):
        total = np.float32(0)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                square = y[p, r, lane] * y[p, r, lane]
                total += square if p * PANEL + lane < split else -square
        goodness[r, 0] = scale * total


@kernel()
def signed_delta(y, rows, split, slopes, scale, delta):
    """``delta = slopes[r, 0] * scale * 2 * y``, with the sign turned from unit ``split`` on.

    delta  (panels, capacity, 16)  written
    """
    for r in range(rows):
        factor = slopes[r, 0] * scale * np.float32(2)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                own = factor if p * PANEL + lane < split else -factor
                delta[p, r, lane] = own * y[p, r, lane]
