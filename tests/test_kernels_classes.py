"""Class competition: softmax, errors of the cross-entropy, votes."""

import numpy as np
import pytest
import reference
from checks import (
    CLASSES,
    ROWS,
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_no_denormals,
    assert_rows,
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    output,
    repeatable,
)
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.classes import (
    SMALLEST_ERROR,
    add_log_probabilities,
    class_errors,
    log_softmax,
)

pytestmark = pytest.mark.kernels

ONE, NONE = np.float32(1), np.float32(0)


def scores_of(rows, capacity=None):
    rows = np.asarray(rows, np.float32)
    scores = np.full((capacity or len(rows), rows.shape[1]), np.nan, np.float32)
    scores[: len(rows)] = rows
    return scores


def errors_of(rows, labels, scale=ONE, smoothing=NONE):
    scores = scores_of(rows)
    errors = output(scores.shape[1], len(scores))
    told = class_errors(scores, len(scores), np.int32(labels), scale, smoothing, errors)
    return errors, told


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.05, 1.0])
def test_class_errors_equal_the_oracle(classes, smoothing):
    random = np.random.default_rng(classes)
    for rows in ROWS:
        S = random.normal(size=(rows, classes)) * 3
        labels = random.integers(0, classes, rows + 2).astype(np.int32)
        errors = output(classes, rows + 2)

        loss, correct = class_errors(
            scores_of(S, rows + 2), rows, labels, np.float32(0.25), np.float32(smoothing), errors
        )

        wanted = reference.class_errors(S, labels[:rows], smoothing)
        assert_rows(errors, rows, 0.25 * wanted, 1e-6)
        assert loss == pytest.approx(rows * reference.cross_entropy(S, labels[:rows]), rel=1e-5)
        assert correct == (S.argmax(axis=1) == labels[:rows]).sum()


@repeatable(40)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20), st.data())
def test_errors_of_any_scores_are_as_exact_as_float32_scores_are(row, data):
    label = data.draw(st.integers(0, len(row) - 1))

    errors, (loss, _) = errors_of([row], [label])

    # The logarithm of the sum is as coarse as float32 is at the largest score.
    grain = 1e-6 + np.abs(row).max() * 2.0**-23
    wanted = reference.class_errors(np.array([row]), [label])
    assert_rows(errors, 1, wanted, grain)
    assert loss == pytest.approx(reference.cross_entropy(np.array([row]), [label]), abs=grain)


def test_a_certain_layer_has_errors_of_exactly_zero():
    errors, told = errors_of([[100.0, 0.0, 0.0]], [0])

    assert not errors.any()
    assert told == (0.0, 1)


def test_errors_below_the_smallest_are_zero_and_above_it_are_kept():
    below, above = np.log(0.5 * SMALLEST_ERROR), np.log(2 * SMALLEST_ERROR)

    errors, _ = errors_of([[0.0, below, above, -60.0]], [0])

    assert errors[0, 0, 1] == 0.0
    assert errors[0, 0, 2] == pytest.approx(-2e-12, rel=1e-3)
    assert errors[0, 0, 3] == 0.0


@pytest.mark.parametrize("exponent", range(-100, 0, 5))
def test_errors_are_never_denormal(exponent):
    errors, _ = errors_of([[0.0, exponent, exponent / 2.0]], [0], np.float32(1e-6))

    assert_no_denormals(errors)


@pytest.mark.parametrize(("label", "wanted"), [(0, 0), (1, 1), (2, 0)])
def test_ties_count_for_the_lowest_class(label, wanted):
    _, (_, correct) = errors_of([[-1.0, 2.0, 2.0]], [label])

    assert correct == wanted


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_log_softmax_overflows_for_no_size_of_scores(size):
    scores = scores_of([[1.0 * size, -1.0 * size, 0.5 * size]])

    total, best = log_softmax(scores, 0, 3)

    shifted = scores.astype(float) - scores.max()
    wanted = scores.max() + np.log(np.exp(shifted).sum())
    assert (total, best) == (pytest.approx(wanted, rel=1e-6), 0)


@pytest.mark.parametrize("classes", CLASSES)
def test_votes_add_their_share_of_the_log_probabilities(classes):
    random = np.random.default_rng(classes)
    for rows in ROWS:
        S, before = random.normal(size=(2, rows, classes)) * 3
        total = scores_of(before, rows + 2)
        total[rows:] = UNTOUCHED

        add_log_probabilities(scores_of(S, rows + 2), rows, np.float32(0.5), total)

        assert_close(total[:rows], before + 0.5 * reference.log_softmax(S))
        assert (total[rows:] == UNTOUCHED).all()


def test_votes_do_not_depend_on_neighbours():
    random = np.random.default_rng(1)

    def votes(S):
        total = np.zeros(S.shape, np.float32)
        add_log_probabilities(scores_of(S), len(S), ONE, total)
        return total

    assert_rows_do_not_depend_on_neighbours(votes, random.normal(size=(13, 7)))


@compiled_only
def test_class_kernels_allocate_nothing():
    scores, labels = np.ones((64, 20), np.float32), np.zeros(64, np.int32)
    errors, total = np.empty((2, 64, 16), np.float32), np.zeros((64, 20), np.float32)

    assert_allocates_nothing(lambda: class_errors(scores, 64, labels, ONE, NONE, errors))
    assert_allocates_nothing(lambda: add_log_probabilities(scores, 64, ONE, total))
