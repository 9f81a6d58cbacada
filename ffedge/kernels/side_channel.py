"""The goodness of every class from one product: labels enter beside the features.

With ``s = x @ W + b`` computed once, class k adds its own bias u_k: ``y_k = relu(s + u_k)``, and
its goodness is the mean of ``y_k**2`` over the n units. Classes are taken one after the other, so
that no buffer holds an activity per class (label side-channel as in FFCL, arXiv 2405.12443).
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .elementary import sigmoid, softplus
from .optimize import flush
from .provider import REORDER, kernel


@kernel(fastmath=REORDER)
def side_scores(sums, rows, width, labels, factor, scores):
    """``scores[r, k] = factor * mean over units of relu(sums[r] + labels[k])**2``

    sums    float32 (panels, capacity, 16)  read
    width   int                             read     n
    labels  float32 (panels, C, 16)         read     u
    factor  float32                         read
    scores  float32 (capacity, C)           written
    """
    share = factor / np.float32(width)
    scores[:rows] = np.float32(0)
    for p in range(sums.shape[0]):
        for r in range(rows):
            for k in range(labels.shape[1]):
                total = np.float32(0)
                for lane in range(PANEL):
                    y = max(sums[p, r, lane] + labels[p, k, lane], np.float32(0))
                    total += y * y
                scores[r, k] += total * share


@kernel(fastmath=REORDER)
def side_delta(sums, rows, width, labels, factor, errors, delta, gradient):
    """``delta = sum over k of errors_k * factor * 2/n * y_k``; the same sum over rows for u_k.

    errors    float32 (ceil(C/16), capacity, 16)  read     downhill, by the scores
    delta     float32 (panels, capacity, 16)      written  by the sums
    gradient  float32 (panels, C, 16)             written  by u, downhill

    Other arguments as in ``side_scores``. Lanes beyond the width are 0 in sums and labels, so they
    stay 0 here.
    """
    share = np.float32(2) * factor / np.float32(width)
    for p in range(sums.shape[0]):
        gradient[p] = np.float32(0)
        for r in range(rows):
            delta[p, r] = np.float32(0)
            for k in range(labels.shape[1]):
                error = errors[k // PANEL, r, k % PANEL] * share
                for lane in range(PANEL):
                    y = max(sums[p, r, lane] + labels[p, k, lane], np.float32(0))
                    delta[p, r, lane] += error * y
                    gradient[p, k, lane] += error * y
            for lane in range(PANEL):
                delta[p, r, lane] = flush(delta[p, r, lane])


@kernel()
def logistic_errors(scores, rows, labels, scale, threshold, errors):
    """The true class's score above the threshold, all others' below; returns (loss, correct).

    scores     float32 (capacity, C)               read
    labels     int32 (capacity,)                   read     0..C-1
    scale      float32                             read     1 / batch, times the rate
    threshold  float32                             read     theta
    errors     float32 (ceil(C/16), capacity, 16)  written  lanes beyond C become 0

    Of a row, ``loss = softplus(theta - s_true) + mean over the wrong k of softplus(s_k - theta)``;
    errors are ``-scale * d loss / d s``. ``loss`` is the sum over the rows in nats, ``correct``
    counts rows whose label scores largest (ties: the lowest class).
    """
    classes = scores.shape[1]
    share = np.float32(1) / np.float32(classes - 1)
    loss = 0.0
    correct = 0
    for r in range(rows):
        best = 0
        for p in range(errors.shape[0]):
            for lane in range(PANEL):
                errors[p, r, lane] = np.float32(0)
        for k in range(classes):
            if scores[r, k] > scores[r, best]:
                best = k
            above = scores[r, k] - threshold
            if k == labels[r]:
                error = sigmoid(-above)
                loss += np.float64(softplus(-above))
            else:
                error = -share * sigmoid(above)
                loss += np.float64(share * softplus(above))
            errors[k // PANEL, r, k % PANEL] = flush(error * scale)
        correct += best == labels[r]
    return loss, correct


@kernel()
def add_scores(scores, rows, total):
    """``total += scores``, both float32 (capacity, C)."""
    for r in range(rows):
        for k in range(scores.shape[1]):
            total[r, k] += scores[r, k]
