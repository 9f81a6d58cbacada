"""Mapping files, and the temporary file that data is spooled into before it is mapped."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .residency import remember

CHUNK_BYTES = 1 << 20  # the most that is read, converted or checked at once
_RESERVE_BYTES = 64 << 20  # left free on the disk, so that spooling never fills it

# Without it Linux refuses a private mapping larger than memory plus swap. Python names the flag
# only from 3.13; 0x4000 is its value on x86, ARM and RISC-V.
_NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000)

Progress: TypeAlias = Callable[[int, int], None]
PathLike: TypeAlias = str | os.PathLike[str]


def map_file(
    fileno: int, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...], order: str = "C"
) -> NDArray[Any]:
    """Bytes of an open file as a plain, writable array; writes stay in this process.

    offset: bytes, need not be aligned. The caller has checked that the bytes are there.
    """
    return _mapped(fileno, offset, dtype, shape, order, mmap.MAP_PRIVATE | _NO_RESERVE)


def _mapped(
    fileno: int, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...], order: str, flags: int
) -> NDArray[Any]:
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    count = math.prod(shape)
    length = offset - start + count * dtype.itemsize
    # Readable and writable, because Numba compiles read-only arrays apart.
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    buffer = mmap.mmap(fileno, length, flags=flags, prot=protection, offset=start)
    remember(buffer, fileno, start)
    flat = np.frombuffer(buffer, dtype, count, offset - start)
    return flat.reshape(shape, order="F" if order == "F" else "C")


class Spool:
    """A temporary file without a name: written in chunks, mapped at the end.

    A context manager; the bytes are freed with the last array that ``mapped`` gave.

    where: what is being read, for error messages
    cache_dir: the folder for the file; None takes $TMPDIR, else /var/tmp (which, unlike /tmp, is
        a disk on current Raspberry Pi OS), else Python's choice
    needed: bytes that will be written, 0 if unknown

    Raises DataError if the folder cannot be written or has too little space.
    """

    def __init__(self, where: str, cache_dir: PathLike | None, needed: int = 0) -> None:
        self.nbytes = 0
        self._where = where
        self._folder = disk_folder(cache_dir)
        self._checked = 0
        self._refuse_a_full_disk(needed)
        try:
            import tempfile

            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._unusable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # The array that mapped() gave lives on: the map has its own hold on the file.
        self._file.close()

    def write(self, chunk: NDArray[Any]) -> None:
        """Append the elements of a C-contiguous array."""
        if self.nbytes - self._checked >= _RESERVE_BYTES // 2:
            self._refuse_a_full_disk(chunk.nbytes)
            self._checked = self.nbytes
        view = chunk.view(np.uint8).data
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise self._unusable(error) from error
        self.nbytes += chunk.nbytes

    def mapped(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], order: str = "C"
    ) -> NDArray[Any]:
        """Everything written, as a plain writable array; call once, at the end."""
        return _mapped(self._file.fileno(), 0, dtype, shape, order, mmap.MAP_SHARED)

    def _refuse_a_full_disk(self, needed: int) -> None:
        try:
            import shutil

            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise self._unusable(error) from error
        if free < needed + _RESERVE_BYTES:
            raise DataError(
                f"{self._where}: expected {needed + _RESERVE_BYTES:,} B free for the temporary "
                f"file in {self._folder}, got {free:,} B; set cache_dir to a larger disk"
            )

    def _unusable(self, error: OSError) -> DataError:
        return DataError(
            f"{self._where}: expected a folder for the temporary file that can be written, got "
            f"{self._folder} ({error.strerror}); set cache_dir"
        )


class MemorySink:
    """The same two methods as Spool, in process memory; for arrays that are there already."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self._array = np.empty(size, dtype)
        self._position = 0

    def write(self, chunk: NDArray[Any]) -> None:
        """Append the elements of a 1-D array."""
        self._array[self._position : self._position + chunk.size] = chunk
        self._position += chunk.size

    def mapped(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Everything written, as an array."""
        assert dtype == self._array.dtype
        return self._array.reshape(shape)


class Meter:
    """Adds up bytes and reports them as ``progress(done_bytes, total_bytes)``."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, nbytes: int) -> None:
        """Report nbytes more."""
        self._done += nbytes
        if self._progress is not None:
            self._progress(self._done, self._total)


def disk_folder(cache_dir: PathLike | None = None) -> Path:
    """Where temporary files of any size may lie; see ``Spool``."""
    if cache_dir is not None:
        return Path(cache_dir)
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return Path("/var/tmp")
    import tempfile

    return Path(tempfile.gettempdir())
