"""Mapped data leave the process again once they have been read.

A page of a mapped file counts as this process's memory from its first touch until somebody asks
for it back, though the system keeps the file's bytes anyway. One epoch over a file of 47 MB would
so double the memory of a process that needs 35. Pages given back stay in the system's cache; to
touch them again costs about a microsecond a sample. Rows in random order are better not touched at
all: Linux maps whole blocks around each of them, up to a file's every page. ``RowReader`` copies
them from the file instead.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

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


#: (file descriptor, where in the file it begins) of each mapping that ``remember`` was told of.
_files: weakref.WeakKeyDictionary[mmap.mmap, tuple[int, int]] = weakref.WeakKeyDictionary()


def remember(mapping: mmap.mmap, fileno: int, start: int) -> None:
    """Keep the file behind a mapping open as long as the mapping lives."""
    own = os.dup(fileno)
    _files[mapping] = own, start
    weakref.finalize(mapping, os.close, own)


class RowReader:
    """Reads rows of one mapped array from its file, past the mapping."""

    def __init__(self, array: NDArray[Any], mapping: mmap.mmap) -> None:
        self._array = weakref.ref(array)
        self._file, start = _files[mapping]
        begin = np.frombuffer(mapping, np.uint8, 1).ctypes.data
        self._offset = start + array.ctypes.data - begin
        self._dtype, self._width = array.dtype, array.shape[1]
        self._nbytes: int = self._width * array.itemsize

    def belongs_to(self, array: NDArray[Any]) -> bool:
        """Whether this reads ``array``."""
        return self._array() is array

    def fit(self, space: NDArray[Any]) -> int:
        """Rows that the uint8 buffer ``space`` holds."""
        return int(space.nbytes) // self._nbytes

    def read(self, numbers: Sequence[int], space: NDArray[Any]) -> NDArray[Any]:
        """The numbered rows, (len(numbers), width), at the start of ``space``: flat uint8.

        Raises DataError if the file has become shorter.
        """
        size = self._nbytes
        bytes_of = space.data
        for n, number in enumerate(numbers):
            place = bytes_of[n * size : (n + 1) * size]
            if os.preadv(self._file, [place], self._offset + number * size) != size:
                raise DataError(
                    f"row {number:,} of a mapped file: expected {size:,} B, got fewer; a file must "
                    "not be changed while it is in use"
                )
        used = space[: len(numbers) * size].view(self._dtype)
        return used.reshape(len(numbers), self._width)


def row_reader(array: NDArray[Any]) -> RowReader | None:
    """The reader of a C-ordered array that lies in a file, else None."""
    mapping = _mapping(array)
    if mapping is None or mapping not in _files or not array.flags.c_contiguous:
        return None
    return RowReader(array, mapping)


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapping that an array's bytes lie in, if they do."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None
