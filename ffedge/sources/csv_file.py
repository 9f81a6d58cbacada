"""Comma-separated files: one pass, a record at a time, features into a temporary file."""

from __future__ import annotations

import gzip
import os
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .csv_columns import (
    Header,
    Layout,
    all_features,
    as_number,
    first_line,
    labelled,
    like,
    unlabelled,
)
from .csv_lines import FileMeter, Lines, records
from .labels import MAX_CLASSES, MAX_LABEL_LENGTH, too_many_classes
from .part import Part
from .spool import CHUNK_BYTES, PathLike, Progress, Spool
from .stored import StoredArray, open_file, stored_array
from .targets import CsvTargets

_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_BATCH = CHUNK_BYTES // 16  # values collected before they are written


@dataclass(frozen=True, slots=True)
class _Table:
    """A file after its pass. labels: None where the layout has no label column."""

    layout: Layout
    features: StoredArray
    labels: _Labels | CsvTargets | None


def read_csv_pair(
    path: Path,
    label: str | int | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
    numeric: bool = False,
) -> tuple[Part, Part | None]:
    """The file and, beside NAME_train.csv, NAME_test.csv or NAME-test.csv. Raises DataError.

    A test file that has the columns of the train file but for the label is left alone. numeric:
    the label column holds numbers to be predicted, not classes.
    """
    train = _read(
        path, lambda first, where: labelled(first, label, where), cache_dir, progress, numeric
    )
    assert train is not None
    assert train.labels is not None
    if isinstance(train.labels, _Labels):
        train.labels.refuse_measurements()
    layout = train.layout
    beside = find_test_file(path)
    test = None
    if beside is not None:
        test = _read(
            beside, lambda first, where: like(first, layout, where), cache_dir, progress, numeric
        )
    whole = _is_whole(train.labels)
    part = _part(train, train.labels, whole)
    if test is None or test.labels is None:
        return part, None
    return part, _part(test, test.labels, whole and _is_whole(test.labels))


def _is_whole(labels: _Labels | CsvTargets) -> bool:
    return isinstance(labels, _Labels) and labels.all_whole()


def read_csv_features(
    path: Path,
    width: int,
    names: Sequence[str] | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
) -> StoredArray:
    """Features alone: the columns ``names`` of a header, else all but a label. Raises DataError."""
    table = _read(
        path, lambda first, where: unlabelled(first, width, names, where), cache_dir, progress
    )
    assert table is not None
    return table.features


def read_csv_unlabelled(
    path: Path, cache_dir: PathLike | None, progress: Progress | None
) -> tuple[StoredArray, tuple[str, ...] | None]:
    """All columns but one that is called a label, and their names. Raises DataError."""
    table = _read(path, all_features, cache_dir, progress)
    assert table is not None
    return table.features, table.layout.feature_names()


def find_test_file(path: Path) -> Path | None:
    """NAME_test.csv or NAME-test.csv beside NAME_train.csv or NAME-train.csv."""
    name, dot, endings = path.name.partition(".")
    match = re.fullmatch(r"(?:(.*)[_-])?train", name, re.IGNORECASE)
    if match is None:
        return None
    stems = ["test"] if match[1] is None else [f"{match[1]}_test", f"{match[1]}-test"]
    files = [path.with_name(stem + dot + endings) for stem in stems]
    return next((file for file in files if file.is_file()), None)


def _part(table: _Table, labels: _Labels | CsvTargets, whole: bool) -> Part:
    stored = labels.stored(whole) if isinstance(labels, _Labels) else labels.stored()
    return Part(table.features, stored, table.layout.feature_names())


def _read(
    path: Path,
    choose: Callable[[Header, str], Layout | None],
    cache_dir: PathLike | None,
    progress: Progress | None,
    numeric: bool = False,
) -> _Table | None:
    """choose: the layout for the first line of the file ``where``; None: do not read on."""
    where = os.fspath(path)
    with open_file(path) as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        meter = FileMeter(progress, raw)
        stream: Any = gzip.GzipFile(fileobj=raw) if compressed else raw
        with closing(stream):
            lines = Lines(stream, where, os.fstat(raw.fileno()).st_size if compressed else None)
            header = first_line(lines.peek_record_start(), where)
            layout = choose(header, where)
            if layout is None:
                return None
            lines.delimiter = layout.delimiter
            with Spool(where, cache_dir) as numbers, Spool(where, cache_dir) as codes:
                features = _Features(where, layout, numbers)
                kind = CsvTargets if numeric else _Labels
                labels = None if layout.label is None else kind(where, layout, codes)
                return _table(lines, layout, features, labels, meter)


