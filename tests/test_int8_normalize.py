"""Length normalisation of u7 rows: the same float32 operations, in the same order."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import PLAIN_PYTHON, assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.normalize import normalize_rows, sum_of_squares

pytestmark = pytest.mark.kernels

WIDEST = 131_071


def gain_of(width):
    return np.float32(16) * np.sqrt(np.float32(width))


def run(Y, spare=1):
    """(rows afterwards, lengths, total); the rows behind must be untouched."""
    rows, width = Y.shape
    y = oracle.pack_rows(Y, rows + spare)
    length = np.full(rows + spare, -5, np.int32)
    total = normalize_rows(y, rows, gain_of(width), length)
    assert (y[rows:] == 99).all()
    assert (length[rows:] == -5).all()
    assert not y[:rows, width:].any()
    return y[:rows, :width], length[:rows], total


@repeatable(150)
@given(
    st.integers(1, 70), st.integers(1, 6), st.sampled_from([1, 2, 20, 127]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_rows_equal_the_oracle(width, rows, most, seed):
    Y = np.maximum(np.random.default_rng(seed).integers(-most, most + 1, (rows, width)), 0)

    out, length, total = run(Y)

    assert out.tolist() == oracle.normalize(Y, width).tolist()
    assert length.tolist() == oracle.sum_of_squares(Y).tolist()
    assert total == length.sum(dtype=np.int64)
    assert out.max() <= 127


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 63, 64, 65, 500])
def test_one_unit_alone_saturates_at_127(width):
    for value in (1, 127):
        Y = np.zeros((1, width), int)
        Y[0, -1] = value

        out, _, _ = run(Y)

        assert out[0, -1] == min(127, int(np.floor(16 * np.sqrt(width) + 0.5)))


def test_a_silent_row_stays_silent():
    out, length, total = run(np.zeros((3, 33), int))

    assert not out.any()
    assert length.tolist() == [0, 0, 0]
    assert total == 0


@pytest.mark.parametrize("value", [1, 16, 127])
def test_equal_activities_become_one(value):
    out, _, _ = run(np.full((2, 40), value))

    assert (out == 16).all()


def test_the_root_mean_square_of_many_units_becomes_one():
    Y = np.random.default_rng(1).integers(0, 128, (4, 1000))

    out, _, _ = run(Y)

    # Half a step each way, and a few clipped.
    assert np.allclose(np.sqrt((out.astype(float) ** 2).mean(axis=1)), 16, atol=0.05)


@pytest.mark.parametrize("rows", [1, 3])
def test_the_largest_sum_of_squares_does_not_wrap(rows):
    Y = np.full((rows, WIDEST), 127)
    assert 127 * 127 * WIDEST < 2**31

    out, length, total = run(Y)

    assert length.tolist() == [127 * 127 * WIDEST] * rows
    assert total == rows * 127 * 127 * WIDEST
    assert (out == 16).all()


@repeatable(20)
@given(st.integers(1, 200), st.integers(1, 13), st.integers(0, 99))
def test_sums_of_squares_are_exact(width, rows, seed):
    Y = np.random.default_rng(seed).integers(0, 128, (rows, width))
    out = np.full(rows + 1, -5, np.int32)

    sum_of_squares(oracle.pack_rows(Y), rows, out)

    assert out.tolist() == [*oracle.sum_of_squares(Y).tolist(), -5]


@pytest.mark.parametrize("width", [3, 16, 100, 500, 784])
def test_every_product_near_a_half_is_rounded_as_float32_says(width):
    # One row per level: the rows where (y * factor) + 0.5 lands on or beside a whole number.
    levels = range(1, 128, 9 if PLAIN_PYTHON else 1)
    Y = np.array([[level] + [127] * (width // 3) + [0] * (width - width // 3 - 1)
                  for level in levels])  # fmt: skip

    out, _, _ = run(Y)

    assert out.tolist() == oracle.normalize(Y, width).tolist()


def test_halves_round_up():
    # The squares sum to 128**2, so that the factor is 16 * 4 / 128: exactly a half.
    Y = np.array([[25, 25, 25, 29, 37, 37, 37, 37] * 2])

    out, length, _ = run(Y)

    assert length.tolist() == [128**2]
    assert out.tolist() == [[13, 13, 13, 15, 19, 19, 19, 19] * 2]


@compiled_only
def test_normalisation_allocates_nothing():
    y = np.full((64, 512), 3, np.uint8)
    length = np.zeros(64, np.int32)

    assert_allocates_nothing(lambda: normalize_rows(y, 64, gain_of(500), length))
