"""Activations beside the ReLU, on sums ``x @ weight + bias`` in panels."""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .dense import add_product
from .provider import REORDER, kernel


@kernel(fastmath=REORDER)
def dense_sums(x, rows, weight, bias, index, offset, out):
    """``out[:, :rows] = x[:, :rows] @ weight + bias``; arguments as in ``dense.dense_forward``."""
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                out[p, r, lane] = bias[p, 0, lane]
    add_product(x, rows, weight, index, offset, out)


@kernel()
def leaky(out, rows, slope):
    """``out = out if out > 0 else slope * out``

    out    float32 (panels, capacity, 16)  read, written
    slope  float32                         read     0 for a ReLU
    """
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                z = out[p, r, lane]
                out[p, r, lane] = z if z > np.float32(0) else slope * z


@kernel()
def leaky_gate(delta, rows, out, slope):
    """``delta *= 1 if out > 0 else slope``

    delta  float32 (panels, capacity, 16)  read, written
    out    float32 (panels, capacity, 16)  read     activity, not normalised: only signs count
    """
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                if not out[p, r, lane] > np.float32(0):
                    delta[p, r, lane] *= slope
