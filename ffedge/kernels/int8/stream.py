"""The update by a single sample, where most weights need not even be read.

A sample's gradient is the outer product of its inputs and its deltas, and a step is far below one
unit for most weights. Rounding the inputs stochastically before the product leaves few of them;
the product's own rounding then makes up for the rest. Every weight's step keeps its expectation.
"""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel
from .single import rank_one

#: A single sample's update falls by as many bits at least; smaller shifts round the product only.
LEAST_SHIFT = 8


@kernel()
def input_shift(shift):
    """How many bits of an update's ``shift`` (8..24) fall on the inputs, 0..10.

    7 bits make every input 0 or 1; the rest, 8..14 bits, fall on the product.
    """
    return max(min(shift - LEAST_SHIFT, 7), shift - 14)


@kernel()
def thin(x, quads, shift, words, listed):
    """Round a sample's inputs: ``floor(x * 2**-f + word / 2**32)``; list the groups that are left.

    x       uint8  (1, X)        read
    quads   int                  read           groups of four inputs
    shift   int                  read           of the update; f = ``input_shift(shift)``
    words   uint32 (4 * quads,)  read, written  random words of the inputs; then, for each group,
                                                its rounded inputs 0 | 2 << 16 and 1 | 3 << 16, and
                                                the lower halves of their words likewise
    listed  int32  (quads,)      written        groups in which an input is not 0

    Returns how many are left. The upper bits of a word round the input, its lower half is the
    random number for the product.
    """
    fall, ten, above = np.uint64(input_shift(shift)), np.uint64(10), np.uint64(22)
    low, half = np.uint64(0xFFFF), np.uint64(16)
    row = x[0]
    # Spelled out for four inputs: so it is vectorised. Ten bits of a word are enough for f <= 10.
    for k in range(quads):
        i = 4 * k
        n0, n1 = np.uint64(words[i]), np.uint64(words[i + 1])
        n2, n3 = np.uint64(words[i + 2]), np.uint64(words[i + 3])
        x0 = ((np.uint64(row[i]) << ten) + ((n0 >> above) << fall)) >> ten >> fall
        x1 = ((np.uint64(row[i + 1]) << ten) + ((n1 >> above) << fall)) >> ten >> fall
        x2 = ((np.uint64(row[i + 2]) << ten) + ((n2 >> above) << fall)) >> ten >> fall
        x3 = ((np.uint64(row[i + 3]) << ten) + ((n3 >> above) << fall)) >> ten >> fall
        words[i], words[i + 1] = np.uint32(x0 | x2 << half), np.uint32(x1 | x3 << half)
        words[i + 2] = np.uint32((n0 & low) | (n2 & low) << half)
        words[i + 3] = np.uint32((n1 & low) | (n3 & low) << half)
    count = 0
    for k in range(quads):
        # Written first and counted after, as in ``list_quads``.
        listed[count] = np.int32(k)
        count += (words[4 * k] | words[4 * k + 1]) != np.uint32(0)
    return count


@kernel()
def update_one(x, delta, shift, input_words, unit_words, listed, weight):
    """The update by a single sample: its inputs are rounded first, then their product.

    x            uint8  (1, X)                         read
    delta        int32  (panels * 16,)                 read     the sample's deltas, -127..127
    shift        int                                   read     LEAST_SHIFT..24
    input_words  uint32 (4 * ceil(I/4),)               read, written  random words, see ``thin``
    unit_words   uint32 (panels * 16,)                 read     random words of the units
    listed       int32  (ceil(I/4),)                   written  workspace
    weight       int8   (panels, ceil(I/4), 16, 4)     read, written

    With f = ``input_shift(shift)`` and s = shift - f, for input i and unit n:
    ``weight += floor(floor(x_i * 2**-f + u_i) * delta_n * 2**-s + v_in)``, saturating at +-127;
    u_i and v_in are uniform in 0..1 and independent of each other. Returns how many changed.
    """
    quads = weight.shape[1]
    count = thin(x, quads, shift, input_words, listed)
    changed = 0
    for p in range(weight.shape[0]):
        changed += rank_one(
            input_words, listed, count, delta, p * PANEL, unit_words, shift - input_shift(shift),
            weight, p * quads * 4 * PANEL,
        )  # fmt: skip
    return changed
