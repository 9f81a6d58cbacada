"""What layers that run several times on one sample need: their states, and sums that are kept.

Rows of a batch in training: 0..count-1 with the true label, count..2*count-1 the same samples
with a wrong one. What does not depend on the label is computed for ``count`` rows only.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .classes import log_softmax
from .optimize import flush
from .provider import REORDER, kernel


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
def rectify(sums, rows, out):
    """``out = relu(sums)`` in rows 0..rows-1; ``out`` may be ``sums``."""
    for p in range(sums.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                out[p, r, lane] = max(sums[p, r, lane], np.float32(0))


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


@kernel()
def take_steps(x, rows, steps, inputs, out):
    """Sequences as rows, step by step: ``out[t * rows + r, i] = x[r, t * inputs + i]``.

    x    float32 (ceil(steps * inputs / 16), capacity, 16)   read
    out  float32 (ceil(inputs / 16), at least steps * rows, 16)  written
    """
    for p in range(out.shape[0]):
        for t in range(steps):
            for r in range(rows):
                for lane in range(PANEL):
                    i = p * PANEL + lane
                    at = t * inputs + i
                    inside = i < inputs
                    out[p, t * rows + r, lane] = (
                        x[at // PANEL, r, at % PANEL] if inside else np.float32(0)
                    )


@kernel()
def take_rows(kept, first, rows, x):
    """Copy rows first..first+rows-1 of every panel of ``kept`` to rows 0..rows-1 of ``x``."""
    for p in range(x.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                x[p, r, lane] = kept[p, first + r, lane]


@kernel(fastmath=REORDER)
def recall(past, steps, rows, width, rate, decay, now, out):
    """``out[r] += rate * sum over t of decay**(steps - 1 - t) * past[t, r] (past[t, r] . now[r])``

    The fast weights' product ``A h`` of Ba et al. 2016 (arXiv 1610.06258), equation 4, without A:
    attention over past states, with a weight that falls with age in place of a softmax. The
    product in brackets is a mean over the ``width`` units.

    past  float32 (panels, at least steps * rows, 16)  read     state t of row r: t * rows + r
    now   float32 (panels, at least rows, 16)          read
    out   float32 (panels, at least rows, 16)          read, written
    """
    for r in range(rows):
        age = rate / np.float32(width)
        for back in range(steps):
            at = (steps - 1 - back) * rows + r
            match = np.float32(0)
            for p in range(now.shape[0]):
                for lane in range(PANEL):
                    match += past[p, at, lane] * now[p, r, lane]
            share = age * match
            age = flush(age * decay)
            if share == np.float32(0):
                continue
            for p in range(now.shape[0]):
                for lane in range(PANEL):
                    out[p, r, lane] += share * past[p, at, lane]


@kernel()
def spread_labels(labels, rows, steps, out):
    """Every step's rows have their sample's label: ``out[t * rows + r] = labels[r]``."""
    for t in range(steps):
        for r in range(rows):
            out[t * rows + r] = labels[r]


@kernel()
def add_votes(scores, rows, first, last, share, total):
    """``total[r] += share * sum over steps first..last-1 of log_softmax(scores[t * rows + r])``

    scores  float32 (at least last * rows, C)  read
    total   float32 (capacity, C)              read, written
    """
    for t in range(first, last):
        for r in range(rows):
            log_total, _ = log_softmax(scores, t * rows + r, scores.shape[1])
            for c in range(scores.shape[1]):
                total[r, c] += share * (scores[t * rows + r, c] - log_total)
