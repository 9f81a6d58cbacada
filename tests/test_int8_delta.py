"""Deltas: the largest exact scale, and their stochastic rounding."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import PLAIN_PYTHON, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.delta import (
    MAX_SHIFT,
    clear_tail,
    peak,
    place_row,
    quantize,
    quantize_row,
    weight_shift,
)

pytestmark = pytest.mark.kernels

TERMS = st.integers(0, 2**31 - 1) | st.integers(0, 300)
MANTISSAS = st.integers(2**14, 2**15) | st.just(0)
WORDS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31, 2**32 - 1])


@repeatable(300)
@given(TERMS.filter(bool), MANTISSAS.filter(bool), st.integers(-20, 120))
def test_the_shift_is_the_largest_that_keeps_the_largest_delta_within_127(most, mantissa, exponent):
    shift = weight_shift(most, mantissa, exponent)

    assert shift == oracle.weight_shift(most, mantissa, exponent)


@pytest.mark.parametrize("top", [126, 127, 128])
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_delta_between_127_and_128_takes_the_next_smaller_shift(top, beside):
    most = top * 2**20 + beside

    shift = weight_shift(most, 2**14, 50)

    fits = most <= 127 * 2**20
    assert shift == (16 if fits else 15)
    # So that the clip at 127 never cuts a delta, which would be a bias.
    assert most * 2**14 * 2**shift <= 127 * 2**50


def test_the_shift_stays_within_its_bounds():
    assert weight_shift(2**31 - 1, 2**15, -20) == 1
    assert weight_shift(1, 2**14, 120) == MAX_SHIFT
    assert weight_shift(5, 0, 15) <= MAX_SHIFT


@repeatable(400)
@given(TERMS, st.sampled_from([1, -1]), MANTISSAS, st.integers(-60, 130), WORDS)
def test_quantize_equals_the_oracle(size, sign, mantissa, fall, word):
    rounded = quantize(np.int64(size * sign), mantissa, fall, np.uint32(word))

    # Beyond 62 bits a delta is below 2**-16 of a step, and a step below 2**-24 of a weight's.
    wanted = 0 if fall > 62 else int(oracle.quantize(size * sign, mantissa, fall, word))
    assert int(rounded) == wanted


@pytest.mark.parametrize("fall", [-60, -1, 0, 1, 20, 31, 32, 33, 50, 62, 63, 64, 130])
def test_a_row_is_quantized_like_its_terms_one_by_one(fall):
    random = np.random.default_rng(fall + 60)
    terms = random.integers(1 - 2**31, 2**31, 40).astype(np.int32)
    terms[:20] = random.integers(-300, 300, 20)
    terms[5:9] = 0
    unit_words = random.integers(0, 2**32, 40, np.uint32)
    row_word = np.uint32(0xDEADBEEF)
    row = terms.copy()

    quantize_row(row, 20_001, fall, row_word, unit_words)

    words = unit_words ^ row_word
    wanted = [quantize(np.int64(t), 20_001, fall, w) for t, w in zip(terms, words, strict=True)]
    assert row.tolist() == wanted
    assert not row[5:9].any()


@pytest.mark.parametrize("word", [0, 2**31, 2**32 - 1])
@pytest.mark.parametrize("term", [2**31 - 1, 1, 0, -1, 1 - 2**31])
@pytest.mark.parametrize("fall", [63, 64, 65, 70, 95, 96, 127, 128])
def test_a_rate_too_small_for_64_bits_is_no_step_at_all(term, fall, word):
    assert quantize(np.int64(term), 2**15, fall, np.uint32(word)) == 0


@pytest.mark.parametrize("word", [0, 2**32 - 1])
@pytest.mark.parametrize("fall", [-60, -1, 0, 1, 10])
def test_quantize_saturates_at_127_and_never_reaches_minus_128(fall, word):
    assert quantize(np.int32(2**31 - 1), 2**15, fall, np.uint32(word)) == 127
    assert quantize(np.int32(1 - 2**31), 2**15, fall, np.uint32(word)) == -127


@pytest.mark.parametrize("fall", [16, 20, 31, 32, 33, 40])
@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_is_unbiased(fall, sign):
    count = 4_000 if PLAIN_PYTHON else 200_000
    mantissa, term = 2**14 + 1, sign * 3 * 2**fall // 2**18 + sign
    real = term * mantissa / 2**fall
    words = np.random.default_rng(fall).integers(0, 2**32, count, np.uint32)

    mean = np.mean([quantize(np.int64(term), mantissa, fall, word) for word in words])

    share = real % 1
    assert abs(mean - real) < 4 * np.sqrt(share * (1 - share) / count) + 2.0**-31


def rows_of(random, rows, width):
    terms = random.integers(-(10**6), 10**6, (rows, width))
    return np.where(random.random((rows, width)) < 0.3, 0, terms)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 50])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 13])
def test_rows_land_where_the_update_reads_them(rows, width):
    random = np.random.default_rng([rows, width])
    terms = rows_of(random, rows, width)
    units = oracle.panels(width) * 16
    unit_words = random.integers(0, 2**32, units, np.uint32)
    row_words = random.integers(0, 2**32, rows, np.uint32)
    delta = np.full((units // 16, -(-rows // 4) + 1, 16, 4), 55, np.int8)

    for r in range(rows):
        row = oracle.pack_units(terms[r], np.int32)
        quantize_row(row, 20_000, 28, row_words[r], unit_words)
        place_row(row, r, delta)
    clear_tail(rows, delta)

    words = oracle.crossed(row_words.tolist(), unit_words[:width].tolist())
    wanted = np.where(terms == 0, 0, oracle.quantize(terms, 20_000, 28, words))
    assert delta[:, :-1].tolist() == oracle.pack_delta(wanted).tolist()
    assert (delta[:, -1] == 55).all()


def test_peak_is_the_largest_magnitude():
    assert peak(np.zeros(16, np.int32)) == 0
    assert peak(np.array([3, -9, 8], np.int32)) == 9
    assert peak(np.array([-127 * 65_536, 127 * 65_535], np.int32)) == 127 * 65_536