def _table(
    lines: Lines, layout: Layout, features: _Features, labels: _Labels | CsvTargets | None,
    meter: FileMeter,
) -> _Table:  # fmt: skip
    where = features.where
    samples = 0
    for number, cells in enumerate(records(lines, where)):
        if number == 0 and layout.names is not None:
            continue
        if len(cells) != layout.width:
            raise DataError(
                f"{where}: line {lines.number}: expected {layout.width:,} cells as in line 1, "
                f"got {len(cells):,}"
            )
        if labels is not None:
            labels.take(cells, lines.number)
        samples += 1
        if features.take(cells, lines.number) >= _BATCH:
            features.flush()
            if labels is not None:
                labels.flush()
            meter.report()
    if samples == 0:
        raise DataError(f"{where}: expected at least 1 sample below the header, got 0")
    features.flush()
    if labels is not None:
        labels.finish(samples)
    meter.report()
    return _Table(layout, features.stored(samples), labels)


class _Features:
    """The numbers of the feature columns, on their way into a spool."""

    def __init__(self, where: str, layout: Layout, spool: Spool) -> None:
        self.where = where
        self._layout = layout
        self._spool = spool
        beside = slice(layout.columns[0], layout.columns[0] + len(layout.columns))
        in_a_row = layout.columns == tuple(range(beside.start, beside.stop))
        # A slice is faster, and of one column it gives a list where its number gives the cell.
        self._pick = itemgetter(beside) if in_a_row else itemgetter(*layout.columns)
        self._values, self._lines = array("d"), array("q")

    def take(self, cells: list[str], line: int) -> int:
        """Collect a record; how many values wait to be written."""
        try:
            self._values.extend(map(float, self._pick(cells)))
        except ValueError:
            column = next(c for c in self._layout.columns if as_number(cells[c]) is None)
            self._refuse(line, column, repr(cells[column]))
        self._lines.append(line)
        return len(self._values)

    def flush(self) -> None:
        """Write what waits. Raises DataError for a value that float32 cannot hold."""
        with np.errstate(over="ignore"):
            numbers = np.frombuffer(self._values, np.float64).astype(np.float32)
        finite = np.isfinite(numbers)
        if not finite.all():
            position = int(finite.argmin())
            row, column = divmod(position, len(self._layout.columns))
            self._refuse(
                self._lines[row], self._layout.columns[column], str(self._values[position])
            )
        self._spool.write(numbers)
        self._values, self._lines = array("d"), array("q")

    def stored(self, samples: int) -> StoredArray:
        """Everything written, mapped."""
        shape = (samples, len(self._layout.columns))
        return stored_array(self._spool.mapped(np.dtype(np.float32), shape), self.where)

    def _refuse(self, line: int, column: int, cell: str) -> NoReturn:
        raise DataError(
            f"{self.where}: line {line}, {self._layout.column(column)}: expected a finite number "
            f"within float32, got {cell:.80}; fill the gap or drop the row"
        )


class _Labels:
    """The label column: int32 codes into its texts in order of appearance, through a spool."""

    def __init__(self, where: str, layout: Layout, spool: Spool) -> None:
        assert layout.label is not None
        self._where = where
        self._column = layout.column(layout.label)
        self._label = layout.label
        self._spool = spool
        self._code_of: dict[str, int] = {}
        self._first_lines: list[int] = []
        self._waiting = array("i")
        self._codes: NDArray[Any] = np.empty(0, np.int32)

    def take(self, cells: list[str], line: int) -> None:
        """Collect the label of a record. Raises DataError for an empty, a long or one too many."""
        text = cells[self._label].strip()
        code = self._code_of.get(text)
        if code is None:
            if not text or len(text) > MAX_LABEL_LENGTH:
                raise DataError(
                    f"{self._where}: line {line}, {self._column}: expected a label of 1 "
                    f"to {MAX_LABEL_LENGTH:,} characters, got {len(text):,} characters"
                )
            code = self._code_of[text] = len(self._code_of)
            self._first_lines.append(line)
            if code == MAX_CLASSES:
                raise too_many_classes(self._where)
        self._waiting.append(code)

    def flush(self) -> None:
        """Write what waits."""
        self._spool.write(np.frombuffer(self._waiting, np.int32))
        self._waiting = array("i")

    def finish(self, samples: int) -> None:
        """Write what waits and map everything."""
        self.flush()
        self._codes = self._spool.mapped(np.dtype(np.int32), (samples,))

    def all_whole(self) -> bool:
        """Whether every label is a whole number."""
        return all(_WHOLE.fullmatch(text) for text in self._code_of)

    def refuse_measurements(self) -> None:
        """Numbers with a fraction are no classes."""
        if any(as_number(text) is None for text in self._code_of):
            return
        for text, line in zip(self._code_of, self._first_lines, strict=True):
            if not _WHOLE.fullmatch(text):
                raise DataError(
                    f"{self._where}: line {line}, {self._column}: expected a whole number or a "
                    f"text as label, got {text!r:.80}; name the label column with label"
                )

    def stored(self, whole: bool) -> StoredArray:
        """The labels as texts, or as integers if whole."""
        if whole:
            values = np.array([int(text.partition(".")[0]) for text in self._code_of], np.int64)
        else:
            values = np.array(list(self._code_of), object)

        def flat() -> Iterator[NDArray[Any]]:
            step = CHUNK_BYTES // 8
            for start in range(0, len(self._codes), step):
                yield values[self._codes[start : start + step]]

        return StoredArray(self._where, self._codes.shape, values.dtype, flat)
