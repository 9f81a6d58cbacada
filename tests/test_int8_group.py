"""Class groups in int8: scores and deltas."""

import numpy as np
import pytest
import reference
import reference_int8 as oracle
from checks import CLASSES, PLAIN_PYTHON, assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.group import group_delta, group_scores
from ffedge.rules import Group
from ffedge.scales_int8 import group_rate

pytestmark = pytest.mark.kernels

SAMPLES = (1, 3, 5) if PLAIN_PYTHON else (1, 2, 3, 4, 5, 8, 13, 64)


class Case:
    """Arguments of both kernels, packed and plain; rows behind hold rubbish."""

    def __init__(self, seed, units, classes, rows, squared, sharpness=1.0, spare=2):
        random = np.random.default_rng(seed)
        self.rows, self.squared, capacity = rows, squared, rows + spare
        self.Y = np.maximum(random.integers(-127, 128, (rows, units)), 0)
        self.Y[random.random(self.Y.shape) < 0.1] = 127
        self.E = random.integers(-(2**15), 2**15 + 1, (rows, classes))
        self.E[random.random(self.E.shape) < 0.2] = 0
        self.starts = np.array(oracle.starts(units, classes), np.int32)
        self.factors, self.shares, self.slope = oracle.group_units(
            self.starts.tolist(), squared, sharpness
        )
        self.y = oracle.pack_rows(self.Y, capacity)
        self.errors = np.full((capacity, classes), 10**9, np.int32)
        self.errors[:rows] = self.E
        self.unit_words = random.integers(0, 2**32, self.y.shape[1], np.uint32)
        self.seed = np.uint32(random.integers(0, 2**32))
        self.row = np.full(self.y.shape[1], 10**9, np.int32)
        self.delta = np.full((self.y.shape[1] // 16, -(-capacity // 4), 16, 4), 99, np.int8)

    def run_scores(self):
        scores = np.full(self.errors.shape, 10**9, np.int32)
        group_scores(self.y, self.rows, self.starts, self.squared, self.factors, scores)
        assert (scores[self.rows :] == 10**9).all()
        return scores[: self.rows]

    def run_delta(self, mantissa, exponent):
        return group_delta(
            self.y, self.rows, self.errors, self.starts, self.squared, self.shares, mantissa,
            exponent, self.seed, self.unit_words, self.row, self.delta,
        )  # fmt: skip

    def deltas(self):
        return oracle.emitted(self.row, self.delta, *self.Y.shape)

    def wanted_delta(self, mantissa, exponent):
        terms = oracle.group_terms(self.Y, self.E, self.starts, self.squared, self.shares)
        words = self.unit_words[: self.Y.shape[1]].tolist()
        return oracle.emit(terms, mantissa, exponent, self.seed, words)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("squared", [True, False])
def test_scores_equal_the_oracle(classes, squared):
    for units in (classes, classes + 1, 50):
        case = Case([classes, units], units, classes, 4, squared, 5.0)

        scores = case.run_scores()

        wanted = oracle.group_scores(case.Y, case.starts, squared, case.factors)
        assert scores.tolist() == wanted.tolist()


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("sharpness", [0.01, 1.0, 5.0, 1000.0])
def test_scores_are_the_real_goodness_in_their_unit(squared, sharpness):
    case = Case(1, 47, 10, 5, squared, sharpness)

    scores = case.run_scores()

    real = reference.group_scores(case.Y / 8, 10, squared, sharpness)
    assert np.abs(scores / 2**8 - real).max() <= 1.01 / 2**8 + 2e-5 * real.max()


@pytest.mark.parametrize(("units", "squared"), [(2, True), (131_071, True), (131_071, False)])
def test_the_largest_scores_do_not_wrap(units, squared):
    starts = np.array([0, units - 1, units], np.int32)  # one group as large as can be
    factors, _, _ = oracle.group_units(starts.tolist(), squared, 1000.0)
    y, scores = np.full((1, units), 127, np.uint8), np.zeros((1, 2), np.int32)

    group_scores(y, 1, starts, squared, factors, scores)

    value = (127 / 8) ** 2 if squared else 127 / 8
    assert np.allclose(scores / 2**8, 1000 * value, rtol=1e-4)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("squared", [True, False])
def test_deltas_and_their_shift_equal_the_oracle(classes, squared):
    for n, rows in enumerate(SAMPLES):
        case = Case([classes, rows], classes + 11 * n, classes, rows, squared, spare=n)
        mantissa, exponent = 2**14 + 999 * n, 20 + 3 * n
        wanted, wanted_shift = case.wanted_delta(mantissa, exponent)

        shift = case.run_delta(mantissa, exponent)

        assert shift == wanted_shift
        if shift:
            assert case.deltas().tolist() == wanted.tolist()


@repeatable(40)
@given(
    st.integers(2, 20), st.integers(0, 30), st.integers(1, 13), st.booleans(),
    st.integers(2**14, 2**15), st.integers(10, 84), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_deltas_equal_the_oracle_for_random_arguments(
    classes, more, rows, squared, mantissa, exponent, seed
):
    case = Case(seed, classes + more, classes, rows, squared, spare=seed % 7)
    wanted, wanted_shift = case.wanted_delta(mantissa, exponent)

    shift = case.run_delta(mantissa, exponent)

    assert shift == wanted_shift
    if shift:
        assert case.deltas().tolist() == wanted.tolist()


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("units", [10, 33, 50])
def test_deltas_are_the_real_gradient_but_for_their_rounding(squared, units):
    case = Case(units, units, 10, 6, squared, sharpness=3.0)
    rate = 0.01
    rule = Group(squared=squared, sharpness=3.0)
    mantissa, exponent = group_rate(rule, rate, int(np.diff(case.starts).min()))

    shift = case.run_delta(mantissa, exponent + 15)

    delta = case.deltas() / 2.0**shift
    real = rate * reference.group_delta(case.Y / 8, case.E / 2**15, squared, 3.0)
    assert np.abs(delta - real).max() < 2.0**-shift * 1.01
    assert (np.sign(delta[np.abs(real) > 2.0**-shift * 1.1])
            == np.sign(real[np.abs(real) > 2.0**-shift * 1.1])).all()  # fmt: skip


@pytest.mark.parametrize("squared", [True, False])
def test_a_unit_that_is_off_learns_nothing_and_no_error_writes_nothing(squared):
    case = Case(1, 20, 4, 5, squared)
    case.y[:, 7] = 0
    case.run_delta(2**14, 25)
    assert not case.deltas()[:, 7].any()

    case.errors[:5], case.delta[:] = 0, 99
    assert case.run_delta(2**14, 25) == 0
    assert (case.delta == 99).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_terms_do_not_wrap(sign):
    case = Case(0, 16, 2, 1, True)
    case.y[:], case.errors[:] = 127, sign * 2**15

    shift = case.run_delta(2**14, 30)

    # A single sample has no smaller shift.
    assert shift == max(oracle.weight_shift(127 * 2**15, 2**14, 30), 8)
    assert case.deltas().tolist() == [[sign * 127] * 16]


@compiled_only
def test_groups_allocate_nothing():
    case = Case(6, 500, 20, 64, True)
    scores = np.zeros((66, 20), np.int32)

    def step():
        group_scores(case.y, 64, case.starts, True, case.factors, scores)
        case.run_delta(2**14, 30)

    assert_allocates_nothing(step)
