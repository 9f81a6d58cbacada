"""Class groups: their goodness and the delta of their units."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_rows,
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    output,
    sparse_rows,
)

from ffedge.kernels.group import group_delta, group_scores

pytestmark = pytest.mark.kernels

#: Uneven groups, one unit per class, more classes than lanes.
SHAPES = [(2, 2), (3, 2), (15, 4), (16, 16), (17, 3), (17, 17), (33, 10), (33, 20), (20, 20)]
SHARPNESS = np.float32(3.0)


def starts_of(width, classes):
    owner = reference.group_of(width, classes)
    return np.array([owner.index(k) for k in range(classes)] + [width], np.int32)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_group_scores_equal_the_oracle(width, classes, squared):
    random = np.random.default_rng([width, classes])
    starts = starts_of(width, classes)
    for rows in ROWS:
        Y = sparse_rows(random, rows, width)
        y = reference.pack_rows(Y, rows + 1, unused=np.nan)
        scores = np.full((rows + 2, classes), UNTOUCHED)

        group_scores(y, rows, starts, squared, SHARPNESS, scores)

        assert_close(scores[:rows], reference.group_scores(Y, classes, squared, 3.0), 1e-5)
        assert (scores[rows:] == UNTOUCHED).all()


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_group_delta_equals_the_oracle(width, classes, squared):
    random = np.random.default_rng([width, classes])
    starts = starts_of(width, classes)
    for rows in ROWS:
        Y, E = sparse_rows(random, rows, width), random.normal(size=(rows, classes))
        y = reference.pack_rows(Y, rows + 1, unused=np.nan)
        errors = reference.pack_rows(E, rows + 2, unused=np.nan)
        delta = output(width, rows + 3)

        group_delta(y, rows, starts, squared, SHARPNESS, errors, delta)

        assert_rows(delta, rows, reference.group_delta(Y, E, squared, 3.0), 1e-6)


def test_the_mean_teaches_every_active_unit_of_a_group_alike():
    y = reference.pack_rows(np.array([[1e-6, 0.0, 5.0, 9.0]]))
    errors, delta = reference.pack_rows(np.array([[0.5, -0.5]])), output(4, 1)

    group_delta(y, 1, np.array([0, 3, 4], np.int32), False, np.float32(6), errors, delta)

    assert reference.unpack_rows(delta, 1, 4).tolist() == [[1.0, 0.0, 1.0, -3.0]]


def test_group_scores_do_not_depend_on_neighbours():
    random = np.random.default_rng(5)

    def scores_of(Y):
        scores = np.empty((len(Y), 7), np.float32)
        group_scores(reference.pack_rows(Y), len(Y), starts_of(33, 7), True, SHARPNESS, scores)
        return scores

    assert_rows_do_not_depend_on_neighbours(scores_of, sparse_rows(random, 13, 33))


@compiled_only
def test_group_kernels_allocate_nothing():
    y, errors = np.ones((9, 64, 16), np.float32), np.ones((2, 64, 16), np.float32)
    scores, delta = np.empty((64, 20), np.float32), np.empty((9, 64, 16), np.float32)
    starts = starts_of(144, 20)

    assert_allocates_nothing(lambda: group_scores(y, 64, starts, True, SHARPNESS, scores))
    assert_allocates_nothing(lambda: group_delta(y, 64, starts, True, SHARPNESS, errors, delta))
