"""Running mean and spread of every feature, one row at a time."""

from __future__ import annotations

import numpy as np

from .provider import kernel


@kernel()
def add_moments(features, subset, first, last, count, mean, spread):
    """Take samples first..last-1 into the running moments; returns the new count.

    features  any number (n, width)   read
    subset    int32 or int64 (m,)     read             row of each sample; empty: all rows
    count     int                     read             samples already taken in
    mean      float64 (width,)        read, written
    spread    float64 (width,)        read, written    sum of squared distances from the mean

    Welford 1962; stable for any offset, independent of how the data are cut into chunks.
    """
    for n in range(first, last):
        row = np.int64(subset[n]) if subset.shape[0] > 0 else n
        count += 1
        for j in range(features.shape[1]):
            value = np.float64(features[row, j])
            step = value - mean[j]
            mean[j] += step / count
            spread[j] += step * (value - mean[j])
    return count
