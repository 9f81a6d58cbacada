"""The primitives of a single sample for processors without vectors: loops over 32-bit words.

The formulas and arguments are those of ``single``. A word holds four inputs, or the weights of
one unit for them; Cortex-M cores with the DSP instructions multiply two pairs at once.
"""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel
from ..views import bytes_at, words_at
from .packed import add_bytes, add_steps, differing, dot_word, ones_steps


@kernel()
def listed_one(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0):
    """See ``single``; four units at a time share the loads of the inputs."""
    x, w = words_at(a, a0), words_at(b, b0)
    for first in range(0, PANEL, 4):
        s0, s1 = bias[bias0 + first], bias[bias0 + first + 1]
        s2, s3 = bias[bias0 + first + 2], bias[bias0 + first + 3]
        for t in range(count):
            k = index[t]
            word, at = x[k], PANEL * k + first
            s0, s1 = dot_word(s0, word, w[at]), dot_word(s1, word, w[at + 1])
            s2, s3 = dot_word(s2, word, w[at + 2]), dot_word(s3, word, w[at + 3])
        store_activity(s0, shift, y, y0 + first)
        store_activity(s1, shift, y, y0 + first + 1)
        store_activity(s2, shift, y, y0 + first + 2)
        store_activity(s3, shift, y, y0 + first + 3)


@kernel()
def store_activity(total, shift, y, at):
    """``y[at] = clip(total >> shift, 0, 127)``"""
    value = np.int32(total >> np.int32(shift))
    bytes_at(y, at)[0] = np.uint8(min(max(value, np.int32(0)), np.int32(127)))


@kernel()
def four_times(value):
    """The lowest byte of an integer in all four bytes of a word."""
    return np.uint32((np.int64(value) & np.int64(255)) * np.int64(0x01010101))


@kernel()
def round_ones(inputs, index, count, d, d0, units, w, w0):
    """See ``single``; four inputs of a unit at a time, units without a delta are passed by."""
    weights, changed = words_at(w, w0), np.int32(0)
    for lane in range(PANEL):
        delta = d[d0 + lane]
        if delta == 0:
            continue
        # Noise and delta together reach 256: a step up; or they do not, with a negative delta
        # modulo 256: a step down.
        unit, each = four_times(units[d0 + lane]), four_times(delta)
        up = np.uint32(0x01010101) if delta > 0 else np.uint32(0)
        down = np.uint32(0) if delta > 0 else np.uint32(0xFFFFFFFF)
        for t in range(count):
            k = np.int32(index[t])
            steps = np.uint32(ones_steps(inputs[4 * k + 1], unit, each, up, down) & inputs[4 * k])
            if steps != np.uint32(0):
                at = PANEL * k + lane
                old = weights[at]
                new = add_steps(old, steps)
                weights[at] = new
                changed = np.int32(changed + differing(old, new))
    return changed


@kernel()
def pair_steps(x, noise, delta):
    """``x * delta + noise`` in both halves of a word: u7, u8 and -127..127; exact, signed."""
    word = np.int64(0xFFFFFFFF)
    product = (np.int64(x) * np.int64(delta) + np.int64(noise)) & word
    # A negative lower half has borrowed from the upper one.
    return np.uint32(
        (product + ((product & np.int64(0x8000)) << np.int64(1))) & np.int64(0xFFFFFFFF)
    )


@kernel()
def round_more(inputs, index, count, d, d0, units, w, w0):
    """See ``single``; as ``round_ones``."""
    weights, changed, even = words_at(w, w0), np.int32(0), np.uint32(0x00FF00FF)
    for lane in range(PANEL):
        delta = d[d0 + lane]
        if delta == 0:
            continue
        unit = four_times(units[d0 + lane])
        for t in range(count):
            k = np.int32(index[t])
            x, noise = inputs[4 * k + 2], add_bytes(inputs[4 * k + 1], unit)
            low = pair_steps(x & even, noise & even, delta)
            high = pair_steps(
                np.uint32(x >> np.uint32(8)) & even, np.uint32(noise >> np.uint32(8)) & even, delta
            )
            steps = np.uint32((np.uint32(low >> np.uint32(8)) & even) | (high & ~even))
            if steps != np.uint32(0):
                at = PANEL * k + lane
                old = weights[at]
                new = add_steps(old, steps)
                weights[at] = new
                changed = np.int32(changed + differing(old, new))
    return changed


@kernel()
def dot(a, a0, b, b0, count):
    """See ``single``."""
    x, w, total = words_at(a, a0), words_at(b, b0), np.int32(0)
    for k in range(count // 4):
        total = dot_word(total, x[k], w[k])
    return total


@kernel()
def any_of_four(a, a0):
    """See ``single``."""
    return words_at(a, a0)[0] != np.uint32(0)
