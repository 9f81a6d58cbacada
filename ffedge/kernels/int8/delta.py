"""From exact integer errors to s8 deltas with one power-of-two scale for the batch.

A rule writes a row of exact terms t (int32); the delta in weight steps per unit of input is
``t * mantissa * 2**-exponent``. ``weight_shift`` finds the largest s for which every delta times
2**s fits s8; ``quantize_row`` rounds them stochastically. The update's product is then shifted
right by s: the learning rate is exact, small errors keep their bits, nothing else is stored.
"""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel

#: Largest shift of an update: 24 bits below a weight step, and int32 sums cannot overflow.
MAX_SHIFT = 24

#: Bits of a single sample's shift that fall on the product; all above fall on its inputs.
PRODUCT_SHIFT = 8


@kernel()
def cross_words(a, b):
    """The random word (uint32) of a pair: the sum of both, wrapping; as random as either alone."""
    return np.uint32((np.uint64(a) + np.uint64(b)) & np.uint64(0xFFFFFFFF))


@kernel()
def peak(row):
    """Largest magnitude of an int32 row."""
    most = np.int32(0)
    for j in range(row.shape[0]):
        most = max(most, abs(row[j]))
    return most


@kernel()
def weight_shift(most, mantissa, exponent):
    """The shift s, 1..MAX_SHIFT, for terms of magnitude up to ``most`` (int, below 2**31)."""
    bits = 0
    product = np.int64(most) * np.int64(mantissa)
    while product >> bits > 0:
        bits += 1
    # 127.x must not reach 128: clipping it would bias the rounding.
    if bits > 7 and product > np.int64(127) << (bits - 7):
        bits += 1
    return min(max(exponent + 7 - bits, 1), MAX_SHIFT)


@kernel()
def quantize(term, mantissa, fall, word):
    """``term * mantissa * 2**-fall`` rounded by the random ``word`` (uint32), within +-127.

    0 from fall 63 on: there the sum no longer fits 64 bits, and the delta is below 2**-16.
    """
    if fall > 62:
        return np.int8(0)
    product = np.int64(term) * np.int64(mantissa)
    if fall > 0:
        noise = np.int64(word)
        noise = noise << (fall - 32) if fall > 32 else noise >> (32 - fall)
        product = (product + noise) >> fall
    else:
        product = product << min(-fall, 40) if abs(product) < 128 else product << min(-fall, 1)
    return np.int8(min(max(product, np.int64(-127)), np.int64(127)))


@kernel()
def quantize_row(row, mantissa, fall, row_word, unit_words):
    """``quantize`` for a row of terms, in place; all-integer lanes, no branch: it is vectorised.

    row         int32  (Y,)   read, written  terms; then -127..127, 0 where the term is 0
    fall        int           read           exponent - shift
    row_word    uint32        read           random word of the sample
    unit_words  uint32 (Y,)   read           random words of the units
    """
    if fall > 62 or fall <= 0:
        for j in range(row.shape[0]):
            word = cross_words(row_word, unit_words[j])
            row[j] = np.int32(quantize(row[j], mantissa, fall, word))
        return
    left, right = np.int64(max(fall - 32, 0)), np.int64(max(32 - fall, 0))
    factor, fall64 = np.int64(mantissa), np.int64(fall)
    for j in range(row.shape[0]):
        noise = (np.int64(cross_words(row_word, unit_words[j])) << left) >> right
        # A term of 0 stays 0: the noise is below one step.
        value = (np.int64(row[j]) * factor + noise) >> fall64
        row[j] = np.int32(min(max(value, np.int64(-127)), np.int64(127)))


@kernel()
def place_row(row, r, delta):
    """Put one sample's rounded deltas into the layout of ``dense.update``.

    row    int32  (panels * 16,)           read     -127..127
    r      int                             read     sample
    delta  int8   (panels, fours, 16, 4)   written  in [:, r // 4, :, r % 4]
    """
    for p in range(delta.shape[0]):
        for lane in range(PANEL):
            delta[p, r // 4, lane, r % 4] = np.int8(row[p * PANEL + lane])


@kernel()
def clear_tail(rows, delta):
    """Zero the samples that fill the last group of four."""
    for r in range(rows, (rows + 3) // 4 * 4):
        for p in range(delta.shape[0]):
            for lane in range(PANEL):
                delta[p, r // 4, lane, r % 4] = np.int8(0)
