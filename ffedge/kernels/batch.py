"""Fetch samples: choose rows, scale them, lay them out in panels."""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .optimize import flush
from .provider import REORDER, kernel
from .random import shuffled


@kernel()
def choose_rows(first, count, total, seed, shuffle, out):
    """The sample numbers of one batch.

    first, count, total  int     read     batch covers positions first..first+count-1 of total
    seed                 int     read     permutation of this epoch
    shuffle              bool    read     False: in order
    out                  int64 (capacity,)  written  out[:count]
    """
    for n in range(count):
        out[n] = shuffled(first + n, total, seed) if shuffle else first + n


@kernel(fastmath=REORDER)
def fetch(features, subset, chosen, count, mean, gain, limit, out):
    """``out[n] = clip((features[row] - mean) * gain, -limit, limit)``

    features    any number (samples, width)       read
    subset      int32 or int64 (m,)               read     row of each sample; empty: all rows
    chosen      int64 (capacity,)                 read     sample numbers; chosen[:count] used
    mean, gain  float32 (width,)                  read     unit of the feature, 1 / unit
    limit       float32                           read     at least 1
    out         float32 (panels, capacity, 16)    written  lanes beyond the width become 0; so do
                                                          values below 1e-30
    """
    width = features.shape[1]
    for n in range(count):
        row = chosen[n]
        if subset.shape[0] > 0:
            row = np.int64(subset[row])
        for p in range(out.shape[0]):
            used = max(0, min(PANEL, width - p * PANEL))
            for lane in range(used):
                j = p * PANEL + lane
                value = (np.float32(features[row, j]) - mean[j]) * gain[j]
                out[p, n, lane] = flush(min(max(value, -limit), limit))
            for lane in range(used, PANEL):
                out[p, n, lane] = np.float32(0)


@kernel()
def fetch_labels(labels, subset, chosen, count, out):
    """``out[n] = labels[row]``: class codes as int32.

    labels  uint8, uint16 or int32 (samples,)  read
    subset, chosen, count                      read     as in ``fetch``
    out     int32 (capacity,)                  written  out[:count]
    """
    for n in range(count):
        row = chosen[n]
        if subset.shape[0] > 0:
            row = np.int64(subset[row])
        out[n] = np.int32(labels[row])


@kernel()
def fetch_batch(
    features, labels, subset, first, count, total, seed, shuffle, mean, gain, limit,
    chosen, codes, out,
):  # fmt: skip
    """``choose_rows``, ``fetch_labels`` and ``fetch`` in one call; arguments as in those."""
    choose_rows(first, count, total, seed, shuffle, chosen)
    fetch_labels(labels, subset, chosen, count, codes)
    fetch(features, subset, chosen, count, mean, gain, limit, out)


@kernel()
def copy_rows(x, rows, to):
    """Copy rows 0..rows-1 of every panel to rows to..to+rows-1."""
    for p in range(x.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                x[p, to + r, lane] = x[p, r, lane]
