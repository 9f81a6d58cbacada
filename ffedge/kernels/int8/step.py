"""One training step of one layer in one call: forward, error, update, in the order of a device.

A call from Python costs about as much as the arithmetic of a single sample, so the whole step is
one kernel; it is also the unit that a microcontroller runs. All scratch memory is the caller's.
"""

from __future__ import annotations

import numpy as np

from ..provider import kernel
from ..random import bits
from .classes import class_errors
from .dense import fill_words, forward, interleave, sum_deltas, update, update_bias
from .group import group_delta, group_scores
from .input import INPUT_EXP
from .normalize import normalize_rows
from .readout import readout_delta, readout_scores, update_readout
from .stream import update_one

#: Parts of one step's random words.
INPUTS, UNITS, BIASES, SAMPLES, CLASSES = range(5)

#: The number of an update wraps as a device's, which has 32 bits for it.
_COUNTER = 0xFFFFFFFF


@kernel()
def _apply(
    x, rows, inputs, shift, seed, xt, delta, row, listed, input_words, unit_words, weight,
    bias,
):  # fmt: skip
    """Round the batch's product into the weights; returns how many changed.

    row    int32 (panels * 16,)          read, written  the deltas of a single sample
    delta  int8  (panels, fours, 16, 4)  read, written  the deltas of more
    """
    if shift == 0:
        return 0
    fill_words(bits(seed, INPUTS), input_words)
    if rows == 1:
        changed = update_one(x, row, shift, input_words, unit_words, listed, weight)
    else:
        interleave(x, rows, inputs, xt)
        changed = update(xt, rows, delta, shift, input_words, unit_words, weight)
        sum_deltas(delta, rows, row)
    update_bias(row, shift, 2 * INPUT_EXP, bits(seed, BIASES), unit_words, bias)
    return changed


@kernel()
def readout_step(
    x, rows, inputs, labels, weight, bias, readout, forward_shift, score_exp, smoothing,
    mantissa, delta_exp, readout_exp, seed, y, scores, errors, xt, delta, row, sums, listed,
    input_words, unit_words,
):  # fmt: skip
    """A step of the readout rule on ``rows`` samples of x; afterwards y holds the activity.

    mantissa, delta_exp, readout_exp  int  read  rate / batch in steps of the weights and of M
    seed  uint32                           read  of this step and layer
    others                                       as in the kernels called

    Returns (missed probability in Q15, correct, weights changed).
    """
    forward(x, rows, weight, bias, forward_shift, listed, y)
    readout_scores(y, rows, readout, scores)
    missed, correct = class_errors(scores, rows, labels, score_exp, smoothing, errors)
    fill_words(bits(seed, UNITS), unit_words)
    shift = readout_delta(
        y, rows, errors, readout, mantissa, delta_exp, bits(seed, SAMPLES), unit_words, row, delta
    )
    update_readout(
        y, rows, errors, mantissa, readout_exp, bits(seed, CLASSES), unit_words, sums, readout
    )
    changed = _apply(
        x, rows, inputs, shift, seed, xt, delta, row, listed, input_words, unit_words,
        weight, bias,
    )  # fmt: skip
    return missed, correct, changed


@kernel()
def group_step(
    x, rows, inputs, labels, weight, bias, forward_shift, score_exp, smoothing, mantissa,
    delta_exp, seed, starts, squared, factors, shares, y, scores, errors, xt, delta, row,
    listed, input_words, unit_words,
):  # fmt: skip
    """A step of the group rule; arguments as in ``readout_step`` and ``kernels.int8.group``."""
    forward(x, rows, weight, bias, forward_shift, listed, y)
    group_scores(y, rows, starts, squared, factors, scores)
    missed, correct = class_errors(scores, rows, labels, score_exp, smoothing, errors)
    fill_words(bits(seed, UNITS), unit_words)
    shift = group_delta(
        y, rows, errors, starts, squared, shares, mantissa, delta_exp, bits(seed, SAMPLES),
        unit_words, row, delta,
    )  # fmt: skip
    changed = _apply(
        x, rows, inputs, shift, seed, xt, delta, row, listed, input_words, unit_words,
        weight, bias,
    )  # fmt: skip
    return missed, correct, changed


@kernel()
def readout_steps(
    x, count, batch, inputs, labels, weight, bias, readout, forward_shift, score_exp, smoothing,
    mantissa, delta_exp, readout_exp, seed, updates, gain, y, length, scores, errors, xt, delta,
    row, sums, listed, input_words, unit_words,
):  # fmt: skip
    """``readout_step`` on samples 0..count-1, ``batch`` by ``batch``, one after the other.

    count, batch  int      read     samples at hand, and of each step; the last one may be smaller
    seed          uint32   read     of the layer; each step's follows from it and its number
    updates       int      read     steps made before, modulo 2**32
    gain          float32  read     of ``normalize_rows``, for the activity handed on; 0: it stays

    Layers never wait for those above, so a layer may make many steps before the next one begins:
    the same bits, and one call for samples that each take less time than a call.

    Returns (missed probability in Q15, correct, weights changed, sum of squares if normalised).
    """
    missed, correct, changed, squares = 0, 0, 0, 0
    for first in range(0, count, batch):
        last = min(first + batch, count)
        updates = (updates + 1) & _COUNTER
        found = readout_step(
            x[first:last], last - first, inputs, labels[first:last], weight, bias, readout,
            forward_shift, score_exp, smoothing, mantissa, delta_exp, readout_exp,
            bits(seed, updates), y[first:last], scores, errors, xt, delta, row, sums,
            listed, input_words, unit_words,
        )  # fmt: skip
        missed, correct, changed = missed + found[0], correct + found[1], changed + found[2]
        if gain > np.float32(0):
            squares += normalize_rows(y[first:last], last - first, gain, length)
    return missed, correct, changed, squares


@kernel()
def group_steps(
    x, count, batch, inputs, labels, weight, bias, forward_shift, score_exp, smoothing, mantissa,
    delta_exp, seed, updates, gain, starts, squared, factors, shares, y, length, scores, errors,
    xt, delta, row, listed, input_words, unit_words,
):  # fmt: skip
    """``group_step`` on samples 0..count-1, ``batch`` by ``batch``; see ``readout_steps``."""
    missed, correct, changed, squares = 0, 0, 0, 0
    for first in range(0, count, batch):
        last = min(first + batch, count)
        updates = (updates + 1) & _COUNTER
        found = group_step(
            x[first:last], last - first, inputs, labels[first:last], weight, bias, forward_shift,
            score_exp, smoothing, mantissa, delta_exp, bits(seed, updates), starts, squared,
            factors, shares, y[first:last], scores, errors, xt, delta, row, listed,
            input_words, unit_words,
        )  # fmt: skip
        missed, correct, changed = missed + found[0], correct + found[1], changed + found[2]
        if gain > np.float32(0):
            squares += normalize_rows(y[first:last], last - first, gain, length)
    return missed, correct, changed, squares


@kernel()
def add_scores(scores, rows, shift, total):
    """``total += scores << shift``: the layers' votes in one unit.

    scores, total  int32 (capacity, C)  read; read, written
    """
    for r in range(rows):
        for c in range(scores.shape[1]):
            total[r, c] = np.int32(total[r, c] + np.int32(scores[r, c] << np.int32(shift)))
