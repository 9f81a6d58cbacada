"""``load``: a data set from a name, a file or a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from ..errors import DataError
from . import idx, named
from .dataset import Dataset
from .digits import load_digits
from .npy import read_npy
from .part import Part, datasets
from .spool import PathLike, Progress
from .stored import refusing

_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_KINDS = ".npz, .npy, .csv, .tsv (these two also as .gz) or IDX (plain or .gz)"


def load(
    spec: PathLike,
    *,
    label: PathLike | int | None = None,
    numeric: bool = False,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
    progress: Progress | None = None,
) -> tuple[Dataset, Dataset | None]:
    """(train, test); test is None where the source has no test part of its own.

    spec: "digits" (embedded); "mnist" or "fashion-mnist", looked for in data_dir, $FFEDGE_DATA and
        Debian's folder; or the path of an .npz, .npy, .csv, .tsv or IDX file, or of a folder that
        holds one data set. The test part is the file beside it with test (or t10k) for train; one
        without labels is left alone
    label: for csv the label column, by name or 0-based number (default: label, class, target or y,
        else the last); for .npz the name of the labels in it; for .npy and IDX the path of the
        labels file
    numeric: the labels are numbers to be predicted (a regression), not classes
    cache_dir: folder for the temporary file; default $TMPDIR, else /var/tmp. Not a tmpfs: that is
        memory
    progress: called as progress(done_bytes, total_bytes) while a part is spooled; starts again
        at 0 for the test part

    Files are mapped, or spooled in chunks of at most 1 MiB into a temporary file and mapped from
    there; memory use does not grow with them. A mapped file must not be changed while in use.
    The test part has the dtype, the shape and the classes of the train part.
    Raises DataError, naming the file, for everything that cannot be used.

    >>> train, test = load("digits")
    >>> train
    Dataset('digits': 1,438 samples of shape (8, 8), uint8, 10 classes, memory)
    >>> train.n_samples, test.n_samples, train.nbytes
    (1438, 359, 93470)
    """
    if spec == "digits" or spec in named.NAMES:
        name = str(spec)
        _refuse_label(label, name)
        if name == "digits":
            return load_digits(numeric=numeric)
        train, test = named.read_named(name, data_dir, cache_dir)
        return datasets(name, train, test, cache_dir, progress, numeric)
    path = Path(spec)
    with refusing(str(path)):
        if path.is_dir():
            path = _only_data_set(path, label)
        else:
            refuse_absent(path, "load", "a file or folder")
    train, test = _read(path, label, cache_dir, progress, numeric)
    name = path.name.removesuffix(".gz")
    return datasets(name.rpartition(".")[0] or name, train, test, cache_dir, progress, numeric)


def _read(
    path: Path,
    label: PathLike | int | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
    numeric: bool,
) -> tuple[Part, Part | None]:
    kind = file_kind(path)
    if kind == "csv":
        column = label if isinstance(label, int) or label is None else os.fspath(label)
        from .csv_file import read_csv_pair

        return read_csv_pair(path, column, cache_dir, progress, numeric)
    if isinstance(label, int):
        wanted = "the name of the labels in it" if kind == "npz" else "the path of a labels file"
        raise DataError(f"{path}: expected label to be {wanted}, got {label}")
    if kind == "npz":
        from .npz import read_npz

        return read_npz(path, None if label is None else os.fspath(label), cache_dir)
    return _read_npy_pair(path, label) if kind == "npy" else idx.read_idx_pair(path, label)


def file_kind(path: Path) -> Literal["csv", "npz", "npy", "idx"]:
    """By the ending, IDX by its first bytes. Raises DataError for any other kind."""
    name = path.name.lower()
    if name.endswith(_CSV):
        return "csv"
    if name.endswith(".npz"):
        return "npz"
    if name.endswith(".npy"):
        return "npy"
    if idx.is_idx(path):
        return "idx"
    raise DataError(f"{path}: expected {_KINDS}, got another kind of file")


def refuse_absent(path: Path, where: str, wanted: str) -> None:
    """Raises DataError if there is nothing at path, which may be a name with a typing error."""
    with refusing(str(path)):
        if not path.exists():
            raise DataError(
                f"{where}: expected digits, {', '.join(named.NAMES)}, or the path of {wanted}, "
                f"got {str(path)!r}, which is not there"
            )


def _read_npy_pair(path: Path, label: PathLike | None) -> tuple[Part, Part | None]:
    labels = _npy_labels(path) if label is None else Path(label)
    if labels is None:
        shown = ", ".join(file.name for file in _npy_label_files(path))
        raise DataError(
            f"{path}: expected the labels beside it as {shown}, got no such file; "
            f"give the path of the labels file as label"
        )
    train = Part(read_npy(path), read_npy(labels))
    test = _npy_test(path)
    test_labels = None if test is None else _npy_labels(test)
    if test is None or test_labels is None:
        return train, None
    return train, Part(read_npy(test), read_npy(test_labels))


def _npy_label_files(path: Path) -> list[Path]:
    """The names under which the labels of an .npy file are looked for."""
    stem = path.name[: -len(".npy")]
    names = [f"{stem}_labels", f"{stem}_y"]
    for letter in "yY":
        swapped = re.sub(r"(?<![A-Za-z])[xX](?![A-Za-z])", letter, stem)
        if swapped != stem:
            names.append(swapped)
    return [path.with_name(name + path.name[-len(".npy") :]) for name in names]


def _npy_labels(path: Path) -> Path | None:
    return next((file for file in _npy_label_files(path) if file.is_file()), None)


def _npy_test(path: Path) -> Path | None:
    swapped = path.with_name(re.sub(r"train", "test", path.name))
    return swapped if swapped != path and swapped.is_file() else None


def _only_data_set(folder: Path, label: PathLike | int | None) -> Path:
    """The one file in a folder that is neither the labels nor the test part of another."""
    kinds = (*_CSV, ".npz", ".npy")
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and (file.name.lower().endswith(kinds) or idx.is_idx(file))
    ]
    belonging = {companion for file in files for companion in _companions(file)}
    if label is not None and not isinstance(label, int):
        belonging.add(Path(label))
    heads = [file for file in files if file not in belonging]
    if len(heads) != 1:
        found = ", ".join(file.name for file in heads[:5]) or "no such file"
        more = f" and {len(heads) - 5} more" if len(heads) > 5 else ""
        raise DataError(
            f"{folder}: expected one data set as {_KINDS}, got {found}{more}; "
            f"give the path of the file"
        )
    return heads[0]


def _companions(file: Path) -> list[Path]:
    """The files that belong to this one: its labels, its test part, the same again as .gz."""
    name = file.name.lower()
    if name.endswith(_CSV):
        from .csv_file import find_test_file

        found = [find_test_file(file)]
    elif name.endswith(".npy"):
        test = _npy_test(file)
        found = [_npy_labels(file), test, test and _npy_labels(test)]
    elif name.endswith(".npz"):
        found = []
    else:
        test = idx.find_test_file(file)
        found = [idx.find_labels_file(file), test, test and idx.find_labels_file(test)]
        found += [idx.zipped(one) for one in (file, *found) if one is not None]
    return [one for one in found if one is not None]


def _refuse_label(label: PathLike | int | None, where: str) -> None:
    if label is not None:
        raise DataError(f"{where}: expected no label, got {label!r:.80}; label is for files")
