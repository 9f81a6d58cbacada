"""NumPy's .npz: a zip of .npy members. Nothing is extracted; stored members are mapped in place."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

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
_TEST_FEATURES = ("x_test", "X_test")
_FEATURES = (*_TEST_FEATURES, "X", "x", "data", "x_train", "X_train")  # for prediction
_ENCRYPTED = 0x1 | 0x40


@dataclass(frozen=True, slots=True)
class _Archive:
    """An open .npz. keys: the names of its arrays."""

    path: str
    file: BinaryIO
    members: zipfile.ZipFile
    keys: list[str]

    def refuse(self, expected: str, what_to_do: str) -> NoReturn:
        shown = ", ".join(f"{key:.40}" for key in self.keys[:10]) or "none"
        more = ", ..." if len(self.keys) > 10 else ""
        raise DataError(f"{self.path}: expected {expected}, got {shown}{more}; {what_to_do}")


def read_npz(
    path: PathLike, label: str | None, cache_dir: PathLike | None
) -> tuple[Part, Part | None]:
    """The train part and, where x_test and its labels are there, the test part.

    label: the name of the labels, None for those of _PAIRS; the test labels are called the same
        with test for train. Raises DataError.
    """
    with _opened(path) as archive:
        keys = set(archive.keys)
        features, labels = _train_pair(archive, label)
        test_labels = labels.replace("train", "test")
        test_features = None
        if features.endswith("train") and test_labels != labels and test_labels in keys:
            test_features = next((name for name in _TEST_FEATURES if name in keys), None)
        train = Part(_member(archive, features, cache_dir), _member(archive, labels, cache_dir))
        if test_features is None:
            return train, None
        return train, Part(
            _member(archive, test_features, cache_dir), _member(archive, test_labels, cache_dir)
        )


def read_npz_features(
    path: PathLike, cache_dir: PathLike | None, *, train: bool = False
) -> StoredArray:
    """The first of _FEATURES, else the only array of 2 or more dimensions. Raises DataError.

    train: the test part is none of them.
    """
    wanted = [name for name in _FEATURES if not (train and name in _TEST_FEATURES)]
    with _opened(path) as archive:
        found = next((name for name in wanted if name in archive.keys), None)
        if found is None:
            tables = archive.keys if len(archive.keys) == 1 else _tables(archive)
            if len(tables) != 1:
                archive.refuse(
                    f"the samples as {', '.join(_FEATURES[:-1])} or {_FEATURES[-1]}, or as the "
                    f"only array of 2 or more dimensions",
                    "save them under one of these names: np.savez(path, X=...)",
                )
            found = tables[0]
        return _member(archive, found, cache_dir)


@contextmanager
def _opened(path: PathLike) -> Iterator[_Archive]:
    where = os.fspath(path)
    with open_file(path) as file, refusing(where), zipfile.ZipFile(file) as members:
        keys = [name[:-4] for name in members.namelist() if name.endswith(".npy")]
        yield _Archive(where, file, members, keys)


def _train_pair(archive: _Archive, label: str | None) -> tuple[str, str]:
    keys = set(archive.keys)
    if label is None:
        pair = next((pair for pair in _PAIRS if set(pair) <= keys), None)
        if pair is None:
            archive.refuse(
                "the arrays x_train and y_train, X and y, x and y, or data and target",
                "save them under these names: np.savez(path, x_train=..., y_train=...)",
            )
        return pair
    if label not in keys:
        archive.refuse(f"an array {label!r:.80} with the labels", "label names one of its arrays")
    features = next((name for name, _ in _PAIRS if name in keys - {label}), None)
    if features is None:
        archive.refuse(
            f"the features beside {label!r:.80} as {', '.join(name for name, _ in _PAIRS)}",
            "save them under one of these names: np.savez(path, X=...)",
        )
    return features, label


def _tables(archive: _Archive) -> list[str]:
    """The arrays of 2 or more dimensions; one that cannot be read is none."""
    found = []
    for key in archive.keys:
        with suppress(DataError):
            _, header = _header(archive, key)
            if len(header.shape) > 1:
                found.append(key)
    return found


def _member(archive: _Archive, key: str, cache_dir: PathLike | None) -> StoredArray:
    where = f"{archive.path}[{key}]"
    info, header = _header(archive, key)
    with refusing(where):
        refuse_other_size(header, info.file_size, where)
        if info.compress_type == zipfile.ZIP_STORED:
            offset = _data_offset(archive.file, info, where)
            return map_array(archive.file.fileno(), offset, header, where)
    streamed = _streamed(archive.path, info, header, where)
    if header.fortran_order and len(header.shape) > 1:
        return _by_columns(streamed, header, cache_dir)
    return streamed


def _header(archive: _Archive, key: str) -> tuple[zipfile.ZipInfo, NpyHeader]:
    where = f"{archive.path}[{key}]"
    info = archive.members.getinfo(f"{key}.npy")
    if info.flag_bits & _ENCRYPTED:
        raise DataError(f"{where}: expected a zip without a password, got an encrypted member")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{where}: expected a member that is stored or deflated, got compression method "
            f"{info.compress_type}; save with np.savez or np.savez_compressed"
        )
    with refusing(where), archive.members.open(info) as stream:
        return info, read_npy_header(stream, where)


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
