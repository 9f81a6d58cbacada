"""Moved samples, float32 and int8: against the unmoved fetch of samples moved by the oracle."""

import numpy as np
import pytest
import reference
import reference_classes as oracle
from checks import UNTOUCHED, assert_allocates_nothing, compiled_only, output

from ffedge.kernels.batch import fetch
from ffedge.kernels.int8 import input as int8_input
from ffedge.kernels.int8 import shift as int8_shift
from ffedge.kernels.provider import LIBRARY
from ffedge.kernels.shift import fetch_shifted, move

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

ALL_ROWS = np.empty(0, np.int32)
LIMIT = np.float32(2.0)
#: Height, width, channels, down, across: an image, one with channels, a window, one line.
GRIDS = [(5, 5, 1, 1, 1), (4, 6, 3, 2, 1), (9, 4, 1, 3, 0), (1, 7, 1, 0, 6)]
SEED, FIRST = 77, 2**40


def samples(grid, dtype=np.float32):
    random = np.random.default_rng(grid)
    width = grid[0] * grid[1] * grid[2]
    features = (random.normal(size=(6, width)) * 30).clip(0 if dtype == np.uint8 else -99, 99)
    mean = random.normal(size=width).astype(np.float32)
    gain = random.uniform(0.01, 0.1, width).astype(np.float32)
    return features.astype(dtype), mean, gain


def moved(features, chosen, grid):
    """What the oracle makes of the chosen rows, one after the other."""
    rows = []
    for n, row in enumerate(chosen):
        word = reference.bits(SEED, FIRST + n)
        sample = features[row].reshape(grid[:3])
        rows.append(oracle.shifted(sample, *oracle.moves(word, *grid[3:])).reshape(-1))
    return np.array(rows)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_moved_fetch_is_the_fetch_of_moved_samples(grid, dtype):
    features, mean, gain = samples(grid, dtype)
    chosen = np.array([3, 0, 3, 5, 1, 1, 2, 4], np.int64)
    out, wanted = output(features.shape[1], 10), output(features.shape[1], 10)
    fetch(moved(features, chosen, grid), ALL_ROWS, np.arange(8), 8, mean, gain, LIMIT, wanted)

    fetch_shifted(features, ALL_ROWS, chosen, 8, mean, gain, LIMIT, *grid, SEED, FIRST, out)

    np.testing.assert_allclose(out, wanted, rtol=1e-6)
    assert (out[:, 8:] == UNTOUCHED).all()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_moved_int8_fetch_is_the_fetch_of_moved_samples(grid, parts):
    features, mean, gain = samples(grid)
    chosen, width = np.array([3, 0, 3, 5], np.int64), features.shape[1] * parts
    out, wanted = np.full((5, width + 3), 201, np.uint8), np.full((5, width + 3), 201, np.uint8)
    rows = moved(features, chosen, grid)
    int8_input.fetch(rows, ALL_ROWS, np.arange(4), 4, mean, gain, parts, wanted)

    int8_shift.fetch_shifted(
        features, ALL_ROWS, chosen, 4, mean, gain, parts, *grid, SEED, FIRST, out
    )

    assert out.tolist() == wanted.tolist()


def test_a_subset_names_the_rows_that_move():
    features, mean, gain = samples(GRIDS[0])
    subset = np.array([5, 2], np.int32)
    out, wanted = output(25, 2), output(25, 2)
    whole = np.array([2, 5], np.int64)
    fetch_shifted(features, ALL_ROWS, whole, 2, mean, gain, LIMIT, *GRIDS[0], SEED, FIRST, wanted)

    fetch_shifted(
        features, subset, np.array([1, 0]), 2, mean, gain, LIMIT, *GRIDS[0], SEED, FIRST, out
    )

    assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("reach", [0, 1, 2, 5, 1024])
def test_moves_cover_their_range_evenly(reach):
    places = [move(np.uint32(word), reach) for word in range(0, 65_536, 7)]

    counts = np.bincount(np.array(places) + reach)

    assert len(counts) == 2 * reach + 1
    assert counts.max() - counts.min() <= 2


@compiled_only
def test_moved_fetches_allocate_nothing():
    features, mean, gain = samples(GRIDS[1])
    chosen, out = np.arange(6), output(72, 6)
    small = np.empty((6, 144), np.uint8)
    rest = (*GRIDS[1], SEED, FIRST)

    assert_allocates_nothing(
        lambda: fetch_shifted(features, ALL_ROWS, chosen, 6, mean, gain, LIMIT, *rest, out)
    )
    assert_allocates_nothing(
        lambda: int8_shift.fetch_shifted(features, ALL_ROWS, chosen, 6, mean, gain, 2, *rest, small)
    )
