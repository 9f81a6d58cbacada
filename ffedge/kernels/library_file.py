"""What a compiled library says about itself, read from its bytes before it is ever loaded.

Loading a library runs its code, so nothing is loaded that does not fit. The facts stand in an
ELF note of the name "ffedge", as lines of text:

    ffedge-runtime 1          version of this interface
    checksum 0123abcd         CRC-32 of the whole file, with these eight digits as zeros
    architecture aarch64
    target pi4                whose scheduling it was optimised for
    sources 16 hex digits     digest of the kernels it was made from
    built-with numba 0.68.1, llvmlite 0.50.0
    paths int8 dotprod neon generic
    paths float neon generic
    kernel int8.delta.peak i4[1] -> i8

The n-th kernel line, counted from 0, is the function ``int8.dotprod.n`` or ``float.neon.n``.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

#: Changes whenever a library of before could not be called any more.
INTERFACE = "ffedge-runtime 1"

NOTE_NAME = b"ffedge\0\0"
NOTE_TYPE = 1

MAX_BYTES = 16 << 20

MACHINES = {"x86_64": 62, "aarch64": 183}

_CHECKSUM = b"\nchecksum "


class NotOursError(Exception):
    """A file that is no library of this interface; the message says what was found instead."""


@dataclass(frozen=True)
class LibraryFile:
    """The facts of one library; ``kernels``: (name, argument words, result words)."""

    path: Path
    nbytes: int
    architecture: str
    target: str
    sources: str
    built_with: str
    checksum: str
    paths: dict[str, tuple[str, ...]]
    kernels: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]


def note_of(data: bytes) -> tuple[int, int]:
    """(offset, bytes) of the note's text in an ELF file. Raises NotOursError."""
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        raise NotOursError("it is no 64-bit ELF file")
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    if size != 56 or count > 16 or offset + size * count > len(data):
        raise NotOursError("its program headers are damaged")
    for i in range(count):
        kind, _, start, _, _, nbytes = struct.unpack_from("<IIQQQQ", data, offset + size * i)
        if kind != 4 or nbytes < 20 or start + nbytes > len(data):
            continue
        name, text, type_ = struct.unpack_from("<III", data, start)
        if type_ == NOTE_TYPE and data[start + 12 : start + 20] == NOTE_NAME and name == 8:
            if text > nbytes - 20:
                break
            return start + 20, text
    raise NotOursError("it holds no note of ffedge")


def seal(data: bytes) -> bytes:
    """The file with the checksum in its note filled in."""
    at = _checksum_at(data)
    return data[:at] + f"{_checksum(data, at):08x}".encode() + data[at + 8 :]


def _checksum_at(data: bytes) -> int:
    start, size = note_of(data)
    found = data.find(_CHECKSUM, start, start + size)
    if found < 0 or found + len(_CHECKSUM) + 8 > start + size:
        raise NotOursError("its note has no checksum")
    return found + len(_CHECKSUM)


def _checksum(data: bytes, at: int) -> int:
    return zlib.crc32(data[at + 8 :], zlib.crc32(b"0" * 8, zlib.crc32(data[:at])))


def read(path: Path) -> LibraryFile:
    """The facts of the library at ``path``. Raises NotOursError, and OSError as the system does."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise NotOursError(f"it is larger than {MAX_BYTES:,} B")
        data = file.read(size)
    start, size = note_of(data)
    text = data[start : start + size].decode("ascii", "replace")
    first = text.partition("\n")[0]
    if first != INTERFACE:
        raise NotOursError(f"its interface is {first[:24]!r}, not {INTERFACE!r}")
    at = _checksum_at(data)
    if data[at : at + 8] != f"{_checksum(data, at):08x}".encode():
        raise NotOursError("its checksum does not fit: the file is damaged")
    words = [line.split() for line in text.splitlines()[1:] if line.strip()]
    facts = {line[0]: line[1:] for line in words if line[0] not in ("paths", "kernel")}
    try:
        architecture, target, sources = (
            facts[key][0] for key in ("architecture", "target", "sources")
        )
        kernels = []
        for line in words:
            if line[0] == "kernel":
                arrow = line.index("->")
                kernels.append((line[1], tuple(line[2:arrow]), tuple(line[arrow + 1 :])))
        paths = {line[1]: tuple(line[2:]) for line in words if line[0] == "paths"}
        checksum, _ = facts["checksum"][0], (paths["int8"], paths["float"])
    except (KeyError, IndexError, ValueError):
        raise NotOursError("its note cannot be read") from None
    if struct.unpack_from("<H", data, 18)[0] != MACHINES.get(architecture):
        raise NotOursError(f"its code is not for {architecture}, as its note says")
    return LibraryFile(
        path, len(data), architecture, target, sources, " ".join(facts.get("built-with", [])),
        checksum, paths, tuple(kernels),
    )  # fmt: skip
