"""Measured memory of the process, and of a block."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ffedge.memory import (
    process_bytes,
    process_peak_bytes,
    process_written_bytes,
    reset_process_peak,
    watch_allocations,
)


def test_the_peak_is_plausible_and_never_below_the_present():
    now, peak = process_bytes(), process_peak_bytes()

    assert 20 << 20 < peak < 64 << 30
    assert peak >= 0.9 * now


def test_the_peak_rises_with_memory_that_is_touched():
    before = process_peak_bytes()

    block = np.ones((before + (32 << 20)) // 8)

    assert process_peak_bytes() >= before + (16 << 20)
    del block


def test_without_proc_the_peak_comes_from_the_system(monkeypatch):
    def fail(self):
        raise OSError

    with_proc = process_peak_bytes()
    monkeypatch.setattr(Path, "read_text", fail)

    assert process_peak_bytes() == pytest.approx(with_proc, rel=0.2)
    assert process_bytes() == 0


def test_a_block_is_charged_with_what_it_allocates_at_most():
    with watch_allocations() as watch:
        np.ones(1 << 20, np.uint8)
        np.ones(1 << 19, np.uint8)

    assert 1 << 20 <= watch.peak < (1 << 20) + 8192
    assert not tracemalloc.is_tracing()


def test_a_block_inside_another_measurement_counts_nothing_and_disturbs_nothing():
    tracemalloc.start()
    try:
        with watch_allocations() as watch:
            np.ones(1000)
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()

    assert watch.peak == 0


def test_the_peak_can_be_forgotten():
    block = np.ones(64 << 20, np.uint8)
    high = process_peak_bytes()
    del block
    if not reset_process_peak():
        pytest.skip("this system cannot forget a peak")

    assert process_peak_bytes() < high - (32 << 20)


def test_bytes_sent_to_storage_are_counted(tmp_path):
    before = process_written_bytes()
    if before is None:
        pytest.skip("this system does not count them")

    (tmp_path / "block").write_bytes(bytes(1 << 20))

    assert process_written_bytes() >= before


def test_without_proc_nothing_is_reset_or_counted(monkeypatch):
    def fail(self, *arguments):
        raise OSError

    monkeypatch.setattr(Path, "read_text", fail)
    monkeypatch.setattr(Path, "write_text", fail)

    assert not reset_process_peak()
    assert process_written_bytes() is None
