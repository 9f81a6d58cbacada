"""The naive oracle of the int8 arithmetic: Python's integers, int64 and single float32 operations.

Matrices are as in the papers: X (rows, inputs), W (inputs, units), b (units,), M (classes,
units), D (rows, units), all whole numbers. Nothing is imported from ffedge.

Stochastic rounding has two definitions here: ``floor(value + word / 2**32)`` for inputs and
deltas; for parameters ``floor((numerator + low) / 2**shift)`` with the word's lowest bits.
"""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from reference import bits, mix

LANES = 16
WORD = 2**32
INPUT_EXP, OUTPUT_EXP, SCORE_EXP, FACTOR_EXP = 4, 3, 8, 20
ONE = 2**15


# Layouts.


def panels(width):
    """How many panels of 16 units hold ``width`` of them."""
    return -(-width // LANES)


def pack_rows(X, capacity=None, unused=99):
    """uint8 (capacity, whole panels); rows from len(X) on hold ``unused``."""
    rows, width = X.shape
    out = np.full((rows if capacity is None else capacity, panels(width) * LANES), unused, np.uint8)
    out[:rows] = 0
    out[:rows, :width] = X
    return out


def pack_units(values, dtype):
    """One number per unit, whole panels, zero beyond."""
    out = np.zeros(panels(len(values)) * LANES, dtype)
    out[: len(values)] = values
    return out


def pack_weights(W):
    """int8 (panels, quads, 16, 4): input 4k+j and unit 16p+n at [p, k, n, j]."""
    inputs, units = W.shape
    out = np.zeros((panels(units), -(-inputs // 4), LANES, 4), np.int8)
    for i in range(inputs):
        for u in range(units):
            out[u // LANES, i // 4, u % LANES, i % 4] = W[i, u]
    return out


def unpack_weights(array, inputs, units):
    """int64 (inputs, units)."""
    flat = array.astype(np.int64).transpose(1, 3, 0, 2)
    return flat.reshape(4 * array.shape[1], -1)[:inputs, :units]


def pack_delta(D, capacity=None):
    """int8 (panels, groups, 16, 4): sample 4g+j and unit 16p+n at [p, g, n, j]."""
    rows, units = D.shape
    capacity = rows if capacity is None else capacity
    out = np.zeros((panels(units), -(-capacity // 4), LANES, 4), np.int8)
    for r in range(rows):
        for u in range(units):
            out[u // LANES, r // 4, u % LANES, r % 4] = D[r, u]
    return out


def unpack_delta(array, rows, units):
    """int64 (rows, units)."""
    return unpack_weights(array, rows, units)


def emitted(row, delta, rows, units):
    """int64 (rows, units): a kernel's deltas, of a single sample in ``row``, of more in ``delta``.

    The other stays untouched: 99 in ``delta``, also in its spare groups.
    """
    used = -(-rows // 4) if rows > 1 else 0
    assert (delta[:, used:] == 99).all()
    return row[None, :units].astype(np.int64) if rows == 1 else unpack_delta(delta, rows, units)


def pack_columns(X, capacity=None):
    """uint8 (4 * quads, groups, 4): input i of sample 4g+j at [i, g, j]."""
    rows, inputs = X.shape
    capacity = rows if capacity is None else capacity
    out = np.zeros((-(-inputs // 4) * 4, -(-capacity // 4), 4), np.uint8)
    for r in range(rows):
        for i in range(inputs):
            out[i, r // 4, r % 4] = X[r, i]
    return out


# Rounding.


def clip8(values):
    """Within +-127."""
    return np.clip(values, -127, 127)


def int32(values):
    """The values, which int32 must hold."""
    values = np.asarray(values)
    assert values.size == 0 or (int(values.min()) >= -(2**31) and int(values.max()) < 2**31)
    return values


def stochastic(numerators, exponent, words):
    """``floor(numerator * 2**-exponent + word / 2**32)``, in Python's integers."""
    numerators, words = np.asarray(numerators, object), np.asarray(words, object)
    if exponent < 0:
        numerators, exponent = numerators * 2**-exponent, 0
    return (numerators * WORD + words * 2**exponent) // (WORD * 2**exponent)


def rounded(numerators, shift, words):
    """``floor((numerator + lowest bits of the word) * 2**-shift)``, in Python's integers."""
    numerators, words = np.asarray(numerators, object), np.asarray(words, object)
    return (numerators + words % 2**shift) // 2**shift


def words(seed, first, count):
    """Random words first..first+count-1 of a stream, Python integers."""
    return np.array([bits(int(seed), first + n) for n in range(count)], object)


def part_words(seed, part, count):
    """The words of one part of a step: of its inputs (0) or units (1)."""
    key = bits(int(seed), part)
    return np.array([mix((key + n) % WORD) for n in range(count)], object)


def crossed(rows, columns):
    """The random word of every pair: their sum, wrapping."""
    return (np.asarray(rows, object)[:, None] + np.asarray(columns, object)[None, :]) % WORD


# A layer.


def product(X, W):
    """X W in int64."""
    return X.astype(np.int64) @ W.astype(np.int64)


def forward(X, W, b, shift):
    """``clip((X W + b) >> shift, 0, 127)``"""
    sums = int32(product(X, W))
    return np.clip(int32(sums + b.astype(np.int64)) >> int(shift), 0, 127)


def update_one(x, d, shift, input_words, unit_words, W):
    """``update`` by one sample: inputs rounded first, with the upper bits of their words."""
    x = stochastic(x, shift - 8, input_words)
    steps = rounded(np.outer(x, d), 8, crossed(input_words, unit_words))
    after = clip8(W + steps.astype(np.int64))
    return after, int((after != W).sum())


def update(X, D, shift, input_words, unit_words, W):
    """(W after the rounded step, how many weights changed)."""
    sums = int32(product(X.T, D))
    steps = rounded(sums, shift, crossed(input_words, unit_words))
    after = clip8(W + clip8(steps).astype(np.int64))
    return after, int((after != W).sum())


def update_bias(D, shift, scale, bias_word, unit_words, b):
    """The bias is the weight of an input of 1.0 = 2**(scale / 2) steps, in finer steps."""
    totals = np.array([int(total) for total in D.sum(axis=0)], object)
    steps = rounded(totals * 2**scale, shift, crossed([bias_word], unit_words)[0])
    return np.clip(b + steps, -(2**24), 2**24).astype(np.int64)


def sum_of_squares(Y):
    """Of each row."""
    return int32((Y.astype(np.int64) ** 2).sum(axis=1))


def normalize(Y, width):
    """Every operation one of float32, as numpy rounds it."""
    gain = np.float32(2**INPUT_EXP) * np.sqrt(np.float32(width))
    out = np.zeros_like(Y)
    for r, length in enumerate(sum_of_squares(Y)):
        factor = np.float32(gain / np.sqrt(np.float32(max(int(length), 1))))
        for j in range(Y.shape[1]):
            product = np.float32(np.float32(Y[r, j]) * factor)
            out[r, j] = min(int(np.floor(np.float32(product + np.float32(0.5)))), 127)
    return out


def quantize_input(features, mean, gain, parts):
    """q(t), and q(-t) beside it for two parts, of t = (raw - mean) * gain."""
    t = (features.astype(np.float32) - mean.astype(np.float32)) * gain.astype(np.float32)

    def q(t):
        return np.clip(np.floor(t * np.float32(16) + np.float32(0.5)), 0, 127).astype(np.int64)

    return q(t) if parts == 1 else np.hstack([q(t), q(-t)])


# Classes.


def power(t):
    """2**-(t / 256) in Q15: the table's entry, halved for every whole step."""
    return math.floor(ONE / 2 ** (t % 256 / 256) + 0.5) >> (t // 256) if t < 16 * 256 else 0


def softmax(scores, exponent):
    """Q15, one row of Python integers."""
    log2_e = math.floor(math.log2(math.e) * 2**16)
    weights = [power((max(scores) - s) * log2_e >> (exponent + 8)) for s in scores]
    return [w * ONE // sum(weights) for w in weights]


def class_errors(scores, labels, exponent, smoothing):
    """(errors, missed, correct): Q15, Q15, rows."""
    errors, missed, correct = np.zeros(scores.shape, np.int64), 0, 0
    classes = scores.shape[1]
    for r, label in enumerate(labels):
        row = [int(s) for s in scores[r]]
        chances = softmax(row, exponent)
        for c in range(classes):
            target = smoothing // classes + (ONE - smoothing if c == label else 0)
            errors[r, c] = target - chances[c]
        missed += ONE - chances[label]
        correct += row.index(max(row)) == label
    return errors, missed, correct


# Deltas: the real number is term * mantissa * 2**-exponent, in steps of the weights.


def weight_shift(most, mantissa, exponent):
    """The largest shift 1..24 that leaves the largest term within 127; 1 if none does."""
    room = 127 * Fraction(2) ** exponent
    fits = [s for s in range(1, 25) if most * mantissa * 2**s <= room]
    return max(fits, default=1)


def quantize(terms, mantissa, fall, words):
    """Stochastically rounded, within +-127."""
    values = np.asarray(terms, object) * mantissa
    return np.asarray(clip8(stochastic(values, fall, words))).astype(np.int64)


def emit(terms, mantissa, exponent, seed, unit_words):
    """(D, shift) of exact terms (rows, units); (None, 0) if all are zero."""
    most = int(np.abs(terms).max())
    if most == 0:
        return None, 0
    shift = weight_shift(most, mantissa, exponent)
    if len(terms) == 1:
        shift = max(shift, 8)
    sample_words = words(seed, 0, len(terms))
    D = quantize(terms, mantissa, exponent - shift, crossed(sample_words, unit_words))
    return np.where(terms == 0, 0, D), shift


def readout_scores(Y, M):
    """Y M.T"""
    return int32(product(Y, M.T))


def readout_terms(Y, errors, M):
    """(errors M) where the unit is on."""
    return int32(product(errors, M)) * (Y > 0)


def error_words(seed, rows, classes):
    """The random word of every sample's error, (rows, classes)."""
    return np.array([words(seed, c << 32, rows) for c in range(classes)], object).T


def update_readout(Y, errors, mantissa, exponent, seed, unit_words, M):
    """M after its step: errors rounded to 8 bits, their product with Y rounded into M."""
    most = int(np.abs(errors).max())
    if most == 0:
        return M.copy()
    shift = weight_shift(most, mantissa, exponent)
    E = quantize(errors, mantissa, exponent - shift, error_words(seed, *errors.shape))
    class_words = [bits(int(seed), (c << 32) + (1 << 31)) for c in range(len(M))]
    steps = rounded(int32(product(E.T, Y)), shift, crossed(class_words, unit_words))
    return clip8(M + clip8(steps).astype(np.int64))


def starts(width, classes):
    """First unit of each class's group, then the width."""
    return [math.ceil(k * width / classes) for k in range(classes + 1)]


def group_scores(Y, starts, squared, factors):
    """(sum over the group of y**2, or of y) * factor, 20 bits dropped."""
    scores = np.zeros((len(Y), len(starts) - 1), np.int64)
    for r in range(len(Y)):
        for k in range(len(starts) - 1):
            values = [int(y) for y in Y[r, starts[k] : starts[k + 1]]]
            total = int(int32(sum(y * y if squared else y for y in values)))
            scores[r, k] = total * int(factors[k]) >> FACTOR_EXP
    return int32(scores)


def group_terms(Y, errors, starts, squared, shares):
    """error * share of the group * (y, or 1 where y is on), Q15 dropped."""
    terms = np.zeros(Y.shape, np.int64)
    for r in range(len(Y)):
        for k in range(len(starts) - 1):
            for j in range(starts[k], starts[k + 1]):
                slope = int(Y[r, j]) if squared else int(Y[r, j] > 0)
                terms[r, j] = int(errors[r, k]) * int(shares[k]) * slope >> 15
    return int32(terms)


# A step of a layer; ``own``: its W, b and, for the readout, M.


def _learn(own, X, D, shift, seed):
    after = dict(own)
    if D is None:
        return after, 0
    input_words, unit_words = part_words(seed, 0, X.shape[1]), part_words(seed, 1, D.shape[1])
    if len(X) == 1:
        after["W"], changed = update_one(X[0], D[0], shift, input_words, unit_words, own["W"])
    else:
        after["W"], changed = update(X, D, shift, input_words, unit_words, own["W"])
    bias_word = bits(int(seed), 2)
    after["b"] = update_bias(D, shift, 2 * INPUT_EXP, bias_word, unit_words, own["b"])
    return after, changed


def readout_step(own, X, labels, forward_shift, score_exp, smoothing, mantissa, delta_exp,
                 readout_exp, seed):  # fmt: skip
    """(own after the step, Y, errors, missed, correct, changed)."""
    Y = forward(X, own["W"], own["b"], forward_shift)
    scores = readout_scores(Y, own["M"])
    errors, missed, correct = class_errors(scores, labels, score_exp, smoothing)
    unit_words = part_words(seed, 1, Y.shape[1])
    terms = readout_terms(Y, errors, own["M"])
    D, shift = emit(terms, mantissa, delta_exp, bits(int(seed), 3), unit_words)
    after, changed = _learn(own, X, D, shift, seed)
    class_seed = bits(int(seed), 4)
    after["M"] = update_readout(Y, errors, mantissa, readout_exp, class_seed, unit_words, own["M"])
    return after, Y, errors, missed, correct, changed


def group_step(own, X, labels, forward_shift, score_exp, smoothing, mantissa, delta_exp, seed,
               starts, squared, factors, shares):  # fmt: skip
    """(own after the step, Y, errors, missed, correct, changed)."""
    Y = forward(X, own["W"], own["b"], forward_shift)
    scores = group_scores(Y, starts, squared, factors)
    errors, missed, correct = class_errors(scores, labels, score_exp, smoothing)
    unit_words = part_words(seed, 1, Y.shape[1])
    terms = group_terms(Y, errors, starts, squared, shares)
    D, shift = emit(terms, mantissa, delta_exp, bits(int(seed), 3), unit_words)
    after, changed = _learn(own, X, D, shift, seed)
    return after, Y, errors, missed, correct, changed


# Units, and a whole network.


def exponent_of(fan_in, deviations):
    """e of the unit 2**-e in which 127 steps are about that many / sqrt(fan_in)."""
    return round(math.log2(127 * math.sqrt(fan_in) / deviations))


def weight_exponent(inputs):
    """Of the weights: three standard deviations of the start."""
    return exponent_of(inputs, 3)


def readout_exponent(units):
    """Of M: eight."""
    return exponent_of(units, 8)


def fixed_point(value):
    """(m, e) with m * 2**-e nearest to ``value`` and 2**14 <= m <= 2**15; (0, 15) for 0."""
    if value == 0:
        return 0, 15
    exact, exponent = Fraction(float(value)), 0
    while exact * 2**exponent < 2**14:
        exponent += 1
    while exact >= Fraction(2**15) / Fraction(2) ** exponent:
        exponent -= 1
    return round(exact * Fraction(2) ** exponent), exponent


def initial_weights(seed, inputs, units, scale):
    """W (inputs, units): eight 16-bit integers, centred, scaled in float32, halves up."""
    factor = np.float32(scale) / np.float32(53509.91)
    W = np.zeros((inputs, units), np.int64)
    for u in range(units):
        for i in range(inputs):
            parts = [bits(seed, (u * inputs + i) * 4 + part) for part in range(4)]
            total = sum((word & 0xFFFF) + (word >> 16) for word in parts) - 4 * 65535
            value = np.float32(np.float32(total) * factor)
            W[i, u] = clip8(int(np.floor(np.float32(value + np.float32(0.5)))))
    return W


def initial_layer(recipe_seed, index, inputs, units, classes, readout):
    """own of a new layer: the float32 start, in steps."""
    seed = (recipe_seed * 0x01000193 + index * 2) % WORD
    e = weight_exponent(inputs)
    scale = np.float32((1 / inputs) ** 0.5) * np.float32(2.0**e)
    shift = INPUT_EXP + e - OUTPUT_EXP
    own = {
        "W": initial_weights(seed, inputs, units, scale),
        "b": np.full(units, 2 ** (shift - 1), np.int64),
    }
    if readout:
        scale = np.float32((1 / units) ** 0.5 * 2.0 ** readout_exponent(units))
        own["M"] = initial_weights(seed + 1, classes, units, scale)
    return own


def group_units(starts, squared, sharpness):
    """(factors, shares, slope): what the kernels take for ``sharpness / |group|``."""
    sizes = [after - first for first, after in pairwise(starts)]
    unit = 2 ** (SCORE_EXP + FACTOR_EXP - OUTPUT_EXP * (2 if squared else 1))
    factors = [math.floor(sharpness * unit / size + 0.5) for size in sizes]
    shares = [min(sizes) * ONE // size for size in sizes]
    slope = sharpness / min(sizes) * (2 / 2**OUTPUT_EXP if squared else 1)
    return np.array(factors, np.int64), np.array(shares, np.int32), slope


def train_batch(layers, X, labels, rate, smoothing, recipe_seed, updates, active, group=None):
    """New layers from old ones; ``updates``: of every layer, this one counted.

    group: (squared, sharpness, classes) of the group rule, None for the readout rule.
    """
    after, total_changed = [], []
    for index, own in enumerate(layers):
        inputs, units = own["W"].shape
        e = weight_exponent(inputs)
        shift = INPUT_EXP + e - OUTPUT_EXP
        new, changed = own, 0
        seed = bits((recipe_seed + 0x9E3779B9 * index) % WORD, updates[index])
        target = round(smoothing * ONE)
        if not active[index]:
            Y = forward(X, own["W"], own["b"], shift)
        elif group is None:
            m, x = fixed_point(rate / len(X))
            f = readout_exponent(units)
            new, Y, *_, changed = readout_step(
                own, X, labels, shift, OUTPUT_EXP + f, target, m,
                x + 15 + f + INPUT_EXP - e, x + 15 + OUTPUT_EXP - f, seed,
            )  # fmt: skip
        else:
            squared, sharpness, classes = group
            first = starts(units, classes)
            factors, shares, slope = group_units(first, squared, sharpness)
            m, x = fixed_point(rate / len(X) * slope)
            new, Y, *_, changed = group_step(
                own, X, labels, shift, SCORE_EXP, target, m, x + 15 + INPUT_EXP - e, seed,
                first, squared, factors, shares,
            )  # fmt: skip
        after.append(new)
        total_changed.append(changed)
        X = normalize(Y, units)
    return after, total_changed
