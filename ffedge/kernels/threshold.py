"""Positive and negative data against a threshold: the learning of Hinton 2022.

A layer's goodness is the sum of squares of its activity, g; the probability that its input is
positive (real, rightly labelled) is ``sigmoid(g - threshold)`` with threshold = width. Rows
0..half-1 of a batch are positive, rows half..2*half-1 the same samples with a wrong label.
Signs, factors and the peer term follow the paper, section 2 and footnote 9, and the author's
own code; forward_forward.md V1.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .classes import SMALLEST_ERROR, log_softmax
from .elementary import exp, log1p
from .optimize import flush
from .provider import REORDER, kernel
from .random import uniform


@kernel()
def embed_label(x, first, rows, width, classes, labels, on, off):
    """Write the label inputs: ``on`` for the row's class, ``off`` for the others.

    x        float32 (panels, capacity, 16)  written  units width..width+classes-1
    first    int                             read     first row; ``rows`` of them
    labels   int32 (at least rows,)          read     class of row first + n; -1 for none
    on, off  float32                         read
    """
    for n in range(rows):
        for c in range(classes):
            unit = width + c
            x[unit // PANEL, first + n, unit % PANEL] = on if c == labels[n] else off


@kernel()
def copy_rows(x, rows, to):
    """Copy rows 0..rows-1 of every panel to rows to..to+rows-1."""
    for p in range(x.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                x[p, to + r, lane] = x[p, r, lane]


@kernel()
def wrong_labels(scores, rows, labels, seed, counter, out):
    """Hard negatives: for each row a class other than its own, as likely as the net finds it.

    scores   float32 (capacity, C)  read     logits of the net's own prediction
    labels   int32 (capacity,)      read     the true class, never drawn
    seed, counter  int              read     random numbers counter..counter+rows-1
    out      int32 (capacity,)      written  out[:rows]
    """
    classes = scores.shape[1]
    for r in range(rows):
        log_total, _ = log_softmax(scores, r, classes)
        rest = np.float32(0)
        for c in range(classes):
            if c != labels[r]:
                rest += exp(scores[r, c] - log_total)
        target = uniform(seed, counter + r) * rest
        # Where the net is certain, all that is left is rounding: draw evenly then.
        even = not rest > np.float32(1e-20)
        if even:
            target = uniform(seed, counter + r) * np.float32(classes - 1)
        chosen = -1
        for c in range(classes):
            if c == labels[r]:
                continue
            if chosen < 0 or target >= np.float32(0):
                chosen = c
            target -= np.float32(1) if even else exp(scores[r, c] - log_total)
            if target < np.float32(0):
                break
        out[r] = np.int32(chosen)


@kernel(fastmath=REORDER)
def track_means(y, rows, rate, means):
    """``means += rate * (mean over rows of y - means)``: a unit's running mean activity.

    y      float32 (panels, capacity, 16)  read
    means  float32 (panels, 1, 16)         read, written
    """
    for p in range(y.shape[0]):
        for lane in range(PANEL):
            total = np.float32(0)
            for r in range(rows):
                total += y[p, r, lane]
            step = rate * (total / np.float32(rows) - means[p, 0, lane])
            # A dead unit's mean, and a padding lane's, would otherwise stay denormal for ever.
            means[p, 0, lane] = flush(means[p, 0, lane] + step)


@kernel()
def threshold_delta(y, half, width, goodness, threshold, means, peer, scale, delta):
    """``delta = scale * (+-2 * sigmoid(-+(g - threshold)) * y + peer * (mean of means - means))``

    y         float32 (panels, capacity, 16)  read     rows 0..2*half-1
    goodness  float32 (capacity,)             read     sum of squares of each row
    means     float32 (panels, 1, 16)         read     running mean activity of each unit
    peer      float32                         read     strength of peer normalisation
    scale     float32                         read     1 / half, times the rate for SGD
    delta     float32 (panels, capacity, 16)  written  downhill; lanes beyond width become 0

    Upper signs for positive rows. The peer term acts on positive rows only and is not gated by
    the ReLU, so that it revives dead units. Returns (sum of the logistic losses in nats, rows
    on the right side of the threshold).
    """
    average = np.float32(0)
    for p in range(means.shape[0]):
        for lane in range(PANEL):
            if p * PANEL + lane < width:
                average += means[p, 0, lane]
    average /= np.float32(width)
    loss = 0.0
    right = 0
    for r in range(2 * half):
        sign = np.float32(1) if r < half else np.float32(-1)
        margin = sign * (goodness[r] - threshold)
        tail = exp(-abs(margin))
        loss += np.float64(log1p(tail) + max(-margin, np.float32(0)))
        right += margin > np.float32(0)
        wrong = (
            tail / (np.float32(1) + tail) if margin > 0 else np.float32(1) / (np.float32(1) + tail)
        )
        if wrong < SMALLEST_ERROR:
            wrong = np.float32(0)
        factor = np.float32(2) * sign * wrong * scale
        pull = peer * scale if r < half else np.float32(0)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                push = pull * (average - means[p, 0, lane])
                if p * PANEL + lane >= width:
                    push = np.float32(0)
                delta[p, r, lane] = factor * y[p, r, lane] + push
    return loss, right


@kernel()
def add_goodness(goodness, rows, label, total):
    """``total[r, label] += goodness[r]``: what one label collects over the layers."""
    for r in range(rows):
        total[r, label] += goodness[r]
