"""The update by a single sample: inputs rounded first, and no bias from it."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import PLAIN_PYTHON, assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.delta import PRODUCT_SHIFT
from ffedge.kernels.int8.dense import fill_words
from ffedge.kernels.int8.stream import MORE, ONES, list_left, thin, update_one
from ffedge.kernels.random import bits

pytestmark = pytest.mark.kernels

SHIFTS = range(PRODUCT_SHIFT, 25)


class Case:
    """Arguments of ``update_one``, packed and plain."""

    def __init__(self, seed, inputs, units, shift):
        random = np.random.default_rng(seed)
        self.shift = shift
        self.x = np.maximum(random.integers(-127, 128, inputs), 0)
        self.x[random.random(inputs) < 0.2] = 127
        self.d = random.integers(-127, 128, units)
        self.d[random.random(units) < 0.3] = 0
        self.W = random.integers(-127, 128, (inputs, units))
        self.W[random.random(self.W.shape) < 0.2] = -127
        self.weight = oracle.pack_weights(self.W)
        self.delta = oracle.pack_units(self.d, np.int32)
        self.input_words = random.integers(0, 2**32, -(-inputs // 4) * 4, np.uint32)
        self.unit_words = random.integers(0, 2**32, oracle.panels(units) * 16, np.uint32)
        self.listed = np.full(-(-inputs // 4), 99, np.int32)

    def run(self):
        return update_one(
            oracle.pack_rows(self.x[None]), self.delta, self.shift, self.input_words.copy(),
            self.unit_words, self.listed, self.weight,
        )  # fmt: skip

    def wanted(self):
        inputs, units = self.W.shape
        return oracle.update_one(
            self.x, self.d, self.shift, self.input_words[:inputs].tolist(),
            self.unit_words[:units].tolist(), self.W,
        )  # fmt: skip

    def assert_equals_the_oracle(self):
        wanted, wanted_changes = self.wanted()

        changed = self.run()

        assert self.weight.tolist() == oracle.pack_weights(wanted).tolist()
        assert changed == wanted_changes


@pytest.mark.parametrize("shift", SHIFTS)
def test_inputs_are_rounded_by_the_upper_bits_of_their_words_and_sorted_by_what_they_become(shift):
    random = np.random.default_rng(shift)
    x = random.integers(0, 128, (1, 128), np.uint8)
    x[0, :20] = 127
    words = random.integers(0, 2**32, 128, np.uint32)
    words[:40] = 2**32 - 1
    rounded = oracle.stochastic(x[0], shift - PRODUCT_SHIFT, words.tolist()).astype(np.int64)
    low = words & 0xFF

    thin(x, 32, shift, words)

    columns = words.reshape(32, 4).view(np.uint8).reshape(32, 4, 4)
    assert columns[:, 0].ravel().tolist() == np.where(rounded == 1, 255, 0).tolist()
    assert columns[:, 1].ravel().tolist() == low.tolist()
    assert columns[:, 2].ravel().tolist() == np.where(rounded > 1, rounded, 0).tolist()


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_update_equals_the_oracle_and_leaves_the_padding_zero(shift):
    shapes = [(5, 17)] if PLAIN_PYTHON else [(1, 1), (5, 17), (33, 50), (64, 130), (131, 16)]
    for inputs, units in shapes:
        Case([shift, inputs], inputs, units, shift).assert_equals_the_oracle()


@repeatable(30)
@given(
    st.integers(1, 70), st.integers(1, 120), st.sampled_from(SHIFTS), st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_the_update_equals_the_oracle_for_random_shapes(inputs, units, shift, seed):
    Case(seed, inputs, units, shift).assert_equals_the_oracle()


def test_groups_are_listed_by_what_is_left_of_their_inputs():
    x, words = np.zeros((1, 16), np.uint8), np.zeros(16, np.uint32)
    x[0, :3], x[0, 8:10], x[0, 13] = 127, 1, 127
    words[9], words[13] = 2**32 - 1, 2**32 - 1  # 1 / 64 up to 1, 127 / 64 up to 2
    listed = np.zeros(4, np.int32)

    thin(x, 4, 14, words)

    assert list_left(words, ONES, 4, listed) == 2
    assert listed[:2].tolist() == [0, 2]
    assert list_left(words, MORE, 4, listed) == 1
    assert listed[0] == 3


def test_weights_saturate_at_127_and_never_become_minus_128():
    case = Case(3, 9, 33, 8)
    for _ in range(50):
        case.run()

    assert case.weight.min() == -127
    assert case.weight.max() == 127


def test_a_delta_of_zero_changes_nothing_whatever_the_noise():
    case = Case(4, 33, 50, 8)
    case.input_words[:], case.unit_words[:], case.delta[:] = 2**32 - 1, 0, 0
    before = case.weight.copy()

    assert case.run() == 0
    assert (case.weight == before).all()


@pytest.mark.parametrize(
    ("x", "d", "shift", "calls"),
    [(127, 127, 8, 10), (127, -127, 11, 20), (1, 1, 8, 60), (1, -1, 13, 400), (40, 3, 15, 100),
     (90, -90, 17, 60), (127, 127, 24, 200)],
)  # fmt: skip
def test_the_mean_of_updates_is_the_exact_update_as_often_as_independent_draws(x, d, shift, calls):
    inputs, units = (16, 16) if PLAIN_PYTHON else (1024, 480)
    calls = 20 if PLAIN_PYTHON else calls
    exact, rows = x * d / 2**shift, np.full((1, inputs), x, np.uint8)
    input_words, unit_words = np.empty(inputs, np.uint32), np.empty(units, np.uint32)
    listed = np.empty(inputs // 4, np.int32)
    weight, delta = (
        np.empty((units // 16, inputs // 4, 16, 4), np.int8),
        np.full(units, d, np.int32),
    )
    moved = []
    for seed in range(calls):
        fill_words(bits(seed, 0), input_words)
        fill_words(bits(seed, 1), unit_words)
        weight[:] = 0
        update_one(rows, delta, shift, input_words, unit_words, listed, weight)
        moved.append(weight.mean(dtype=np.float64))

    # Weights of one input share its rounding: the spread is that of the inputs' mean, and of the
    # products' draws within.
    share = x / 2 ** (shift - PRODUCT_SHIFT) % 1
    left = abs(d) / 2**PRODUCT_SHIFT
    spread = np.sqrt((share * (1 - share) * left**2 + 0.25 / units) / (inputs * calls))
    assert abs(np.mean(moved) - exact) < 4 * spread


@compiled_only
def test_the_update_allocates_nothing():
    case = Case(5, 784, 100, 12)

    x = oracle.pack_rows(case.x[None])

    def step():
        update_one(
            x, case.delta, 12, case.input_words, case.unit_words, case.listed, case.weight
        )  # fmt: skip

    assert_allocates_nothing(step)
