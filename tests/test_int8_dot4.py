"""The int8 vector primitives against their formulas, up to the ends of their ranges."""

import itertools

import numpy as np
import pytest
import reference_int8 as oracle
from checks import repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.dot4 import (
    PANELS,
    ROWS,
    round_full,
    round_one,
    tile_column,
    tile_full,
)
from ffedge.kernels.provider import kernel

pytestmark = pytest.mark.kernels

TILES = [(ROWS, PANELS), (ROWS, 1)]


# An intrinsic can be called from compiled code only.


@kernel()
def call_tile(kind, a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row):
    if kind == 0:
        tile_full(a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row)
    else:
        tile_column(a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row)


@kernel()
def call_round(full, a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel):
    if full:
        return round_full(
            a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel
        )
    return round_one(a, a0, a_row, count, b, b0, b_panel, shift, ka, k0, na, n0, w, w0, w_panel)


def factors(random, size):
    """u7 and s8, both with many numbers at the ends of their ranges."""
    u7 = np.where(random.random(size) < 0.3, 127, random.integers(0, 128, size))
    s8 = np.where(random.random(size) < 0.3, -127, random.integers(-127, 128, size))
    return u7.astype(np.uint8), s8.astype(np.int8)


@pytest.mark.parametrize("kind", range(len(TILES)))
@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("shift", [1, 9, 15])
def test_a_tile_is_its_formula_and_touches_nothing_else(kind, count, shift):
    rows, panels = TILES[kind]
    a_row, b_panel, y_row = 4 * count + 5, 64 * count + 64, panels * 16 + 7
    a0, b0, bias0, y0 = 3, 9, 2, 5
    random = np.random.default_rng(count)
    a, b = factors(random, 30_000)
    bias = random.integers(-(2**14), 2**18, bias0 + 16 * panels).astype(np.int32)
    y = np.full(y0 + rows * y_row + 16, 200, np.uint8)

    call_tile(kind, a, a0, a_row, count, b, b0, b_panel, bias, bias0, shift, y, y0, y_row)

    written = set()
    for v, r, lane in itertools.product(range(panels), range(rows), range(16)):
        total = int(bias[bias0 + 16 * v + lane]) + sum(
            int(a[a0 + r * a_row + 4 * i + j]) * int(b[b0 + v * b_panel + (16 * i + lane) * 4 + j])
            for i, j in itertools.product(range(count), range(4))
        )
        at = y0 + r * y_row + 16 * v + lane
        assert y[at] == min(max(total >> shift, 0), 127)
        written.add(at)
    assert all(y[at] == 200 for at in range(len(y)) if at not in written)


@pytest.mark.parametrize("kind", range(len(TILES)))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_of_a_tile_is_exact(kind, sign):
    rows, panels = TILES[kind]
    count = 131_072 // 4
    a = np.full(4 * count, 127, np.uint8)
    a[-1] = 0  # the padding behind 131,071 inputs
    b = np.full(64 * count, 127 * sign, np.int8)
    # Brings the sum to 77 steps of 2**8: one unit less would give 76.
    bias = np.full(16 * panels, 77 * 256 - sign * 127 * 127 * 131_071, np.int64)
    y = np.zeros(rows * panels * 16, np.uint8)

    call_tile(kind, a, 0, 0, count, b, 0, 0, bias.astype(np.int32), 0, 8, y, 0, panels * 16)

    assert set(y.tolist()) == {77}


def rounding(random, panels, count):
    """Arguments of ``call_round`` from a to w, with every distance larger than it must be."""
    a, b = factors(random, 6000)
    ka, na = (random.integers(0, 2**32, size, np.uint32) for size in (10, 16 * panels + 3))
    w = np.clip(random.integers(-140, 141, 64 * panels + 300), -127, 127).astype(np.int8)
    return a, 4 * count + 3, b, 64 * count + 64, ka, na, w, 64 + 40


