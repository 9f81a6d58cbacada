"""The int8 layer: forward with its epilogue, samples side by side, and the rounded update."""

import numpy as np
import pytest
import reference
import reference_int8 as oracle
from checks import PLAIN_PYTHON, assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.dense import (
    MAX_BIAS,
    fill_words,
    forward,
    interleave,
    list_quads,
    sum_deltas,
    update,
    update_bias,
)

pytestmark = pytest.mark.kernels

INPUTS = (1, 5, 33) if PLAIN_PYTHON else tuple(range(1, 34))
UNITS = (1, 17, 33) if PLAIN_PYTHON else (1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 50, 113)
SAMPLES = (1, 3, 13) if PLAIN_PYTHON else (*range(1, 14), 64)
WIDEST = 131_071


def layer(random, inputs, units):
    """(W, b) with many numbers at the ends of their ranges."""
    W = random.integers(-127, 128, (inputs, units))
    W[random.random(W.shape) < 0.2] = 127
    W[random.random(W.shape) < 0.2] = -127
    b = random.integers(-5000, 5000, units)
    b[random.random(units) < 0.1] = MAX_BIAS
    b[random.random(units) < 0.1] = -MAX_BIAS
    return W, b


def activities(random, rows, width):
    X = np.maximum(random.integers(-127, 128, (rows, width)), 0)
    X[random.random(X.shape) < 0.2] = 127
    return X


