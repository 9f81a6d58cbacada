"""Goodness: values, derivatives by finite differences, and the lengths they divide by."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    UNTOUCHED,
    WIDTHS,
    assert_allocates_nothing,
    assert_close,
    assert_rows,
    compiled_only,
    not_in_library,
    output,
    sparse_rows,
)

from ffedge.kernels.goodness import (
    add_goodness,
    add_others,
    scaled_squares,
    squares_delta,
    sums,
    sums_delta,
)

pytestmark = pytest.mark.kernels


def slope_of(value, Y, step=1e-5):
    """Central differences of ``value(Y)`` (rows,) by each entry of Y."""
    slopes = np.zeros_like(Y)
    for j in range(Y.shape[1]):
        up, down = Y.copy(), Y.copy()
        up[:, j] += step
        down[:, j] -= step
        slopes[:, j] = (value(up) - value(down)) / (2 * step)
    return slopes


@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_squares_are_scaled_lengths(scale):
    goodness = np.full((4, 2), UNTOUCHED)

    scaled_squares(np.float32([1, 2, 4, np.nan]), 3, np.float32(scale), goodness)

    assert goodness[:3, 0].tolist() == [scale, 2 * scale, 4 * scale]
    assert (goodness[3] == UNTOUCHED).all()
    assert (goodness[:, 1] == UNTOUCHED).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_delta_of_squares_is_their_finite_difference_times_the_slope(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        Y, slopes = sparse_rows(random, rows, width), random.normal(size=(rows + 1, 1))
        delta = output(width, rows + 1)
        y = reference.pack_rows(Y, rows + 1, unused=np.nan)

        squares_delta(y, rows, slopes.astype(np.float32), np.float32(-0.25), delta)

        wanted = slopes[:rows] * slope_of(lambda Y: -0.25 * (Y**2).sum(axis=1), Y)
        assert_rows(delta, rows, wanted, 1e-4)


@not_in_library
@pytest.mark.parametrize("width", WIDTHS)
def test_sums_and_the_length_of_their_mean_magnitude(width):
    random = np.random.default_rng(width)
    Y = random.normal(size=(5, width))
    goodness, length = np.full((6, 1), UNTOUCHED), np.full(6, UNTOUCHED)

    y = reference.pack_rows(Y, 6, unused=np.nan)
    sums(y, 5, np.float32(-1), width, goodness, length)

    assert_close(goodness[:5, 0], -Y.sum(axis=1), 1e-4)
    assert_close(np.sqrt(length[:5] / width), np.abs(Y).mean(axis=1), 1e-4)
    assert (goodness[5, 0], length[5]) == (UNTOUCHED, UNTOUCHED)


@not_in_library
@pytest.mark.parametrize("width", WIDTHS)
def test_the_delta_of_sums_is_their_finite_difference_times_the_slope(width):
    random = np.random.default_rng(width)
    Y, slopes = random.normal(size=(5, width)), random.normal(size=(5, 1))
    delta = output(width, 6)

    sums_delta(5, width, slopes.astype(np.float32), np.float32(0.5), delta)

    wanted = slopes * slope_of(lambda Y: 0.5 * Y.sum(axis=1), Y)
    assert_rows(delta, 5, wanted, 1e-4)


def test_a_label_collects_all_terms_of_a_row():
    total = np.full((3, 2), UNTOUCHED)
    goodness = np.float32([[1, 2, 50], [3, 4, 50], [np.nan] * 3])

    add_goodness(goodness, 2, 2, 1, total)

    assert total.tolist() == [[7.5, 10.5], [7.5, 14.5], [7.5, 7.5]]


@not_in_library
def test_a_layer_hears_all_others_but_not_itself():
    kept = np.float32([[1, 2, 3], [10, 20, 30], [100, 200, 300]])
    goodness = np.float32([[5], [6], [7]])

    add_others(kept, 2, 1, goodness)

    assert goodness[:, 0].tolist() == [106, 208, 7]


@compiled_only
def test_goodness_kernels_allocate_nothing():
    y, delta = np.ones((9, 64, 16), np.float32), np.empty((9, 64, 16), np.float32)
    length, goodness = np.ones(64, np.float32), np.ones((64, 1), np.float32)
    total = np.zeros((64, 20), np.float32)

    def step():
        scaled_squares(length, 64, np.float32(1), goodness)
        squares_delta(y, 64, goodness, np.float32(1), delta)
        add_goodness(goodness, 64, 1, 3, total)

    assert_allocates_nothing(step)
