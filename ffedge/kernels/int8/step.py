"""One training step of one layer in one call: forward, error, update, in the order of a device.

A call from Python costs about as much as the arithmetic of a single sample, so the whole step is
one kernel; it is also the unit that a microcontroller runs. All scratch memory is the caller's.
"""

from __future__ import annotations

import numpy as np

from ..provider import kernel
from ..random import bits
from .classes import class_errors
from .dense import fill_words, forward, interleave, update, update_bias
from .group import group_delta, group_scores
from .input import INPUT_EXP
from .readout import readout_delta, readout_scores, update_readout

#: Streams of one step's random words.
_INPUTS, _UNITS, _BIASES, _SAMPLES, _CLASSES = 0, 1 << 32, 2 << 32, 3 << 32, 4 << 32


@kernel()
def _apply(x, rows, inputs, shift, seed, xt, delta, input_words, unit_words, weight, bias):
    """Round the batch's product into the weights; returns how many changed."""
    if shift == 0:
        return 0
    fill_words(seed, _INPUTS, input_words)
    interleave(x, rows, inputs, xt)
    changed = update(xt, rows, delta, shift, input_words, unit_words, weight)
    update_bias(delta, rows, shift, 2 * INPUT_EXP, bits(seed, _BIASES), unit_words, bias)
    return changed


@kernel()
def readout_step(
    x, rows, inputs, labels, weight, bias, readout, forward_shift, score_exp, smoothing,
    mantissa, delta_exp, readout_exp, seed, y, scores, errors, xt, delta, row, sums,
    input_words, unit_words,
):  # fmt: skip
    """A step of the readout rule on ``rows`` samples of x; afterwards y holds the activity.

    mantissa, delta_exp, readout_exp  int  read  rate / batch in steps of the weights and of M
    seed  uint32                           read  of this step and layer
    others                                       as in the kernels called

    Returns (missed probability in Q15, correct, weights changed).
    """
    forward(x, rows, weight, bias, forward_shift, y)
    readout_scores(y, rows, readout, scores)
    missed, correct = class_errors(scores, rows, labels, score_exp, smoothing, errors)
    fill_words(seed, _UNITS, unit_words)
    shift = readout_delta(
        y, rows, errors, readout, mantissa, delta_exp, bits(seed, _SAMPLES), unit_words, row, delta
    )
    update_readout(
        y, rows, errors, mantissa, readout_exp, bits(seed, _CLASSES), unit_words, sums, readout
    )
    changed = _apply(x, rows, inputs, shift, seed, xt, delta, input_words, unit_words, weight, bias)
    return missed, correct, changed


@kernel()
def group_step(
    x, rows, inputs, labels, weight, bias, forward_shift, score_exp, smoothing, mantissa,
    delta_exp, seed, starts, squared, factors, shares, y, scores, errors, xt, delta, row,
    input_words, unit_words,
):  # fmt: skip
    """A step of the group rule; arguments as in ``readout_step`` and ``kernels.int8.group``."""
    forward(x, rows, weight, bias, forward_shift, y)
    group_scores(y, rows, starts, squared, factors, scores)
    missed, correct = class_errors(scores, rows, labels, score_exp, smoothing, errors)
    fill_words(seed, _UNITS, unit_words)
    shift = group_delta(
        y, rows, errors, starts, squared, shares, mantissa, delta_exp, bits(seed, _SAMPLES),
        unit_words, row, delta,
    )  # fmt: skip
    changed = _apply(x, rows, inputs, shift, seed, xt, delta, input_words, unit_words, weight, bias)
    return missed, correct, changed


@kernel()
def add_scores(scores, rows, shift, total):
    """``total += scores << shift``: the layers' votes in one unit.

    scores, total  int32 (capacity, C)  read; read, written
    """
    for r in range(rows):
        for c in range(scores.shape[1]):
            total[r, c] = np.int32(total[r, c] + np.int32(scores[r, c] << np.int32(shift)))
