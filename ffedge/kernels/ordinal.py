"""Numbers as ordered bins: targets that fall off with the distance to a bin's centre.

A target y becomes a distribution over the bins of centres c_k,

    t_k proportional to exp(-|y - c_k| / w)          or      exp(-(y - c_k)**2 / (2 * w**2)),

and a layer is taught by the cross-entropy of its softmax against t. Nothing else differs from
class competition. Soft ordinal targets follow Forward-Forward Regression (arXiv 2606.03927),
whose equations are not public: these are ffedge's own; the Gaussian form is Diaz and Marathe's
(CVPR 2019) and, in reinforcement learning, Farebrother et al.'s (arXiv 2403.03950).
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .classes import SMALLEST_ERROR, softmax_total
from .elementary import exp, log
from .provider import kernel


@kernel()
def fetch_targets(labels, subset, chosen, count, out):
    """``out[n] = labels[row]`` as float32, where ``batch.fetch_labels`` brings codes.

    labels                 any number (samples,)  read
    subset, chosen, count                         read     as in ``batch.fetch``
    out                    float32 (capacity,)    written  out[:count]
    """
    for n in range(count):
        row = chosen[n]
        if subset.shape[0] > 0:
            row = np.int64(subset[row])
        out[n] = np.float32(labels[row])


@kernel()
def closeness(target, centre, unit, gaussian):
    """log t_k but for a constant: 0 at the centre, and less with the distance over ``unit``."""
    distance = abs(target - centre) / unit
    return np.float32(-0.5) * distance * distance if gaussian else -distance


@kernel()
def soft_errors(scores, rows, targets, centres, width, gaussian, scale, errors):
    """``errors = scale * (t - softmax(scores))``; returns (loss, near).

    scores   float32 (capacity, K)               read
    targets  float32 (capacity,)                 read     one beyond the centres counts as the
                                                          outermost centre
    centres  float32 (K,)                        read     ascending
    width    float32                             read     w in mean distances of centres, above 0
    gaussian bool                                read     False: exponential
    scale    float32                             read     descent: 1 / batch, times the rate
    errors   float32 (ceil(K/16), capacity, 16)  written  lanes beyond K become 0

    ``loss`` is the sum over the rows of the divergence of the softmax from t in nats (the
    cross-entropy less the entropy of t, which no layer can change); ``near`` counts rows whose
    largest score belongs to the bin nearest to the target, or to one as likely.
    """
    bins = scores.shape[1]
    unit = width * ((centres[bins - 1] - centres[0]) / np.float32(bins - 1))
    loss = 0.0
    near = 0
    for r in range(rows):
        total, best = softmax_total(scores, r, bins)
        log_total = log(total)
        y = min(max(targets[r], centres[0]), centres[bins - 1])
        largest = closeness(y, centres[0], unit, gaussian)
        for k in range(1, bins):
            largest = max(largest, closeness(y, centres[k], unit, gaussian))
        mass = np.float32(0)
        for k in range(bins):
            mass += exp(closeness(y, centres[k], unit, gaussian) - largest)
        log_mass = log(mass)
        near += closeness(y, centres[best], unit, gaussian) >= largest
        for p in range(errors.shape[0]):
            for lane in range(PANEL):
                k = p * PANEL + lane
                error = np.float32(0)
                if k < bins:
                    above = closeness(y, centres[k], unit, gaussian) - largest
                    target = exp(above) / mass
                    below = scores[r, k] - scores[r, best]
                    loss += np.float64(target * (above - log_mass - below + log_total))
                    error = target - exp(below) / total
                    if abs(error) < SMALLEST_ERROR:
                        error = np.float32(0)
                errors[p, r, lane] = error * scale
    return loss, near


@kernel()
def add_probabilities(scores, rows, total):
    """``total += softmax(scores)``: the layers' votes, a sum of probabilities.

    scores  float32 (capacity, K)  read
    total   float32 (capacity, K)  read, written
    """
    for r in range(rows):
        mass, best = softmax_total(scores, r, scores.shape[1])
        for k in range(scores.shape[1]):
            total[r, k] += exp(scores[r, k] - scores[r, best]) / mass
