"""Classes as directions: the angle between a layer's activity and one prototype per class.

With ``h = y / |y|`` and prototypes q_k of length 1, ``scores_k = tau * h . q_k``; a silent row has
h = 0. The derivative by y has no part along h, the one by q_k none along q_k: lengths carry no
information (Hyperspherical Forward-Forward, arXiv 2605.00082). Prototypes lie in memory as a
readout does, (panels, C, 16).
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .dense import add_gradient
from .normalize import sum_of_squares
from .optimize import flush
from .provider import REORDER, kernel
from .readout import readout_delta, readout_scores

#: Rows shorter than this count as silent.
SHORTEST = np.float32(1e-12)

#: A square length this near to 1 is 1.
UNIT = np.float32(1e-6)


@kernel()
def prototype_scores(y, rows, prototypes, tau, inverse, scores):
    """``scores = tau * (y / |y|) @ q.T``

    y           float32 (panels, capacity, 16)  read
    prototypes  float32 (panels, C, 16)         read     q, each class's of length 1
    tau         float32                         read
    inverse     float32 (capacity,)             written  1 / |y| of each row, 0 for a silent one
    scores      float32 (capacity, C)           written  -tau..tau but for rounding
    """
    readout_scores(y, rows, prototypes, scores)
    sum_of_squares(y, rows, inverse)
    for r in range(rows):
        length = np.sqrt(inverse[r])
        inverse[r] = np.float32(1) / length if length > SHORTEST else np.float32(0)
        for k in range(scores.shape[1]):
            scores[r, k] *= tau * inverse[r]


@kernel()
def prototype_delta(y, rows, errors, prototypes, scores, tau, inverse, index, offset, delta):
    """``delta = (tau * errors @ q - (errors . scores) h) / |y|`` where the unit is on.

    errors   float32 (ceil(C/16), capacity, 16)  read, written  see ``class_errors``; multiplied by
                                                                tau / |y| for the gradient of q
    index, offset  int32, int64 (at least C,)    written        workspace
    delta    float32 (panels, capacity, 16)      written

    Other arguments as ``prototype_scores`` left them.
    """
    for r in range(rows):
        factor = tau * inverse[r]
        for p in range(errors.shape[0]):
            for lane in range(PANEL):
                errors[p, r, lane] *= factor
    readout_delta(y, rows, errors, prototypes, index, offset, delta)
    for r in range(rows):
        along = np.float32(0)
        for k in range(scores.shape[1]):
            along += errors[k // PANEL, r, k % PANEL] * scores[r, k]
        # errors . scores / |y|**2: of the factor tau / |y| only one 1 / |y| is wanted.
        along *= inverse[r] / tau
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                delta[p, r, lane] = flush(delta[p, r, lane] - along * y[p, r, lane])


@kernel(fastmath=REORDER)
def prototype_gradient(y, rows, errors, prototypes, scores, tau, inverse, index, offset, gradient):
    """``gradient_k = tau * sum over rows of errors_k (h - (h . q_k) q_k)``, downhill.

    errors    float32 (ceil(C/16), capacity, 16)  read     as ``prototype_delta`` left them
    gradient  float32 (panels, C, 16)             written

    Other arguments as in ``prototype_delta``.
    """
    gradient[:] = np.float32(0)
    add_gradient(errors, rows, y, index, offset, gradient)
    for k in range(scores.shape[1]):
        along = np.float32(0)
        for r in range(rows):
            if inverse[r] > np.float32(0):
                along += errors[k // PANEL, r, k % PANEL] * scores[r, k] / (tau * inverse[r])
        for p in range(gradient.shape[0]):
            for lane in range(PANEL):
                gradient[p, k, lane] -= along * prototypes[p, k, lane]


@kernel(fastmath=REORDER)
def unit_lengths(prototypes):
    """Divide each class's prototype by its length; one without a length stays zero.

    prototypes  float32 (panels, C, 16)  read, written
    """
    for k in range(prototypes.shape[1]):
        total = np.float32(0)
        for p in range(prototypes.shape[0]):
            for lane in range(PANEL):
                total += prototypes[p, k, lane] * prototypes[p, k, lane]
        # One that has not moved must not change by rounding.
        if abs(total - np.float32(1)) < UNIT:
            continue
        length = np.sqrt(total)
        factor = np.float32(1) / length if length > SHORTEST else np.float32(0)
        for p in range(prototypes.shape[0]):
            for lane in range(PANEL):
                prototypes[p, k, lane] = flush(prototypes[p, k, lane] * factor)