def rounded(a, a_row, b, b_panel, ka, na, w, w_panel, *, panels, count, shift):
    """(the weights afterwards, how many changed) by the formula."""
    after, changed = w.astype(np.int64), 0
    for v, r, lane in itertools.product(range(panels), range(4), range(16)):
        total = sum(
            int(a[1 + r * a_row + 4 * i + j]) * int(b[2 + v * b_panel + (16 * i + lane) * 4 + j])
            for i, j in itertools.product(range(count), range(4))
        )
        word = (int(ka[5 + r]) + int(na[3 + 16 * v + lane])) % 2**32
        step = int(oracle.rounded(total, shift, word))
        at = 6 + v * w_panel + lane * 4 + r
        new = max(-127, min(127, int(w[at]) + max(-127, min(127, step))))
        changed += new != after[at]
        after[at] = new
    return after, changed


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("count", [0, 1, 3, 16])
@pytest.mark.parametrize("shift", [1, 2, 7, 8, 13, 23, 24])
def test_rounding_adds_the_formulas_steps_and_touches_nothing_else(full, count, shift):
    panels = PANELS if full else 1
    arguments = rounding(np.random.default_rng([count, shift]), panels, count)
    a, a_row, b, b_panel, ka, na, w, w_panel = arguments
    wanted, wanted_changes = rounded(*arguments, panels=panels, count=count, shift=shift)

    changed = call_round(
        full, a, 1, a_row, count, b, 2, b_panel, shift, ka, 5, na, 3, w, 6, w_panel
    )

    assert w.tolist() == wanted.tolist()
    assert changed == wanted_changes


@repeatable(40)
@given(st.integers(0, 20), st.integers(1, 24), st.booleans(), st.integers(0, 2**32 - 1))
def test_rounding_equals_the_formula_for_random_arguments(count, shift, full, seed):
    panels = PANELS if full else 1
    arguments = rounding(np.random.default_rng(seed), panels, count)
    a, a_row, b, b_panel, ka, na, w, w_panel = arguments
    wanted, wanted_changes = rounded(*arguments, panels=panels, count=count, shift=shift)

    changed = call_round(
        full, a, 1, a_row, count, b, 2, b_panel, shift, ka, 5, na, 3, w, 6, w_panel
    )

    assert w.tolist() == wanted.tolist()
    assert changed == wanted_changes


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shift", [1, 24])
def test_the_largest_steps_saturate_at_127_and_never_reach_minus_128(sign, shift):
    count = 65_536 // 4
    a = np.full(4 * count, 127, np.uint8)
    b = np.full(64 * count, 127 * sign, np.int8)
    w = np.full(64, 127 * sign, np.int8)
    w[::2] = 0
    most = np.full(16, 2**32 - 1, np.uint32)  # the largest noise: 2**shift - 1
    step = (127 * 127 * 65_536 * sign + 2**shift - 1) >> shift

    changed = call_round(
        False, a, 0, 0, count, b, 0, 0, shift, most * np.uint32(0), 0, most, 0, w, 0, 0
    )

    assert w[1::2].tolist() == [127 * sign] * 32
    assert w[::2].tolist() == [max(-127, min(127, step))] * 32
    assert changed == 32


def test_the_noise_is_the_lowest_bits_of_the_crossed_words():
    a, b = np.zeros(16, np.uint8), np.zeros(64, np.int8)
    a[::4], b[::4] = 1, 1  # every sum is 1: at shift 1 half a step
    ka = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    na = np.array([0, 2, 1, 2**32 - 2] * 4, np.uint32)
    w = np.zeros(64, np.int8)

    call_round(False, a, 0, 4, 1, b, 0, 0, 1, ka, 0, na, 0, w, 0, 0)

    wanted = [[bool((int(n) + int(k)) % 2) for k in ka] for n in na]
    assert w.reshape(16, 4).astype(bool).tolist() == wanted
