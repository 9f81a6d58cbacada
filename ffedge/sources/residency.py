"""Mapped data leave the process again once they have been read.

A page of a mapped file counts as this process's memory from its first touch until somebody asks
for it back, though the system keeps the file's bytes anyway. One epoch over a file of 47 MB would
so double the memory of a process that needs 35. Pages given back stay in the system's cache; to
touch them again costs about a microsecond a sample.
"""

from __future__ import annotations

import mmap
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Most bytes of a mapping that stay, by the estimate below.
LIMIT = 4 << 20

#: What Linux maps around one touched byte.
AROUND = 64 << 10


class Residency:
    """Counts what has been read of one array and gives its pages back, if it lies in a file."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = weakref.ref(array)
        self._map = _mapping(array)
        self._around = AROUND + array.strides[0] if array.ndim else AROUND
        self._read = 0

    def belongs_to(self, array: NDArray[Any]) -> bool:
        """Whether this counts for ``array``."""
        return self._array() is array

    def read_rows(self, count: int) -> None:
        """``count`` rows anywhere in the array have been read."""
        if self._map is not None:
            self.read_bytes(count * self._around)

    def read_bytes(self, nbytes: int) -> None:
        """So many bytes in a row have been read."""
        self._read += nbytes
        if self._read >= LIMIT:
            self._read = 0
            self.give_back()

    def give_back(self) -> None:
        """All pages, now. What was written to a private mapping would be lost: nobody does."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapping that an array's bytes lie in, if they do."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None
