"""Comma-separated files: one pass, a record at a time, features into a temporary file."""

from __future__ import annotations

import csv
import gzip
import os
import re
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .labels import MAX_CLASSES, MAX_LABEL_LENGTH, too_many_classes
from .part import Part
from .spool import CHUNK_BYTES, Meter, PathLike, Progress, Spool
from .stored import StoredArray, open_file, refusing, stored_array

MAX_RECORD_BYTES = 16 << 20
MAX_COLUMNS = 100_000
LABEL_NAMES = ("label", "class", "target", "y")
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_BATCH = CHUNK_BYTES // 16  # values collected before they are written


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the first line settles. names: all columns, None without a header."""

    names: tuple[str, ...] | None
    width: int
    label: int
    delimiter: str

    def column(self, number: int) -> str:
        return f"column {number}" if self.names is None else f"column {self.names[number]!r}"

    def feature_names(self) -> tuple[str, ...] | None:
        if self.names is None:
            return None
        return self.names[: self.label] + self.names[self.label + 1 :]


@dataclass(frozen=True, slots=True)
class _Table:
    """A file after its pass. codes: int32 (n,) into texts, the labels in order of appearance."""

    where: str
    layout: _Layout
    features: StoredArray
    codes: NDArray[Any]
    texts: list[str]
    lines: list[int]  # where each text was first seen

    def part(self, whole: bool) -> Part:
        """whole: labels become integers rather than texts."""
        if whole:
            values = np.array([int(text.partition(".")[0]) for text in self.texts], np.int64)
        else:
            values = np.array(self.texts, object)

        def flat() -> Iterator[NDArray[Any]]:
            step = CHUNK_BYTES // 8
            for start in range(0, len(self.codes), step):
                yield values[self.codes[start : start + step]]

        labels = StoredArray(self.where, self.codes.shape, values.dtype, flat)
        return Part(self.features, labels, self.layout.feature_names())

    def all_whole(self) -> bool:
        return all(_WHOLE.fullmatch(text) for text in self.texts)

    def refuse_measurements(self) -> None:
        """Numbers with a fraction are no classes."""
        numbers = [_number(text) for text in self.texts]
        if any(number is None for number in numbers):
            return
        for text, line in zip(self.texts, self.lines, strict=True):
            if not _WHOLE.fullmatch(text):
                raise DataError(
                    f"{self.where}: line {line}, {self.layout.column(self.layout.label)}: expected "
                    f"a whole number or a text as label, got {text!r:.80}; "
                    f"name the label column with label"
                )


def read_csv_pair(
    path: Path,
    label: str | int | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
) -> tuple[Part, Part | None]:
    """The file and, beside NAME_train.csv, NAME_test.csv or NAME-test.csv. Raises DataError."""
    train = _read(path, label, None, cache_dir, progress)
    train.refuse_measurements()
    whole = train.all_whole()
    beside = find_test_file(path)
    if beside is None:
        return train.part(whole), None
    test = _read(beside, label, train.layout, cache_dir, progress)
    return train.part(whole), test.part(whole and test.all_whole())


def find_test_file(path: Path) -> Path | None:
    """NAME_test.csv or NAME-test.csv beside NAME_train.csv or NAME-train.csv."""
    name, dot, endings = path.name.partition(".")
    match = re.fullmatch(r"(?:(.*)[_-])?train", name, re.IGNORECASE)
    if match is None:
        return None
    stems = ["test"] if match[1] is None else [f"{match[1]}_test", f"{match[1]}-test"]
    files = [path.with_name(stem + dot + endings) for stem in stems]
    return next((file for file in files if file.is_file()), None)


def _read(
    path: Path,
    label: str | int | None,
    like: _Layout | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
) -> _Table:
    """like: the layout of the train part, which the file must have too."""
    where = os.fspath(path)
    with open_file(path) as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        meter = _FileMeter(progress, raw)
        stream: Any = gzip.GzipFile(fileobj=raw) if compressed else raw
        with closing(stream):
            lines = _Lines(stream, where)
            first = lines.peek_record_start()
            layout = _layout(first, label if like is None else None, where)
            if like is not None and (layout.names, layout.width) != (like.names, like.width):
                raise DataError(
                    f"{where}: line 1: expected the {like.width:,} columns of the train part, got "
                    f"{layout.width:,} or others; make them alike, or move the file elsewhere"
                )
            lines.delimiter = layout.delimiter
            with Spool(where, cache_dir) as features, Spool(where, cache_dir) as codes:
                return _body(lines, like or layout, where, features, codes, meter)


def _body(
    lines: _Lines,
    layout: _Layout,
    where: str,
    features: Spool,
    codes: Spool,
    meter: _FileMeter,
) -> _Table:
    code_of: dict[str, int] = {}
    first_lines: list[int] = []
    values, batch_codes, batch_lines = array("d"), array("i"), array("q")
    samples = 0

    def flush() -> None:
        nonlocal values, batch_codes, batch_lines
        with np.errstate(over="ignore"):
            numbers = np.frombuffer(values, np.float64).astype(np.float32)
        finite = np.isfinite(numbers)
        if not finite.all():
            row, column = divmod(int(finite.argmin()), layout.width - 1)
            cell = f"{values[row * (layout.width - 1) + column]}"
            _refuse_cell(where, batch_lines[row], layout, column + (column >= layout.label), cell)
        features.write(numbers)
        codes.write(np.frombuffer(batch_codes, np.int32))
        values, batch_codes, batch_lines = array("d"), array("i"), array("q")
        meter.report()

    reader = csv.reader(lines, delimiter=layout.delimiter)
    for number, cells in enumerate(_records(reader, lines, where)):
        if number == 0 and layout.names is not None:
            continue
        line = lines.number
        if len(cells) != layout.width:
            raise DataError(
                f"{where}: line {line}: expected {layout.width:,} cells as in line 1, "
                f"got {len(cells):,}"
            )
        text = cells.pop(layout.label).strip()
        code = code_of.get(text)
        if code is None:
            if not text or len(text) > MAX_LABEL_LENGTH:
                raise DataError(
                    f"{where}: line {line}, {layout.column(layout.label)}: expected a label of 1 "
                    f"to {MAX_LABEL_LENGTH:,} characters, got {len(text):,} characters"
                )
            code = code_of[text] = len(code_of)
            first_lines.append(line)
            if code == MAX_CLASSES:
                raise too_many_classes(where)
        try:
            values.extend(map(float, cells))
        except ValueError:
            column = next(c for c, cell in enumerate(cells) if _number(cell) is None)
            cell = cells[column]
            _refuse_cell(where, line, layout, column + (column >= layout.label), repr(cell))
        batch_codes.append(code)
        batch_lines.append(line)
        samples += 1
        if len(values) >= _BATCH:
            flush()
    if samples == 0:
        raise DataError(f"{where}: expected at least 1 sample below the header, got 0")
    flush()
    shape = (samples, layout.width - 1)
    mapped = features.mapped(np.dtype(np.float32), shape)
    stored = stored_array(mapped, where)
    labels = codes.mapped(np.dtype(np.int32), (samples,))
    return _Table(where, layout, stored, labels, list(code_of), first_lines)


def _refuse_cell(where: str, line: int, layout: _Layout, column: int, cell: str) -> NoReturn:
    raise DataError(
        f"{where}: line {line}, {layout.column(column)}: expected a finite number within float32, "
        f"got {cell:.80}; fill the gap or drop the row"
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


class _Lines:
    """The lines of a file as text, for csv.reader, with bounds on what one record may hold."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self.delimiter = ""
        self._stream = stream
        self._where = where
        self.number = 0
        self._record_bytes = 0
        self._record_cells = 0
        self._peeked: str | None = None

    def peek_record_start(self) -> str:
        """The first line that is not blank; it is given out again by the iteration."""
        for line in self:
            if line.strip():
                self._peeked = line
                return line
        raise DataError(f"{self._where}: expected a header line and samples, got an empty file")

    def start_record(self) -> None:
        """The next line begins a new record."""
        self._record_bytes = self._record_cells = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._peeked is not None:
            line, self._peeked = self._peeked, None
            return line
        number = self.number + 1
        with refusing(f"{self._where}: line {number}"):
            raw = self._stream.readline(MAX_RECORD_BYTES + 1)
        if not raw:
            raise StopIteration
        self.number = number
        self._record_bytes += len(raw)
        if self._record_bytes > MAX_RECORD_BYTES:
            raise DataError(
                f"{self._where}: line {number}: expected a record of at most "
                f"{MAX_RECORD_BYTES:,} B, got more; a quote may be left open"
            )
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._where}: line {number}: expected UTF-8, got other bytes; save it as UTF-8"
            ) from error
        if self.delimiter:
            self._record_cells += line.count(self.delimiter)
            if self._record_cells >= MAX_COLUMNS:
                raise _too_many_columns(self._where, number)
        return line


