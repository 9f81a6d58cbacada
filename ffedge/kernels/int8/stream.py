"""The update by a single sample, where most weights need not even be read.

A sample's gradient is the outer product of its inputs and its deltas, and a step is far below one
unit for most weights. Rounding the inputs stochastically before the product leaves few of them;
the product's own rounding then makes up for the rest. Every weight's step keeps its expectation.
"""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..jit import kernel
from .dense import list_quads
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
def thin(x, quads, shift, words, pairs, listed):
    """Round a sample's inputs: ``floor(x * 2**-f + word / 2**32)``; keep those that are left.

    x       uint8  (1, X)        read
    quads   int                  read     groups of four inputs
    shift   int                  read     of the update; f = ``input_shift(shift)``
    words   uint32 (4 * quads,)  read     random words of the inputs
    pairs   uint32 (quads, 4)    written  of each group that is left: its rounded inputs 0 | 2 << 16
                                          and 1 | 3 << 16, likewise their random numbers
    listed  int32  (quads,)      written  numbers of those groups

    Returns how many are left. The upper bits of a word round the input; the lowest shift - f bits
    are the random number for the product.
    """
    fall = input_shift(shift)
    mask = np.uint64((1 << (shift - fall)) - 1)
    found = list_quads(x, 0, quads, listed)
    count = 0
    for t in range(found):
        k = listed[t]
        values, noises = np.uint64(0), np.uint64(0)
        for j in range(4):
            word = np.uint64(words[4 * k + j])
            value = (np.uint64(x[0, 4 * k + j]) << np.uint64(32)) + (word << np.uint64(fall))
            # In the order 0 2 1 3: the halves of two words.
            at = np.uint64(16 * (j // 2 + 2 * (j % 2)))
            values |= (value >> np.uint64(32 + fall)) << at
            noises |= (word & mask) << at
        listed[count] = k
        pairs[count, 0], pairs[count, 1] = np.uint32(values), np.uint32(values >> np.uint64(32))
        pairs[count, 2], pairs[count, 3] = np.uint32(noises), np.uint32(noises >> np.uint64(32))
        count += values != np.uint64(0)
    return count


@kernel()
def update_one(x, delta, shift, input_words, unit_words, pairs, listed, weight):
    """The update by a single sample: its inputs are rounded first, then their product.

    x            uint8  (1, X)                         read
    delta        int32  (panels * 16,)                 read     the sample's deltas, -127..127
    shift        int                                   read     LEAST_SHIFT..24
    input_words  uint32 (4 * ceil(I/4),)               read     random words of the inputs
    unit_words   uint32 (panels * 16,)                 read     random words of the units
    pairs        uint32 (ceil(I/4), 4)                 written  workspace, see ``thin``
    listed       int32  (ceil(I/4),)                   written  workspace
    weight       int8   (panels, ceil(I/4), 16, 4)     read, written

    With f = ``input_shift(shift)`` and s = shift - f, for input i and unit n:
    ``weight += floor(floor(x_i * 2**-f + u_i) * delta_n * 2**-s + v_in)``, saturating at +-127;
    u_i and v_in are uniform in 0..1 and independent of each other. Returns how many changed.
    """
    quads = weight.shape[1]
    count = thin(x, quads, shift, input_words, pairs, listed)
    changed = 0
    for p in range(weight.shape[0]):
        changed += rank_one(
            pairs, listed, count, delta, p * PANEL, unit_words, shift - input_shift(shift),
            weight, p * quads * 4 * PANEL,
        )  # fmt: skip
    return changed
