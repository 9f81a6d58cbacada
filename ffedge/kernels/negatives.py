"""Negative data made from the features of a batch, and the goodness of pairs of samples.

Rows 0..count-1 of ``x`` hold the batch; rows count..2*count-1 receive what is made of it. The
other sample of row r is row ``(r + shift) % count`` of the same batch. Random numbers are those of
a stream of each sample's own, ``bits(seed, counter + r)``, and so do not depend on the batch size.
"""

from __future__ import annotations

import numpy as np

from ..tensor import PANEL
from .elementary import sigmoid, softplus
from .provider import REORDER, kernel
from .random import bits, normal, uniform


@kernel()
def partner_shift(seed, counter, count):
    """A distance 1..count-1 to the other sample; 0 in a batch of one."""
    if count < 2:
        return 0
    return 1 + np.int64(bits(seed, counter)) % (count - 1)


@kernel()
def blob_mask(seed, blurs, mask):
    """Random bits, blurred and cut at a half: blobs of ones (Hinton 2022, section 3.2).

    seed   int                      read
    blurs  int                      read     times that [1/4, 1/2, 1/4] passes in both directions
    mask   float32 (height, width)  written  0 or 1; cells beyond an edge repeat it
    """
    height, width = mask.shape
    for y in range(height):
        for x in range(width):
            mask[y, x] = np.float32(bits(seed, y * width + x) >> np.uint32(31))
    half, quarter = np.float32(0.5), np.float32(0.25)
    for _ in range(blurs):
        for y in range(height):
            before = mask[y, 0]
            for x in range(width):
                here = mask[y, x]
                after = mask[y, min(x + 1, width - 1)]
                mask[y, x] = half * here + quarter * (before + after)
                before = here
        for x in range(width):
            before = mask[0, x]
            for y in range(height):
                here = mask[y, x]
                after = mask[min(y + 1, height - 1), x]
                mask[y, x] = half * here + quarter * (before + after)
                before = here
    for y in range(height):
        for x in range(width):
            mask[y, x] = np.float32(mask[y, x] >= half)


