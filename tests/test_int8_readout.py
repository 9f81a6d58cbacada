"""The int8 readout: scores, deltas and the rounded update of M."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import CLASSES, PLAIN_PYTHON, assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.readout import readout_delta, readout_scores, update_readout

pytestmark = pytest.mark.kernels

UNITS = (1, 16, 17, 50)
SAMPLES = (1, 3, 5) if PLAIN_PYTHON else (1, 2, 3, 4, 5, 8, 13, 64)


class Case:
    """Arguments of the three kernels, packed and plain; rows behind hold rubbish."""

    def __init__(self, seed, units, classes, rows, spare=2):
        random = np.random.default_rng(seed)
        self.rows, capacity = rows, rows + spare
        self.Y = np.maximum(random.integers(-127, 128, (rows, units)), 0)
        self.Y[random.random(self.Y.shape) < 0.1] = 127
        self.M = random.integers(-127, 128, (classes, units))
        self.M[random.random(self.M.shape) < 0.2] = -127
        self.E = random.integers(-(2**15) // classes, 2**15 // classes + 1, (rows, classes))
        self.E[random.random(self.E.shape) < 0.2] = 0
        self.y = oracle.pack_rows(self.Y, capacity)
        self.readout = np.zeros((classes, self.y.shape[1]), np.int8)
        self.readout[:, :units] = self.M
        self.errors = np.full((capacity, classes), 10**9, np.int32)
        self.errors[:rows] = self.E
        self.unit_words = random.integers(0, 2**32, self.y.shape[1], np.uint32)
        self.words = self.unit_words[:units].tolist()
        self.seed = np.uint32(random.integers(0, 2**32))
        self.row = np.full(self.y.shape[1], 10**9, np.int32)
        self.sums = self.row.copy()
        self.delta = np.full((self.y.shape[1] // 16, -(-capacity // 4), 16, 4), 99, np.int8)

    def run_delta(self, mantissa, exponent):
        return readout_delta(
            self.y, self.rows, self.errors, self.readout, mantissa, exponent, self.seed,
            self.unit_words, self.row, self.delta,
        )  # fmt: skip

    def deltas(self):
        return oracle.emitted(self.row, self.delta, *self.Y.shape)

    def wanted_delta(self, mantissa, exponent):
        terms = oracle.readout_terms(self.Y, self.E, self.M)
        return oracle.emit(terms, mantissa, exponent, self.seed, self.words)

    def run_update(self, mantissa, exponent):
        update_readout(
            self.y, self.rows, self.errors, mantissa, exponent, self.seed, self.unit_words,
            self.sums, self.readout,
        )  # fmt: skip

    def wanted_update(self, mantissa, exponent):
        return oracle.update_readout(
            self.Y, self.E, mantissa, exponent, self.seed, self.words, self.M
        )

    def assert_readout_is(self, wanted):
        units = wanted.shape[1]
        assert self.readout[:, :units].tolist() == wanted.tolist()
        assert not self.readout[:, units:].any()


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("units", UNITS)
def test_scores_equal_the_oracle(classes, units):
    case = Case([classes, units], units, classes, 3)
    scores = np.full((5, classes), 10**9, np.int32)

    readout_scores(case.y, 3, case.readout, scores)

    assert scores[:3].tolist() == oracle.readout_scores(case.Y, case.M).tolist()
    assert (scores[3:] == 10**9).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_widest_score_does_not_wrap(sign):
    width = 131_071
    y = np.full((1, width), 127, np.uint8)
    readout, scores = np.full((2, width), 127 * sign, np.int8), np.zeros((1, 2), np.int32)

    readout_scores(y, 1, readout, scores)

    assert scores.tolist() == [[sign * 127 * 127 * width] * 2]


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("units", UNITS)
def test_deltas_and_their_shift_equal_the_oracle(classes, units):
    for n, rows in enumerate(SAMPLES):
        case = Case([classes, units, rows], units, classes, rows, spare=n)
        mantissa, exponent = 2**14 + 999 * n, 20 + 3 * n
        wanted, wanted_shift = case.wanted_delta(mantissa, exponent)

        shift = case.run_delta(mantissa, exponent)

        assert shift == wanted_shift
        if shift:
            assert case.deltas().tolist() == wanted.tolist()


@repeatable(40)
@given(
    st.integers(1, 50), st.integers(2, 20), st.integers(1, 13), st.integers(2**14, 2**15),
    st.integers(10, 110), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_delta_and_update_equal_the_oracle_for_random_arguments(
    units, classes, rows, mantissa, exponent, seed
):
    case = Case(seed, units, classes, rows, spare=seed % 7)
    if exponent > 84:  # from a fall of 63 on there is no step, see kernels.int8.delta
        wanted, wanted_shift, M = np.zeros(case.Y.shape, int), 24, case.M
        wanted_shift = 24 if oracle.readout_terms(case.Y, case.E, case.M).any() else 0
        if exponent - 24 <= 62:
            return
    else:
        wanted, wanted_shift = case.wanted_delta(mantissa, exponent)
        M = case.wanted_update(mantissa, exponent)

    shift = case.run_delta(mantissa, exponent)
    case.run_update(mantissa, exponent)

    assert shift == wanted_shift
    if shift:
        assert case.deltas().tolist() == wanted.tolist()
    case.assert_readout_is(M)


def test_the_largest_terms_do_not_wrap():
    case = Case(0, 16, 2, 1)
    case.Y[:], case.y[0] = 1, 1
    case.E[:] = [[2**15, -(2**15)]]
    case.M[:] = [[127] * 16, [-127] * 16]
    case.errors[0], case.readout[:] = case.E[0], case.M

    shift = case.run_delta(2**14, 30)

    # A single sample has no smaller shift.
    assert oracle.weight_shift(127 * 65_536, 2**14, 30) == 1
    assert shift == 8
    assert case.deltas().tolist() == [[127] * 16]


def test_a_unit_that_is_off_learns_nothing():
    case = Case(1, 20, 4, 5)
    case.y[:, 7] = 0

    case.run_delta(2**14, 25)

    assert not case.deltas()[:, 7].any()


def test_without_errors_nothing_is_written():
    case = Case(2, 20, 4, 5)
    case.errors[:5] = 0
    before = case.readout.copy()

    shift = case.run_delta(2**14, 25)
    case.run_update(2**14, 25)

    assert shift == 0
    assert (case.delta == 99).all()
    assert (case.readout == before).all()


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("units", UNITS)
def test_the_update_of_m_equals_the_oracle_and_leaves_the_padding_zero(classes, units):
    for n, rows in enumerate(SAMPLES):
        case = Case([classes, units, rows], units, classes, rows, spare=n)
        mantissa, exponent = 2**14 + 77 * n, 18 + 4 * n
        wanted = case.wanted_update(mantissa, exponent)

        case.run_update(mantissa, exponent)

        case.assert_readout_is(wanted)


def test_m_saturates_at_127_and_never_reaches_minus_128():
    case = Case(3, 33, 4, 13)
    for _ in range(40):
        case.run_update(2**15, 12)

    assert case.readout.min() == -127
    assert case.readout.max() == 127


def test_random_words_do_not_depend_on_the_capacity_of_the_batch():
    small, large = Case(4, 33, 5, 3, spare=0), Case(4, 33, 5, 3, spare=61)
    large.errors[:3], large.seed, large.unit_words = small.errors[:3], small.seed, small.unit_words

    shifts = [case.run_delta(2**14, 30) for case in (small, large)]
    for case in (small, large):
        case.run_update(2**14, 30)

    assert shifts[0] == shifts[1]
    assert (small.delta[:, 0] == large.delta[:, 0]).all()
    assert (small.readout == large.readout).all()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("exponent", [29, 32, 36, 40])
def test_the_mean_of_rounded_updates_of_m_is_the_exact_update(rows, exponent):
    seeds = 60 if PLAIN_PYTHON else 12_000
    case = Case(5, 16, 3, rows)
    case.Y = np.maximum(case.Y, 1)
    case.y[:rows, :16] = case.Y
    mantissa = 2**14 + 1
    exact = (case.E.T @ case.Y) * (mantissa / 2.0**exponent)
    keep = np.abs(exact) < 100  # no step is clipped, nor the weight it is added to
    moved, squares = np.zeros((3, 16)), np.zeros((3, 16))
    for seed in range(seeds):
        case.unit_words[:] = np.random.default_rng(seed).integers(0, 2**32, 16, np.uint32)
        case.seed, case.readout[:] = np.uint32(seed), 0
        case.run_update(mantissa, exponent)
        moved += case.readout
        squares += case.readout.astype(float) ** 2

    mean = moved / seeds
    error = np.sqrt(np.maximum(squares / seeds - mean**2, 1e-12) / seeds)
    assert keep.any()
    # The sum over all cells; one cell may stray further.
    assert abs((mean - exact)[keep].mean()) < 4 * np.sqrt((error[keep] ** 2).mean())
    strays = (np.abs(mean - exact) > 4 * error + 3 / seeds)[keep]
    assert strays.mean() < 0.03


@compiled_only
def test_the_readout_allocates_nothing():
    case = Case(6, 500, 20, 64)
    scores = np.zeros((66, 20), np.int32)

    def step():
        readout_scores(case.y, 64, case.readout, scores)
        case.run_delta(2**14, 30)
        case.run_update(2**14, 30)

    assert_allocates_nothing(step)
