"""Freed memory that nobody gets while it is taken, in a process of its own."""

import subprocess
import sys

from checks import child_environment

#: 4 MiB of blocks that glibc keeps when they are freed, below one that stays.
HOLE = """
import sys
import numpy as np
from ffedge.heap import BLOCK, _glibc, filled_holes
from ffedge.enforcement import data_bytes

if _glibc() is None:
    print("skip")
    sys.exit()
blocks = [np.ones(100 << 10, np.uint8) for _ in range(41)]
last = blocks.pop()
del blocks

def grown():
    before = data_bytes()
    array = np.empty(120 << 10, np.uint8)
    return data_bytes() - before
"""


def child(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=child_environment(), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_system_hears_of_a_block_only_while_the_holes_are_filled():
    words = child(
        HOLE
        + """
print(grown())
with filled_holes() as taken:
    print(grown())
print(grown(), taken)
"""
    )

    if words != ["skip"]:
        before, inside, after, taken = map(int, words)
        assert before == after == 0
        assert inside >= 120 << 10
        assert taken >= 3 << 20


def test_what_was_taken_is_not_resident():
    words = child(
        HOLE
        + """
from ffedge.memory import process_bytes

before = process_bytes()
with filled_holes() as taken:
    print(process_bytes() - before, taken)
"""
    )

    if words != ["skip"]:
        more, taken = map(int, words)
        assert more < 256 << 10
        assert taken >= 3 << 20


def test_without_glibc_nothing_is_taken(monkeypatch):
    from ffedge import heap

    monkeypatch.setattr(heap, "_glibc", lambda: None)

    with heap.filled_holes() as taken:
        assert taken == 0


def test_a_library_without_the_calls_is_not_glibc(monkeypatch):
    from ffedge import heap

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())

    assert heap._glibc() is None