@kernel()
def hybrid(x, count, shift, features, channels, seed, counter, blurs, mask):
    """``x[count + r] = m * x[r] + (1 - m) * x[other]`` with a mask of blobs for each row.

    x         float32 (panels, capacity, 16)  read, written
    features  int                             read     height * width * channels of a sample
    channels  int                             read     values at each cell of the mask
    mask      float32 (height, width)         written  workspace
    """
    width = mask.shape[1]
    for r in range(count):
        blob_mask(bits(seed, counter + r), blurs, mask)
        other = (r + shift) % count
        for j in range(features):
            cell = j // channels
            row = r if mask[cell // width, cell % width] > np.float32(0) else other
            x[j // PANEL, count + r, j % PANEL] = x[j // PANEL, row, j % PANEL]


@kernel()
def mixed(x, count, shift, low, high, seed, counter):
    """``x[count + r] = a * x[r] + (1 - a) * x[other]`` with a even in low..high."""
    for r in range(count):
        a = low + (high - low) * uniform(bits(seed, counter + r), 0)
        other = (r + shift) % count
        for p in range(x.shape[0]):
            for lane in range(PANEL):
                x[p, count + r, lane] = a * x[p, r, lane] + (np.float32(1) - a) * x[p, other, lane]


@kernel()
def paired(x, count, shift):
    """``x[count + r] = x[r] + x[other]``, then ``x[r] = 2 * x[r]``: pairs of samples, summed."""
    for p in range(x.shape[0]):
        for r in range(count):
            other = (r + shift) % count
            for lane in range(PANEL):
                x[p, count + r, lane] = x[p, r, lane] + x[p, other, lane]
        for r in range(count):
            for lane in range(PANEL):
                x[p, r, lane] = np.float32(2) * x[p, r, lane]


@kernel()
def corrupted(
    x, count, features, channels, shuffled, zeroed, dropped, noise, offset, seed, counter
):  # fmt: skip
    """Broken samples: values of other samples, zeros, silent or shifted channels, and noise.

    x         float32 (panels, capacity, 16)  read, written
    channels  int                             read     value j belongs to channel j % channels
    shuffled  float32                         read     chance of a value to be that of any sample
    zeroed    float32                         read     chance of a value to be 0
    dropped   float32                         read     chance of a channel to be 0 throughout
    noise     float32                         read     deviation of what is added to each value
    offset    float32                         read     of what is added to a channel throughout
    """
    for r in range(count):
        own = bits(seed, counter + r)
        for j in range(features):
            p, lane = j // PANEL, j % PANEL
            at = 16 * (j + 1)
            row = r
            if uniform(own, at) < shuffled:
                row = np.int64(bits(own, at + 1)) % count
            value = x[p, row, lane]
            if uniform(own, at + 2) < zeroed:
                value = np.float32(0)
            # Streams of channels count from 8 in the blocks of 16 that values use 8 of.
            if uniform(own, 16 * (j % channels + 1) + 8) < dropped:
                value = np.float32(0)
            else:
                if noise > np.float32(0):
                    value += normal(own, 4 * (j + 1) + 1, noise)
                if offset > np.float32(0):
                    value += normal(own, 4 * (j % channels + 1) + 3, offset)
            x[p, count + r, lane] = value


@kernel()
def decoder_errors(x, rows, decoded, scale, errors):
    """``errors = scale * (x - decoded)``; returns the sum of squares of the difference.

    x        float32 (panels, capacity, 16)  read
    decoded  float32 (capacity, features)    read
    errors   float32 (panels, capacity, 16)  written  lanes beyond the features become 0
    """
    features = decoded.shape[1]
    total = 0.0
    for r in range(rows):
        for p in range(errors.shape[0]):
            for lane in range(PANEL):
                j = p * PANEL + lane
                error = np.float32(0)
                if j < features:
                    error = x[p, r, lane] - decoded[r, j]
                    total += np.float64(error) * np.float64(error)
                errors[p, r, lane] = scale * error
    return total


@kernel()
def disturb(y, rows, blur, seed, counter):
    """``y *= max(1 + noise, 0)``, noise of standard deviation ``blur`` for each unit of its own.

    y  float32 (panels, capacity, 16)  read, written
    """
    for r in range(rows):
        own = bits(seed, counter + r)
        for p in range(y.shape[0]):
            for lane in range(PANEL):
                factor = np.float32(1) + normal(own, p * PANEL + lane, blur)
                y[p, r, lane] *= max(factor, np.float32(0))


@kernel()
def write_decoded(decoded, count, noise, seed, counter, x):
    """``x[count + r] = decoded[r] + noise``; lanes beyond the features stay as they are.

    decoded  float32 (capacity, features)    read
    noise    float32                         read     standard deviation
    x        float32 (panels, capacity, 16)  written
    """
    features = decoded.shape[1]
    for r in range(count):
        own = bits(seed, counter + r)
        for j in range(features):
            value = decoded[r, j]
            if noise > np.float32(0):
                value += normal(own, j, noise)
            x[j // PANEL, count + r, j % PANEL] = value


@kernel(fastmath=REORDER)
def pair_goodness(z, rows, shift, width, goodness):
    """Mean square activity of (x, x) and of (x, other), whose sums are 2 z and z + z of the other.

    z         float32 (panels, capacity, 16)  read     x @ weight + bias of each sample
    goodness  float32 (2, capacity)           written  of the positive and the negative pair
    """
    for r in range(rows):
        other = (r + shift) % rows
        same, mixed_total = np.float32(0), np.float32(0)
        for p in range(z.shape[0]):
            for lane in range(PANEL):
                twice = max(np.float32(2) * z[p, r, lane], np.float32(0))
                both = max(z[p, r, lane] + z[p, other, lane], np.float32(0))
                same += twice * twice
                mixed_total += both * both
        goodness[0, r] = same / np.float32(width)
        goodness[1, r] = mixed_total / np.float32(width)


@kernel()
def pair_delta(z, rows, shift, width, high, low, restraint, scale, goodness, delta):
    """Downhill by z of ``softplus(high - g+) + softplus(g- - low) + restraint * g+``.

    z         float32 (panels, capacity, 16)  read
    goodness  float32 (2, capacity)           read     of ``pair_goodness``; becomes the slopes
    scale     float32                         read     1 / batch, times the rate for SGD
    delta     float32 (panels, capacity, 16)  written  a sample takes part in three pairs: with
                                              itself, with its other, and as some row's other
    Returns (sum of the losses in nats, pairs on the right side of their thresholds). Source:
    Chen, Liu, Laydevant and Grollier 2025 (Self-Contrastive Forward-Forward, arXiv 2409.11593),
    by the chain rule.
    """
    loss = 0.0
    right = 0
    for r in range(rows):
        short, over = high - goodness[0, r], goodness[1, r] - low
        loss += np.float64(softplus(short) + softplus(over) + restraint * goodness[0, r])
        # One after the other: NumPy's booleans add up to one.
        right += goodness[0, r] > high
        right += goodness[1, r] < low
        share = np.float32(2) * scale / np.float32(width)
        goodness[0, r] = np.float32(2) * share * (sigmoid(short) - restraint)
        goodness[1, r] = -share * sigmoid(over)
    for r in range(rows):
        other, whose = (r + shift) % rows, (r - shift + rows) % rows
        for p in range(z.shape[0]):
            for lane in range(PANEL):
                own = z[p, r, lane]
                twice = max(np.float32(2) * own, np.float32(0))
                ahead = max(own + z[p, other, lane], np.float32(0))
                behind = max(own + z[p, whose, lane], np.float32(0))
                delta[p, r, lane] = (
                    goodness[0, r] * twice + goodness[1, r] * ahead + goodness[1, whose] * behind
                )
    return loss, right
