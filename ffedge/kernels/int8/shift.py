"""The way into the int8 network for moved samples; see ``kernels.shift`` and ``int8.input``."""

from __future__ import annotations

import numpy as np

from ..provider import kernel
from ..random import bits
from ..shift import move, nearest
from .input import to_u7


@kernel()
def fetch_shifted(
    features, subset, chosen, count, mean, gain, parts, height, width, channels, down, across,
    seed, first, out,
):  # fmt: skip
    """``int8.input.fetch`` of moved samples; height to first as in ``kernels.shift``."""
    total = features.shape[1]
    for n in range(count):
        row = chosen[n]
        if subset.shape[0] > 0:
            row = np.int64(subset[row])
        word = bits(seed, first + n)
        dy = move(word & np.uint32(0xFFFF), down)
        dx = move(word >> np.uint32(16), across)
        j = 0
        for y in range(height):
            line = nearest(y - dy, height) * width
            for x in range(width):
                source = (line + nearest(x - dx, width)) * channels
                for c in range(channels):
                    value = (np.float32(features[row, source + c]) - mean[j]) * gain[j]
                    out[n, j] = to_u7(value)
                    if parts == 2:
                        out[n, total + j] = to_u7(-value)
                    j += 1
        for j in range(parts * total, out.shape[1]):
            out[n, j] = np.uint8(0)
