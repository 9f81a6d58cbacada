"""Fetch samples for training, each moved by a random number of pixels or steps.

Feature (i, j, c) of the moved sample is (i - down, j - across, c) of the one that is stored, the
nearest there is where that lies outside: edges are repeated. Both moves are drawn from
-reach..reach by the sample's place in the training run, so they differ from epoch to epoch and do
not depend on batches or on where a run was interrupted. The scaler's means and gains belong to
the places of the network's input, not to the stored features.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .optimize import flush
from .provider import REORDER, kernel
from .random import bits


@kernel()
def move(half_word, reach):
    """``half_word`` (0..65535) as a whole number in -reach..reach, each as likely to 1 / 65536."""
    return ((np.int64(half_word) * (2 * reach + 1)) >> 16) - reach


@kernel()
def nearest(at, size):
    """``at`` moved into 0..size-1."""
    return min(max(at, 0), size - 1)


@kernel(fastmath=REORDER)
def fetch_shifted(
    features, subset, chosen, count, mean, gain, limit, height, width, channels, down, across,
    seed, first, out,
):  # fmt: skip
    """``batch.fetch`` of moved samples

    height, width, channels  int  read     their product is the width of ``features``
    down, across             int  read     reach, at least 0 and below height and width
    seed, first              int  read     of the random numbers; counter of sample 0 of the batch

    All other arguments, and ``out``, as in ``batch.fetch``.
    """
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
                    out[j // PANEL, n, j % PANEL] = flush(min(max(value, -limit), limit))
                    j += 1
        for j in range(total, out.shape[0] * PANEL):
            out[j // PANEL, n, j % PANEL] = np.float32(0)
