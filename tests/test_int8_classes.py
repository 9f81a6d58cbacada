"""Softmax and its errors in integers."""

import math

import numpy as np
import pytest
import reference
import reference_int8 as oracle
from checks import CLASSES, assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.classes import class_errors, class_weight

pytestmark = pytest.mark.kernels

UNTOUCHED = 123_456_789
EXTREME = [-(2**31), -1, 0, 1, 2**31 - 1]


def run(scores, labels, exponent, smoothing, spare=2):
    """(errors, missed, correct), and nothing written beyond the rows."""
    rows, classes = scores.shape
    padded = np.full((rows + spare, classes), UNTOUCHED, np.int32)
    padded[:rows] = scores
    errors = np.full((rows + spare, classes), UNTOUCHED, np.int32)
    wanted = np.concatenate([labels, np.zeros(spare)]).astype(np.int32)
    missed, correct = class_errors(padded, rows, wanted, exponent, np.int32(smoothing), errors)
    assert (errors[rows:] == UNTOUCHED).all()
    return errors[:rows], missed, correct


def assert_equals_the_oracle(scores, labels, exponent, smoothing):
    errors, missed, correct = run(scores, labels, exponent, smoothing)
    wanted, wanted_missed, wanted_correct = oracle.class_errors(scores, labels, exponent, smoothing)
    assert errors.tolist() == wanted.tolist()
    assert (missed, correct) == (wanted_missed, wanted_correct)
    return errors


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("exponent", [0, 1, 8, 12, 24])
def test_errors_equal_the_oracle(classes, exponent):
    random = np.random.default_rng([classes, exponent])
    scores = (random.normal(size=(13, classes)) * 2.0**exponent).astype(np.int32)
    labels = random.integers(0, classes, 13)

    assert_equals_the_oracle(scores, labels, exponent, round(0.05 * 2**15))


@repeatable(60)
@given(
    st.lists(st.sampled_from(EXTREME) | st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=20),
    st.integers(0, 24), st.integers(0, 29_491), st.integers(0, 2**31),
)  # fmt: skip
def test_errors_equal_the_oracle_over_the_whole_range_of_scores(row, exponent, smoothing, at):
    errors = assert_equals_the_oracle(
        np.array([row], np.int64), [at % len(row)], exponent, smoothing
    )

    assert np.abs(errors.astype(np.int64)).max() <= 2**15


@pytest.mark.parametrize("classes", CLASSES)
def test_errors_of_a_row_stay_within_the_docstrings_bound(classes):
    scores = np.full((2, classes), -(2**31), np.int64)
    scores[:, 0] = 2**31 - 1

    errors, missed, correct = run(scores, [0, classes - 1], 0, 0)

    assert errors[0].tolist() == [0] * classes
    assert errors[1].tolist() == [-(2**15)] + [0] * (classes - 2) + [2**15]
    assert (missed, correct) == (2**15, 1)
    assert np.abs(errors).sum(axis=1).max() == 2 * 2**15


def test_probabilities_are_those_of_the_real_softmax_within_a_half_percent():
    random = np.random.default_rng(5)
    scores = np.round(random.normal(size=(200, 10)) * 2 * 2**10)
    labels = random.integers(0, 10, 200)

    errors, missed, _ = run(scores.astype(np.int64), labels, 10, 0)

    real = reference.class_errors(scores / 2**10, labels)
    assert np.abs(errors / 2**15 - real).max() < 0.005
    chances = np.eye(10)[labels] - real
    assert abs(missed / 2**15 - (1 - chances[np.arange(200), labels]).sum()) < 0.005 * 200


def test_probabilities_sum_to_one_but_for_a_step_per_class():
    scores = np.random.default_rng(6).integers(-5000, 5000, (50, 20))

    errors, _, _ = run(scores, np.zeros(50), 10, 0)

    sums = errors.sum(axis=1)
    assert sums.min() >= 0
    assert sums.max() < 20


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.9])
def test_a_smoothed_target_is_shared_by_all_classes(smoothing):
    errors, _, _ = run(np.zeros((1, 4), np.int64), [2], 8, round(smoothing * 2**15))

    wanted = reference.class_errors(np.zeros((1, 4)), [2], smoothing)[0]
    assert np.abs(errors[0] / 2**15 - wanted).max() < 2 / 2**15


def test_ties_go_to_the_lowest_class():
    scores = np.array([[7, 7, 7], [3, 9, 9]])

    assert run(scores, [0, 1], 8, 0)[2] == 2
    assert run(scores, [1, 2], 8, 0)[2] == 0


@pytest.mark.parametrize("exponent", [0, 8, 24])
def test_a_weight_halves_with_every_step_and_ends_in_zero(exponent):
    per_halving = math.log(2) * 2**exponent

    weights = [class_weight(np.int64(math.ceil(n * per_halving)), exponent) for n in range(40)]

    # t is cut to 1/256, so that a distance just above n halvings may count as n.
    wanted = [2**15 / 2**n for n in range(16)]
    assert np.allclose(weights[:16], wanted, rtol=0.7 if exponent == 0 else 0.005, atol=1)
    assert weights[17:] == [0] * 23
    assert class_weight(np.int64(2**32), exponent) == (0 if exponent <= 24 else None)


def test_weights_never_rise_with_the_distance():
    weights = [int(class_weight(np.int64(d), 6)) for d in range(0, 800)]

    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 2**15
    assert weights == [oracle.power(d * 94548 >> 14) for d in range(0, 800)]


@compiled_only
def test_class_errors_allocate_nothing():
    scores, errors = np.zeros((64, 20), np.int32), np.zeros((64, 20), np.int32)
    labels = np.zeros(64, np.int32)

    assert_allocates_nothing(lambda: class_errors(scores, 64, labels, 8, np.int32(1638), errors))
