"""Byte counts as people write and read them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffedge.errors import ConfigError
from ffedge.units import parse_bytes, short_bytes, show_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("524288", 524_288),
        (524_288, 524_288),
        ("512KiB", 524_288),
        ("512 kib", 524_288),
        ("512k", 524_288),
        ("512kB", 512_000),
        ("0.5MiB", 524_288),
        ("1.5 MB", 1_500_000),
        ("2G", 2 << 30),
        ("1GB", 10**9),
        ("1GiB", 1 << 30),
        (" 7 b ", 7),
        ("1", 1),
    ],
)
def test_parse_bytes_reads_numbers_with_and_without_units(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "KiB", "-1", "0", "0.1", "1e3", "1.KiB", ".5MiB", "1 TiB", "1,000", "nan", "inf", "1K2",
     True, None, 0, -5, "9" * 5000, "9" * 400 + ".5"],
)  # fmt: skip
def test_parse_bytes_refuses_everything_else(text):
    with pytest.raises(ConfigError, match=r"^bytes: expected .*, got"):
        parse_bytes(text)


@given(st.text(max_size=12))
def test_parse_bytes_raises_nothing_but_config_error(text):
    with contextlib.suppress(ConfigError):
        assert parse_bytes(text) >= 1


@given(st.integers(1, 10**15))
def test_exact_bytes_survive_the_round_trip(count):
    assert parse_bytes(show_bytes(count).split(" B")[0].replace(",", "")) == count


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"),
     (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)  # fmt: skip
def test_short_bytes_takes_the_largest_binary_unit(count, text):
    assert short_bytes(count) == text


def test_show_bytes_leaves_small_counts_alone():
    assert show_bytes(999) == "999 B"
    assert show_bytes(1048576) == "1,048,576 B (1.0 MiB)"
