"""The oracle of prototypes, the label side-channel and shifts, in float64 and plain loops."""

import numpy as np
import reference


def unit(rows):
    """Each row divided by its length; a row of zeros stays."""
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def prototype_scores(Y, Q, tau):
    """tau times the cosine of every row and prototype; Q (C, units) need not have length 1."""
    return tau * unit(Y) @ unit(Q).T


def side_scores(S, U, factor):
    """factor * mean over the units of relu(s + u_k)**2; U (C, units)."""
    return factor * (np.maximum(S[:, None, :] + U, 0) ** 2).mean(axis=2)


def logistic_loss(scores, labels, threshold):
    """Mean over the rows: the label above the threshold, the mean of the others below."""
    total = 0.0
    for r, label in enumerate(labels):
        wrong = [s for k, s in enumerate(scores[r]) if k != label]
        total += np.logaddexp(0, threshold - scores[r, label])
        total += np.mean([np.logaddexp(0, s - threshold) for s in wrong])
    return total / len(labels)


def moves(word, down, across):
    """The two moves of one word of random bits."""
    return ((word & 0xFFFF) * (2 * down + 1) >> 16) - down, (
        (word >> 16) * (2 * across + 1) >> 16
    ) - across


def shifted(sample, dy, dx):
    """sample (height, width, channels) moved down by dy and right by dx; edges are repeated."""
    height, width, _ = sample.shape
    out = np.empty_like(sample)
    for y in range(height):
        for x in range(width):
            out[y, x] = sample[min(max(y - dy, 0), height - 1), min(max(x - dx, 0), width - 1)]
    return out


def side_batch(layers, X, labels, rate, smoothing, active, sharpness):
    """One batch of the side-channel with SGD and cross-entropy; layers have "U" (C, units)."""
    after = []
    for layer, learns in zip(layers, active, strict=True):
        new, S = dict(layer), X @ layer["W"] + layer["b"]
        if learns:
            scores = side_scores(S, layer["U"], sharpness)
            errors = reference.class_errors(scores, labels, smoothing) / len(X)
            share = 2 * sharpness / S.shape[1]
            Y = np.maximum(S[:, None, :] + layer["U"], 0)
            each = share * errors[:, :, None] * Y
            delta = each.sum(axis=1)
            new["W"] = layer["W"] + rate * X.T @ delta
            new["b"] = layer["b"] + rate * delta.sum(axis=0)
            new["U"] = layer["U"] + rate * each.sum(axis=0)
        after.append(new)
        X = reference.normalize(np.maximum(S, 0))
    return after


def prototype_batch(layers, X, labels, rate, smoothing, active, tau):
    """One batch of prototypes with SGD; layers have "Q" (C, units), rows of length 1."""
    after = []
    for layer, learns in zip(layers, active, strict=True):
        new, Y = dict(layer), reference.dense(X, layer["W"], layer["b"])
        if learns:
            Q, H = layer["Q"], unit(Y)
            errors = reference.class_errors(tau * H @ Q.T, labels, smoothing) / len(X)
            G = tau * errors @ Q
            length = np.sqrt((Y**2).sum(axis=1, keepdims=True))
            delta = (G - (G * H).sum(axis=1, keepdims=True) * H) / length * (Y > 0)
            new["W"] = layer["W"] + rate * X.T @ delta
            new["b"] = layer["b"] + rate * delta.sum(axis=0)
            turn = tau * errors.T @ H
            turn -= (tau * errors * (H @ Q.T)).sum(axis=0)[:, None] * Q
            new["Q"] = unit(Q + rate * turn)
        after.append(new)
        X = reference.normalize(Y)
    return after
