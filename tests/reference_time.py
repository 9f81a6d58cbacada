"""The naive oracle of rules with steps in time, in float64 and plain loops; see ``reference``."""

import numpy as np
import reference


def neighbours(layers, X, passed, index, above):
    """What drives layer ``index``: from below and from above, both normalised."""
    below = X if index == 0 else passed[index - 1]
    return below, above if index == len(layers) - 1 else passed[index + 1]


def top_down_sums(layer, below, above):
    """below W + above D + b"""
    return below @ layer["W"] + above @ layer["D"] + layer["b"]


def bottom_up(layers, X):
    """Each layer's state from the normalised data alone."""
    states, x = [], X
    for layer in layers:
        states.append(reference.dense(x, layer["W"], layer["b"]))
        x = reference.normalize(states[-1])
    return states


def top_down_steps(layers, X, shown, classes, steps, share):
    """For each step and layer: (below, above, activity); X is normalised, ``shown`` the labels."""
    above = np.eye(classes)[shown] * np.sqrt(classes)
    states, found = bottom_up(layers, X), []
    for _ in range(steps):
        passed = [reference.normalize(state) for state in states]
        step = []
        for i, layer in enumerate(layers):
            drives = neighbours(layers, X, passed, i, above)
            Y = np.maximum(top_down_sums(layer, *drives), 0)
            step.append((*drives, Y))
            states[i] = (1 - share) * states[i] + share * Y
        found.append(step)
    return found


def top_down_scores(layers, X, classes, share, first, last, mean):
    """Goodness of every label, summed over the layers, averaged over steps first..last."""
    total = np.zeros((len(X), classes))
    for label in range(classes):
        steps = top_down_steps(layers, X, np.full(len(X), label), classes, last, share)
        for step in steps[first - 1 :]:
            for _, _, Y in step:
                g = reference.goodness(Y)
                total[:, label] += g / Y.shape[1] if mean else g
    return total / (last - first + 1)


def top_down_head_scores(layers, X):
    """Averaged log-probabilities of the heads on the bottom-up states."""
    states = bottom_up(layers, X)
    votes = [
        reference.log_softmax(reference.normalize(state) @ layer["M"].T)
        for layer, state in zip(layers, states, strict=True)
        if "M" in layer
    ]
    return np.mean(votes, axis=0)


def fast_sequence(layer, X, steps, turns, rate, decay):
    """Activity (steps, rows, units), the last turn's recalled sums, and the states before.

    X (steps, rows, inputs).
    """
    units = layer["W"].shape[1]
    rows = X.shape[1]
    A = np.zeros((rows, units, units))
    last = np.zeros((rows, units))
    found, recalled, before = [], [], []
    for t in range(steps):
        before.append(last)
        z = X[t] @ layer["W"] + last @ layer["R"] + layer["b"]
        Y, memory = np.maximum(z, 0), np.zeros_like(z)
        for _ in range(turns):
            h = reference.normalize(Y)
            memory = np.stack([A[r] @ h[r] for r in range(rows)])
            Y = np.maximum(z + memory, 0)
        last = reference.normalize(Y)
        A = decay * A + rate / units * np.stack([np.outer(h, h) for h in last])
        found.append(Y)
        recalled.append(memory)
    return np.stack(found), np.stack(recalled), np.stack(before)


def fast_scores(layers, X, steps, turns, rate, decay, first):
    """Log-probabilities summed over the layers, averaged over steps first.."""
    total = 0.0
    x = X.reshape(len(X), steps, -1).swapaxes(0, 1)
    for layer in layers:
        Y, _, _ = fast_sequence(layer, x, steps, turns, rate, decay)
        total = total + np.mean(
            [reference.log_softmax(y @ layer["M"].T) for y in Y[first:]], axis=0
        )
        x = np.stack([reference.normalize(y) for y in Y])
    return total
