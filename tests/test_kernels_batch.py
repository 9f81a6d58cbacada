"""Fetching a batch: which rows, scaled and clipped, in panels."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    UNTOUCHED,
    WIDTHS,
    assert_allocates_nothing,
    assert_rows,
    compiled_only,
    output,
)

from ffedge.kernels.batch import choose_rows, copy_rows, fetch, fetch_batch, fetch_labels

pytestmark = pytest.mark.kernels

ALL_ROWS = np.empty(0, np.int32)
LIMIT = np.float32(8.0)


def scaled(features, mean, gain, limit=8.0):
    return np.clip((features.astype(float) - mean) * gain, -limit, limit)


def unit_scale(width):
    return np.zeros(width, np.float32), np.ones(width, np.float32)


def test_rows_in_order_are_the_positions_themselves():
    chosen = np.full(8, -1, np.int64)

    choose_rows(6, 5, 11, 3, False, chosen)

    assert chosen.tolist() == [6, 7, 8, 9, 10, -1, -1, -1]


def test_shuffled_batches_together_visit_every_sample_once():
    chosen, visited = np.full(8, -1, np.int64), []

    for first in range(0, 37, 8):
        count = min(8, 37 - first)
        choose_rows(first, count, 37, 99, True, chosen)
        visited += chosen[:count].tolist()

    assert visited == [reference.shuffled(n, 37, 99) for n in range(37)]
    assert sorted(visited) == list(range(37))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.float32])
@pytest.mark.parametrize("width", WIDTHS)
def test_fetch_scales_every_kind_of_feature(dtype, width):
    random = np.random.default_rng(width)
    features = random.integers(-100, 100, (20, width)).astype(np.int16).astype(dtype)
    mean = random.normal(size=width).astype(np.float32)
    gain = random.uniform(0.01, 0.05, width).astype(np.float32)
    chosen = random.integers(0, 20, 13)
    for rows in [r for r in ROWS if r <= 13]:
        out = output(width, 15)

        fetch(features, ALL_ROWS, chosen, rows, mean, gain, LIMIT, out)

        assert_rows(out, rows, scaled(features[chosen[:rows]], mean, gain), 1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_subset_says_which_row_a_sample_is(dtype):
    features = np.arange(20, dtype=np.float32).reshape(10, 2)
    subset = np.array([9, 0, 4], dtype)
    labels = np.arange(10, dtype=np.uint8)
    out, codes = output(2, 2), np.full(4, -1, np.int32)

    fetch(features, subset, np.array([2, 0]), 2, *unit_scale(2), np.float32(100), out)
    fetch_labels(labels, subset, np.array([2, 0]), 2, codes)

    assert reference.unpack_rows(out, 2, 2).tolist() == [[8.0, 9.0], [18.0, 19.0]]
    assert codes.tolist() == [4, 9, -1, -1]


@pytest.mark.parametrize("raw", [-3.0e38, -8.1, 8.1, 3.0e38])
def test_fetch_clips_a_broken_reading_to_the_limit(raw):
    features = np.array([[raw]], np.float32)
    out = output(1, 1)

    fetch(features, ALL_ROWS, np.zeros(1, np.int64), 1, *unit_scale(1), LIMIT, out)

    assert out[0, 0, 0] == np.copysign(8.0, raw)


def test_panels_behind_the_features_become_zero():
    features = np.ones((1, 16), np.float32)
    out = np.full((3, 2, 16), np.float32(7.5))

    fetch(features, ALL_ROWS, np.zeros(2, np.int64), 1, *unit_scale(16), LIMIT, out)

    assert out[:, 0].tolist() == [[1.0] * 16, [0.0] * 16, [0.0] * 16]
    assert (out[:, 1] == 7.5).all()


@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65_535), (np.int32, 65_535)]
)
def test_fetch_labels_keeps_the_largest_code(dtype, largest):
    labels = np.array([0, largest], dtype)
    codes = np.full(3, -1, np.int32)

    fetch_labels(labels, ALL_ROWS, np.array([1, 0]), 2, codes)

    assert codes.tolist() == [largest, 0, -1]


@compiled_only
def test_fetching_allocates_nothing():
    features, labels = np.ones((100, 50), np.float32), np.zeros(100, np.uint8)
    mean, gain = unit_scale(50)
    chosen, codes = np.empty(64, np.int64), np.empty(64, np.int32)
    out = np.empty((4, 64, 16), np.float32)

    def step():
        choose_rows(0, 64, 100, 1, True, chosen)
        fetch(features, ALL_ROWS, chosen, 64, mean, gain, LIMIT, out)
        fetch_labels(labels, ALL_ROWS, chosen, 64, codes)

    assert_allocates_nothing(step)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_in_one_call_is_the_three_calls(shuffle):
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 19)).astype(np.float32)
    labels, subset = (
        random.integers(0, 3, 40).astype(np.uint8),
        np.arange(39, 9, -1, dtype=np.int32),
    )
    mean, gain = features.mean(axis=0), np.full(19, 0.5, np.float32)
    parts = np.zeros(6, np.int64), np.zeros(6, np.int32), np.zeros((2, 6, 16), np.float32)
    whole = tuple(part.copy() for part in parts)
    choose_rows(3, 5, 30, 7, shuffle, parts[0])
    fetch_labels(labels, subset, parts[0], 5, parts[1])
    fetch(features, subset, parts[0], 5, mean, gain, np.float32(8), parts[2])

    fetch_batch(features, labels, subset, 3, 5, 30, 7, shuffle, mean, gain, np.float32(8), *whole)

    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("width", WIDTHS)
def test_copied_rows_equal_the_rows_they_come_from(width):
    random = np.random.default_rng(width)
    X = random.normal(size=(3, width))
    x = reference.pack_rows(X, 7, unused=UNTOUCHED)

    copy_rows(x, 3, 3)

    assert_rows(x, 6, np.vstack([X, X]), 1e-6)
