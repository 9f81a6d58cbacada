"""A counter-based random generator: value n of stream ``seed`` is a function of both alone.

Nothing is stored, so the numbers do not depend on threads, batch sizes, order or platform,
and a run can be resumed from its counters.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import kernel


@kernel()
def mix(value):
    """Scramble 32 bits (uint32 -> uint32, a bijection).

    Source: Wellons, "Prospecting for hash functions", lowbias32.
    """
    v = np.uint64(value)
    v ^= v >> np.uint64(16)
    v = (v * np.uint64(0x7FEB352D)) & np.uint64(0xFFFFFFFF)
    v ^= v >> np.uint64(15)
    v = (v * np.uint64(0x846CA68B)) & np.uint64(0xFFFFFFFF)
    v ^= v >> np.uint64(16)
    return np.uint32(v)


@kernel()
def bits(seed, counter):
    """32 random bits for ``counter`` (int, 0..2**64-1) of stream ``seed`` (int, 0..2**32-1)."""
    low = np.uint64(counter) & np.uint64(0xFFFFFFFF)
    high = np.uint64(counter) >> np.uint64(32)
    inner = mix(low ^ np.uint64(mix(np.uint64(seed))))
    return mix(np.uint64(inner) ^ high ^ np.uint64(0x9E3779B9))


@kernel()
def uniform(seed, counter):
    """A float32 in [0, 1) with 24 random bits."""
    return np.float32(bits(seed, counter) >> np.uint32(8)) * np.float32(2.0**-24)


@kernel()
def normal(seed, number, scale):
    """Number ``number`` of stream ``seed``, about N(0, scale**2), float32.

    The sum of eight 16-bit integers, centred: within +-4.9 standard deviations, exact in
    integers and rounded once, so the same bits everywhere.
    """
    total = np.int32(-4 * 65535)
    for part in range(4):
        word = bits(seed, number * 4 + part)
        total += np.int32(word & np.uint32(0xFFFF)) + np.int32(word >> np.uint32(16))
    # Standard deviation of the sum: sqrt(8 * (65536**2 - 1) / 12).
    return np.float32(total) * (scale / np.float32(53509.91))


@kernel()
def fill_normal(seed, width, scale, first, out):
    """Starting weights: ``out[p, i, lane]`` about N(0, scale**2) for units below ``width``.

    seed   int, 0..2**32-1                read
    width  int                            read     units; lanes from there on become 0
    scale  float32                        read
    first  int                            read     panel of the layer at which ``out`` begins
    out    float32 (panels, I, 16)        written
    """
    inputs = out.shape[1]
    for p in range(out.shape[0]):
        for lane in range(PANEL):
            unit = (first + p) * PANEL + lane
            for i in range(inputs):
                if unit < width:
                    out[p, i, lane] = normal(seed, unit * inputs + i, scale)
                else:
                    out[p, i, lane] = np.float32(0)


@kernel()
def shuffled(position, count, seed):
    """Where a pseudo-random permutation of 0..count-1 sends ``position``; nothing is stored.

    position, count  int, 0 <= position < count <= 2**32
    seed             int, 0..2**32-1; another seed is another permutation

    A six-round Feistel network on the next even power of two, walked until it lands inside
    (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = 1
    while (1 << (2 * half)) < count:
        half += 1
    mask = np.uint64((1 << half) - 1)
    value = np.uint64(position)
    while True:
        left, right = value >> np.uint64(half), value & mask
        for turn in range(6):
            word = (np.uint64(seed) + np.uint64(turn)) & np.uint64(0xFFFFFFFF)
            key = np.uint64(mix(right ^ np.uint64(mix(word))))
            left, right = right, left ^ (key & mask)
        value = (left << np.uint64(half)) | right
        if value < np.uint64(count):
            return np.int64(value)
