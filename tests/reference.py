"""The naive oracle: ffedge's arithmetic once more, in float64 and plain loops.

Matrices are as in the papers: X (rows, inputs), W (inputs, units), b (units,), M (classes,
units). A layer is a dict of them. Nothing is imported from ffedge, so that no error is shared.
"""

import numpy as np

LANES = 16
WORD = 0xFFFFFFFF


# Panels: unit j of row r lies at [j // 16, r, j % 16].


def pack_rows(X, capacity=None, unused=0.0):
    """X (rows, width) as float32 panels; rows from there to ``capacity`` hold ``unused``."""
    rows, width = X.shape
    capacity = rows if capacity is None else capacity
    out = np.full((-(-width // LANES), capacity, LANES), unused, np.float32)
    for r in range(rows):
        out[:, r] = 0.0
        for j in range(width):
            out[j // LANES, r, j % LANES] = X[r, j]
    return out


def unpack_rows(array, rows, width):
    """The first ``rows`` rows of panels as float64 (rows, width)."""
    out = np.zeros((rows, width))
    for r in range(rows):
        for j in range(width):
            out[r, j] = array[j // LANES, r, j % LANES]
    return out


def pack_weights(W):
    """W (inputs, units) as float32 panels; M (classes, units) lies in memory the same way."""
    return pack_rows(W)


def unpack_weights(array, units):
    """Panels as float64 (inputs, units)."""
    return unpack_rows(array, array.shape[1], units)


# Random numbers, in Python's own integers.


def mix(value):
    """lowbias32 of ``value``, 0..2**32-1."""
    value ^= value >> 16
    value = value * 0x7FEB352D % 2**32
    value ^= value >> 15
    value = value * 0x846CA68B % 2**32
    return value ^ (value >> 16)


def unmix(value):
    """The inverse of ``mix``."""
    value ^= value >> 16
    value = value * pow(0x846CA68B, -1, 2**32) % 2**32
    value ^= (value >> 15) ^ (value >> 30)
    value = value * pow(0x7FEB352D, -1, 2**32) % 2**32
    return value ^ (value >> 16)


def bits(seed, counter):
    """32 bits; ``counter`` 0..2**64-1."""
    return mix(mix((counter & WORD) ^ mix(seed)) ^ (counter >> 32) ^ 0x9E3779B9)


def counter_of(seed, wanted):
    """The counter below 2**32 whose bits are ``wanted``."""
    return unmix(unmix(wanted) ^ 0x9E3779B9) ^ mix(seed)


def uniform(seed, counter):
    """The upper 24 bits as a fraction."""
    return (bits(seed, counter) >> 8) / 2**24


def normal(seed, inputs, units, scale):
    """Starting weights W (inputs, units): eight centred 16-bit integers, summed."""
    deviation = (8 * (65536**2 - 1) / 12) ** 0.5
    W = np.zeros((inputs, units))
    for j in range(units):
        for i in range(inputs):
            words = [bits(seed, (j * inputs + i) * 4 + part) for part in range(4)]
            total = sum((word & 0xFFFF) + (word >> 16) for word in words) - 4 * 65535
            W[i, j] = total * scale / deviation
    return W


def shuffled(position, count, seed):
    """Six Feistel rounds on 2 * half bits, walked until the result is below ``count``."""
    half = max(1, -(-(count - 1).bit_length() // 2))
    while True:
        left, right = divmod(position, 2**half)
        for turn in range(6):
            key = mix(right ^ mix((seed + turn) % 2**32))
            left, right = right, left ^ (key % 2**half)
        position = left * 2**half + right
        if position < count:
            return position


def frozen_matrix(seed, classes, units, magnitude):
    """M (classes, units) of random signs: one bit each, a word per class and panel."""
    M = np.zeros((classes, units))
    for c in range(classes):
        for j in range(units):
            word = bits(seed, j // LANES * classes + c)
            M[c, j] = -magnitude if word >> (j % LANES) & 1 else magnitude
    return M


# A layer.


def dense(X, W, b):
    """relu(X W + b)"""
    return np.maximum(X @ W + b, 0.0)


def goodness(Y):
    """Sum of squares of each row."""
    return (Y**2).sum(axis=1)


def normalize(Y):
    """Each row divided by its root mean square."""
    return Y / (1e-8 + np.sqrt((Y**2).mean(axis=1, keepdims=True)))


def log_softmax(scores):
    """Row by row."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def targets(labels, classes, smoothing=0.0):
    """One-hot rows, smoothed evenly over all classes."""
    return (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes


def cross_entropy(scores, labels, smoothing=0.0):
    """Mean over the rows, in nats."""
    wanted = targets(labels, scores.shape[1], smoothing)
    return -(wanted * log_softmax(scores)).sum(axis=1).mean()


def class_errors(scores, labels, smoothing=0.0):
    """target - softmax: the cross-entropy of one row, downhill."""
    return targets(labels, scores.shape[1], smoothing) - np.exp(log_softmax(scores))


def group_of(units, classes):
    """The class that owns each unit: k with k N <= j C < (k + 1) N."""
    return [j * classes // units for j in range(units)]


def group_scores(Y, classes, squared, sharpness):
    """sharpness * mean over each group of y**2, or of y."""
    owner = np.array(group_of(Y.shape[1], classes))
    values = Y**2 if squared else Y
    return sharpness * np.stack([values[:, owner == k].mean(axis=1) for k in range(classes)], 1)


def group_delta(Y, errors, squared, sharpness):
    """errors[k] * sharpness * (2 y or 1[y > 0]) / size of the group."""
    owner = np.array(group_of(Y.shape[1], errors.shape[1]))
    size = np.bincount(owner)[owner]
    slope = 2 * Y if squared else (Y > 0).astype(float)
    return errors[:, owner] * sharpness * slope / size


def readout_delta(Y, errors, M):
    """(errors M) where the unit is on."""
    return (errors @ M) * (Y > 0)


def sigmoid(z):
    """Without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


def threshold_losses(g, positive, threshold):
    """The logistic loss of each row: softplus(threshold - g), or its mirror for negatives."""
    sign = np.where(positive, 1.0, -1.0)
    return np.logaddexp(0.0, -sign * (g - threshold))


def threshold_delta(Y, positive, threshold):
    """Minus the derivative of each row's loss by y."""
    sign = np.where(positive, 1.0, -1.0)
    return (2 * sign * sigmoid(-sign * (goodness(Y) - threshold)))[:, None] * Y


# Optimisers, as in their papers; ``gradient`` points downhill.


def sgd(w, gradient, rate, weight_decay=0.0):
    """w after one step."""
    return w - rate * weight_decay * w + rate * gradient


def momentum(w, velocity, gradient, rate, beta, weight_decay=0.0):
    """(w, velocity) after one step."""
    velocity = beta * velocity + gradient
    return w - rate * weight_decay * w + rate * velocity, velocity


def adam(w, mean, square, gradient, updates, rate, beta1, beta2, epsilon, weight_decay=0.0):
    """(w, mean, square) after step number ``updates``, counted from 1."""
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    unbiased = mean / (1 - beta1**updates)
    spread = np.sqrt(square / (1 - beta2**updates))
    return w - rate * weight_decay * w + rate * unbiased / (spread + epsilon), mean, square


# One batch of each rule with SGD: new layers from old ones. ``active``: which layers learn.


def class_batch(layers, X, labels, rate, smoothing, active, score, delta):
    """score(layer, Y) and delta(layer, Y, errors) are the rule's own."""
    after = []
    for layer, learns in zip(layers, active, strict=True):
        new = dict(layer)
        Y = dense(X, layer["W"], layer["b"])
        if learns:
            errors = class_errors(score(layer, Y), labels, smoothing) / len(X)
            downhill = delta(layer, Y, errors)
            new["W"] = layer["W"] + rate * X.T @ downhill
            new["b"] = layer["b"] + rate * downhill.sum(axis=0)
            if "M" in layer:
                new["M"] = layer["M"] + rate * errors.T @ Y
        after.append(new)
        X = normalize(Y)
    return after


def readout_batch(layers, X, labels, rate, smoothing, active):
    """Mono-Forward: M learns too."""
    return class_batch(
        layers, X, labels, rate, smoothing, active,
        lambda layer, Y: Y @ layer["M"].T,
        lambda layer, Y, errors: readout_delta(Y, errors, layer["M"]),
    )  # fmt: skip


def group_batch(layers, X, labels, rate, smoothing, active, classes, squared, sharpness):
    """Class groups compete."""
    return class_batch(
        layers, X, labels, rate, smoothing, active,
        lambda _, Y: group_scores(Y, classes, squared, sharpness),
        lambda _, Y, errors: group_delta(Y, errors, squared, sharpness),
    )  # fmt: skip


def label_input(X, shown, classes, value):
    """Features and label inputs, normalised; ``shown`` None: the neutral label."""
    block = np.full((len(X), classes), value / classes)
    if shown is not None:
        block = value * np.eye(classes)[shown]
    return normalize(np.hstack([X, block]))


def neutral_scores(layers, X, classes, value):
    """Averaged log-probabilities of the heads on the neutral label: the net's own prediction."""
    x, votes = label_input(X, None, classes, value), []
    for layer in layers:
        x = normalize(dense(x, layer["W"], layer["b"]))
        if "M" in layer:
            votes.append(log_softmax(x @ layer["M"].T))
    return np.mean(votes, axis=0)


def hinton_batch(layers, X, labels, wrong, rate, value, peer, head_gain, active, means, classes):
    """Heads on the neutral label, then positive beside negative data; means is changed."""
    after = [dict(layer) for layer in layers]
    x = label_input(X, None, classes, value)
    for layer, new, learns in zip(layers, after, active, strict=True):
        x = normalize(dense(x, layer["W"], layer["b"]))
        if learns and "M" in layer:
            errors = class_errors(x @ layer["M"].T, labels) / len(X)
            new["M"] = layer["M"] + head_gain * rate * errors.T @ x
    x = np.vstack([label_input(X, labels, classes, value), label_input(X, wrong, classes, value)])
    positive = np.arange(2 * len(X)) < len(X)
    for i, (layer, new) in enumerate(zip(layers, after, strict=True)):
        Y = dense(x, layer["W"], layer["b"])
        if active[i]:
            means[i] = 0.9 * means[i] + 0.1 * Y[positive].mean(axis=0)
            delta = threshold_delta(Y, positive, Y.shape[1])
            delta[positive] += peer * (means[i].mean() - means[i])
            new["W"] = layer["W"] + rate / len(X) * x.T @ delta
            new["b"] = layer["b"] + rate / len(X) * delta.sum(axis=0)
        x = normalize(Y)
    return after


def hinton_scores(layers, X, classes, value):
    """Goodness of every label, over all layers but the first (or the only one)."""
    total = np.zeros((len(X), classes))
    for label in range(classes):
        x = label_input(X, np.full(len(X), label), classes, value)
        for i, layer in enumerate(layers):
            Y = dense(x, layer["W"], layer["b"])
            if i > 0 or len(layers) == 1:
                total[:, label] += goodness(Y)
            x = normalize(Y)
    return total


def central_differences(loss, z, step=1e-5):
    """The gradient of loss(z) by z, one entry at a time."""
    gradient = np.zeros_like(z)
    for at in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[at] += step
        down[at] -= step
        gradient[at] = (loss(up) - loss(down)) / (2 * step)
    return gradient


# Learning without labels.


def blob_mask(seed, height, width, blurs):
    """Random bits, blurred with [1/4, 1/2, 1/4] both ways, cut at a half."""
    mask = np.array(
        [[bits(seed, y * width + x) >> 31 for x in range(width)] for y in range(height)]
    )
    mask = mask.astype(np.float64)
    for _ in range(blurs):
        wide = np.pad(mask, ((0, 0), (1, 1)), mode="edge")
        mask = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
        high = np.pad(mask, ((1, 1), (0, 0)), mode="edge")
        mask = (high[:-2] + 2 * high[1:-1] + high[2:]) / 4
    return (mask >= 0.5).astype(np.float64)


def pair_goodness(Z, shift):
    """Of each row with itself, and with the row ``shift`` further on: (2, rows)."""
    pairs = 2 * Z, Z + np.roll(Z, -shift, axis=0)
    return np.array([(np.maximum(pair, 0) ** 2).mean(axis=1) for pair in pairs])


def pair_loss(Z, shift, high, low, restraint):
    """softplus(high - g+) + softplus(g- - low) + restraint * g+, mean over the rows."""
    same, other = pair_goodness(Z, shift)
    loss = np.logaddexp(0, high - same) + np.logaddexp(0, other - low) + restraint * same
    return loss.mean()


def standout(Z, offset):
    """Units that stand out from their row by ``offset`` deviations."""
    mean, deviation = Z.mean(axis=1, keepdims=True), Z.std(axis=1, keepdims=True)
    return np.maximum(Z - mean - offset * deviation, 0)
