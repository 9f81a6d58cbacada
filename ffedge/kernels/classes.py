"""Class competition: scores to probabilities, and the error of the local cross-entropy."""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .elementary import exp, log
from .provider import kernel

#: Errors below this are exactly zero: they could only make denormal numbers.
SMALLEST_ERROR = np.float32(1e-12)


@kernel()
def softmax_total(scores, row, classes):
    """``sum of exp(score - largest score)`` of one row, and the index of its largest score.

    scores  float32 (capacity, classes)  read
    returns (float32, int)               ties go to the lowest class
    """
    best = 0
    for c in range(1, classes):
        if scores[row, c] > scores[row, best]:
            best = c
    total = np.float32(0)
    for c in range(classes):
        total += exp(scores[row, c] - scores[row, best])
    return total, best


@kernel()
def log_softmax(scores, row, classes):
    """log of the sum of exponentials of one row, and the index of its largest score."""
    total, best = softmax_total(scores, row, classes)
    return scores[row, best] + log(total), best


@kernel()
def class_errors(scores, rows, labels, scale, smoothing, errors):
    """``errors = scale * (target - softmax(scores))``; returns (loss, correct).

    scores  float32 (capacity, C)                 read
    labels  int32 (capacity,)                     read     0..C-1
    scale   float32                               read     descent: 1 / batch, times the rate
    smoothing  float32                            read     0..1, spread over all classes
    errors  float32 (ceil(C/16), capacity, 16)    written  lanes beyond C become 0

    The target is ``(1 - smoothing) * onehot(label) + smoothing / C`` (Szegedy et al. 2016,
    section 7). The derivative of the cross-entropy by a score is softmax - target
    (forward_forward V4-V6); the sign here points downhill. ``loss`` is the sum over the rows of
    -log softmax(scores)[label] in nats, ``correct`` counts rows whose label scores largest.
    """
    classes = scores.shape[1]
    even = smoothing / np.float32(classes)
    loss = 0.0
    correct = 0
    for r in range(rows):
        total, best = softmax_total(scores, r, classes)
        label = labels[r]
        loss += np.float64(log(total) + (scores[r, best] - scores[r, label]))
        correct += best == label
        for p in range(errors.shape[0]):
            for lane in range(PANEL):
                c = p * PANEL + lane
                error = np.float32(0)
                if c < classes:
                    target = even + (np.float32(1) - smoothing) * np.float32(c == label)
                    error = target - exp(scores[r, c] - scores[r, best]) / total
                    if abs(error) < SMALLEST_ERROR:
                        error = np.float32(0)
                errors[p, r, lane] = error * scale
    return loss, correct


@kernel()
def add_log_probabilities(scores, rows, share, total):
    """``total += share * log_softmax(scores)``: the layers' votes, a product of probabilities.

    scores  float32 (capacity, C)  read
    share   float32                read
    total   float32 (capacity, C)  read, written
    """
    for r in range(rows):
        log_total, _ = log_softmax(scores, r, scores.shape[1])
        for c in range(scores.shape[1]):
            total[r, c] += share * (scores[r, c] - log_total)
