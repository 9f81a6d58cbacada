"""Length of an activity vector, and its removal."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    UNTOUCHED,
    WIDTHS,
    assert_allocates_nothing,
    assert_close,
    assert_padding_is_zero,
    assert_rows,
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    output,
    sparse_rows,
)

from ffedge.kernels.normalize import EPSILON, normalize_rows, scale_rows, sum_of_squares

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_are_divided_by_their_root_mean_square(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        Y = sparse_rows(random, rows, width) + 0.01
        y = reference.pack_rows(Y, rows + 2, unused=np.nan)
        length, out = np.full(rows + 2, UNTOUCHED), output(width, rows + 2)

        sum_of_squares(y, rows, length)
        power = scale_rows(y, rows, width, length, out)

        assert_close(length[:rows], reference.goodness(Y))
        assert (length[rows:] == UNTOUCHED).all()
        assert_rows(out, rows, reference.normalize(Y), 1e-6)
        assert power == pytest.approx((Y**2).mean(), rel=1e-6)


def test_rows_are_normalised_in_place():
    Y = np.array([[3.0, 0.0, 4.0]])
    y, length = reference.pack_rows(Y), np.array([25.0], np.float32)

    scale_rows(y, 1, 3, length, y)

    assert_close(reference.unpack_rows(y, 1, 3), reference.normalize(Y), 1e-6)


def test_normalize_rows_measures_and_scales_at_once():
    Y = sparse_rows(np.random.default_rng(0), 9, 33)
    y, length = reference.pack_rows(Y, 11, unused=UNTOUCHED), np.full(11, UNTOUCHED)

    power = normalize_rows(y, 9, 33, length)

    assert_rows(y, 9, reference.normalize(Y), 1e-6)
    assert_close(length[:9], reference.goodness(Y))
    assert (length[9:] == UNTOUCHED).all()
    assert power == pytest.approx((Y**2).mean(), rel=1e-6)


@pytest.mark.parametrize("width", [1, 3, 17, 500])
def test_scale_rows_rounds_as_plain_float32_arithmetic_does(width):
    random = np.random.default_rng(width)
    y = reference.pack_rows(random.normal(size=(20, width)))
    length = random.uniform(1e-3, 1e3, 20).astype(np.float32)
    out = np.empty_like(y)

    scale_rows(y, 20, width, length, out)

    factor = np.float32(1) / (EPSILON + np.sqrt(length / np.float32(width)))
    assert out.tobytes() == (y * factor[None, :, None]).tobytes()


def test_a_silent_row_stays_exactly_zero():
    y = reference.pack_rows(np.array([[0.0] * 17, [1.0] * 17]))
    length = np.empty(2, np.float32)

    sum_of_squares(y, 2, length)
    scale_rows(y, 2, 17, length, y)

    assert not y[:, 0].any()
    assert_close(reference.unpack_rows(y, 2, 17)[1], np.ones(17), 1e-6)
    assert_padding_is_zero(y, 17)


@pytest.mark.parametrize("size", [1e-15, 1e-6, 1e6, 1e15])
def test_the_length_vanishes_whatever_it_was(size):
    y = reference.pack_rows(np.array([[3.0, 4.0]]) * size)
    length = np.empty(1, np.float32)

    sum_of_squares(y, 1, length)
    scale_rows(y, 1, 2, length, y)

    wanted = reference.normalize(np.array([[3.0, 4.0]]) * size)
    np.testing.assert_allclose(reference.unpack_rows(y, 1, 2), wanted, rtol=1e-5)


def test_a_row_has_the_same_bits_alone_and_among_others():
    random = np.random.default_rng(0)

    def normalised(Y):
        y, length = reference.pack_rows(Y), np.empty(len(Y), np.float32)
        sum_of_squares(y, len(Y), length)
        scale_rows(y, len(Y), 33, length, y)
        return y.transpose(1, 0, 2).copy()

    assert_rows_do_not_depend_on_neighbours(normalised, sparse_rows(random, 13, 33))


@compiled_only
def test_normalising_allocates_nothing():
    y, length = np.ones((9, 64, 16), np.float32), np.ones(64, np.float32)

    assert_allocates_nothing(lambda: sum_of_squares(y, 64, length))
    assert_allocates_nothing(lambda: scale_rows(y, 64, 144, length, y))
    assert_allocates_nothing(lambda: normalize_rows(y, 64, 144, length))
