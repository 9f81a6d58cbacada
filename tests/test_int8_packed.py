"""Words of four bytes against the arithmetic of their bytes, up to the ends of their ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.kernels.int8.packed import add_bytes, add_capped, carries, differing, dot_word
from ffedge.kernels.provider import kernel

pytestmark = pytest.mark.kernels

fours = st.lists(st.integers(0, 255), min_size=4, max_size=4)
weights = st.lists(st.integers(-127, 127), min_size=4, max_size=4)
#: The first call compiles.
MANY = settings(deadline=None)


# An intrinsic can be called from compiled code only.


@kernel()
def call_dot(total, x, w):
    return dot_word(total, x, w)


@kernel()
def call_add_bytes(one, other):
    return add_bytes(one, other)


@kernel()
def call_add_capped(one, other):
    return add_capped(one, other)


@kernel()
def call_carries(one, other):
    return carries(one, other)


@kernel()
def call_differing(one, other):
    return differing(one, other)


def word(four):
    return np.array(four).astype(np.uint8).view("<u4")[0]


def unsigned(value):
    return np.array([value], "<u4").view(np.uint8).tolist()


@MANY
@given(st.integers(-(2**24), 2**24), st.lists(st.integers(0, 127), min_size=4, max_size=4), weights)
def test_dot_word_adds_four_products(total, x, w):
    expected = total + sum(a * b for a, b in zip(x, w, strict=True))

    assert call_dot(np.int32(total), word(x), word(w)) == expected


@MANY
@given(fours, fours)
def test_add_bytes_carries_nothing_over(one, other):
    got = call_add_bytes(word(one), word(other))

    assert unsigned(got) == [(a + b) % 256 for a, b in zip(one, other, strict=True)]


@MANY
@given(fours, fours)
def test_add_capped_stops_at_255(one, other):
    got = call_add_capped(word(one), word(other))

    assert unsigned(got) == [min(a + b, 255) for a, b in zip(one, other, strict=True)]


@MANY
@given(fours, fours)
def test_carries_are_ones_where_a_sum_needs_nine_bits(one, other):
    got = call_carries(word(one), word(other))

    assert unsigned(got) == [a + b > 255 for a, b in zip(one, other, strict=True)]


@MANY
@given(fours, fours)
def test_differing_counts_bytes(one, other):
    got = call_differing(word(one), word(other))

    assert got == sum(a != b for a, b in zip(one, other, strict=True))
    assert call_differing(word(one), word(one)) == 0
