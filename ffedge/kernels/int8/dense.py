"""Fully connected layer in int8: forward product with its epilogue, and update in place."""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel
from ..random import mix
from .dot4 import PANELS, ROWS, round_full, round_one, tile_column, tile_full
from .single import ROW_PANELS, any_of_four, listed_one, listed_row

#: Biases are clipped here, so that 127 * 127 * I + |bias| < 2**31 for I <= 131,071.
MAX_BIAS = 1 << 24


@kernel()
def list_quads(x, r, quads, listed):
    """Which groups of four inputs of row r are not all zero; returns how many.

    x       uint8 (capacity, X)   read
    quads   int                   read     groups there are, 4 * quads <= X
    listed  int32 (quads,)        written  their numbers, ascending
    """
    count, start = 0, r * x.shape[1]
    for k in range(quads):
        # Written first and counted after: a branch on pixels is hardly ever predicted.
        listed[count] = np.int32(k)
        count += any_of_four(x, start + 4 * k)
    return count


@kernel()
def forward(x, rows, weight, bias, shift, listed, y):
    """``y[:rows] = clip((x[:rows] @ weight + bias) >> shift, 0, 127)``

    x       uint8  (capacity, X)                 read     unit 2**-x_exp, 0..127; X >= 4*ceil(I/4)
    weight  int8   (panels, ceil(I/4), 16, 4)    read     unit 2**-w_exp, -127..127
    bias    int32  (panels * 16,)                read     unit 2**-(x_exp + w_exp), |b| <= 2**24;
                                                          the rounding half is already in it
    shift   int                                  read     x_exp + w_exp - y_exp, 0..24
    listed  int32  (ceil(I/4),)                  written  workspace
    y       uint8  (capacity, panels * 16)       written  unit 2**-y_exp

    Sums: int32, below 2**31 for I <= 131,071. Rounding: halves up. Rows that fill no tile skip
    the groups of four inputs that are zero.
    """
    quads, x_row, y_row = weight.shape[1], x.shape[1], y.shape[1]
    w_panel = quads * 4 * PANEL
    tiled = rows - rows % ROWS
    p = 0
    while p < weight.shape[0] and tiled > 0:
        wide = p + PANELS <= weight.shape[0]
        at, unit = p * w_panel, p * PANEL
        for r in range(0, tiled, ROWS):
            to = r * y_row + unit
            if wide:
                tile_full(x, r * x_row, x_row, quads, weight, at, w_panel,
                          bias, unit, shift, y, to, y_row)  # fmt: skip
            else:
                tile_column(x, r * x_row, x_row, quads, weight, at, w_panel,
                            bias, unit, shift, y, to, y_row)  # fmt: skip
        p += PANELS if wide else 1
    for r in range(tiled, rows):
        count = list_quads(x, r, quads, listed)
        p = 0
        while p < weight.shape[0]:
            if p + ROW_PANELS <= weight.shape[0]:
                listed_row(x, r * x_row, listed, count, weight, p * w_panel, w_panel,
                           bias, p * PANEL, shift, y, r * y_row + p * PANEL)  # fmt: skip
                p += ROW_PANELS
            else:
                listed_one(x, r * x_row, listed, count, weight, p * w_panel, w_panel,
                           bias, p * PANEL, shift, y, r * y_row + p * PANEL)  # fmt: skip
                p += 1


