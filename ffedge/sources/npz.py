"""NumPy's .npz: a zip of .npy members. Nothing is extracted; stored members are mapped in place."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..errors import DataError
from .npy import NpyHeader, map_array, read_npy_header, refuse_other_size
from .part import Part
from .spool import PathLike, Spool
from .stored import (
    Readable,
    StoredArray,
    open_file,
    read_fully,
    refusing,
    stored_array,
    streamed_array,
)

_PAIRS = (
    ("x_train", "y_train"),
    ("X_train", "y_train"),
    ("X", "y"),
    ("x", "y"),
    ("data", "target"),
)
_TEST_PAIRS = (("x_test", "y_test"), ("X_test", "y_test"))
_ENCRYPTED = 0x1 | 0x40


def read_npz(path: PathLike, cache_dir: PathLike | None) -> tuple[Part, Part | None]:
    """The train part and, where x_test and y_test are there, the test part. Raises DataError."""
    where = os.fspath(path)
    with open_file(path) as file, refusing(where), zipfile.ZipFile(file) as archive:
        keys = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]

        def part(features: str, labels: str) -> Part:
            return Part(
                _member(file, archive, where, features, cache_dir),
                _member(file, archive, where, labels, cache_dir),
            )

        train = next((pair for pair in _PAIRS if set(pair) <= set(keys)), None)
        if train is None:
            shown = ", ".join(f"{key:.40}" for key in keys[:10]) or "none"
            raise DataError(
                f"{where}: expected the arrays x_train and y_train, X and y, x and y, or data and "
                f"target, got {shown}{', ...' if len(keys) > 10 else ''}; save them under these "
                f"names: np.savez(path, x_train=..., y_train=...)"
            )
        test = next((pair for pair in _TEST_PAIRS if set(pair) <= set(keys)), None)
        has_test = test is not None and train[0].endswith("train")
        return part(*train), part(*test) if test is not None and has_test else None


def _member(
    file: BinaryIO, archive: zipfile.ZipFile, path: str, key: str, cache_dir: PathLike | None
) -> StoredArray:
    where = f"{path}[{key}]"
    info = archive.getinfo(f"{key}.npy")
    if info.flag_bits & _ENCRYPTED:
        raise DataError(f"{where}: expected a zip without a password, got an encrypted member")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{where}: expected a member that is stored or deflated, got compression method "
            f"{info.compress_type}; save with np.savez or np.savez_compressed"
        )
    with refusing(where):
        with archive.open(info) as stream:
            header = read_npy_header(stream, where)
        refuse_other_size(header, info.file_size, where)
        if info.compress_type == zipfile.ZIP_STORED:
            return map_array(file.fileno(), _data_offset(file, info, where), header, where)
    streamed = _streamed(path, info, header, where)
    if header.fortran_order and len(header.shape) > 1:
        return _by_columns(streamed, header, cache_dir)
    return streamed


def _data_offset(file: BinaryIO, info: zipfile.ZipInfo, where: str) -> int:
    """Where a stored member's bytes begin: after its local header, whose length varies."""
    file.seek(info.header_offset)
    local = read_fully(file, 30)
    name_length, extra_length = struct.unpack("<26x2H", local)
    offset = info.header_offset + 30 + int(name_length) + int(extra_length)
    size = os.fstat(file.fileno()).st_size
    if info.compress_size != info.file_size or offset + info.file_size > size:
        raise DataError(
            f"{where}: expected {info.file_size:,} B from byte {offset:,}, got a file of {size:,} "
            f"B and a member of {info.compress_size:,} B; the file is damaged, copy it again"
        )
    return offset


def _streamed(path: str, info: zipfile.ZipInfo, header: NpyHeader, where: str) -> StoredArray:
    @contextmanager
    def open_stream() -> Iterator[Readable]:
        with (
            open_file(path) as file,
            zipfile.ZipFile(file) as archive,
            archive.open(info) as stream,
        ):
            read_fully(stream, header.data_offset)
            yield stream

    return streamed_array(open_stream, header.shape, header.dtype, where)


def _by_columns(
    streamed: StoredArray, header: NpyHeader, cache_dir: PathLike | None
) -> StoredArray:
    """A compressed array in Fortran order: its rows can be read only from a mapped copy."""
    if not header.nbytes:
        return streamed
    with Spool(streamed.where, cache_dir, header.nbytes) as spool:
        for chunk in streamed.flat():
            spool.write(chunk)
        return stored_array(spool.mapped(header.dtype, header.shape, "F"), streamed.where)
