"""Scores of a linear head and its ridge solution, against NumPy's."""

import numpy as np
import pytest
import reference
from checks import assert_allocates_nothing, assert_close, assert_padding_is_zero, compiled_only

from ffedge.kernels import heads
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

SHAPES = [(1, 5, 3), (7, 16, 2), (9, 33, 10)]


def activity(rows, width):
    return np.maximum(np.random.default_rng([rows, width]).normal(size=(rows, width)), 0)


@pytest.mark.parametrize(("rows", "width", "classes"), SHAPES)
def test_scores_are_added_to_what_is_there(rows, width, classes):
    H, M = activity(rows, width), np.random.default_rng(1).normal(size=(classes, width))
    scores = np.full((rows + 1, classes), np.float32(2))

    heads.add_scores(reference.pack_rows(H, rows + 2), rows, reference.pack_weights(M), scores)

    assert_close(scores[:rows], 2 + H @ M.T, 1e-5)
    assert (scores[rows:] == 2).all()


@pytest.mark.parametrize(("rows", "width", "classes"), SHAPES)
def test_products_and_class_sums_are_those_of_the_matrices(rows, width, classes):
    H, labels = activity(rows, width), (np.arange(rows) % classes).astype(np.int32)
    units = -(-width // 16) * 16
    gram = np.ones((units // 16, units, 16), np.float32)
    sums = np.ones((units // 16, classes, 16), np.float32)
    index, offset = np.empty(units, np.int32), np.empty(units, np.int64)
    h = reference.pack_rows(H, rows + 1, unused=np.nan)

    heads.add_products(h, rows, index, offset, gram)
    heads.add_class_sums(h, rows, labels, sums)

    assert_close(reference.unpack_weights(gram, width)[:width] - 1, H.T @ H, 1e-5)
    assert_close(reference.unpack_weights(sums, width) - 1, np.eye(classes)[labels].T @ H, 1e-5)


def ridge(H, labels, classes, strength):
    """Both solutions: the kernels' and NumPy's, (classes, width)."""
    width = H.shape[1]
    units = -(-width // 16) * 16
    gram = np.zeros((units // 16, units, 16), np.float32)
    gram[:, :width] = reference.pack_weights(H.T @ H)
    sums = reference.pack_weights(np.eye(classes)[labels].T @ H)
    factor, column, out = np.empty((units, units)), np.empty(units), np.empty_like(sums)

    assert heads.factorize(gram, strength, factor)
    heads.solve(factor, sums, column, out)

    assert_padding_is_zero(out, width)
    wanted = np.linalg.solve(H.T @ H + strength * np.eye(width), H.T @ np.eye(classes)[labels])
    return reference.unpack_weights(out, width), wanted.T


@pytest.mark.parametrize("width", [1, 16, 35])
@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_the_ridge_solution_equals_numpys(width, strength):
    found, wanted = ridge(activity(60, width), np.arange(60) % 4, 4, strength)

    assert_close(found, wanted, 2e-5)


def test_more_units_than_samples_are_no_obstacle():
    found, wanted = ridge(activity(5, 40), np.arange(5) % 2, 2, 1.0)

    assert_close(found, wanted, 2e-5)


def test_a_matrix_that_is_not_positive_definite_is_told():
    gram = reference.pack_weights(-np.eye(16))

    assert not heads.factorize(gram, 0.5, np.empty((16, 16)))


def test_silent_units_do_not_count_in_the_mean_of_the_diagonal():
    gram = reference.pack_weights(np.diag([4.0] + [0.0] * 14 + [2.0]))

    assert heads.mean_diagonal(gram) == 3.0
    assert heads.mean_diagonal(np.zeros_like(gram)) == 0.0


@compiled_only
def test_kernels_of_heads_allocate_nothing():
    h, labels = np.ones((3, 8, 16), np.float32), np.zeros(8, np.int32)
    gram, sums = np.ones((3, 48, 16), np.float32), np.ones((3, 4, 16), np.float32)
    factor, column = np.empty((48, 48)), np.empty(48)
    index, offset = np.empty(48, np.int32), np.empty(48, np.int64)

    assert_allocates_nothing(lambda: heads.add_products(h, 8, index, offset, gram))
    assert_allocates_nothing(lambda: heads.add_class_sums(h, 8, labels, sums))
    assert_allocates_nothing(lambda: heads.factorize(gram, 1.0, factor))
    assert_allocates_nothing(lambda: heads.solve(factor, sums, column, sums))