@kernel()
def interleave(x, rows, inputs, xt):
    """Four samples side by side: ``xt[i, b // 4, b % 4] = x[b, i]``, zero from ``rows`` on.

    x   uint8 (capacity, X)                          read
    xt  uint8 (4 * ceil(I/4), ceil(capacity/4), 4)   written  in the first ceil(rows/4) groups
    """
    for group in range((rows + 3) // 4):
        for j in range(4):
            row = 4 * group + j
            for i in range(xt.shape[0]):
                xt[i, group, j] = x[row, i] if row < rows and i < inputs else np.uint8(0)


@kernel()
def fill_words(key, out):
    """``out[n] = mix(key + n)``, uint32, wrapping: one part of the rounding's random numbers.

    key  uint32  read  of one part of one step: ``bits(seed of the step, part)``
    """
    for n in range(out.shape[0]):
        out[n] = mix((np.uint64(key) + np.uint64(n)) & np.uint64(0xFFFFFFFF))


@kernel()
def update(xt, rows, delta, shift, input_words, unit_words, weight):
    """``weight += round((xt @ delta) * 2**-shift)``, stochastically, saturating at +-127.

    xt           uint8  (4 * ceil(I/4), groups, 4)        read     see ``interleave``
    delta        int8   (panels, groups, 16, 4)           read     [p, b // 4, unit, b % 4], zero
                                                                   for samples from ``rows`` on
    shift        int                                      read     1..24
    input_words  uint32 (4 * ceil(I/4),)                  read     random words of the inputs
    unit_words   uint32 (panels * 16,)                    read     random words of the units
    weight       int8   (panels, ceil(I/4), 16, 4)        read, written

    Sums: int32, at most 127 * 127 * rows + 2**24; rows <= 65,536. Returns how many weights
    changed. Groups of four inputs that are zero in every sample are skipped.
    """
    groups = (rows + 3) // 4
    x_row = xt.shape[1] * 4
    w_panel = weight.shape[1] * 4 * PANEL
    d_panel = delta.shape[1] * 4 * PANEL
    changed = 0
    for k in range(weight.shape[1]):
        silent = True
        for i in range(4 * k, 4 * k + 4):
            for group in range(groups):
                if xt[i, group, 0] | xt[i, group, 1] | xt[i, group, 2] | xt[i, group, 3]:
                    silent = False
                    break
            if not silent:
                break
        if silent:
            continue
        p = 0
        while p < weight.shape[0]:
            to = p * w_panel + k * 4 * PANEL
            if p + PANELS <= weight.shape[0]:
                changed += round_full(
                    xt, 4 * k * x_row, x_row, groups, delta, p * d_panel, d_panel, shift,
                    input_words, 4 * k, unit_words, p * PANEL, weight, to, w_panel,
                )  # fmt: skip
                p += PANELS
            else:
                changed += round_one(
                    xt, 4 * k * x_row, x_row, groups, delta, p * d_panel, d_panel, shift,
                    input_words, 4 * k, unit_words, p * PANEL, weight, to, w_panel,
                )  # fmt: skip
                p += 1
    return changed


@kernel()
def sum_deltas(delta, rows, sums):
    """``sums[unit]`` = sum of the unit's deltas, int32 (panels * 16,)."""
    for n in range(sums.shape[0]):
        sums[n] = np.int32(0)
    for p in range(delta.shape[0]):
        for group in range((rows + 3) // 4):
            for lane in range(PANEL):
                four = delta[p, group, lane]
                total = np.int32(np.int32(four[0]) + np.int32(four[1]))
                total = np.int32(total + np.int32(np.int32(four[2]) + np.int32(four[3])))
                sums[p * PANEL + lane] = np.int32(sums[p * PANEL + lane] + total)


@kernel()
def update_bias(sums, shift, scale, bias_word, unit_words, bias):
    """``bias += round(sums * 2**(scale - shift))``, stochastically, within +-2**24.

    sums        int32  (panels * 16,)           read     of the units' deltas
    scale       int                             read     2 * x_exp: a bias is the weight of 1.0
    bias_word   uint32                          read     random word of that input
    unit_words  uint32 (panels * 16,)           read     random words of the units
    bias        int32  (panels * 16,)           read, written

    Without a delta the noise alone never makes a step.
    """
    mask, scale64, shift64 = np.int64((1 << shift) - 1), np.int64(scale), np.int64(shift)
    for n in range(bias.shape[0]):
        noise = (np.int64(bias_word) + np.int64(unit_words[n])) & mask
        value = np.int64(bias[n]) + (((np.int64(sums[n]) << scale64) + noise) >> shift64)
        bias[n] = np.int32(min(max(value, np.int64(-MAX_BIAS)), np.int64(MAX_BIAS)))
