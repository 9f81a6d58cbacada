"""Labels as a part of the input, and wrong ones: rows ``first .. first + rows - 1`` of a batch.

``on`` is what the row's class gets and ``off`` what all others get, in units of ``scales``: the
label's own length for each row. The neutral label has ``on = off = 1 / classes``.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .classes import log_softmax
from .elementary import exp, log
from .provider import kernel
from .random import bits, uniform


@kernel()
def fixed_scales(value, first, rows, scales):
    """``scales = value``: the same label length for every row."""
    for n in range(rows):
        scales[first + n] = value


@kernel()
def largest_scales(x, first, rows, begin, end, scales):
    """``scales = largest magnitude`` of inputs begin..end-1 of each row; 1 where all are 0."""
    for n in range(rows):
        most = np.float32(0)
        for i in range(begin, end):
            most = max(most, abs(x[i // PANEL, first + n, i % PANEL]))
        scales[first + n] = most if most > np.float32(0) else np.float32(1)


@kernel()
def embed_label(x, first, rows, begin, classes, labels, scales, neutral):
    """Write one-of-C label inputs.

    x        float32 (panels, capacity, 16)  written  inputs begin..begin+classes-1
    labels   int32 (at least rows,)          read     class of row first + n
    scales   float32 (capacity,)             read     by row
    neutral  bool                            read     True: 1 / C of the scale in every input
    """
    for n in range(rows):
        on = scales[first + n]
        off = on / np.float32(classes) if neutral else np.float32(0)
        for c in range(classes):
            i = begin + c
            is_on = c == labels[n] and not neutral
            x[i // PANEL, first + n, i % PANEL] = on if is_on else off


@kernel()
def add_pattern(x, first, rows, features, seed, labels, scales):
    """Add ``+-scale`` to every feature, in the signs of the row's class.

    Sign i of class c is bit 0 of random word ``c * features + i``: nothing is stored.
    """
    for n in range(rows):
        strength = scales[first + n]
        for i in range(features):
            word = bits(seed, np.int64(labels[n]) * features + i)
            sign = strength if word & np.uint32(1) else -strength
            x[i // PANEL, first + n, i % PANEL] += sign


@kernel()
def evenly_wrong(rows, classes, labels, seed, counter, out):
    """For each row a class other than its own, all equally likely.

    labels  int32 (capacity,)      read     the true class, never drawn
    seed, counter  int             read     random numbers counter..counter+rows-1
    out     int32 (capacity,)      written  out[:rows]
    """
    for r in range(rows):
        drawn = min(np.int64(uniform(seed, counter + r) * np.float32(classes - 1)), classes - 2)
        out[r] = np.int32(drawn + (drawn >= labels[r]))


@kernel()
def wrong_labels(scores, rows, labels, seed, counter, out):
    """Hard negatives: for each row a class other than its own, as likely as the net finds it.

    scores   float32 (capacity, C)  read     logits of the net's own prediction
    others                                   as in ``evenly_wrong``
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


@kernel()
def half_logs(total, rows):
    """``total = log(total) / 2``: logits by which a class is as likely as its goodness's root.

    Values of 0 and below become the logit of 1e-30.
    """
    for r in range(rows):
        for c in range(total.shape[1]):
            total[r, c] = np.float32(0.5) * log(max(total[r, c], np.float32(1e-30)))
