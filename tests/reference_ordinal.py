"""The oracle of numbers in ordered bins, in float64 and plain loops; see ``reference``."""

import numpy as np
import reference


def soft_targets(y, centres, width, gaussian):
    """(rows, bins): how much of each target belongs to each bin; width in mean distances."""
    unit = width * (centres[-1] - centres[0]) / (len(centres) - 1)
    out = np.zeros((len(y), len(centres)))
    for r, target in enumerate(y):
        target = min(max(target, centres[0]), centres[-1])
        for k, centre in enumerate(centres):
            away = abs(target - centre) / unit
            out[r, k] = np.exp(-(away**2) / 2) if gaussian else np.exp(-away)
        out[r] /= out[r].sum()
    return out


def divergence(scores, soft):
    """Mean over the rows of sum t (log t - log p), in nats."""
    logs = np.log(np.maximum(soft, 1e-300))
    return (soft * (logs - reference.log_softmax(scores))).sum(axis=1).mean()


def soft_errors(scores, soft):
    """t - softmax: the divergence of one row, downhill."""
    return soft - np.exp(reference.log_softmax(scores))


def ordinal_batch(layers, X, soft, rate, active, score, delta):
    """One step of SGD through all layers; a new list of layers. M learns if there is one."""
    x, learned = X, []
    for layer, learns in zip(layers, active, strict=True):
        Y = reference.dense(x, layer["W"], layer["b"])
        new = dict(layer)
        if learns:
            errors = soft_errors(score(layer, Y), soft) * rate / len(X)
            D = delta(layer, Y, errors)
            new["W"], new["b"] = layer["W"] + x.T @ D, layer["b"] + D.sum(axis=0)
            if "M" in layer:
                new["M"] = layer["M"] + errors.T @ Y
        learned.append(new)
        x = reference.normalize(Y)
    return learned
