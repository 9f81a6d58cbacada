"""Words of four bytes against the arithmetic of their bytes, up to the ends of their ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.kernels.int8.packed import add_bytes, add_steps, differing, dot_word, ones_steps
from ffedge.kernels.provider import kernel

pytestmark = pytest.mark.kernels

fours = st.lists(st.integers(0, 255), min_size=4, max_size=4)
weights = st.lists(st.integers(-127, 127), min_size=4, max_size=4)
#: The first call compiles.
MANY = settings(deadline=None)
bytes_ = st.integers(0, 255)


# An intrinsic can be called from compiled code only.


@kernel()
def call_dot(total, x, w):
    return dot_word(total, x, w)


@kernel()
def call_ones(noise, unit, delta, up, down):
    return ones_steps(noise, unit, delta, up, down)


@kernel()
def call_add_bytes(one, other):
    return add_bytes(one, other)


@kernel()
def call_add_steps(old, steps):
    return add_steps(old, steps)


@kernel()
def call_differing(one, other):
    return differing(one, other)


def word(four):
    return np.array(four).astype(np.uint8).view("<u4")[0]


def unsigned(value):
    return np.array([value], "<u4").view(np.uint8).tolist()


def signed(value):
    return np.array([value], "<u4").view(np.int8).tolist()


@MANY
@given(st.integers(-(2**24), 2**24), st.lists(st.integers(0, 127), min_size=4, max_size=4), weights)
def test_dot_word_adds_four_products(total, x, w):
    expected = total + sum(a * b for a, b in zip(x, w, strict=True))

    assert call_dot(np.int32(total), word(x), word(w)) == expected


@MANY
@given(fours, bytes_, bytes_)
def test_ones_steps_choose_by_the_second_sums_carry(noise, unit, delta):
    up, down = [1, 2, 3, 4], [255, 254, 253, 252]

    got = call_ones(word(noise), word([unit] * 4), word([delta] * 4), word(up), word(down))

    chosen = [(n + unit) % 256 + delta >= 256 for n in noise]
    assert unsigned(got) == [u if c else d for c, u, d in zip(chosen, up, down, strict=True)]


@MANY
@given(fours, fours)
def test_add_bytes_carries_nothing_over(one, other):
    got = call_add_bytes(word(one), word(other))

    assert unsigned(got) == [(a + b) % 256 for a, b in zip(one, other, strict=True)]


@MANY
@given(weights, st.lists(st.integers(-128, 127), min_size=4, max_size=4))
def test_add_steps_saturates_at_127_on_both_sides(old, steps):
    got = call_add_steps(word(old), word(steps))

    assert signed(got) == [max(-127, min(127, a + b)) for a, b in zip(old, steps, strict=True)]


@MANY
@given(fours, fours)
def test_differing_counts_bytes(one, other):
    got = call_differing(word(one), word(other))

    assert got == sum(a != b for a, b in zip(one, other, strict=True))
    assert call_differing(word(one), word(one)) == 0
