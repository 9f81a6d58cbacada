"""The IDX format of MNIST: magic number, sizes, elements, all big-endian; plain or .gz."""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .part import Part
from .spool import PathLike, map_file
from .stored import (
    Readable,
    StoredArray,
    open_file,
    read_fully,
    refusing,
    stored_array,
    streamed_array,
)

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_SIZES = 8


def is_idx(path: PathLike) -> bool:
    """Whether a file, plain or .gz, begins like an IDX file."""
    with open_file(path) as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        try:
            import gzip

            with gzip.open(path) as stream:
                start = stream.read(4)
        except (OSError, EOFError, zlib.error):
            return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _DTYPES and start[3] > 0


def read_idx(path: PathLike) -> StoredArray:
    """The array in an IDX file: mapped if plain, streamed if .gz. Raises DataError."""
    where = os.fspath(path)
    with open_file(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        if not compressed:
            file.seek(0)
            dtype, shape, offset = _header(file, where)
            size = os.fstat(file.fileno()).st_size
            promised = offset + math.prod(shape) * dtype.itemsize
            if size != promised:
                raise DataError(
                    f"{where}: expected {promised:,} B for shape {shape} of {dtype}, got "
                    f"{size:,} B; the file is damaged, copy it again"
                )
            if 0 in shape:
                return stored_array(np.empty(0, dtype).reshape(shape), where)
            return stored_array(map_file(file.fileno(), offset, dtype, shape), where)

    @contextmanager
    def open_stream() -> Iterator[Readable]:
        import gzip

        with open_file(path) as file, gzip.GzipFile(fileobj=file) as stream:
            _header(stream, where)
            yield stream

    import gzip

    with refusing(where), open_file(path) as file, gzip.GzipFile(fileobj=file) as stream:
        dtype, shape, _ = _header(stream, where)
    return streamed_array(open_stream, shape, dtype, where)


def read_idx_pair(images: Path, label: PathLike | None) -> tuple[Part, Part | None]:
    """The images with their labels file, and the test pair where both of its files are there."""
    labels = find_labels_file(images) if label is None else Path(label)
    if labels is None:
        raise DataError(
            f"{images}: expected the labels beside it as "
            f"{_swapped(images.name, _LABELS) or 'NAME-labels-idx1-ubyte'}, got no such file; "
            f"give the path of the labels file as label"
        )
    train = Part(read_idx(images), read_idx(labels))
    test_images = find_test_file(images)
    test_labels = None if test_images is None else find_labels_file(test_images)
    if test_images is None or test_labels is None:
        return train, None
    return train, Part(read_idx(test_images), read_idx(test_labels))


_LABELS = ((r"images", "labels"), (r"idx\d", "idx1"))


def find_labels_file(images: Path) -> Path | None:
    """The labels file beside an images file, with or without .gz."""
    name = _swapped(images.name, _LABELS)
    return None if name is None else either(images.with_name(name))


def find_test_file(images: Path) -> Path | None:
    """The test images beside the train images, with or without .gz."""
    for word in ("t10k", "test"):
        name = _swapped(images.name, ((r"train", word),))
        found = None if name is None else either(images.with_name(name))
        if found is not None:
            return found
    return None


def either(path: Path) -> Path | None:
    """The file, or the file with .gz added or taken away, or None."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    return next((file for file in (path, other) if file.is_file()), None)


def zipped(path: Path) -> Path | None:
    """The file of the same name with .gz added, or None."""
    other = path.with_name(path.name + ".gz")
    return other if other.is_file() else None


def _swapped(name: str, words: tuple[tuple[str, str], ...]) -> str | None:
    swapped = name
    for old, new in words:
        swapped = re.sub(old, new, swapped)
    return None if swapped == name else swapped


def _header(stream: Readable, where: str) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """dtype, shape and the bytes of the header; stops at the first element."""
    magic = read_fully(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise DataError(f"{where}: expected the IDX format, got other bytes at the start")
    if not 1 <= magic[3] <= _MAX_SIZES:
        raise DataError(f"{where}: expected 1 to {_MAX_SIZES} dimensions, got {magic[3]}")
    sizes = read_fully(stream, 4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(
            f"{where}: expected {magic[3]} sizes in the header, got the end of the file; "
            f"the file is cut short, copy it again"
        )
    shape = struct.unpack(f">{magic[3]}I", sizes)
    # An array with a size of 0 holds no bytes, so nothing else bounds its other sizes.
    if 0 in shape:
        shape = tuple(min(size, 1) for size in shape)
    return np.dtype(_DTYPES[magic[2]]), shape, 4 + len(sizes)
