"""Fully connected layer, float32: forward product and in-place weight update.

Layouts, chosen so that every product streams through memory once:

activations  (panels, capacity, 16)   unit j of row b is ``[j // 16, b, j % 16]``
weights      (panels, I, 16)          weight from input i to unit j is ``[j // 16, i, j % 16]``

``rows`` of the ``capacity`` rows are in use. Lanes beyond a layer's width hold zero weights,
bias and delta for ever, so their activity is zero and no kernel needs to know the width.
Float sums are reordered by tile; results agree with a plain loop to rounding only.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import REORDER, kernel
from .simd import (
    PANELS,
    ROWS,
    SPARSE_PANELS,
    sparse_full,
    sparse_one,
    tile_column,
    tile_full,
    tile_one,
    tile_row,
)


@kernel()
def list_nonzero(x, row, inputs, index, offset):
    """List the inputs of one row that are not zero; returns how many.

    x       float32 (panels, capacity, 16)  read
    row     int                             read     0..capacity-1
    inputs  int                             read     width I of the layer below
    index   int32   (I,)                    written  input number
    offset  int64   (I,)                    written  its element offset in x from [0, row, 0]
    """
    panel = x.shape[1] * PANEL
    count = 0
    for i in range(inputs):
        if x[i // PANEL, row, i % PANEL] != np.float32(0):
            index[count] = np.int32(i)
            offset[count] = (i // PANEL) * panel + i % PANEL
            count += 1
    return count


@kernel()
def add_product(x, rows, weight, index, offset, out):
    """``out[:, :rows] += x[:, :rows] @ weight``

    x       float32 (ceil(I/16), capacity, 16)  read
    weight  float32 (panels, I, 16)             read
    index, offset  int32, int64 (I,)            written  workspace
    out     float32 (panels, capacity, 16)      read, written

    Full tiles of rows go through ``tile``; the rows that are left over skip zero inputs.
    """
    capacity, inputs = x.shape[1], weight.shape[1]
    x_panel, w_panel, out_panel = capacity * PANEL, inputs * PANEL, out.shape[1] * PANEL
    whole, rest = inputs // PANEL, inputs % PANEL
    tiled = rows - rows % ROWS
    p = 0
    while p < weight.shape[0] and tiled > 0:
        wide = p + PANELS <= weight.shape[0]
        at = p * w_panel
        end = at + whole * PANEL * PANEL
        for r in range(0, tiled, ROWS):
            to = p * out_panel + r * PANEL
            last = whole * x_panel + r * PANEL
            if wide:
                tile_full(x, r * PANEL, PANEL, 1, whole, x_panel, PANEL,
                          weight, at, w_panel, out, to, out_panel)  # fmt: skip
                tile_full(x, last, PANEL, 1, 1, 0, rest, weight, end, w_panel, out, to, out_panel)
            else:
                tile_column(x, r * PANEL, PANEL, 1, whole, x_panel, PANEL,
                            weight, at, w_panel, out, to, out_panel)  # fmt: skip
                tile_column(x, last, PANEL, 1, 1, 0, rest, weight, end, w_panel, out, to, out_panel)
        p += PANELS if wide else 1
    for r in range(tiled, rows):
        count = list_nonzero(x, r, inputs, index, offset)
        p = 0
        while p < weight.shape[0]:
            to = p * out_panel + r * PANEL
            if p + SPARSE_PANELS <= weight.shape[0]:
                sparse_full(x, r * PANEL, index, offset, count, weight, p * w_panel, w_panel,
                            out, to, out_panel)  # fmt: skip
                p += SPARSE_PANELS
            else:
                sparse_one(x, r * PANEL, index, offset, count, weight, p * w_panel, w_panel,
                           out, to, out_panel)  # fmt: skip
                p += 1


@kernel(fastmath=REORDER)
def dense_forward(x, rows, weight, bias, index, offset, out):
    """``out[:, :rows] = relu(x[:, :rows] @ weight + bias)``

    x       float32 (ceil(I/16), capacity, 16)  read
    weight  float32 (panels, I, 16)             read
    bias    float32 (panels, 1, 16)             read
    index, offset  int32, int64 (I,)            written  workspace
    out     float32 (panels, capacity, 16)      written
    """
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                out[p, r, lane] = bias[p, 0, lane]
    add_product(x, rows, weight, index, offset, out)
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                out[p, r, lane] = max(out[p, r, lane], np.float32(0))


@kernel()
def add_gradient(x, rows, delta, index, offset, weight):
    """``weight += x[:, :rows].T @ delta[:, :rows]``: the SGD step, nothing in between.

    x       float32 (ceil(I/16), capacity, 16)  read
    delta   float32 (panels, capacity, 16)      read     already times -rate / batch
    index, offset  int32, int64 (I,)            written  workspace
    weight  float32 (panels, I, 16)             read, written

    A single row updates only the weights of its non-zero inputs.
    """
    inputs = weight.shape[1]
    w_panel, d_panel = inputs * PANEL, delta.shape[1] * PANEL
    count = list_nonzero(x, 0, inputs, index, offset) if rows == 1 else 0
    p = 0
    while p < weight.shape[0]:
        wide = p + PANELS <= weight.shape[0]
        if rows > 1:
            for i in range(0, inputs, ROWS):
                to = p * w_panel + i * PANEL
                gradient_tile(x, rows, delta, p, wide, i, inputs, weight, to, w_panel)
        elif wide:
            for n in range(count):
                to = p * w_panel + index[n] * PANEL
                tile_row(x, offset[n], 1, PANEL, 1, 0, 1,
                         delta, p * d_panel, d_panel, weight, to, w_panel)  # fmt: skip
        else:
            for n in range(count):
                to = p * w_panel + index[n] * PANEL
                tile_one(x, offset[n], 1, PANEL, 1, 0, 1,
                         delta, p * d_panel, d_panel, weight, to, w_panel)  # fmt: skip
        p += PANELS if wide else 1


@kernel()
def gradient_tile(x, rows, delta, p, wide, i, inputs, out, to, out_panel):
    """Add the gradient of inputs i..i+ROWS-1 and PANELS (``wide``) or 1 panels from ``p``.

    ``out`` is a float32 array of any shape; ``to`` and ``out_panel`` are element offsets in it.
    ``i`` is a multiple of ROWS; past the last of the ``inputs`` nothing is written.
    """
    x_panel, d_panel = x.shape[1] * PANEL, delta.shape[1] * PANEL
    at, last = p * d_panel, min(i + ROWS, inputs)
    # Six rows can straddle two panels of inputs; single rows cannot.
    if last - i == ROWS and i // PANEL == (last - 1) // PANEL:
        start = (i // PANEL) * x_panel + i % PANEL
        if wide:
            tile_full(x, start, 1, PANEL, 1, 0, rows, delta, at, d_panel, out, to, out_panel)
        else:
            tile_column(x, start, 1, PANEL, 1, 0, rows, delta, at, d_panel, out, to, out_panel)
        return
    for k in range(i, last):
        start = (k // PANEL) * x_panel + k % PANEL
        row = to + (k - i) * PANEL
        if wide:
            tile_row(x, start, 1, PANEL, 1, 0, rows, delta, at, d_panel, out, row, out_panel)
        else:
            tile_one(x, start, 1, PANEL, 1, 0, rows, delta, at, d_panel, out, row, out_panel)
