"""Regular files, opened once: no folder, no pipe that never ends, no more bytes than allowed."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from ..errors import FFEdgeError


def open_regular(
    path: str | os.PathLike[str], what: str, error: type[FFEdgeError], hint: str = ""
) -> BinaryIO:
    """The file to read; links are followed.

    what: "a key file", for the words. Raises ``error`` if there is none or it is not a regular
    file, OSError as the system does for anything else.
    """
    name = os.fspath(path)
    try:
        # A pipe without a writer would keep a plain open waiting.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise error(f"{name}: expected {what}, got no such file{hint}") from None
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
            raise error(f"{name}: expected {what}, got {kind}")
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_at_most(
    file: BinaryIO, limit: int, name: str, what: str, error: type[FFEdgeError]
) -> bytes:
    """All bytes of a file that may hold ``limit`` of them; ``error`` if it holds more."""
    content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"{name}: expected {what} of at most {limit:,} B, got a longer file")
    return content
