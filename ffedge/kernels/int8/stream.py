"""The update by a single sample, where most weights need not even be read.

A sample's gradient is the outer product of its inputs and its deltas, and a step is far below one
unit for most weights. Rounding the inputs stochastically before the product leaves few of them;
the product's own rounding then makes up for the rest. Every weight's step keeps its expectation.
"""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel
from .delta import PRODUCT_SHIFT
from .single import round_more, round_ones

#: Columns of ``thin``'s words: inputs that became 1, random bytes, inputs that became more.
ONES, NOISE, MORE = 0, 1, 2


@kernel()
def thin(x, quads, shift, words):
    """Round a sample's inputs: ``r = floor(x * 2**(8 - shift) + upper half of word / 2**16)``.

    x       uint8  (1, X)        read
    quads   int                  read           groups of four inputs
    shift   int                  read           of the update, 8..24
    words   uint32 (4 * quads,)  read, written  random words of the inputs; then, for each group,
                                                four bytes each: 255 where r is 1; the words'
                                                lowest bytes; r where it is more; zeros
    """
    fall, half = np.uint32(shift - PRODUCT_SHIFT), np.uint32(16)
    rest = np.uint32(half - fall)
    one, two, three = np.uint32(8), np.uint32(16), np.uint32(24)
    byte, each = np.uint32(0xFF), np.uint32(0x01010101)
    row = x[0]
    # Spelled out for four inputs: so it is vectorised.
    for k in range(quads):
        i = 4 * k
        n0, n1, n2, n3 = words[i], words[i + 1], words[i + 2], words[i + 3]
        r0 = (np.uint32(row[i]) + (n0 >> half >> rest)) >> fall
        r1 = (np.uint32(row[i + 1]) + (n1 >> half >> rest)) >> fall
        r2 = (np.uint32(row[i + 2]) + (n2 >> half >> rest)) >> fall
        r3 = (np.uint32(row[i + 3]) + (n3 >> half >> rest)) >> fall
        rounded = r0 | r1 << one | r2 << two | r3 << three
        # No r is above 127: the highest bit of a byte is set where it is not 1.
        others = ((rounded ^ each) + np.uint32(0x7F7F7F7F)) >> np.uint32(7) & each
        ones = (others ^ each) * byte
        words[i] = np.uint32(ones)
        words[i + 1] = np.uint32(
            (n0 & byte) | (n1 & byte) << one | (n2 & byte) << two | (n3 & byte) << three
        )
        words[i + 2] = np.uint32(rounded & ~ones)
        words[i + 3] = np.uint32(0)


@kernel()
def list_left(words, column, quads, listed):
    """The groups of four inputs that have any left in a column of ``thin``'s words.

    words   uint32 (4 * quads,)  read     as ``thin`` leaves them
    column  int                  read     ONES or MORE
    listed  int32  (quads,)      written  their numbers, ascending; returns how many
    """
    count = 0
    for k in range(quads):
        # Written first and counted after, as in ``list_quads``.
        listed[count] = np.int32(k)
        count += words[4 * k + column] != np.uint32(0)
    return count


@kernel()
def update_one(x, delta, shift, input_words, unit_words, listed, weight):
    """The update by a single sample: its inputs are rounded first, then their product.

    x            uint8  (1, X)                         read
    delta        int32  (panels * 16,)                 read     the sample's deltas, -127..127
    shift        int                                   read     PRODUCT_SHIFT..24
    input_words  uint32 (4 * ceil(I/4),)               read, written  random words, see ``thin``
    unit_words   uint32 (panels * 16,)                 read     random words of the units
    listed       int32  (ceil(I/4),)                   written  workspace
    weight       int8   (panels, ceil(I/4), 16, 4)     read, written

    For input i and unit n: ``weight += floor(floor(x_i * 2**(8 - shift) + u_i) * delta_n * 2**-8
    + v_in)``, saturating at +-127; u_i and v_in are uniform in 0..1 and independent of each
    other. Returns how many changed.
    """
    quads = weight.shape[1]
    panel = quads * 4 * PANEL
    thin(x, quads, shift, input_words)
    changed = 0
    # Ones are most of what is left, and need neither a product nor 16 bits.
    count = list_left(input_words, ONES, quads, listed)
    for p in range(weight.shape[0]):
        changed += round_ones(
            input_words, listed, count, delta, p * PANEL, unit_words, weight, p * panel
        )
    count = list_left(input_words, MORE, quads, listed)
    if count > 0:
        for p in range(weight.shape[0]):
            changed += round_more(
                input_words, listed, count, delta, p * PANEL, unit_words, weight, p * panel
            )
    return changed
