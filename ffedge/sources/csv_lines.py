"""The records of a csv file, each read with bounds on its bytes and its cells."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import DataError
from .spool import Meter, Progress
from .stored import refusing

MAX_RECORD_BYTES = 16 << 20
# A few KB of .gz can hold a line of any length; MAX_COLUMNS zeros fit here, with their digits.
_PACKED_RECORD_BYTES = 2 << 20
MAX_COLUMNS = 100_000


class Lines:
    """The lines of a file as text, for csv.reader, with bounds on what one record may hold.

    packed: bytes of the file if it is compressed; a record of few of them is bounded further.
    """

    def __init__(self, stream: BinaryIO, where: str, packed: int | None = None) -> None:
        self.delimiter = ""
        self.number = 0
        self._stream = stream
        self._where = where
        self._record_bytes = 0
        self._record_cells = 0
        self._most = MAX_RECORD_BYTES
        if packed is not None:
            self._most = min(self._most, _PACKED_RECORD_BYTES + 4 * packed)
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

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self._peeked is not None:
            line, self._peeked = self._peeked, None
            return line
        number = self.number + 1
        with refusing(f"{self._where}: line {number}"):
            raw = self._stream.readline(self._most + 1)
        if not raw:
            raise StopIteration
        self.number = number
        self._record_bytes += len(raw)
        if self._record_bytes > self._most:
            raise DataError(
                f"{self._where}: line {number}: expected a record of at most "
                f"{self._most:,} B, got more; a quote may be left open"
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
                raise too_many_columns(self._where, number)
        return line


def records(lines: Lines, where: str) -> Iterator[list[str]]:
    """The cells of each record that is not blank; lines.number is the last line of it."""
    reader = csv.reader(lines, delimiter=lines.delimiter)
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


class FileMeter:
    """Reports how far the file has been read, in bytes of the file as it lies."""

    def __init__(self, progress: Progress | None, raw: BinaryIO) -> None:
        self._raw = raw
        self._meter = Meter(progress, os.fstat(raw.fileno()).st_size)
        self._done = 0

    def report(self) -> None:
        """Report the bytes since the last time."""
        position = self._raw.tell()
        self._meter.add(position - self._done)
        self._done = position


def too_many_columns(where: str, line: int) -> DataError:
    """The refusal of more than MAX_COLUMNS cells in a record."""
    return DataError(f"{where}: line {line}: expected at most {MAX_COLUMNS:,} columns, got more")
