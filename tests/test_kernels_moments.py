"""Running mean and spread of features."""

import numpy as np
import pytest
from checks import WIDTHS, assert_allocates_nothing, compiled_only

from ffedge.kernels.moments import add_moments

pytestmark = pytest.mark.kernels

ALL_ROWS = np.empty(0, np.int32)


def moments_of(features, cuts=(), subset=ALL_ROWS):
    samples = len(subset) or len(features)
    mean, spread = np.zeros((2, features.shape[1]))
    count = 0
    for first, last in zip((0, *cuts), (*cuts, samples), strict=True):
        count = add_moments(features, subset, first, last, count, mean, spread)
    assert count == samples
    return mean, spread


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.float32])
def test_moments_equal_the_two_pass_formula(width, dtype):
    random = np.random.default_rng(width)
    features = random.integers(0, 100, (50, width)).astype(dtype)

    mean, spread = moments_of(features)

    exact = features.astype(float)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(spread, exact.var(axis=0) * 50, rtol=1e-12)


@pytest.mark.parametrize("offset", [1e4, -1e6, 1e7])
def test_a_large_offset_does_not_swallow_the_spread(offset):
    random = np.random.default_rng(3)
    features = (random.integers(0, 5, (200, 3)) + offset).astype(np.float32)

    mean, spread = moments_of(features)

    exact = features.astype(float)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(spread, ((exact - exact.mean(axis=0)) ** 2).sum(axis=0), rtol=1e-7)


@pytest.mark.parametrize("cuts", [(1,), (25,), (10, 20, 30), (0, 0, 49)])
def test_moments_have_the_same_bits_however_the_data_are_cut(cuts):
    features = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)

    whole, cut = moments_of(features), moments_of(features, cuts)

    assert np.array(whole).tobytes() == np.array(cut).tobytes()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_subset_counts_its_own_rows_only(dtype):
    features = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    subset = np.array([19, 0, 7, 7], dtype)

    chosen = moments_of(features, (2,), subset)

    assert np.array(chosen).tobytes() == np.array(moments_of(features[subset])).tobytes()


def test_a_constant_feature_has_a_spread_of_exactly_zero():
    _, spread = moments_of(np.full((100, 2), 0.1, np.float32))

    assert spread.tolist() == [0.0, 0.0]


@compiled_only
def test_add_moments_allocates_nothing():
    features = np.ones((100, 50), np.float32)
    mean, spread = np.zeros(50), np.zeros(50)

    assert_allocates_nothing(lambda: add_moments(features, ALL_ROWS, 0, 100, 0, mean, spread))
