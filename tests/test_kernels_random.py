"""The counter-based generator: exact words, moments, permutations."""

import numpy as np
import pytest
import reference
from checks import (
    WIDTHS,
    assert_allocates_nothing,
    assert_padding_is_zero,
    compiled_only,
    repeatable,
)
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.provider import PLAIN_PYTHON
from ffedge.kernels.random import bits, fill_normal, mix, shuffled, uniform

pytestmark = pytest.mark.kernels

WORDS = [0, 1, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
DRAWS = 2000 if PLAIN_PYTHON else 20_000


@pytest.mark.parametrize("word", WORDS)
def test_mix_equals_the_oracle_at_the_ends_of_its_range(word):
    mixed = mix(np.uint64(word))

    assert int(mixed) == reference.mix(word)
    assert reference.unmix(int(mixed)) == word


@repeatable(100)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_bits_equal_the_oracle(seed, counter):
    word = bits(np.uint64(seed), np.uint64(counter))

    assert int(word) == reference.bits(seed, counter)


@pytest.mark.parametrize("seed", WORDS)
@pytest.mark.parametrize("counter", [0, 2**32 - 1, 2**32, 2**63 - 1])
def test_bits_equal_the_oracle_at_the_ends_of_their_ranges(seed, counter):
    word = bits(seed, counter)

    assert int(word) == reference.bits(seed, counter)
    assert int(bits(np.uint64(seed), np.uint64(2**64 - 1))) == reference.bits(seed, 2**64 - 1)


def test_bits_are_set_half_of_the_time_and_differ_between_streams():
    words = np.array([[int(bits(seed, n)) for n in range(DRAWS)] for seed in (1, 2)], np.uint64)

    shares = [((words >> np.uint64(b)) & np.uint64(1)).mean(axis=1) for b in range(32)]

    assert np.abs(np.array(shares) - 0.5).max() < 4.5 * 0.5 / np.sqrt(DRAWS)
    assert len(np.unique(words)) > 1.999 * DRAWS


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
@pytest.mark.parametrize(
    ("word", "wanted"), [(0, 0.0), (0xFF, 0.0), (0x100, 2.0**-24), (0xFFFFFFFF, 1.0 - 2.0**-24)]
)
def test_uniform_stays_below_one_for_the_largest_word(seed, word, wanted):
    counter = reference.counter_of(seed, word)

    value = uniform(seed, counter)

    assert int(bits(seed, counter)) == word
    assert value == wanted


def test_uniform_has_the_moments_of_the_unit_interval():
    values = np.array([uniform(7, n) for n in range(DRAWS)], np.float64)

    assert values.tolist()[:50] == [reference.uniform(7, n) for n in range(50)]
    assert abs(values.mean() - 0.5) < 4 * np.sqrt(1 / 12 / DRAWS)
    assert abs(values.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / DRAWS)
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4 / np.sqrt(DRAWS)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("inputs", [1, 7])
def test_fill_normal_equals_the_oracle_and_leaves_the_padding_zero(width, inputs):
    out = np.full((-(-width // 16), inputs, 16), np.nan, np.float32)

    fill_normal(2**32 - 1, width, np.float32(0.5), 0, out)

    wanted = reference.normal(2**32 - 1, inputs, width, 0.5)
    np.testing.assert_allclose(reference.unpack_weights(out, width), wanted, rtol=3e-7)
    assert_padding_is_zero(out, width)


def test_fill_normal_fills_a_layer_in_slices_as_it_does_at_once():
    whole, sliced = (np.empty((5, 7, 16), np.float32) for _ in range(2))

    fill_normal(3, 70, np.float32(0.5), 0, whole)
    for first in (0, 2, 4):
        fill_normal(3, 70, np.float32(0.5), first, sliced[first : first + 2])

    assert sliced.tobytes() == whole.tobytes()


def test_fill_normal_has_the_moments_and_the_bound_of_its_docstring():
    units = 8 if PLAIN_PYTHON else 64
    out = np.empty((units // 16 + 1, 250, 16), np.float32)

    fill_normal(11, units, np.float32(2.0), 0, out)

    values = reference.unpack_weights(out, units).ravel() / 2.0
    count = len(values)
    assert abs(values.mean()) < 4 / np.sqrt(count)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / count)
    # Eight uniform terms have kurtosis 3 - 1.2 / 8.
    assert abs((values**4).mean() - 2.85) < 4 * np.sqrt(90 / count)
    assert np.abs(values).max() <= 4 * 65535 / 53509.91 < 4.9


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 100, 257, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_shuffled_is_a_permutation_and_equals_the_oracle(count, seed):
    places = [shuffled(n, count, seed) for n in range(count)]

    assert sorted(places) == list(range(count))
    assert places[:20] == [reference.shuffled(n, count, seed) for n in range(min(count, 20))]


@pytest.mark.parametrize("count", [17, 100, 1000])
def test_shuffled_differs_by_seed_and_from_the_given_order(count):
    orders = [tuple(shuffled(n, count, seed) for n in range(count)) for seed in range(5)]

    assert len(set(orders)) == 5
    assert tuple(range(count)) not in orders


def test_shuffled_sends_a_position_everywhere_alike():
    seeds = 700 if PLAIN_PYTHON else 7000

    places = np.bincount([shuffled(3, 7, seed) for seed in range(seeds)], minlength=7)

    # Chi squared with 6 degrees of freedom: above 28 once in 10,000 tries.
    expected = seeds / 7
    assert ((places - expected) ** 2 / expected).sum() < 28


@pytest.mark.parametrize("count", [2**32, 2**32 - 1, 2**31 + 1])
def test_shuffled_reaches_the_largest_count_of_its_docstring(count):
    positions = [0, 1, 2**16, count // 2, count - 2, count - 1]

    places = [shuffled(n, count, 2**32 - 1) for n in positions]

    assert places == [reference.shuffled(n, count, 2**32 - 1) for n in positions]
    assert all(0 <= place < count for place in places)
    assert len(set(places)) == len(positions)


@compiled_only
def test_random_kernels_allocate_nothing():
    out = np.empty((4, 50, 16), np.float32)

    assert_allocates_nothing(lambda: fill_normal(1, 60, np.float32(1.0), 0, out))
    assert_allocates_nothing(lambda: [shuffled(n, 1000, 4) for n in range(3)])
