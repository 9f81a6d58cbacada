"""A single sample's vector primitives against their formulas, up to the ends of their ranges."""

import itertools

import numpy as np
import pytest
from checks import PLAIN_PYTHON, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.single import (
    DOT,
    ROW_PANELS,
    dot,
    listed_one,
    listed_row,
    round_more,
    round_ones,
    shift_right,
)
from ffedge.kernels.provider import kernel

pytestmark = pytest.mark.kernels

COUNTS = (0, 1, 5) if PLAIN_PYTHON else (0, 1, 2, 5, 17)
#: Around the number of groups after which counters of bytes must be emptied.
MANY = (5,) if PLAIN_PYTHON else (254, 255, 256, 511)


# An intrinsic can be called from compiled code only.


@kernel()
def call_listed(full, a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0):
    if full:
        listed_row(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0)
    else:
        listed_one(a, a0, index, count, b, b0, b_panel, bias, bias0, shift, y, y0)


@kernel()
def call_round(ones, inputs, index, count, d, d0, units, w, w0):
    if ones:
        return round_ones(inputs, index, count, d, d0, units, w, w0)
    return round_more(inputs, index, count, d, d0, units, w, w0)


@kernel()
def call_shift_right(value, shift):
    return shift_right(np.int32(value), np.int32(shift))


@kernel()
def call_dot(a, a0, b, b0, count):
    return dot(a, a0, b, b0, count)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("shift", [0, 7, 24])
def test_a_listed_product_is_its_formula_and_touches_nothing_else(full, count, shift):
    random = np.random.default_rng([count, shift])
    panels, quads = ROW_PANELS if full else 1, 40
    a = np.where(random.random(4 * quads + 3) < 0.3, 127, random.integers(0, 128, 4 * quads + 3))
    b_panel = 64 * quads + 16
    b = random.integers(-127, 128, 5 + panels * b_panel).astype(np.int8)
    index = np.sort(random.choice(quads, count, replace=False)).astype(np.int32)
    bias = random.integers(-(2**24), 2**24, 16 * panels + 3).astype(np.int32)
    y = np.full(16 * panels + 9, 200, np.uint8)

    call_listed(
        full, a.astype(np.uint8), 3, np.append(index, [99]).astype(np.int32), count, b, 5, b_panel,
        bias, 3, shift, y, 4,
    )  # fmt: skip

    for v, lane in itertools.product(range(panels), range(16)):
        total = int(bias[3 + 16 * v + lane]) + sum(
            int(a[3 + 4 * k + j]) * int(b[5 + v * b_panel + (16 * k + lane) * 4 + j])
            for k, j in itertools.product(index, range(4))
        )
        assert y[4 + 16 * v + lane] == min(max(total >> shift, 0), 127)
    assert (y[:4] == 200).all()
    assert (y[4 + 16 * panels :] == 200).all()


def rank_one_case(random, count, largest):
    """(inputs, x, n, index, d, units, w) of count + 9 groups, inputs up to ``largest``."""
    shape = (count + 9, 4)
    x, n = random.integers(0, largest + 1, shape), random.integers(0, 2**8, shape)
    x[random.random(shape) < 0.4], n[random.random(shape) < 0.2] = largest, 2**8 - 1
    # Marked as ``stream.thin`` does: ones by all their bits, and the random bytes.
    columns = [np.where(x == 1, 255, 0), n, np.where(x > 1, x, 0), np.zeros(shape, int)]
    inputs = np.stack(columns, axis=1).astype(np.uint8).view(np.uint32)
    index = np.sort(random.choice(count + 9, count, replace=False)).astype(np.int32)
    d = np.where(random.random(19) < 0.4, 127, random.integers(0, 128, 19))
    d = (d * random.choice([-1, 1], 19)).astype(np.int32)
    units = random.integers(0, 2**32, 19, np.uint32)
    w = np.clip(random.integers(-140, 141, 64 * (count + 9) + 11), -127, 127).astype(np.int8)
    return inputs.ravel(), x, n, index, d, units, w


def assert_rank_one_is_its_formula(ones, count, largest, seed):
    inputs, x, n, index, d, units, w = rank_one_case(np.random.default_rng(seed), count, largest)
    wanted, wanted_changes = w.astype(np.int64), 0
    for k, lane, j in itertools.product(index, range(16), range(4)):
        noise = (int(n[k, j]) + int(units[3 + lane])) % 2**8
        step = (int(x[k, j]) * int(d[3 + lane]) + noise) >> 8
        at = 5 + (int(k) * 16 + lane) * 4 + j
        if (x[k, j] == 1) != ones:
            continue
        new = max(-127, min(127, int(w[at]) + step))
        wanted_changes += new != w[at]
        wanted[at] = new

    changed = call_round(ones, inputs, index, count, d, 3, units, w, 5)

    assert w.tolist() == wanted.tolist()
    assert changed == wanted_changes


@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("largest", [0, 1, 2, 64, 127])
def test_a_rank_one_update_is_its_formula_and_touches_nothing_else(ones, count, largest):
    assert_rank_one_is_its_formula(ones, count, largest, count)


@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("count", MANY)
def test_changes_are_counted_over_many_groups(ones, count):
    assert_rank_one_is_its_formula(ones, count, 1 if ones else 127, count)


@repeatable(60)
@given(st.booleans(), st.integers(0, 12), st.integers(0, 127), st.integers(0, 2**32 - 1))
def test_a_rank_one_update_is_its_formula_for_random_arguments(ones, count, largest, seed):
    assert_rank_one_is_its_formula(ones, count, largest, seed)


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, -(2**31), 12345, -12345])
@pytest.mark.parametrize("shift", [0, 1, 8, 24, 31])
def test_a_shift_in_32_bits_rounds_down(value, shift):
    assert call_shift_right(value, shift) == value >> shift


@pytest.mark.parametrize("blocks", [0, 1, 3, 17])
def test_a_dot_product_is_the_sum_of_its_products(blocks):
    random = np.random.default_rng(blocks)
    a = random.integers(0, 128, 7 + DOT * 20, np.uint8)
    b = random.integers(-127, 128, 9 + DOT * 20).astype(np.int8)
    count = blocks * DOT

    total = call_dot(a, 7, b, 9, count)

    assert total == int(a[7 : 7 + count].astype(int) @ b[9 : 9 + count].astype(int))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_dot_product_does_not_wrap(sign):
    count = 131_072
    a, b = np.full(count, 127, np.uint8), np.full(count, 127 * sign, np.int8)
    a[-1] = 0  # the padding behind 131,071 units

    assert call_dot(a, 0, b, 0, count) == sign * 127 * 127 * 131_071
