"""Activations beside the ReLU, on sums ``x @ weight + bias`` in panels."""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .dense import add_product
from .elementary import log1p
from .optimize import flush
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


@kernel(fastmath=REORDER)
def triangle(out, rows, width):
    """``out = max(0, out - mean over the row's units of out)``

    out    float32 (panels, capacity, 16)  read, written  lanes beyond width stay 0
    width  int                             read           units
    """
    for r in range(rows):
        total = np.float32(0)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                total += out[p, r, lane]
        mean = total / np.float32(width)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                above = out[p, r, lane] - mean
                # A mean below zero must not wake the lanes that belong to no unit.
                on = above > np.float32(0) and p * PANEL + lane < width
                out[p, r, lane] = above if on else np.float32(0)


@kernel(fastmath=REORDER)
def triangle_gate(delta, rows, width, out):
    """``delta = open - mean over the row's units of open``, open = delta where out > 0, else 0.

    The Jacobian of ``triangle`` is ``diag(on) @ (I - 1 / n)``; this is its transpose.

    delta  float32 (panels, capacity, 16)  read, written  lanes beyond width become 0
    width  int                             read
    out    float32 (panels, capacity, 16)  read           activity; only signs count
    """
    for r in range(rows):
        total = np.float32(0)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                if out[p, r, lane] > np.float32(0):
                    total += delta[p, r, lane]
        mean = total / np.float32(width)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                slope = delta[p, r, lane] if out[p, r, lane] > np.float32(0) else np.float32(0)
                inside = p * PANEL + lane < width
                delta[p, r, lane] = slope - mean if inside else np.float32(0)


@kernel()
def student(out, rows, nu, sums):
    """``out = (nu + 1) / 2 * log(1 + out**2 / nu)``: surprise under a t-distribution.

    out   float32 (panels, capacity, 16)  read, written  0 where it is 0
    nu    float32                         read           degrees of freedom
    sums  float32 (panels, capacity, 16)  written        out as it was; may be ``out`` itself
    """
    factor = (nu + np.float32(1)) * np.float32(0.5)
    for p in range(out.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                z = out[p, r, lane]
                sums[p, r, lane] = z
                # Far beyond any activity; a square that overflows would have no logarithm.
                size = min(abs(z), np.float32(1e15))
                out[p, r, lane] = flush(factor * log1p(size * size / nu))


@kernel()
def student_gate(delta, rows, nu, sums):
    """``delta *= (nu + 1) * z / (nu + z**2)``, z = sums

    delta  float32 (panels, capacity, 16)  read, written
    nu     float32                         read
    sums   float32 (panels, capacity, 16)  read
    """
    for p in range(delta.shape[0]):
        for r in range(rows):
            for lane in range(PANEL):
                z = max(min(sums[p, r, lane], np.float32(1e15)), np.float32(-1e15))
                slope = (nu + np.float32(1)) * z / (nu + z * z)
                delta[p, r, lane] = flush(delta[p, r, lane] * slope)


@kernel(fastmath=REORDER)
def standout(out, rows, width, offset):
    """``out = max(z - mean - offset * deviation, 0)``, both over the units of the row.

    out     float32 (panels, capacity, 16)  read: z; written; lanes beyond the width stay 0
    offset  float32                         read
    """
    for r in range(rows):
        total, squares = np.float32(0), np.float32(0)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                total += out[p, r, lane]
        mean = total / np.float32(width)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                distance = out[p, r, lane] - mean
                squares += distance * distance
        # Idle lanes were counted as units at 0.
        idle = np.float32(out.shape[0] * PANEL - width)
        squares = max(squares - idle * mean * mean, np.float32(0))
        cut = mean + offset * np.sqrt(squares / np.float32(width))
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                value = max(out[p, r, lane] - cut, np.float32(0))
                out[p, r, lane] = value if p * PANEL + lane < width else np.float32(0)


@kernel(fastmath=REORDER)
def standout_gate(delta, rows, width, sums, out, offset):
    """``delta = g - mean(g) - offset * sum(g) * (z - mean(z)) / (width * deviation(z))`` with
    ``g = delta * 1[out > 0]``: the transposed Jacobian of ``standout``.

    delta  float32 (panels, capacity, 16)  read, written; lanes beyond the width become 0
    sums   float32 (panels, capacity, 16)  read     z
    out    float32 (panels, capacity, 16)  read     activity, not normalised: only signs count
    """
    for r in range(rows):
        gates, total, squares = np.float32(0), np.float32(0), np.float32(0)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                if not out[p, r, lane] > np.float32(0):
                    delta[p, r, lane] = np.float32(0)
                gates += delta[p, r, lane]
                total += sums[p, r, lane]
        mean = total / np.float32(width)
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                if p * PANEL + lane < width:
                    distance = sums[p, r, lane] - mean
                    squares += distance * distance
        spread = np.sqrt(squares / np.float32(width))
        share = gates / np.float32(width)
        slope = np.float32(0)
        if spread > np.float32(0):
            slope = offset * share / spread
        for p in range(out.shape[0]):
            for lane in range(PANEL):
                change = share + slope * (sums[p, r, lane] - mean)
                value = delta[p, r, lane] - change
                delta[p, r, lane] = value if p * PANEL + lane < width else np.float32(0)