def _records(reader: Any, lines: _Lines, where: str) -> Iterator[list[str]]:
    """The records that are not blank."""
    while True:
        lines.start_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{where}: line {lines.number}: expected comma-separated cells, got an error "
                f"({error}); a quote may be left open"
            ) from error
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield cells


class _FileMeter:
    """Reports how far the file has been read, in bytes of the file as it lies."""

    def __init__(self, progress: Progress | None, raw: BinaryIO) -> None:
        self._raw = raw
        self._meter = Meter(progress, os.fstat(raw.fileno()).st_size)
        self._done = 0

    def report(self) -> None:
        position = self._raw.tell()
        self._meter.add(position - self._done)
        self._done = position


def _layout(line: str, label: str | int | None, where: str) -> _Layout:
    outside_quotes = re.sub(r'"[^"]*"', "", line)
    # max takes the first of equals: a comma may be a decimal comma, a tab is nothing else.
    delimiter = max("\t;,", key=outside_quotes.count)
    if outside_quotes.count(delimiter) >= MAX_COLUMNS:
        raise _too_many_columns(where, 1)
    try:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"{where}: line 1: expected a header, got an error ({error})") from error
    if len(cells) < 2:
        raise DataError(
            f"{where}: line 1: expected at least 2 columns with comma, semicolon or tab between "
            f"them, got {len(cells)}"
        )
    if all(_number(cell) is not None for cell in cells):
        return _Layout(None, len(cells), _label_column(None, len(cells), label, where), delimiter)
    if "" in cells:
        raise DataError(
            f"{where}: line 1: expected a name for every column, got none for column "
            f"{cells.index('')} (counted from 0); pandas writes its row numbers into such a "
            f"column unless told to_csv(index=False)"
        )
    names = tuple(cells)
    return _Layout(names, len(cells), _label_column(names, len(cells), label, where), delimiter)


def _label_column(
    names: tuple[str, ...] | None, width: int, label: str | int | None, where: str
) -> int:
    if label is None:
        lowered = [name.lower() for name in names or ()]
        found = [lowered.index(name) for name in LABEL_NAMES if name in lowered]
        return found[0] if found else width - 1
    if isinstance(label, str) and names is not None and label in names:
        if names.count(label) > 1:
            raise DataError(f"{where}: line 1: expected one column {label!r}, got several")
        return names.index(label)
    if isinstance(label, int) or re.fullmatch(r"\d{1,6}", label, re.ASCII):
        if 0 <= int(label) < width:
            return int(label)
        raise DataError(
            f"{where}: expected a label column in 0..{width - 1} (counted from 0), got {label}"
        )
    known = "no header" if names is None else ", ".join(f"{name:.40}" for name in names[:10])
    raise DataError(f"{where}: line 1: expected the label column {label!r:.80}, got {known}")


def _too_many_columns(where: str, line: int) -> DataError:
    return DataError(f"{where}: line {line}: expected at most {MAX_COLUMNS:,} columns, got more")
