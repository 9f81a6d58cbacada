"""Goodness of parts of a layer: the largest units, regions, and two signs, against plain numpy."""

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
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    not_in_library,
    output,
    sparse_rows,
)

from ffedge.kernels.goodness_parts import (
    region_delta,
    region_squares,
    signed_delta,
    signed_squares,
    top_delta,
    top_squares,
)

pytestmark = [pytest.mark.kernels, not_in_library]

#: Width and number of regions.
REGIONS = [(1, 1), (15, 3), (16, 4), (17, 17), (33, 3), (34, 2), (64, 4)]


def largest_units(Y, count):
    """Units of the largest squares, the lowest of equal ones; a stable sort of whole rows."""
    return np.argsort(-(Y**2), axis=1, kind="stable")[:, :count]


def top_of(Y, count):
    """(goodness, units chosen) by the kernel."""
    rows, width = Y.shape
    largest, goodness = np.full((rows + 1, count + 2), -7, np.int32), np.full((rows + 1, 2), 7.5)
    goodness = goodness.astype(np.float32)
    y = reference.pack_rows(Y, rows + 1, unused=np.nan)
    top_squares(y, rows, width, count, np.float32(1), largest, goodness)
    assert (largest[rows:] == -7).all()
    assert (largest[:, count:] == -7).all()
    assert (goodness[rows:] == 7.5).all()
    assert (goodness[:, 1] == 7.5).all()
    return goodness[:rows, 0], largest[:rows, :count]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_largest_units_are_those_of_a_sort(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        for count in {1, min(width, 5), width // 2 or 1, width}:
            # Few different values: equal ones everywhere.
            Y = random.integers(-3, 4, size=(rows, width)).astype(float)

            goodness, chosen = top_of(Y, count)

            wanted = largest_units(Y, count)
            assert np.sort(chosen, axis=1).tolist() == np.sort(wanted, axis=1).tolist()
            assert_close(goodness, (np.take_along_axis(Y, wanted, 1) ** 2).mean(axis=1), 1e-5)


def test_of_equal_units_the_lowest_are_chosen():
    _, chosen = top_of(np.array([[2.0, 1.0, -2.0, 2.0, 1.0, 1.0]]), 4)

    assert sorted(chosen[0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("width", WIDTHS)
def test_only_the_largest_units_get_a_delta(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        count = width // 3 or 1
        Y, slopes = sparse_rows(random, rows, width), random.normal(size=(rows, 1))
        _, chosen = top_of(Y, count)
        y, delta = reference.pack_rows(Y, rows + 1, unused=np.nan), output(width, rows + 2)

        top_delta(y, rows, count, slopes.astype(np.float32), np.float32(-1), chosen, delta)

        mask = np.zeros_like(Y)
        np.put_along_axis(mask, largest_units(Y, count), 1.0, 1)
        assert_rows(delta, rows, -slopes * mask * 2 * Y / count, 1e-5)


@pytest.mark.parametrize(("width", "terms"), REGIONS)
def test_each_region_has_its_own_squares_and_slope(width, terms):
    random = np.random.default_rng([width, terms])
    for rows in ROWS:
        Y = random.normal(size=(rows, width))
        slopes = random.normal(size=(rows, terms + 1)).astype(np.float32)
        y, delta = reference.pack_rows(Y, rows + 1, unused=np.nan), output(width, rows + 2)
        goodness = np.full((rows + 1, terms + 1), UNTOUCHED)

        region_squares(y, rows, width, terms, np.float32(0.5), goodness)
        region_delta(y, rows, width, terms, slopes, np.float32(0.5), delta)

        blocks = Y.reshape(rows, terms, -1)
        assert_close(goodness[:rows, :terms], 0.5 * (blocks**2).sum(axis=2), 1e-5)
        assert (goodness[rows:] == UNTOUCHED).all()
        assert (goodness[:, terms:] == UNTOUCHED).all()
        wanted = (slopes[:, :terms, None] * blocks).reshape(rows, width)
        assert_rows(delta, rows, wanted, 1e-5)


@pytest.mark.parametrize("width", [2, *WIDTHS[1:]])
def test_units_of_the_second_kind_count_against_the_goodness(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        split = 1 + rows % (width - 1)
        Y, slopes = random.normal(size=(rows, width)), random.normal(size=(rows, 1))
        y, delta = reference.pack_rows(Y, rows + 1, unused=np.nan), output(width, rows + 2)
        goodness = np.full((rows + 1, 1), UNTOUCHED)

        signed_squares(y, rows, split, np.float32(-2), goodness)
        signed_delta(y, rows, split, slopes.astype(np.float32), np.float32(-2), delta)

        sign = np.where(np.arange(width) < split, -2.0, 2.0)
        assert_close(goodness[:rows, 0], (sign * Y**2).sum(axis=1), 1e-4)
        assert goodness[rows, 0] == UNTOUCHED
        assert_rows(delta, rows, slopes * sign * 2 * Y, 1e-5)


def test_goodness_does_not_depend_on_neighbours():
    def goodness_of(Y):
        y, rows = reference.pack_rows(Y), len(Y)
        goodness, largest = np.empty((3, rows, 3), np.float32), np.empty((rows, 7), np.int32)
        top_squares(y, rows, 33, 7, np.float32(1), largest, goodness[0])
        region_squares(y, rows, 33, 3, np.float32(1), goodness[1])
        signed_squares(y, rows, 9, np.float32(1), goodness[2])
        goodness[[0, 2], :, 1:] = 0
        return goodness.transpose(1, 0, 2).copy()

    assert_rows_do_not_depend_on_neighbours(
        goodness_of, sparse_rows(np.random.default_rng(0), 13, 33)
    )


@compiled_only
def test_kernels_of_parts_allocate_nothing():
    y, delta = np.ones((9, 64, 16), np.float32), np.empty((9, 64, 16), np.float32)
    goodness, largest = np.empty((64, 4), np.float32), np.empty((64, 12), np.int32)
    one = np.float32(1)

    assert_allocates_nothing(lambda: top_squares(y, 64, 144, 12, one, largest, goodness))
    assert_allocates_nothing(lambda: top_delta(y, 64, 12, goodness, one, largest, delta))
    assert_allocates_nothing(lambda: region_squares(y, 64, 144, 4, one, goodness))
    assert_allocates_nothing(lambda: region_delta(y, 64, 144, 4, goodness, one, delta))
    assert_allocates_nothing(lambda: signed_squares(y, 64, 50, one, goodness))
    assert_allocates_nothing(lambda: signed_delta(y, 64, 50, goodness, one, delta))
