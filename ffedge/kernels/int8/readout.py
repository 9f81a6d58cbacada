"""Mono-Forward's readout in int8: scores, delta, and the update of M with stochastic rounding."""

from __future__ import annotations

import numpy as np

from ..provider import kernel
from ..random import bits
from .delta import PRODUCT_SHIFT, clear_tail, peak, place_row, quantize, quantize_row, weight_shift
from .single import DOT, dot, shift_right


@kernel()
def readout_scores(y, rows, readout, scores):
    """``scores = y @ M.T``

    y        uint8 (capacity, Y)  read     zero beyond the width
    readout  int8  (C, Y)         read     M, -127..127
    scores   int32 (capacity, C)  written  below 2**31 for Y <= 131,071
    """
    width = readout.shape[1]
    whole = width - width % DOT
    for r in range(rows):
        for c in range(readout.shape[0]):
            total = dot(y, r * width, readout, c * width, whole)
            for j in range(whole, width):
                total = np.int32(total + np.int32(y[r, j]) * np.int32(readout[c, j]))
            scores[r, c] = total


@kernel()
def _delta_row(y, r, errors, readout, row):
    """``row = (errors @ M) * (y > 0)``: exact, int32 (Y,), Q15 times M's unit.

    |row| <= 127 * 65,536: the errors of one sample sum to at most 2 in magnitude.
    """
    for j in range(row.shape[0]):
        row[j] = np.int32(0)
    for c in range(readout.shape[0]):
        error = errors[r, c]
        if error != 0:
            for j in range(row.shape[0]):
                row[j] = np.int32(row[j] + error * np.int32(readout[c, j]))
    for j in range(row.shape[0]):
        if y[r, j] == np.uint8(0):
            row[j] = 0


@kernel()
def readout_delta(y, rows, errors, readout, mantissa, exponent, seed, unit_words, row, delta):
    """The layer's deltas and their shift.

    errors    int32 (capacity, C)             read     Q15
    mantissa, exponent  int                   read     rate / batch in weight steps, see ``delta``
    seed      uint32                          read     of this step's sample words
    row       int32 (Y,)                      written  of a single sample: the deltas
    delta     int8  (panels, fours, 16, 4)    written  of more samples: the deltas

    Returns the shift of the weight update; 0 if there is nothing to do.
    """
    most = np.int32(0)
    for r in range(rows):
        _delta_row(y, r, errors, readout, row)
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
            _delta_row(y, r, errors, readout, row)
        quantize_row(row, mantissa, exponent - shift, bits(seed, r), unit_words)
        if rows > 1:
            place_row(row, r, delta)
    if rows > 1:
        clear_tail(rows, delta)
    return shift


@kernel()
def update_readout(y, rows, errors, mantissa, exponent, seed, unit_words, sums, readout):
    """``M += round(rate / batch * errors.T @ y)``, stochastically, saturating at +-127.

    y             uint8 (capacity, Y)  read
    errors        int32 (capacity, C)  read     Q15
    mantissa, exponent  int            read     rate / batch in steps of M
    seed          uint32               read     of this step's class words
    unit_words    uint32 (Y,)          read     random words of the units
    sums          int32 (Y,)           written  workspace
    readout       int8  (C, Y)         read, written
    """
    most = np.int64(0)
    for r in range(rows):
        for c in range(readout.shape[0]):
            most = max(most, abs(np.int64(errors[r, c])))
    if most == 0:
        return
    shift = weight_shift(most, mantissa, exponent)
    width = readout.shape[1]
    for c in range(readout.shape[0]):
        learns, factor = False, np.int32(0)
        for r in range(rows):
            word = bits(seed, (np.int64(c) << 32) + r)
            value = quantize(np.int64(errors[r, c]), mantissa, exponent - shift, word)
            if value == np.int8(0):
                continue
            factor = np.int32(value)
            if rows == 1:
                break
            if not learns:
                for j in range(width):
                    sums[j] = np.int32(0)
                learns = True
            for j in range(width):
                sums[j] = np.int32(sums[j] + factor * np.int32(y[r, j]))
        # Without a delta the noise alone never makes a step.
        row_word = bits(seed, (np.int64(c) << 32) + (np.int64(1) << 31))
        if learns:
            _step_row(sums, np.int32(1), row_word, shift, unit_words, readout[c])
        elif factor != np.int32(0):
            _step_row(y[0], factor, row_word, shift, unit_words, readout[c])


@kernel()
def _step_row(terms, factor, row_word, shift, unit_words, row):
    """``row += (factor * terms + noise) >> shift``, saturating at +-127.

    Noise: the lowest ``shift`` bits of ``row_word`` plus each unit's word. All of it fits 32
    bits, which the masks tell LLVM: it is vectorised in lanes of 32.
    """
    mask, fall = np.uint32((1 << shift) - 1), np.int32(shift)
    word = np.int32(np.uint32(row_word) & mask)
    for j in range(row.shape[0]):
        # Masked first: the sum stays within 32 bits.
        noise = np.int32(np.int32(word + np.int32(unit_words[j] & mask)) & np.int32(mask))
        step = shift_right(np.int32(np.int32(factor * np.int32(terms[j])) + noise), fall)
        step = min(max(step, np.int32(-127)), np.int32(127))
        value = np.int32(np.int32(row[j]) + step)
        row[j] = np.int8(min(max(value, np.int32(-127)), np.int32(127)))
