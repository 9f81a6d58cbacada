"""The types that compiled kernels take, as words: ``u1[2] i8 f4`` is a uint8 matrix, int, float32.

A word is NumPy's own code (kind and bytes), with the number of dimensions for an array; arrays
are C-contiguous, aligned and in native byte order. ``signatures.txt`` lists every kernel that
is called from Python; ``tools/record_signatures.py`` writes it by watching the tests.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

TABLE = Path(__file__).with_name("signatures.txt")

SCALARS = ("b1", "i4", "u4", "i8", "f4", "f8")

_WORD = re.compile(r"([biuf][1248])(?:\[([1-9])\])?")


def split(word: str) -> tuple[str, int]:
    """(dtype code, dimensions; 0 for a scalar). Raises ValueError for another word."""
    match = _WORD.fullmatch(word)
    if match is None or (match[2] is None and match[1] not in SCALARS):
        raise ValueError(f"expected a type such as u1[2] or i8, got {word!r}")
    return match[1], int(match[2] or 0)


def expand(line: str) -> tuple[str, list[tuple[str, ...]]]:
    """(kernel, its signatures): ``u1|f4[2]`` in a line stands for u1[2] and f4[2]."""
    name, *words = line.split()
    choices = []
    for word in words:
        codes, bracket, rest = word.partition("[")
        choices.append([code + bracket + rest for code in codes.split("|")])
    return name, list(itertools.product(*choices))


def read_table() -> dict[str, list[tuple[str, ...]]]:
    """Signatures by kernel; the name is that of its module below ``ffedge.kernels`` and its own."""
    lines = TABLE.read_text().splitlines()
    return dict(expand(line) for line in lines if line and not line.startswith("#"))
