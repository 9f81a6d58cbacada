"""NumPy's .npy format, version 1 to 3: headers are bounded, never evaluated or unpickled."""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .spool import PathLike, map_file
from .stored import Readable, StoredArray, open_file, read_fully, stored_array

MAX_HEADER_BYTES = 10_000
_ITEM = re.compile(
    r"""\s*(?:
        ['"](?P<descr_key>descr)['"]\s*:\s*(?P<descr>'[^']*'|"[^"]*"|\[)
      | ['"](?P<order_key>fortran_order)['"]\s*:\s*(?P<order>True|False)
      | ['"](?P<shape_key>shape)['"]\s*:\s*\((?P<shape>[\d,\sL-]*)\)
    )\s*(?:,|(?=\}))\s*""",
    re.VERBOSE | re.ASCII,
)
_DTYPE = re.compile(r"([<>|=]?)(?:(b1)|([iu][1248])|(f[248])|U(\d{1,4}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a header says, checked for sense but not against the size of the file.

    data_offset: bytes from the magic to the first element
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    data_offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(stream: Readable, where: str) -> NpyHeader:
    """Reads the header and stops at the first element. Raises DataError for anything unexpected."""
    start = read_fully(stream, 8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY":
        raise DataError(f"{where}: expected the .npy format, got other bytes at the start")
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{where}: expected .npy version 1, 2 or 3, got {version[0]}.{version[1]}")
    size_format = "<H" if version == (1, 0) else "<I"
    size_bytes = read_fully(stream, struct.calcsize(size_format))
    if len(size_bytes) < struct.calcsize(size_format):
        raise DataError(f"{where}: expected a header, got the end of the file")
    (size,) = struct.unpack(size_format, size_bytes)
    if size > MAX_HEADER_BYTES:
        raise DataError(
            f"{where}: expected a header of at most {MAX_HEADER_BYTES:,} B, got {size:,} B"
        )
    header = read_fully(stream, size)
    if len(header) < size:
        raise DataError(
            f"{where}: expected a header of {size:,} B, got {len(header):,} B; "
            f"the file is cut short, copy it again"
        )
    return _parsed(header.decode("latin-1"), 8 + len(size_bytes) + size, where)


def read_npy(path: PathLike) -> StoredArray:
    """The array in a .npy file, mapped. Raises DataError."""
    where = os.fspath(path)
    with open_file(path) as file:
        header = read_npy_header(file, where)
        refuse_other_size(header, os.fstat(file.fileno()).st_size, where)
        return map_array(file.fileno(), 0, header, where)


def map_array(fileno: int, start: int, header: NpyHeader, where: str) -> StoredArray:
    """The array whose magic lies at byte ``start`` of a file; the size has been checked."""
    if header.nbytes == 0:
        return stored_array(np.empty(header.shape, header.dtype), where)
    order = "F" if header.fortran_order else "C"
    offset = start + header.data_offset
    return stored_array(map_file(fileno, offset, header.dtype, header.shape, order), where)


def refuse_other_size(header: NpyHeader, size: int, where: str) -> None:
    """Raises DataError unless header and data together are ``size`` bytes."""
    if header.data_offset + header.nbytes != size:
        raise DataError(
            f"{where}: expected {header.data_offset + header.nbytes:,} B for shape "
            f"{header.shape} of {header.dtype}, got {size:,} B; the file is damaged, copy it again"
        )


def _parsed(header: str, data_offset: int, where: str) -> NpyHeader:
    found = _items(header)
    if found is None:
        raise DataError(
            f"{where}: expected a header with descr, fortran_order and shape, got {header:.80}"
        )
    numbers = [number.strip().rstrip("L") for number in found["shape"].split(",")]
    numbers = [number for number in numbers if number]
    if len(numbers) > 32 or not all(re.fullmatch(r"\d{1,18}", number) for number in numbers):
        raise DataError(
            f"{where}: expected a shape of at most 32 sizes, none negative, "
            f"got ({found['shape']:.80})"
        )
    dtype = _dtype(found["descr"].strip("'\""), where)
    shape = tuple(int(number) for number in numbers)
    # An array with a size of 0 holds no bytes, so nothing else bounds its other sizes.
    if 0 in shape and max(shape) >= 2**31:
        raise DataError(f"{where}: expected a shape with data in it, got {shape}")
    return NpyHeader(dtype, shape, found["order"] == "True", data_offset)


def _items(header: str) -> dict[str, str] | None:
    """The three values by key, or None unless the header is a dict of just these."""
    text = header.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    found: dict[str, str] = {}
    position = 1
    while match := _ITEM.match(text, position):
        for key in ("descr", "order", "shape"):
            if match[f"{key}_key"]:
                found[key] = match[key]
        position = match.end()
    return found if position == len(text) - 1 and len(found) == 3 else None


def _dtype(descr: str, where: str) -> np.dtype[Any]:
    if descr.lstrip("<>|=").startswith("O"):
        raise DataError(
            f"{where}: expected numbers or text, got Python objects, which are never loaded "
            f"(a pickle can run code); save with a number dtype or as text: y.astype(str)"
        )
    match = _DTYPE.fullmatch(descr)
    if match is None or match[5] == "0":
        raise DataError(
            f"{where}: expected bool, integers of 8 to 64 bits, floats of 16 to 64 bits or text "
            f"of at most 9,999 characters, got dtype {'a structure' if descr == '[' else descr}"
        )
    return np.dtype(descr)
