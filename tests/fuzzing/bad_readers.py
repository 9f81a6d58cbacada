"""Readers with the faults that the harness is for: each must be found out, and the good one not.

python -m fuzzing.bad_readers      (in tests/) prints what was found of each, as JSON
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ffedge.errors import DataError

from . import campaign, judge
from .seeds import Seed
from .targets import Target, place

Reader = Callable[[bytes], None]


def good(data: bytes) -> None:
    """A length and so many bytes, held against each other first."""
    if len(data) < 4 or int.from_bytes(data[:4], "little") != len(data) - 4:
        raise DataError("expected as many bytes as promised, got others")
    bytearray(len(data) - 4)


def trusts_a_length(data: bytes) -> None:
    """Allocates before it looks."""
    length = int.from_bytes(data[:4], "little") % 2**31
    if len(bytearray(length)) != len(data) - 4:
        raise DataError("expected as many bytes as promised, got others")


def hides_a_lack_of_memory(data: bytes) -> None:
    """The same, in Python's own memory, and says that the file is to blame."""
    try:
        trusts_a_length(data[:2] + b"\x00\x06" + data[4:])
    except MemoryError:
        raise DataError("expected a smaller file") from None


def unpacks_a_bomb(data: bytes) -> None:
    """Decompresses all at once."""
    try:
        zlib.decompress(data)
    except zlib.error:
        raise DataError("expected a zlib stream, got other bytes") from None


_libc = ctypes.CDLL(None)
_libc.malloc.restype, _libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


def maps_memory_outside_of_python(data: bytes) -> None:
    """C allocations, which no tracing of Python sees."""
    block = _libc.malloc(1 << 26)
    if block is None:
        raise MemoryError
    _libc.free(block)


def recurses(data: bytes) -> None:
    """A call for every bracket."""
    if data[:1] in (b"[", b"A"):
        recurses(data[1:])


def never_ends(data: bytes) -> None:
    """Does not move on over an empty record."""
    at = 0
    while at < len(data):
        at += data[at]


def waits(data: bytes) -> None:
    """Takes no processor time either: a read of something that never answers."""
    if data[:1] != b"\x04":
        time.sleep(3600)


def evaluates(data: bytes) -> None:
    """A header that is an expression of Python."""
    with contextlib.suppress(Exception):
        eval(data.decode("latin-1"))


def unpickles(data: bytes) -> None:
    """Runs what the file says."""
    import pickle

    with contextlib.suppress(Exception):
        pickle.loads(b"cbuiltins\nlen\n(lp0\ntR." if data else b"")


def leaves_its_folder(data: bytes) -> None:
    """Extracts a member under the name that the file gives."""
    name = "../../escaped.npy" if data[:1] > b"\x10" else "inside.npy"
    with open(place.path / name, "wb") as file:
        file.write(data)


def reads_other_files(data: bytes) -> None:
    """External data, as ONNX has them."""
    with contextlib.suppress(OSError):
        Path("/etc/hostname").read_bytes()


def starts_a_program(data: bytes) -> None:
    """And swallows everything."""
    with contextlib.suppress(BaseException):
        os.system("true")


def raises_something_else(data: bytes) -> None:
    """What zipfile raises."""
    with zipfile.ZipFile(io.BytesIO(data)):
        pass


def warns(data: bytes) -> None:
    warnings.warn("a header of an old version", stacklevel=2)


def fails_while_it_is_collected(data: bytes) -> None:
    """An exception in a finaliser reaches nobody."""

    class Reader:
        def __del__(self) -> None:
            raise ValueError("not open")

    Reader()


def dies(data: bytes) -> None:
    """Reads at an address that the file gives."""
    if data[:1] > b"\x10":
        _read_at(8, 1)


# Found before the process is watched: the address is read by the machine, not by Python.
_read_at = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)

_kept: list[bytearray] = []


def forgets_nothing(data: bytes) -> None:
    """A cache without an end."""
    _kept.append(bytearray(200 << 10))


def quotes_the_file(data: bytes) -> None:
    """A message as long as the file."""
    raise DataError(f"expected a header, got {data!r}" + "x" * 4096)


BAD: tuple[Reader, ...] = (
    trusts_a_length, hides_a_lack_of_memory, unpacks_a_bomb, maps_memory_outside_of_python,
    recurses, never_ends, waits, evaluates, unpickles, leaves_its_folder, reads_other_files,
    starts_a_program, raises_something_else, warns, fails_while_it_is_collected, dies,
    forgets_nothing, quotes_the_file,
)  # fmt: skip


@cache
def seeds() -> list[Seed]:
    """A good file, one of many zeros in few bytes, one of many brackets."""
    return [
        Seed("plain", b"\x04\0\0\0data"), Seed("plain", zlib.compress(bytes(1 << 25))),
        Seed("plain", b"[" * 3000),
    ]  # fmt: skip


def find_out(reader: Reader, executions: int) -> dict[str, Any]:
    """Inputs read, and the first crash of a reader."""
    found = campaign.run(
        {reader.__name__: Target(reader, seeds)}, executions=executions, standstill=3.0
    )
    first = min(found.crashes, key=lambda crash: crash.number, default=None)
    return {
        "executions": sum(found.executions.values()),
        "crashes": len(found.crashes),
        "first": first.what if first else None,
    }


def main() -> None:
    """Find all of them out."""
    judge.BASE_SECONDS = 0.5
    # Those take their time each, or need many.
    few = {never_ends: 12, waits: 2, dies: 12, forgets_nothing: 1200}
    found = {reader.__name__: find_out(reader, few.get(reader, 40)) for reader in (good, *BAD)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
