"""The way into the int8 network: scale, split by sign, round."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import assert_allocates_nothing, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.input import fetch, to_u7

pytestmark = pytest.mark.kernels

ALL_ROWS = np.empty(0, np.int32)
#: What data sets hold.
DTYPES = [np.uint8, np.int8, np.int16, np.float32]


def run(features, chosen, mean, gain, parts, subset=ALL_ROWS, spare=2):
    """The fetched rows; rows behind are untouched and bytes behind the width zero."""
    width, count = features.shape[1] * parts, len(chosen)
    out = np.full((count + spare, oracle.panels(width) * 16), 201, np.uint8)
    numbers = np.concatenate([chosen, np.full(spare, 10**9)]).astype(np.int64)
    fetch(features, subset, numbers, count, mean, gain, parts, out)
    assert (out[count:] == 201).all()
    assert not out[:count, width:].any()
    return out[:count, :width]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 17, 33])
def test_rows_equal_the_oracle_for_every_dtype(dtype, parts, width):
    random = np.random.default_rng(width)
    features = (random.normal(size=(9, width)) * 30).clip(
        0 if np.dtype(dtype).kind == "u" else -99, 99
    )
    features = features.astype(dtype)
    mean = random.normal(size=width).astype(np.float32)
    gain = (random.random(width) * 0.1).astype(np.float32)
    chosen = [3, 0, 8, 3, 5]

    rows = run(features, chosen, mean, gain, parts)

    assert rows.tolist() == oracle.quantize_input(features[chosen], mean, gain, parts).tolist()
    assert rows.max() <= 127


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_subset_names_the_rows(dtype):
    features = np.arange(20, dtype=np.float32).reshape(10, 2)
    subset = np.array([9, 4, 1], dtype)
    mean, gain = np.zeros(2, np.float32), np.full(2, 1 / 16, np.float32)

    rows = run(features, [2, 0], mean, gain, 1, subset)

    assert rows.tolist() == [[2, 3], [18, 19]]


@repeatable(200)
@given(st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-9, 9, width=32))
def test_a_value_and_its_negative_share_nothing(value):
    up, down = to_u7(np.float32(value)), to_u7(np.float32(-value))

    assert 0 <= up <= 127
    assert up == 0 or down == 0
    assert int(up) - int(down) == np.clip(
        np.floor(np.float32(value) * np.float32(16) + np.float32(0.5)), 0, 127
    ) - np.clip(np.floor(np.float32(-value) * np.float32(16) + np.float32(0.5)), 0, 127)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.0, 0), (1 / 32, 1), (-1 / 32, 0), (0.03, 0), (3 / 32, 2), (126.49 / 16, 126),
     (126.5 / 16, 127), (127.0 / 16, 127), (8.0, 127), (1e30, 127), (-8.0, 0), (-1e30, 0)],
)  # fmt: skip
def test_halves_round_up_and_the_ends_saturate(value, wanted):
    assert to_u7(np.float32(value)) == wanted


def test_a_constant_feature_is_silent():
    features = np.full((1, 1), 1e6, np.float32)

    rows = run(features, [0], np.full(1, 1e6, np.float32), np.zeros(1, np.float32), 2)

    assert rows.tolist() == [[0, 0]]


@compiled_only
def test_fetching_allocates_nothing():
    features, out = np.ones((64, 700), np.float32), np.zeros((64, 1408), np.uint8)
    chosen, mean = np.arange(64), np.zeros(700, np.float32)

    assert_allocates_nothing(lambda: fetch(features, ALL_ROWS, chosen, 64, mean, mean, 2, out))
