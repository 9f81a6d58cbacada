"""What layers that run several times on one sample need: their states, and sums that are kept.

Rows of a batch in training: 0..count-1 with the true label, count..2*count-1 the same samples
with a wrong one. What does not depend on the label is computed for ``count`` rows only.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .optimize import flush
from .provider import kernel


@kernel()
def spread_rows(drive, count, rows, out):
    """``out[r] = drive[r % count]`` for rows 0..rows-1.

    drive  float32 (panels, at least count, 16)  read
    out    float32 (panels, capacity, 16)        written
    """
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                out[p, r, lane] = drive[p, r % count, lane]


@kernel()
def spread_bias(bias, rows, out):
    """``out[r] = bias`` for rows 0..rows-1; bias float32 (panels, 1, 16)."""
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                out[p, r, lane] = bias[p, 0, lane]


@kernel()
def move_rows(x, first, rows, to):
    """Copy rows first..first+rows-1 of every panel to rows to..to+rows-1; no overlap."""
    for p in range(x.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                x[p, to + r, lane] = x[p, first + r, lane]


@kernel()
def settle(out, rows, share, state):
    """``out = relu(out);  state = (1 - share) * state + share * out``

    out    float32 (panels, capacity, 16)  read, written  sums in, activity out
    share  float32                         read           0..1; 1 forgets the old state
    state  float32 (panels, capacity, 16)  read, written
    """
    keep = np.float32(1) - share
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                y = max(out[p, r, lane], np.float32(0))
                out[p, r, lane] = y
                # A unit that fell silent fades by the same factor step after step.
                old = state[p, r, lane] if keep > np.float32(0) else np.float32(0)
                state[p, r, lane] = flush(keep * old + share * y)


@kernel()
def add_rows(delta, rows, fresh, total):
    """``total[r] (+)= delta[r]`` for rows 0..rows-1.

    delta  float32 (panels, capacity, 16)       read
    fresh  bool                                 read  begin anew, else add
    total  float32 (panels, at least rows, 16)  read, written
    """
    for p in range(delta.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                old = np.float32(0) if fresh else total[p, r, lane]
                total[p, r, lane] = old + delta[p, r, lane]


@kernel()
def fold_rows(total, count):
    """``total[r] += total[count + r]``: what both labels ask of a sample, whose data they share."""
    for p in range(total.shape[0]):
        for r in range(count):
            for lane in range(PANEL):
                total[p, r, lane] += total[p, count + r, lane]


@kernel()
def keep_rows(x, rows, kept, to):
    """Copy rows 0..rows-1 of every panel of ``x`` to rows to..to+rows-1 of ``kept``."""
    for p in range(x.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                kept[p, to + r, lane] = x[p, r, lane]
