"""Softmax and its error in integers: the same bits without a floating-point unit.

Scores are int32 in units of 2**-e. A probability is Q15 (32,768 = 1):
``p_k = floor(w_k * 2**15 / sum w)`` with ``w_k = 2**-t_k`` in Q15 and
``t_k = floor((max - s_k) * log2(e) * 256 * 2**-e) / 256``, from a table of 256 powers.
"""

from __future__ import annotations

import math

import numpy as np

from ..provider import kernel

ONE = 1 << 15

#: 2**(-i / 256) in Q15.
_POWERS = np.array([math.floor(2.0 ** (-i / 256) * ONE + 0.5) for i in range(256)], np.uint16)

#: log2(e) in Q16.
_LOG2_E = 94548


@kernel()
def class_weight(distance, exponent):
    """``2**-t`` in Q15 (int) of a score ``distance`` >= 0 (int64) below the largest one."""
    t = (distance * _LOG2_E) >> (exponent + 8)
    whole = t >> 8
    return np.int32(0) if whole > 15 else np.int32(_POWERS[t & 255]) >> np.int32(whole)


@kernel()
def class_errors(scores, rows, labels, exponent, smoothing, errors):
    """``errors = target - softmax(scores)``, Q15.

    scores     int32 (capacity, C)  read     unit 2**-exponent, exponent 0..24
    labels     int32 (capacity,)    read
    smoothing  int32                read     Q15; target = (1 - smoothing) * onehot + smoothing / C
    errors     int32 (capacity, C)  written  -32,768..32,768

    Returns (sum over rows of 1 - p[label] in Q15, rows whose label scores largest; ties go to
    the lowest class).
    """
    classes = scores.shape[1]
    even = np.int32(smoothing // classes)
    missed, correct = 0, 0
    for r in range(rows):
        best = 0
        for c in range(1, classes):
            if scores[r, c] > scores[r, best]:
                best = c
        total = np.int64(0)
        for c in range(classes):
            weight = class_weight(np.int64(scores[r, best]) - np.int64(scores[r, c]), exponent)
            errors[r, c] = weight
            total += weight
        for c in range(classes):
            # Both fit 32 bits: Q30 at most, and 65,537 times Q15.
            chance = np.int32(np.uint32(errors[r, c] << 15) // np.uint32(total))
            target = even
            if c == labels[r]:
                target = np.int32(ONE - smoothing + even)
                missed += ONE - chance
            errors[r, c] = target - chance
        correct += best == labels[r]
    return missed, correct
