"""A linear head on the activity of several layers: its scores, and the sums of a ridge solution."""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .dense import add_gradient
from .provider import REORDER, kernel
from .readout import _add_panel_scores


@kernel()
def add_scores(h, rows, head, scores):
    """``scores += h @ M.T``; arguments as in ``readout.readout_scores``."""
    _add_panel_scores(h, 0, rows, head, 0, head.shape[1] * PANEL, h.shape[0], scores)


@kernel()
def add_products(h, rows, index, offset, gram):
    """``gram += h.T @ h``, in panels of units.

    h     float32 (panels, capacity, 16)  read
    index, offset  int32, int64 (units,)  written  workspace; units = 16 * panels
    gram  float32 (panels, units, 16)     read, written
    """
    add_gradient(h, rows, h, index, offset, gram)


@kernel()
def mean_diagonal(gram):
    """Mean of the diagonal of ``gram``, float64; units that are always silent are not counted."""
    total = 0.0
    used = 0
    for i in range(gram.shape[1]):
        value = np.float64(gram[i // PANEL, i, i % PANEL])
        total += value
        used += value > 0.0
    return total / max(used, 1)


@kernel()
def add_class_sums(h, rows, labels, sums):
    """``sums[:, c] += sum of h[r] over the rows of class c``: A.T @ T for one-hot T.

    h       float32 (panels, capacity, 16)  read
    labels  int32 (capacity,)               read
    sums    float32 (panels, C, 16)         read, written
    """
    for p in range(h.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                sums[p, labels[r], lane] += h[p, r, lane]


@kernel(fastmath=REORDER)
def factorize(gram, strength, factor):
    """The Cholesky factor L of ``G + strength * I``, in the lower triangle of ``factor``.

    gram      float32 (panels, units, 16)  read     G symmetric, units = 16 * panels
    strength  float64                      read     above 0
    factor    float64 (units, units)       written  what lies above the diagonal means nothing

    Row by row (Golub and Van Loan 2013, section 4.2), accumulated in float64. Returns whether the
    matrix was positive definite in that arithmetic.
    """
    units = factor.shape[0]
    for i in range(units):
        for j in range(i + 1):
            factor[i, j] = np.float64(gram[j // PANEL, i, j % PANEL])
        factor[i, i] += strength
    for i in range(units):
        for j in range(i):
            total = 0.0
            for k in range(j):
                total += factor[i, k] * factor[j, k]
            factor[i, j] = (factor[i, j] - total) / factor[j, j]
        total = 0.0
        for k in range(i):
            total += factor[i, k] * factor[i, k]
        rest = factor[i, i] - total
        if not rest > 0.0:
            return False
        factor[i, i] = np.sqrt(rest)
    return True


@kernel()
def solve(factor, sums, column, out):
    """``L @ L.T @ out[:, c] = sums[:, c]`` for every class c.

    factor  float64 (units, units)   read
    sums    float32 (panels, C, 16)  read
    column  float64 (units,)         written  workspace
    out     float32 (panels, C, 16)  written  may be ``sums``
    """
    units = factor.shape[0]
    for c in range(sums.shape[1]):
        for i in range(units):
            total = np.float64(sums[i // PANEL, c, i % PANEL])
            for k in range(i):
                total -= factor[i, k] * column[k]
            column[i] = total / factor[i, i]
        for back in range(units):
            i = units - 1 - back
            column[i] /= factor[i, i]
            for k in range(i):
                column[k] -= factor[i, k] * column[i]
        for i in range(units):
            out[i // PANEL, c, i % PANEL] = np.float32(column[i])
