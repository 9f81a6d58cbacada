"""The file system as checkpoints use it: few calls, each with a stated promise.

Tests put a simulated disk in its place, which loses, tears and reorders what was not synced.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import BinaryIO, Self


class DiskFile:
    """A file that is written from its end on; a context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def write(self, data: bytes | memoryview) -> None:
        """All of ``data``, or OSError."""
        self._file.write(data)

    def sync(self) -> None:
        """What was written survives a power cut from here on; OSError: it may be gone."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let the file go; promises nothing about what was not synced."""
        self._file.close()


class Disk:
    """The real one. All calls raise OSError as the system does."""

    def names(self, folder: str) -> list[str]:
        """Names in a folder, in any order."""
        return os.listdir(folder)

    def open(self, path: str) -> BinaryIO:
        """A file to read."""
        return open(path, "rb")

    def create(self, path: str) -> DiskFile:
        """A new, empty file; FileExistsError if there is one."""
        return DiskFile(open(path, "xb"))

    def append(self, path: str, size: int) -> DiskFile:
        """A file that is there, cut to ``size`` bytes, to be written behind them."""
        file = open(path, "r+b")  # noqa: SIM115
        try:
            file.truncate(size)
            file.seek(size)
        except BaseException:
            file.close()
            raise
        return DiskFile(file)

    def rename(self, old: str, new: str) -> None:
        """Atomic; replaces what has the new name. Durable after ``sync_folder``."""
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """The name is gone, durably after ``sync_folder``."""
        os.remove(path)

    def sync_folder(self, folder: str) -> None:
        """Names made, changed and removed so far survive a power cut."""
        fileno = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fileno)
        finally:
            os.close(fileno)
