"""Class-group goodness in int8: exact sums of squares (or of activities) of each class's units."""

from __future__ import annotations

import numpy as np

from ..provider import kernel
from ..random import bits
from .delta import PRODUCT_SHIFT, clear_tail, peak, place_row, quantize_row, weight_shift

#: Group scores are in units of 2**-SCORE_EXP.
SCORE_EXP = 8

#: Position of the binary point of ``factors``.
FACTOR_EXP = 20


@kernel()
def group_scores(y, rows, starts, squared, factors, scores):
    """``scores[r, k] = (sum over group k of y**2 (or y) * factors[k]) >> FACTOR_EXP``

    y        uint8 (capacity, Y)  read
    starts   int32 (C + 1,)       read     first unit of each group, then the width
    squared  bool                 read
    factors  int64 (C,)           read     sharpness / |group| in the units' scales, see Int8Run
    scores   int32 (capacity, C)  written  unit 2**-SCORE_EXP
    """
    for r in range(rows):
        for k in range(starts.shape[0] - 1):
            total = np.int32(0)
            for j in range(starts[k], starts[k + 1]):
                value = np.int32(y[r, j])
                total = np.int32(total + (value * value if squared else value))
            scores[r, k] = np.int32((np.int64(total) * factors[k]) >> FACTOR_EXP)


@kernel()
def _delta_row(y, r, errors, starts, squared, shares, row):
    """Exact terms: error * share of the group * (y, or 1 where y > 0)."""
    for j in range(row.shape[0]):
        row[j] = np.int32(0)
    for k in range(starts.shape[0] - 1):
        error = np.int64(errors[r, k]) * np.int64(shares[k])
        for j in range(starts[k], starts[k + 1]):
            slope = np.int64(y[r, j]) if squared else np.int64(y[r, j] > np.uint8(0))
            row[j] = (error * slope) >> 15


@kernel()
def group_delta(
    y, rows, errors, starts, squared, shares, mantissa, exponent, seed, unit_words, row, delta
):
    """The layer's deltas and their shift; arguments as in ``readout_delta``.

    shares  int32 (C,)  read  smallest group / group, Q15
    """
    most = np.int32(0)
    for r in range(rows):
        _delta_row(y, r, errors, starts, squared, shares, row)
        most = max(most, peak(row))
    if most == 0:
        return 0
    shift = weight_shift(most, mantissa, exponent)
    if rows == 1:
        # ``update_one`` takes no less: the largest step of a weight is then 63.
        shift = max(shift, PRODUCT_SHIFT)
    for r in range(rows):
        # A second pass costs less than a buffer for all rows; a single row is still there.
        if rows > 1:
            _delta_row(y, r, errors, starts, squared, shares, row)
        quantize_row(row, mantissa, exponent - shift, bits(seed, r), unit_words)
        if rows > 1:
            place_row(row, r, delta)
    if rows > 1:
        clear_tail(rows, delta)
    return shift
