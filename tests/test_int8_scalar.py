"""A microcontroller's primitives against the vector path's, whose formulas are tested already."""

import numpy as np
import pytest

from ffedge.kernels import provider
from ffedge.kernels.int8 import scalar, single
from ffedge.kernels.provider import kernel

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(provider.NAME == "library", reason="no library has a device's kernels"),
]

QUADS = 12


# An intrinsic can be called from compiled code only.


@kernel()
def vector_listed(a, index, count, b, bias, shift, y):
    single.listed_one(a, 0, index, count, b, 64, 0, bias, 16, shift, y, 16)


@kernel()
def vector_round(more, inputs, index, count, d, units, w):
    if more:
        return single.round_more(inputs, index, count, d, 16, units, w, 64)
    return single.round_ones(inputs, index, count, d, 16, units, w, 64)


@kernel()
def vector_dot(a, b, count):
    return single.dot(a, 0, b, 16, count)


@kernel()
def scalar_any(a, at):
    return scalar.any_of_four(a, at)


def some(random, values, shape, dtype):
    return random.choice(np.array(values), shape).astype(dtype)


@pytest.mark.parametrize("shift", [0, 7, 24])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_listed_product_is_the_vector_paths(count, shift):
    random = np.random.default_rng([count, shift])
    a = some(random, [0, 1, 80, 127], 4 * QUADS, np.uint8)
    b = some(random, [-127, -5, 0, 90, 127], 64 * (QUADS + 1), np.int8)
    index = np.sort(random.choice(QUADS, QUADS, replace=False)).astype(np.int32)
    bias = random.integers(-(2**24), 2**24, 32).astype(np.int32)
    expected, got = np.full(40, 200, np.uint8), np.full(40, 200, np.uint8)

    vector_listed(a, index, count, b, bias, shift, expected)
    scalar.listed_one(a, 0, index, count, b, 64, 0, bias, 16, shift, got, 16)

    assert np.array_equal(got, expected)


def rounded_inputs(random):
    """``thin``'s words of all groups: each input 0, 1 or more; never both a one and more."""
    x = some(random, [0, 0, 1, 2, 64, 127], (QUADS, 4), np.uint8)
    words = np.zeros((QUADS, 4, 4), np.uint8)
    words[:, 0] = np.where(x == 1, 255, 0)
    words[:, 1] = random.integers(0, 256, (QUADS, 4))
    words[:, 2] = np.where(x > 1, x, 0)
    return words.view("<u4").reshape(-1)


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("count", [0, 1, QUADS])
def test_a_rounded_update_is_the_vector_paths(more, count):
    changes = 0
    for seed in range(10):
        random = np.random.default_rng([count, more, seed])
        inputs, index = rounded_inputs(random), random.permutation(QUADS).astype(np.int32)
        d = some(random, [-127, -64, -1, 0, 1, 99, 127], 32, np.int32)
        units = random.integers(0, 2**32, 32, dtype=np.uint32)
        w = some(random, [-127, -126, -1, 0, 126, 127], 64 * (QUADS + 1), np.int8)
        expected, got = w.copy(), w.copy()

        changed = vector_round(more, inputs, index, count, d, units, expected)
        function = scalar.round_more if more else scalar.round_ones
        own = function(inputs, index, count, d, 16, units, got, 64)

        assert np.array_equal(got, expected)
        assert own == changed == (got != w).sum()
        changes += changed
    assert (changes > 0) == (count > 0)


def test_a_dot_product_is_the_vector_paths():
    random = np.random.default_rng(1)
    a = some(random, [0, 3, 127], 64, np.uint8)
    b = some(random, [-127, 2, 127], 80, np.int8)

    assert scalar.dot(a, 0, b, 16, 64) == vector_dot(a, b, 64)


def test_any_of_four_looks_at_four_bytes_only():
    a = np.array([9, 0, 0, 0, 0, 9], np.uint8)

    assert not scalar_any(a, 1)
    assert scalar_any(a, 0)
    assert scalar_any(a, 2)
