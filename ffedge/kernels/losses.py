"""Local losses on goodness: positive rows 0..half-1 against negative rows half..2*half-1.

Each writes ``slopes = -scale * dL/dgoodness`` and returns (sum of the losses over the samples in
nats, rows on the right side). With several terms a row the loss is the mean over them.
"""

from __future__ import annotations

import numpy as np

from .classes import SMALLEST_ERROR
from .elementary import sigmoid, softplus
from .provider import kernel


@kernel()
def _tail(margin):
    """``sigmoid(-margin)``; 0 where it could only make denormal numbers."""
    wrong = sigmoid(-margin)
    return wrong if wrong >= SMALLEST_ERROR else np.float32(0)


@kernel()
def threshold_slopes(goodness, half, terms, threshold, sharpness, scale, slopes):
    """The logistic loss ``log(1 + exp(-+sharpness * (g - threshold)))`` of both kinds of row.

    Hinton 2022, section 2, where sharpness is 1. Halved over the two rows of a sample.

    goodness   float32 (capacity, terms)  read
    threshold  float32                    read     of each term
    sharpness  float32                    read     above 0
    scale      float32                    read     1 / half, times the rate for SGD
    slopes     float32 (capacity, terms)  written
    """
    loss = 0.0
    right = 0
    share = scale * sharpness / np.float32(terms)
    for r in range(2 * half):
        sign = np.float32(1) if r < half else np.float32(-1)
        for t in range(terms):
            margin = sign * sharpness * (goodness[r, t] - threshold)
            loss += np.float64(softplus(-margin))
            right += margin > np.float32(0)
            slopes[r, t] = sign * _tail(margin) * share
    return loss / (2 * terms), right / (2 * terms)


@kernel()
def paired_slopes(goodness, half, terms, sharpness, swish, scale, slopes):
    """The loss of the difference ``u = -sharpness * (g_positive - g_negative)`` of a sample's rows.

    swish False: ``log(1 + exp(u))`` (SymBa, Lee and Song 2023). True: ``u * sigmoid(u)``, which
    is bounded below: pairs far apart are pushed no further.

    Other arguments as in ``threshold_slopes``.
    """
    loss = 0.0
    right = 0
    one = np.float32(1)
    share = scale * sharpness / np.float32(terms)
    for r in range(half):
        for t in range(terms):
            margin = sharpness * (goodness[r, t] - goodness[half + r, t])
            wrong = _tail(margin)
            if swish:
                loss -= np.float64(margin * wrong)
                slope = wrong * (one - margin * (one - wrong))
            else:
                loss += np.float64(softplus(-margin))
                slope = wrong
            if abs(slope) < SMALLEST_ERROR:
                slope = np.float32(0)
            right += margin > np.float32(0)
            slopes[r, t] = slope * share
            slopes[half + r, t] = -slope * share
    return loss / terms, right / terms
