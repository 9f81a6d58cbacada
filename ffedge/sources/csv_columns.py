"""The columns of a csv file: what its first line settles, where features and label stand."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import DataError
from .csv_lines import MAX_COLUMNS, too_many_columns
from .labels import some

LABEL_NAMES = ("label", "class", "target", "y")


@dataclass(frozen=True, slots=True)
class Header:
    """The first line, which may be a header or a sample already."""

    cells: tuple[str, ...]
    delimiter: str

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.cells)

    @property
    def numeric(self) -> bool:
        """Whether it looks like a sample: numbers only."""
        return all(as_number(cell) is not None for cell in self.cells)

    def names(self, where: str) -> tuple[str, ...] | None:
        """The names of all columns, None without a header. Raises DataError for one unnamed."""
        if self.numeric:
            return None
        if "" in self.cells:
            raise DataError(
                f"{where}: line 1: expected a name for every column, got none for column "
                f"{self.cells.index('')} (counted from 0); pandas writes its row numbers into such "
                f"a column unless told to_csv(index=False)"
            )
        return self.cells


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column is what.

    names: all columns, None without a header
    width: cells of every record
    columns: the numbers of the feature columns, in the order of the features
    label: the number of the label column, None where no labels are read
    """

    names: tuple[str, ...] | None
    width: int
    columns: tuple[int, ...]
    label: int | None
    delimiter: str

    def column(self, number: int) -> str:
        """A column in an error message."""
        return f"column {number}" if self.names is None else f"column {self.names[number]!r:.80}"

    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the feature columns, None without a header."""
        return None if self.names is None else tuple(self.names[number] for number in self.columns)


def first_line(line: str, where: str) -> Header:
    """The cells of the first line and the delimiter between them."""
    outside_quotes = re.sub(r'"[^"]*"', "", line)
    # max takes the first of equals: a comma may be a decimal comma, a tab is nothing else.
    delimiter = max("\t;,", key=outside_quotes.count)
    if outside_quotes.count(delimiter) >= MAX_COLUMNS:
        raise too_many_columns(where, 1)
    try:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"{where}: line 1: expected a header, got an error ({error})") from error
    return Header(tuple(cells), delimiter)


def labelled(header: Header, label: str | int | None, where: str) -> Layout:
    """One label column, found by the caller's word or by LABEL_NAMES; all others are features."""
    if header.width < 2:
        raise DataError(
            f"{where}: line 1: expected at least 2 columns with comma, semicolon or tab between "
            f"them, got {header.width}"
        )
    names = header.names(where)
    number = _label_column(names, header.width, label, where)
    return Layout(names, header.width, _all_but(number, header.width), number, header.delimiter)


def like(header: Header, train: Layout, where: str) -> Layout | None:
    """The layout of a test file: as the train file's, or None if it lacks just the label column."""
    if train.names is None:
        alike = header.numeric and header.width == train.width
    else:
        if header.cells == train.feature_names():
            return None
        alike = header.cells == train.names
    if not alike:
        raise DataError(
            f"{where}: line 1: expected the {train.width:,} columns of the train part, got "
            f"{header.width:,} or others; make them alike, or move the file elsewhere"
        )
    return replace(train, delimiter=header.delimiter)


def unlabelled(header: Header, width: int, names: Sequence[str] | None, where: str) -> Layout:
    """Features only: by ``names`` where there is a header, else all columns but a label column.

    Raises DataError for names that the header lacks, and for neither width nor width + 1 columns.
    """
    # Names may be numbers, as pandas writes them; then the header looks like a sample.
    if names is not None and not (header.numeric and set(names) - set(header.cells)):
        columns = _columns_called(names, header.cells, where)
        return Layout(header.cells, header.width, columns, None, header.delimiter)
    own = header.names(where)
    if header.width not in (width, width + 1):
        raise DataError(
            f"{where}: line 1: expected {width:,} columns as the model has features, or "
            f"{width + 1:,} with the label, got {header.width:,}; give the columns that the model "
            f"was trained on"
        )
    label = None if header.width == width else _label_column(own, header.width, None, where)
    return Layout(own, header.width, _all_but(label, header.width), None, header.delimiter)


def all_features(header: Header, where: str) -> Layout:
    """Every column a feature, but for one that a header calls by one of LABEL_NAMES."""
    names = header.names(where)
    lowered = [name.lower() for name in names or ()]
    label = next((lowered.index(name) for name in LABEL_NAMES if name in lowered), None)
    columns = _all_but(label, header.width)
    if not columns:
        raise DataError(f"{where}: line 1: expected a column of features, got a label alone")
    return Layout(names, header.width, columns, None, header.delimiter)


def as_number(cell: str) -> float | None:
    """A cell as a number, None if it is none."""
    try:
        return float(cell)
    except ValueError:
        return None


def _all_but(label: int | None, width: int) -> tuple[int, ...]:
    return tuple(number for number in range(width) if number != label)


def _columns_called(names: Sequence[str], cells: tuple[str, ...], where: str) -> tuple[int, ...]:
    """The column of each name. A name that the model has twice must stand there twice."""
    wanted = Counter(names)
    places: dict[str, list[int]] = {name: [] for name in wanted}
    for number, cell in enumerate(cells):
        if cell in places:
            places[cell].append(number)
    missing = [name for name, count in wanted.items() if len(places[name]) < count]
    if missing:
        raise DataError(
            f"{where}: line 1: expected the {len(names):,} columns that the model was trained on, "
            f"got a header without {some(missing)}; add or rename them"
        )
    for name, count in wanted.items():
        if len(places[name]) > count:
            raise _several(name, where)
    unused = {name: iter(numbers) for name, numbers in places.items()}
    return tuple(next(unused[name]) for name in names)


def _label_column(
    names: tuple[str, ...] | None, width: int, label: str | int | None, where: str
) -> int:
    if label is None:
        lowered = [name.lower() for name in names or ()]
        found = [lowered.index(name) for name in LABEL_NAMES if name in lowered]
        return found[0] if found else width - 1
    if isinstance(label, str) and names is not None and label in names:
        if names.count(label) > 1:
            raise _several(label, where)
        return names.index(label)
    if isinstance(label, int) or re.fullmatch(r"\d{1,6}", label, re.ASCII):
        if 0 <= int(label) < width:
            return int(label)
        raise DataError(
            f"{where}: expected a label column in 0..{width - 1} (counted from 0), got {label}"
        )
    known = "no header" if names is None else ", ".join(f"{name:.40}" for name in names[:10])
    raise DataError(f"{where}: line 1: expected the label column {label!r:.80}, got {known}")


def _several(name: str, where: str) -> DataError:
    return DataError(f"{where}: line 1: expected one column {name!r:.80}, got several")
