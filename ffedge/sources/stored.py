"""An array as it lies in a file or in memory: what it is, and how to walk through it in chunks."""

from __future__ import annotations

import math
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .residency import Residency
from .spool import CHUNK_BYTES, PathLike

KEPT_DTYPES = tuple(np.dtype(kind) for kind in (np.uint8, np.int8, np.int16, np.float32))

# All that zipfile, gzip, struct and the operating system raise on bytes they cannot read.
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
)


def _broken() -> tuple[type[Exception], ...]:
    # Only here, where something is wrong already: zipfile brings a megabyte of modules.
    import zipfile

    return (*_BROKEN, zipfile.BadZipFile)


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most size bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array that need not be in memory.

    where: the file, for error messages
    shape, dtype: as stored; dtype may have either byte order
    flat: starts a walk over all elements in C order, 1-D chunks of at most CHUNK_BYTES
    kept: the array itself as (shape[0], width), where it can be used as it lies
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    flat: Callable[[], Iterator[NDArray[Any]]]
    kept: NDArray[Any] | None = None

    @property
    def width(self) -> int:
        """Elements in a row."""
        return math.prod(self.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, as stored."""
        return math.prod(self.shape) * self.dtype.itemsize


def stored_array(array: NDArray[Any], where: str) -> StoredArray:
    """An array in memory or mapped, of any order, alignment and byte order."""

    def flat() -> Iterator[NDArray[Any]]:
        step = _chunk_elements(array.dtype)
        width = math.prod(array.shape[1:])
        residency = Residency(array)
        if array.flags.c_contiguous:
            elements = array.reshape(-1)
            for start in range(0, array.size, step):
                yield elements[start : start + step]
                residency.read_bytes(step * array.itemsize)
        elif width <= step:
            rows = step // width
            for start in range(0, array.shape[0], rows):
                yield array[start : start + rows].reshape(-1)
        else:
            for start in range(0, array.size, step):
                yield array.flat[start : start + step]

    flags = array.flags
    usable = array.dtype in KEPT_DTYPES and flags.carray and array.ndim and array.size
    kept = array.reshape(array.shape[0], -1) if usable else None
    return StoredArray(where, array.shape, array.dtype, flat, kept)


def streamed_array(
    open_stream: Callable[[], AbstractContextManager[Readable]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    where: str,
) -> StoredArray:
    """An array in C order that comes out of a stream, from its first element to its last.

    Walking raises DataError if the stream is damaged, ends early or goes on after the last element.
    """

    def flat() -> Iterator[NDArray[Any]]:
        promised = math.prod(shape) * dtype.itemsize
        step = _chunk_elements(dtype) * dtype.itemsize
        with refusing(where), open_stream() as stream:
            for start in range(0, promised, step):
                size = min(step, promised - start)
                block = read_fully(stream, size)
                if len(block) < size:
                    raise DataError(
                        f"{where}: expected {promised:,} B after the header, got "
                        f"{start + len(block):,} B; the file is cut short, copy it again"
                    )
                yield np.frombuffer(block, dtype)
            if stream.read(1):
                raise DataError(
                    f"{where}: expected {promised:,} B after the header, got more; "
                    f"the header and the data do not belong together"
                )

    return StoredArray(where, shape, dtype, flat)


def read_fully(stream: Readable, size: int) -> bytes:
    """size bytes, or fewer only at the end of the stream."""
    blocks = []
    missing = size
    while missing and (block := stream.read(missing)):
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)


def open_file(path: PathLike) -> BinaryIO:
    """A regular file, opened for reading. Raises DataError for anything else."""
    with refusing(os.fspath(path)):
        # Asked before opening: opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{os.fspath(path)}: expected a file, got a folder or a device")
        return open(path, "rb")


@contextmanager
def refusing(where: str) -> Iterator[None]:
    """Turns what the standard library raises on broken files into DataError."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{where}: expected a file, got none of that name; check the path") from (
            error
        )
    except _broken() as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{where}: expected a readable file, got an error ({reason}); "
            f"the file is damaged or not what its name says"
        ) from error


def _chunk_elements(dtype: np.dtype[Any]) -> int:
    # Counted at 8 B or more, so that a chunk is small in whatever dtype it is converted to.
    return max(1, CHUNK_BYTES // max(8, dtype.itemsize))
