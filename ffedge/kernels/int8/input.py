"""The way into the int8 network: raw features scaled, split by sign, rounded to u7.

``t = (raw - mean) * gain`` in float32, each operation rounded; ``q(t) = clip(floor(t * 16 + 0.5),
0, 127)``. Data that are never negative enter as q(t); signed data as q(t) and q(-t) side by
side, twice the inputs: measured level with signed inputs, and the kernels stay u7 x s8.
"""

from __future__ import annotations

import numpy as np

from ..provider import kernel

#: Every layer's input is in units of 2**-INPUT_EXP.
INPUT_EXP = 4

_ONE = np.float32(1 << INPUT_EXP)


@kernel()
def to_u7(value):
    """q of the module: float32 -> uint8 0..127."""
    scaled = value * _ONE + np.float32(0.5)
    # From 0 on, the conversion rounds down by itself.
    return np.uint8(min(max(scaled, np.float32(0)), np.float32(127)))


@kernel()
def quantize_features(values, mean, gain, parts, out):
    """One sample as u7; arguments as in ``fetch``, for one row."""
    width = mean.shape[0]
    for j in range(width):
        value = (np.float32(values[j]) - mean[j]) * gain[j]
        out[j] = to_u7(value)
        if parts == 2:
            out[width + j] = to_u7(-value)
    for j in range(parts * width, out.shape[0]):
        out[j] = np.uint8(0)


@kernel()
def fetch(features, subset, chosen, count, mean, gain, parts, out):
    """The chosen samples as u7 rows.

    features    any number (samples, width)  read
    subset      int32 or int64 (m,)          read     row of each sample; empty: all rows
    chosen      int64 (capacity,)            read     sample numbers; chosen[:count] used
    mean, gain  float32 (width,)             read
    parts       int                          read     1: q(t); 2: q(t) for all, then q(-t)
    out         uint8 (capacity, X)          written  unit 2**-INPUT_EXP; zero past parts * width
    """
    for n in range(count):
        row = chosen[n]
        if subset.shape[0] > 0:
            row = np.int64(subset[row])
        quantize_features(features[row], mean, gain, parts, out[n])
