"""The scaler against NumPy, for every kind, any offset and any cutting into chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ffedge.errors import ConfigError
from ffedge.scaling import KINDS, Scaler

ALL = np.empty(0, np.int32)


def learned(kind, X, *, rows=ALL, chunk=None):
    """(mean, gain) after a pass over X in chunks."""
    width = X.shape[1]
    mean, gain = np.full((2, width), np.nan, np.float32)
    scaler = Scaler(kind, mean, gain, np.zeros((2, width)))
    samples = len(rows) or len(X)
    step = chunk or samples
    for first in range(0, samples, step):
        scaler.add(X, rows, first, min(first + step, samples))
    scaler.finish()
    assert scaler.count == samples
    return mean, gain


def test_standard_equals_numpys_mean_and_deviation():
    X = np.random.default_rng(0).normal(3, 5, (500, 6)).astype(np.float32)

    mean, gain = learned("standard", X)

    assert np.allclose(mean, X.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert np.allclose(1 / gain, X.astype(np.float64).std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, -1e6])
def test_standard_survives_a_huge_offset(offset):
    X = (offset + np.resize([-1.0, 1.0], (100, 1))).astype(np.float32)

    mean, gain = learned("standard", X)

    assert mean[0] == pytest.approx(offset, abs=1e-12)
    assert gain[0] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0, 1e6, 3e38, 1e-30])
def test_standard_turns_a_constant_feature_into_zero(value):
    X = np.full((50, 2), value, np.float32)
    X[:, 1] = np.arange(50)

    mean, gain = learned("standard", X)

    assert gain[0] == 0.0
    assert gain[1] > 0.0
    assert mean[0] == np.float32(value)


def test_rounding_noise_counts_as_constant():
    X = np.full((50, 1), 1000.1, np.float32)
    X[::2] = np.nextafter(X[::2], np.float32(2000))

    _, gain = learned("standard", X)

    assert gain[0] == 0.0


def test_shifted_brings_two_deviations_below_the_mean_to_zero():
    X = np.random.default_rng(4).normal([3, -200], [2, 50], (500, 2)).astype(np.float32)
    X = np.column_stack([X, np.full(500, 7, np.float32)])

    mean, gain = learned("shifted", X)

    t = (X - mean) * gain
    assert np.allclose(t[:, :2].mean(axis=0), 1, atol=1e-3)
    assert np.allclose(t[:, :2].std(axis=0), 0.5, atol=1e-3)
    assert (t[:, 2] == 0).all()


def test_global_keeps_zero_and_brings_the_root_mean_square_to_one():
    X = np.random.default_rng(0).integers(0, 256, (200, 9)).astype(np.uint8)

    mean, gain = learned("global", X)

    assert not mean.any()
    assert (gain == gain[0]).all()
    assert np.sqrt(np.mean((X * np.float64(gain[0])) ** 2)) == pytest.approx(1.0, rel=1e-6)


def test_global_of_nothing_but_zeros_is_zero():
    mean, gain = learned("global", np.zeros((5, 3), np.uint8))

    assert not mean.any()
    assert not gain.any()


def test_none_leaves_the_data_alone():
    mean, gain = learned("none", np.random.default_rng(0).normal(9, 9, (20, 4)).astype(np.float32))

    assert not mean.any()
    assert (gain == 1.0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_first_sample_the_data_are_left_alone(kind):
    mean, gain = np.full((2, 3), np.nan, np.float32)

    Scaler(kind, mean, gain, np.zeros((2, 3))).finish()

    assert not mean.any()
    assert (gain == 1.0).all()


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 4)),
               elements=st.floats(-(2.0**40), 2.0**40, width=32)),
    st.integers(1, 30),
    st.sampled_from(KINDS),
)  # fmt: skip
def test_chunks_do_not_change_a_bit(X, chunk, kind):
    whole, cut = learned(kind, X), learned(kind, X, chunk=chunk)

    assert np.array_equal(whole, cut)
    assert np.isfinite(whole).all()


def test_a_subset_of_rows_is_learned_from_alone():
    X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    rows = np.array([3, 5, 30], np.int32)

    assert np.array_equal(learned("standard", X, rows=rows), learned("standard", X[rows]))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match=r"^scaling: expected one of standard, .*, got 'minmax'"):
        Scaler("minmax", np.zeros(1), np.zeros(1), np.zeros((2, 1)))
