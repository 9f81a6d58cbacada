"""Soft ordinal targets: their errors against the oracle and by finite differences."""

import numpy as np
import pytest
import reference
import reference_ordinal
from checks import (
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_downhill,
    assert_no_denormals,
    assert_padding_is_zero,
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    output,
)

from ffedge.kernels.ordinal import add_probabilities, fetch_targets, soft_errors
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(
        LIBRARY is not None, reason="not in the compiled library: FFEDGE_KERNELS=jit"
    ),
]

ONE = np.float32(1)
BINS = (2, 3, 16, 17, 33)
ROWS = (1, 2, 13)


def drawn(bins, rows, even=True):
    """Scores, targets on and beyond the bins, and centres."""
    random = np.random.default_rng([bins, rows])
    steps = np.ones(bins) if even else random.uniform(0.2, 2.0, bins)
    centres = (np.cumsum(steps) * 2.5 - 7).astype(np.float32)
    low, high = centres[0], centres[-1]
    targets = random.uniform(low - 3, high + 3, rows).astype(np.float32)
    scores = random.normal(size=(rows, bins), scale=3).astype(np.float32)
    return scores, targets, centres


def errors_of(scores, targets, centres, width=1.0, gaussian=True, scale=ONE):
    rows, bins = scores.shape
    errors = output(bins, rows + 1)
    loss, near = soft_errors(
        scores, rows, targets, centres, np.float32(width), gaussian, scale, errors
    )
    assert (errors[:, rows:] == UNTOUCHED).all()
    assert_padding_is_zero(errors[:, :rows], bins)
    return loss, near, reference.unpack_rows(errors, rows, bins)


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("width", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("bins", BINS)
def test_soft_errors_and_loss_equal_the_oracle(bins, width, gaussian):
    for rows in ROWS:
        for even in (True, False):
            scores, targets, centres = drawn(bins, rows, even)

            loss, near, errors = errors_of(scores, targets, centres, width, gaussian)

            wide = centres.astype(float)
            soft = reference_ordinal.soft_targets(targets.astype(float), wide, width, gaussian)
            wanted = reference_ordinal.soft_errors(scores.astype(float), soft)
            assert_close(errors, wanted)
            assert_close(loss / rows, reference_ordinal.divergence(scores.astype(float), soft))
            assert near == (soft[np.arange(rows), scores.argmax(axis=1)] == soft.max(axis=1)).sum()


@pytest.mark.parametrize("gaussian", [True, False])
def test_the_errors_are_the_losss_finite_differences(gaussian):
    scores, targets, centres = drawn(7, 5)
    soft = reference_ordinal.soft_targets(
        targets.astype(float), centres.astype(float), 1.5, gaussian
    )

    _, _, errors = errors_of(scores, targets, centres, 1.5, gaussian)

    def loss(z):
        return reference_ordinal.divergence(z, soft) * len(z)

    assert_downhill(errors, loss, scores.astype(float), 2e-5)


def test_the_errors_carry_the_scale():
    scores, targets, centres = drawn(5, 3)

    _, _, whole = errors_of(scores, targets, centres)
    _, _, part = errors_of(scores, targets, centres, scale=np.float32(0.25))

    assert_close(part, whole / 4)


def test_scores_that_are_the_log_targets_have_neither_loss_nor_errors():
    _, targets, centres = drawn(9, 4)
    soft = reference_ordinal.soft_targets(targets.astype(float), centres.astype(float), 2.0, True)

    loss, near, errors = errors_of(np.log(soft).astype(np.float32), targets, centres, 2.0)

    assert abs(loss) < 1e-5
    assert near == 4
    assert np.abs(errors).max() < 1e-6


def test_a_target_beyond_the_bins_counts_as_the_outermost():
    scores, _, centres = drawn(6, 2)
    ends = np.array([centres[0], centres[-1]])
    beyond = np.array([-3e38, 3e38], np.float32)

    assert errors_of(scores, beyond, centres)[0] == errors_of(scores, ends, centres)[0]
    assert np.array_equal(
        errors_of(scores, beyond, centres)[2], errors_of(scores, ends, centres)[2]
    )


def test_a_tie_between_two_nearest_bins_is_near_for_both():
    centres, target = np.array([0, 1, 2], np.float32), np.array([0.5], np.float32)

    found = [errors_of(np.eye(3, dtype=np.float32)[k : k + 1], target, centres) for k in range(3)]

    assert [near for _, near, _ in found] == [1, 1, 0]


@pytest.mark.parametrize("gaussian", [True, False])
def test_narrow_targets_far_from_most_bins_leave_no_denormals(gaussian):
    centres = np.linspace(0, 1, 64, dtype=np.float32)
    scores = np.linspace(-300, 300, 64, dtype=np.float32)[None]
    errors = output(64, 1)

    soft_errors(scores, 1, np.array([0.5], np.float32), centres, np.float32(0.1), gaussian,
                np.float32(1e-20), errors)  # fmt: skip

    assert_no_denormals(errors)
    assert np.isfinite(errors).all()


def test_rows_do_not_depend_on_neighbours():
    scores, targets, centres = drawn(17, 13)
    X = np.hstack([scores, targets[:, None]])

    def compute(X):
        scores = np.ascontiguousarray(X[:, :-1])
        return errors_of(scores, np.ascontiguousarray(X[:, -1]), centres)[2]

    assert_rows_do_not_depend_on_neighbours(compute, X)


def test_probabilities_are_added_to_what_is_there():
    scores, _, _ = drawn(17, 5)
    total = np.full((6, 17), np.float32(2))

    add_probabilities(scores, 5, total)

    wanted = 2 + np.exp(reference.log_softmax(scores.astype(float)))
    assert_close(total[:5], wanted, 1e-6)
    assert (total[5] == 2).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_targets_are_fetched_by_row(dtype):
    labels = np.arange(10).astype(dtype) * 3
    chosen, out = np.array([4, 0, 1], np.int64), np.full(4, UNTOUCHED)

    fetch_targets(labels, np.empty(0, np.int32), chosen, 2, out)
    assert out.tolist() == [12, 0, UNTOUCHED, UNTOUCHED]

    fetch_targets(labels, np.array([9, 8, 7, 6, 5], np.int32), chosen, 3, out)
    assert out.tolist() == [15, 27, 24, UNTOUCHED]


@compiled_only
def test_ordinal_kernels_allocate_nothing():
    scores, targets, centres = drawn(20, 64)
    errors, total = np.empty((2, 64, 16), np.float32), np.zeros((64, 20), np.float32)
    chosen, out = np.arange(64), np.empty(64, np.float32)

    assert_allocates_nothing(
        lambda: soft_errors(scores, 64, targets, centres, ONE, True, ONE, errors)
    )
    assert_allocates_nothing(lambda: add_probabilities(scores, 64, total))
    assert_allocates_nothing(lambda: fetch_targets(targets, np.empty(0, np.int32), chosen, 64, out))
