"""The primitives of a single sample for processors without vectors: loops over 32-bit words.

The formulas and arguments are those of ``single``. A word holds four inputs, or the weights of
one unit for them; Cortex-M cores with the DSP instructions multiply two pairs at once.
"""

from __future__ import annotations

import numpy as np

from ...tensor import PANEL
from ..provider import kernel
from ..views import bytes_at, words_at
from .packed import add_bytes, add_capped, carries, differing, dot_word


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
def move(weights, at, amounts, down):
    """Four weights by u8 ``amounts``, saturating at +-127; returns how many changed.

    weights  uint32 (any,)  read, written  four s8 each
    down     uint32         read           all bits set: they fall; none: they rise
    """
    old = weights[at]
    # Rising, w + 128; falling, 128 - w: 1..255 either way, and more by the amount.
    flip, one = np.uint32(down ^ np.uint32(0x80808080)), np.uint32(down & np.uint32(0x01010101))
    moved = add_capped(np.uint32(np.uint32(old ^ flip) + one), amounts)
    new = np.uint32(np.uint32(moved - one) ^ flip)
    weights[at] = new
    return differing(old, new)


@kernel()
def round_ones(inputs, index, count, d, d0, units, w, w0):
    """See ``single``; four inputs of a unit at a time, units without a delta are passed by.

    A negative delta is a positive one with the weights falling and the noise n as 255 - n.
    """
    weights, changed = words_at(w, w0), np.int32(0)
    for lane in range(PANEL):
        delta = d[d0 + lane]
        if delta == 0:
            continue
        down = np.uint32(0) if delta > 0 else np.uint32(0xFFFFFFFF)
        unit, size = four_times(units[d0 + lane]), four_times(abs(delta))
        for t in range(count):
            k = np.int32(index[t])
            noise = np.uint32(add_bytes(inputs[4 * k + 1], unit) ^ down)
            amounts = np.uint32(carries(noise, size) & inputs[4 * k])
            if amounts != np.uint32(0):
                changed = np.int32(changed + move(weights, PANEL * k + lane, amounts, down))
    return changed


@kernel()
def round_more(inputs, index, count, d, d0, units, w, w0):
    """See ``single``; as ``round_ones``, with two products in a word."""
    weights, changed, even = words_at(w, w0), np.int32(0), np.uint32(0x00FF00FF)
    eight = np.uint32(8)
    for lane in range(PANEL):
        delta = d[d0 + lane]
        if delta == 0:
            continue
        down = np.uint32(0) if delta > 0 else np.uint32(0xFFFFFFFF)
        unit, size = four_times(units[d0 + lane]), np.uint32(abs(delta))
        for t in range(count):
            k = np.int32(index[t])
            x, noise = inputs[4 * k + 2], np.uint32(add_bytes(inputs[4 * k + 1], unit) ^ down)
            # Either half at most 127 * 127 + 255: nothing carries over.
            low = np.uint32(np.uint32((x & even) * size) + (noise & even))
            x, noise = np.uint32(x >> eight), np.uint32(noise >> eight)
            high = np.uint32(np.uint32((x & even) * size) + (noise & even))
            amounts = np.uint32((np.uint32(low >> eight) & even) | (high & ~even))
            if amounts != np.uint32(0):
                changed = np.int32(changed + move(weights, PANEL * k + lane, amounts, down))
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
