"""Class-group goodness: a layer's units are divided among the classes, which compete.

Class k owns the units j with ``k*N <= j*C < (k+1)*N`` in consecutive blocks. Its goodness is
the mean over its units of ``y**2`` (CwC, arXiv 2312.12668) or of ``y`` (DeeperForward), its
probability the softmax of ``sharpness * goodness``. No label enters the network and there are
no negative data: the other classes' groups are the contrast.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .provider import kernel


@kernel()
def group_scores(y, rows, starts, squared, sharpness, scores):
    """``scores[r, k] = sharpness * mean over group k of y[r]**2`` (or of y)

    y         float32 (panels, capacity, 16)  read
    starts    int32 (C + 1,)                  read     first unit of each group, then the width
    squared   bool                            read     True: y**2, False: y
    sharpness float32                         read
    scores    float32 (capacity, C)           written
    """
    for k in range(starts.shape[0] - 1):
        for r in range(rows):
            total = np.float32(0)
            for j in range(starts[k], starts[k + 1]):
                value = y[j // PANEL, r, j % PANEL]
                total += value * value if squared else value
            scores[r, k] = total * sharpness / np.float32(starts[k + 1] - starts[k])


@kernel()
def group_delta(y, rows, starts, squared, sharpness, errors, delta):
    """``delta = errors[k] * sharpness * (2y or 1[y > 0]) / |group k|`` for units of group k.

    errors  float32 (ceil(C/16), capacity, 16)  read     see ``class_errors``
    delta   float32 (panels, capacity, 16)      written  lanes beyond the width become 0

    Other arguments as in ``group_scores``. Derivatives V4 and V5 of the rules' table.
    """
    delta[delta.shape[0] - 1, :rows] = np.float32(0)
    for k in range(starts.shape[0] - 1):
        share = sharpness / np.float32(starts[k + 1] - starts[k])
        for r in range(rows):
            error = errors[k // PANEL, r, k % PANEL] * share
            for j in range(starts[k], starts[k + 1]):
                value = y[j // PANEL, r, j % PANEL]
                slope = np.float32(2) * value if squared else np.float32(value > np.float32(0))
                delta[j // PANEL, r, j % PANEL] = error * slope


@kernel()
def open_delta(rows, starts, sharpness, errors, delta):
    """``delta = errors[k] * sharpness / |group k|``: the mean's derivative by any activity.

    Arguments as in ``group_delta``, whose own has the ReLU's derivative in it.
    """
    delta[delta.shape[0] - 1, :rows] = np.float32(0)
    for k in range(starts.shape[0] - 1):
        share = sharpness / np.float32(starts[k + 1] - starts[k])
        for r in range(rows):
            error = errors[k // PANEL, r, k % PANEL] * share
            for j in range(starts[k], starts[k + 1]):
                delta[j // PANEL, r, j % PANEL] = error
