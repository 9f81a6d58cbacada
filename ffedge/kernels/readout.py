"""Local class scores from a readout matrix M (Mono-Forward, arXiv 2501.09238, equations 1-6).

``scores = h @ M.T``, trained by the cross-entropy of ``softmax(scores)``:
``delta_h = (errors @ M) * (h > 0)`` and ``delta_M = errors.T @ h``. M lies in memory as the
weights of a dense layer from C classes to N units, (panels, C, 16), so that both products are
the dense kernels' own. A frozen M is regenerated from its seed, panel by panel.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .dense import add_product
from .provider import kernel
from .random import bits
from .simd import LANE_ROWS, lanes_full, lanes_one


@kernel()
def _add_panel_scores(h, p, rows, readout, at, step, count, scores):
    """Add what ``count`` panels of h from ``p`` say; the readout's panels are ``step`` apart."""
    classes, panel = readout.shape[1], h.shape[1] * PANEL
    for r in range(rows):
        start = p * panel + r * PANEL
        c = 0
        while c + LANE_ROWS <= classes:
            lanes_full(h, start, panel, count, readout, at + c * PANEL, step, scores,
                       r * classes + c)  # fmt: skip
            c += LANE_ROWS
        while c < classes:
            lanes_one(h, start, panel, count, readout, at + c * PANEL, step, scores,
                      r * classes + c)  # fmt: skip
            c += 1


@kernel()
def readout_scores(h, rows, readout, scores):
    """``scores = h @ M.T``

    h        float32 (panels, capacity, 16)  read     activity
    readout  float32 (panels, C, 16)         read     M
    scores   float32 (capacity, C)           written  scores[:rows]
    """
    scores[:rows] = np.float32(0)
    _add_panel_scores(h, 0, rows, readout, 0, readout.shape[1] * PANEL, h.shape[0], scores)


@kernel()
def _mask(h, rows, delta):
    """Zero the delta of units that are off: the derivative of ReLU."""
    for p in range(h.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                if h[p, r, lane] <= np.float32(0):
                    delta[p, r, lane] = np.float32(0)


@kernel()
def readout_delta(h, rows, errors, readout, index, offset, delta):
    """``delta = (errors @ M) * (h > 0)``

    h        float32 (panels, capacity, 16)          read
    errors   float32 (ceil(C/16), capacity, 16)      read     see ``class_errors``
    readout  float32 (panels, C, 16)                 read
    index, offset  int32, int64 (at least C,)        written  workspace
    delta    float32 (panels, capacity, 16)          written
    """
    for p in range(delta.shape[0]):
        delta[p, :rows] = np.float32(0)
    add_product(errors, rows, readout, index, offset, delta)
    _mask(h, rows, delta)


@kernel()
def frozen_panel(seed, p, width, magnitude, tile):
    """One panel of a frozen readout: random signs, ``magnitude`` or ``-magnitude``.

    tile  float32 (1, C, 16)  written; lanes beyond ``width`` become 0
    """
    for c in range(tile.shape[1]):
        word = bits(seed, p * tile.shape[1] + c)
        for lane in range(PANEL):
            sign = np.float32(1) - np.float32(2) * np.float32(
                (word >> np.uint32(lane)) & np.uint32(1)
            )
            tile[0, c, lane] = sign * magnitude if p * PANEL + lane < width else np.float32(0)


@kernel()
def frozen_scores(h, rows, seed, width, magnitude, tile, scores):
    """``readout_scores`` with the M of ``seed``; ``tile`` float32 (1, C, 16) is workspace."""
    scores[:rows] = np.float32(0)
    for p in range(h.shape[0]):
        frozen_panel(seed, p, width, magnitude, tile)
        _add_panel_scores(h, p, rows, tile, 0, 0, 1, scores)


@kernel()
def frozen_delta(h, rows, errors, seed, width, magnitude, tile, index, offset, delta):
    """``readout_delta`` with the M of ``seed``; ``tile`` float32 (1, C, 16) is workspace."""
    for p in range(delta.shape[0]):
        delta[p, :rows] = np.float32(0)
        frozen_panel(seed, p, width, magnitude, tile)
        add_product(errors, rows, tile, index, offset, delta[p : p + 1])
    _mask(h, rows, delta)


@kernel()
def open_delta(rows, errors, readout, index, offset, delta):
    """``delta = errors @ M``: for activations whose derivative is not the ReLU's.

    Arguments as in ``readout_delta``.
    """
    for p in range(delta.shape[0]):
        delta[p, :rows] = np.float32(0)
    add_product(errors, rows, readout, index, offset, delta)


@kernel()
def frozen_open_delta(rows, errors, seed, width, magnitude, tile, index, offset, delta):
    """``open_delta`` with the M of ``seed``; ``tile`` float32 (1, C, 16) is workspace."""
    for p in range(delta.shape[0]):
        delta[p, :rows] = np.float32(0)
        frozen_panel(seed, p, width, magnitude, tile)
        add_product(errors, rows, tile, index, offset, delta[p : p + 1])