def run_forward(X, W, b, shift, capacity=None):
    """The rows in use; what stands behind them must be untouched."""
    rows, units = len(X), W.shape[1]
    capacity = rows + 2 if capacity is None else capacity
    y = np.full((capacity, oracle.panels(units) * 16), 201, np.uint8)
    x = oracle.pack_rows(X, capacity)
    bias = oracle.pack_units(b, np.int32)
    bias[units:] = 1 << (shift - 1) if shift else 0
    weight, listed = oracle.pack_weights(W), np.empty(-(-len(W) // 4), np.int32)
    forward(x, rows, weight, bias, np.int32(shift), listed, y)
    assert (y[rows:] == 201).all()
    assert not y[:rows, units:].any()
    return y[:rows, :units]


@pytest.mark.parametrize("inputs", INPUTS)
def test_forward_equals_the_oracle_for_every_shape(inputs):
    random = np.random.default_rng(inputs)
    for units in UNITS:
        W, b = layer(random, inputs, units)
        for rows in SAMPLES if units in (17, 33) else SAMPLES[::3]:
            X = activities(random, rows, inputs)
            shift = int(random.integers(0, 25))

            y = run_forward(X, W, b, shift)

            assert (y == oracle.forward(X, W, b, shift)).all()


@repeatable(40)
@given(
    st.integers(1, 70), st.integers(1, 120), st.integers(1, 20), st.integers(0, 24),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_forward_equals_the_oracle_for_random_shapes(inputs, units, rows, shift, seed):
    random = np.random.default_rng(seed)
    W, b = layer(random, inputs, units)
    X = activities(random, rows, inputs)

    y = run_forward(X, W, b, shift, capacity=rows + seed % 5)

    assert (y == oracle.forward(X, W, b, shift)).all()


def test_forward_rounds_halves_up():
    W, b = np.zeros((1, 6), int), np.array([-3, -1, 1, 3, 5, 7]) + 1  # halves: -1.5 … 3.5

    y = run_forward(np.ones((1, 1), int), W, b, 1)

    assert y.tolist() == [[0, 0, 1, 2, 3, 4]]


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shift", [0, 17, 24])
def test_the_widest_product_with_the_largest_bias_does_not_wrap(rows, sign, shift):
    x = np.zeros((rows, oracle.panels(WIDEST) * 16), np.uint8)
    x[:, :WIDEST] = 127
    weight = np.full((1, -(-WIDEST // 4), 16, 4), sign * 127, np.int8)
    bias = np.full(16, sign * MAX_BIAS, np.int32)
    y = np.full((rows, 16), 99, np.uint8)
    total = sign * (127 * 127 * WIDEST + MAX_BIAS)
    assert abs(total) < 2**31

    forward(x, rows, weight, bias, np.int32(shift), np.empty(weight.shape[1], np.int32), y)

    assert set(y.ravel().tolist()) == {max(0, min(127, total >> shift))}


def test_a_row_has_the_same_bytes_alone_and_among_others():
    random = np.random.default_rng(1)
    W, b = layer(random, 37, 50)
    X = activities(random, 13, 37)

    together = run_forward(X, W, b, 9)

    for r in range(13):
        assert run_forward(X[r : r + 1], W, b, 9)[0].tolist() == together[r].tolist()


def test_groups_of_four_are_listed_if_any_input_of_the_row_is_on():
    x = np.zeros((3, 48), np.uint8)
    x[0], x[2] = 127, 127
    x[1, [3, 4, 17, 32, 47]] = 1, 127, 5, 2, 1
    listed = np.full(12, -1, np.int32)

    assert list_quads(x, 1, 12, listed) == 5

    assert listed[:5].tolist() == [0, 1, 4, 8, 11]
    assert list_quads(x, 1, 8, listed) == 3
    assert list_quads(np.zeros((1, 16), np.uint8), 0, 4, listed) == 0


@pytest.mark.parametrize("inputs", INPUTS[:9])
@pytest.mark.parametrize("rows", SAMPLES)
def test_interleave_puts_four_samples_side_by_side_and_zeros_behind(inputs, rows):
    X = activities(np.random.default_rng([inputs, rows]), rows, inputs)
    xt = np.full((-(-inputs // 4) * 4, -(-rows // 4) + 1, 4), 201, np.uint8)

    interleave(oracle.pack_rows(X, rows + 6), rows, inputs, xt)

    assert xt[:, :-1].tolist() == oracle.pack_columns(X).tolist()
    assert (xt[:, -1] == 201).all()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("first", [0, 1 << 32, (1 << 34) + 5])
def test_words_are_the_generators_and_do_not_depend_on_how_many_there_are(seed, first):
    short, long = np.empty(3, np.uint32), np.empty(40, np.uint32)

    fill_words(seed, first, short)
    fill_words(seed, first, long)

    assert long.tolist() == [reference.bits(seed, first + n) for n in range(40)]
    assert short.tolist() == long[:3].tolist()


class Case:
    """Arguments of an update, packed and plain."""

    def __init__(self, seed, inputs, units, rows, shift, spare=0):
        random = np.random.default_rng(seed)
        self.rows, self.shift = rows, shift
        self.X = activities(random, rows, inputs)
        self.X[:, random.random(inputs) < 0.3] = 0  # silent groups of four, too
        self.D = random.integers(-127, 128, (rows, units))
        self.D[random.random(self.D.shape) < 0.3] = 0
        self.W, self.b = layer(random, inputs, units)
        self.weight = oracle.pack_weights(self.W)
        self.bias = oracle.pack_units(self.b, np.int32)
        self.input_words = random.integers(0, 2**32, -(-inputs // 4) * 4, np.uint32)
        self.unit_words = random.integers(0, 2**32, oracle.panels(units) * 16, np.uint32)
        self.xt = oracle.pack_columns(self.X, rows + spare)
        self.xt[:, -(-rows // 4) :] = 99
        self.delta = oracle.pack_delta(self.D, rows + spare)
        self.delta[:, -(-rows // 4) :] = 99

    def run(self):
        return update(
            self.xt, self.rows, self.delta, self.shift, self.input_words, self.unit_words,
            self.weight,
        )  # fmt: skip

    def update_bias(self, word):
        sums = np.empty(len(self.bias), np.int32)
        sum_deltas(self.delta, self.rows, sums)
        update_bias(sums, self.shift, 8, word, self.unit_words, self.bias)

    def wanted(self):
        inputs, units = self.W.shape
        return oracle.update(
            self.X, self.D, self.shift, self.input_words[:inputs].tolist(),
            self.unit_words[:units].tolist(), self.W,
        )  # fmt: skip


@pytest.mark.parametrize("inputs", INPUTS)
def test_the_update_equals_the_oracle_and_leaves_the_padding_zero(inputs):
    for n, units in enumerate(UNITS):
        rows = SAMPLES[(inputs + n) % len(SAMPLES)]
        case = Case([inputs, n], inputs, units, rows, 1 + (inputs + 5 * n) % 24, spare=n % 7)
        wanted, wanted_changes = case.wanted()

        changed = case.run()

        assert case.weight.tolist() == oracle.pack_weights(wanted).tolist()
        assert changed == wanted_changes


@repeatable(30)
@given(
    st.integers(1, 40), st.integers(1, 120), st.integers(1, 20), st.integers(1, 24),
    st.integers(0, 9), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_update_equals_the_oracle_for_random_shapes(inputs, units, rows, shift, spare, seed):
    case = Case(seed, inputs, units, rows, shift, spare)
    wanted, wanted_changes = case.wanted()

    changed = case.run()

    assert case.weight.tolist() == oracle.pack_weights(wanted).tolist()
    assert changed == wanted_changes


@pytest.mark.parametrize("only", range(8))
@pytest.mark.parametrize("sample", [0, 3, 4, 7, 8])
def test_a_single_active_input_of_a_single_sample_is_not_skipped(only, sample):
    case = Case(9, 8, 17, 9, 1)
    case.X[:], case.W[:], case.D[sample] = 0, 0, 100
    case.X[sample, only] = 1
    case.xt, case.delta = oracle.pack_columns(case.X), oracle.pack_delta(case.D)
    case.weight[:] = 0

    assert case.run() == 17

    weight = oracle.unpack_weights(case.weight, 8, 17)
    assert weight[only].tolist() == [50] * 17
    assert np.count_nonzero(weight) == 17


def test_weights_saturate_at_127_and_never_become_minus_128():
    case = Case(3, 9, 33, 13, 1)
    for _ in range(50):
        case.run()

    assert case.weight.min() == -127
    assert case.weight.max() == 127


def test_a_step_of_nothing_changes_nothing_whatever_the_noise():
    case = Case(4, 33, 50, 5, 1)
    case.input_words[:], case.unit_words[:] = 2**32 - 1, 0
    case.delta[:] = 0
    before = case.weight.copy()

    assert case.run() == 0
    assert (case.weight == before).all()


@pytest.mark.parametrize("shift", [1, 6, 24])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_batch_of_the_docstring_does_not_wrap(shift, sign):
    rows = 65_536
    xt, delta = np.full((4, rows // 4, 4), 127, np.uint8), np.full((1, rows // 4, 16, 4), 127)
    delta = (delta * sign).astype(np.int8)
    words = np.full(16, 1 << (shift - 1), np.uint32)
    weight, bias = np.zeros((1, 1, 16, 4), np.int8), np.zeros(16, np.int32)
    total = sign * 127 * 127 * rows
    assert abs(total) + 2**24 < 2**31

    update(xt, rows, delta, shift, words, words - words, weight)

    step = (total + (1 << (shift - 1))) >> shift
    assert set(weight.ravel().tolist()) == {max(-127, min(127, step))}
    if not PLAIN_PYTHON:  # a million Python steps
        sums = np.empty(16, np.int32)
        sum_deltas(delta, rows, sums)
        update_bias(sums, shift, 8, words[0], words - words, bias)
        step = ((sign * 127 * rows << 8) + (1 << (shift - 1))) >> shift
        assert set(bias.tolist()) == {max(-MAX_BIAS, min(MAX_BIAS, step))}


@compiled_only
def test_the_widest_layer_is_updated_like_the_narrow_one():
    rows, inputs = 3, WIDEST
    random = np.random.default_rng(0)
    x = np.zeros((rows, oracle.panels(inputs) * 16), np.uint8)
    x[:, :inputs] = X = activities(random, rows, inputs)
    D = random.integers(-127, 128, (rows, 2))
    xt = np.empty((131_072, 1, 4), np.uint8)
    weight = np.zeros((1, 32_768, 16, 4), np.int8)
    input_words, unit_words = np.empty(131_072, np.uint32), np.empty(16, np.uint32)
    fill_words(5, 0, input_words)
    fill_words(5, 1 << 32, unit_words)

    interleave(x, rows, inputs, xt)
    update(xt, rows, oracle.pack_delta(D), 12, input_words, unit_words, weight)

    noise = (input_words[:inputs, None] ^ unit_words[None, :2]) & np.uint32(4095)
    wanted = (X.T @ D + noise) >> 12
    assert (oracle.unpack_weights(weight, inputs, 2) == wanted).all()
    assert not weight[0, -1, :, 3].any()
    assert not weight[:, :, 2:].any()


def test_deltas_are_summed_over_the_samples_in_use():
    case = Case(6, 1, 33, 13, 1, spare=4)

    sums = np.empty(48, np.int32)
    sum_deltas(case.delta, 13, sums)

    assert sums.tolist() == [*case.D.sum(axis=0).tolist(), *[0] * 15]


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("shift", [1, 8, 24])
def test_the_bias_update_equals_the_oracle_and_leaves_the_padding_alone(units, shift):
    for rows in SAMPLES:
        case = Case([units, rows], 1, units, rows, shift, spare=rows % 6)
        case.bias[units:] = 1234
        words = case.unit_words[:units].tolist()
        wanted = oracle.update_bias(case.D, shift, 8, 0xDEADBEEF, words, case.b)

        case.update_bias(np.uint32(0xDEADBEEF))

        assert case.bias[:units].tolist() == wanted.tolist()
        assert (case.bias[units:] == 1234).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_biases_stop_at_their_bound(sign):
    sums = np.full(16, 508 * sign, np.int32)
    bias = np.full(16, sign * (MAX_BIAS - 3), np.int32)

    update_bias(sums, 1, 8, np.uint32(0), np.zeros(16, np.uint32), bias)

    assert bias.tolist() == [sign * MAX_BIAS] * 16


# Rounding has no bias: pairs of words are independent of each other, so that the spread of a
# mean over all weights is that of independent draws.


def mean_change(total, shift, calls, inputs=1024, units=480, start=0):
    """(mean step of weights whose sum is ``total``, how many there were)."""
    if PLAIN_PYTHON:
        inputs, units, calls = 16, 16, 20
    factor = next(f for f in range(127, 0, -1) if total % f == 0 and abs(total) // f <= 127)
    xt = np.zeros((inputs, 1, 4), np.uint8)
    delta = np.zeros((units // 16, 1, 16, 4), np.int8)
    xt[:, 0, 0], delta[:, 0, :, 0] = factor, total // factor  # one sample: batch 1
    input_words, unit_words = np.empty(inputs, np.uint32), np.empty(units, np.uint32)
    weight = np.empty((units // 16, inputs // 4, 16, 4), np.int8)
    moved = 0
    for seed in range(start, start + calls):
        fill_words(seed, 0, input_words)
        fill_words(seed, 1 << 32, unit_words)
        weight[:] = 0
        update(xt, 1, delta, shift, input_words, unit_words, weight)
        moved += int(weight.sum(dtype=np.int64))
    count = calls * inputs * units
    return moved / count, count


@pytest.mark.parametrize(
    ("total", "shift", "calls"),
    [
        (16, 24, 150),  # 2**-20 of a step
        (-16, 24, 150),
        (-1, 24, 500),  # the smallest of all
        (1, 10, 20),
        (-1, 10, 20),
        (5 * 11, 7, 10),
        (-127 * 127, 9, 10),
        (127 * 127, 8, 10),
        (-3, 1, 10),
    ],
)
def test_the_mean_of_rounded_updates_is_the_exact_update(total, shift, calls):
    exact = total / 2**shift

    mean, count = mean_change(total, shift, calls)

    share = exact % 1
    spread = np.sqrt(share * (1 - share) / count)
    assert abs(mean - exact) < 4 * spread
    if not PLAIN_PYTHON:
        assert 4 * spread < abs(exact) if total not in (1, -1) or shift < 24 else True


@pytest.mark.parametrize("total", [1, -1, 7, 300, -1000])
def test_the_mean_of_rounded_bias_updates_is_the_exact_update(total):
    seeds, shift = 150 if PLAIN_PYTHON else 4000, 20
    sums, exact = np.full(16, total, np.int32), total * 2**8 / 2**shift
    words, moved = np.empty(17, np.uint32), 0
    for seed in range(seeds):
        fill_words(seed, 0, words)
        bias = np.zeros(16, np.int32)
        update_bias(sums, shift, 8, words[16], words[:16], bias)
        moved += int(bias.sum())

    share = exact % 1
    assert abs(moved / seeds / 16 - exact) < 4 * np.sqrt(share * (1 - share) / seeds / 16)


@compiled_only
def test_forward_and_update_allocate_nothing():
    case = Case(5, 784, 100, 33, 12)
    x = oracle.pack_rows(case.X)
    y, listed, sums = (
        np.empty((33, 112), np.uint8),
        np.empty(196, np.int32),
        np.empty(112, np.int32),
    )

    def step():
        forward(x, 33, case.weight, case.bias, np.int32(9), listed, y)
        interleave(x, 33, 784, case.xt)
        case.run()
        sum_deltas(case.delta, 33, sums)
        update_bias(sums, 12, 8, np.uint32(1), case.unit_words, case.bias)

    assert_allocates_nothing(step)
