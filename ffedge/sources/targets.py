"""Targets of a regression: finite numbers as float32, in chunks."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .csv_columns import Layout, as_number
from .features import Sink
from .spool import Spool
from .stored import StoredArray, stored_array

FLOAT32 = np.dtype(np.float32)


def read_targets(labels: StoredArray, sink: Sink) -> NDArray[Any]:
    """Numbers (n,) as float32, through the sink. Raises DataError for texts, NaN and infinity."""
    row = 0
    for chunk in labels.flat():
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            numbers = _numbers(chunk, labels.where, row).astype(np.float32)
        finite = np.isfinite(numbers)
        if not finite.all():
            place = int(finite.argmin())
            raise DataError(
                f"{labels.where}: expected finite targets within float32, got {chunk[place]!s:.40} "
                f"at row {row + place} (counted from 0); drop the row or fill the gap"
            )
        sink.write(numbers)
        row += chunk.size
    return sink.mapped(FLOAT32, (labels.shape[0],))


def _numbers(chunk: NDArray[Any], where: str, row: int) -> NDArray[Any]:
    if chunk.dtype.kind == "b":
        # A file may hold any byte as a bool.
        return np.asarray(chunk.view(np.uint8) != 0)
    if chunk.dtype.kind in "iuf" and chunk.dtype.itemsize <= 8:
        return chunk
    if chunk.dtype.kind == "O":
        for place, item in enumerate(chunk.tolist()):
            if isinstance(item, str) or not hasattr(item, "__float__"):
                raise DataError(
                    f"{where}: expected numbers as targets, got {item!r:.80} "
                    f"({type(item).__name__}) at row {row + place} (counted from 0)"
                )
        return chunk.astype(np.float64)
    raise DataError(
        f"{where}: expected targets of a real number type of at most 64 bits, got {chunk.dtype}; "
        "texts are labels of classes"
    )


class CsvTargets:
    """The target column of a csv file: float32 through a spool, as ``_Labels`` does with codes."""

    def __init__(self, where: str, layout: Layout, spool: Spool) -> None:
        assert layout.label is not None
        self._where, self._column, self._number = where, layout.column(layout.label), layout.label
        self._spool = spool
        self._waiting = array("f")
        self._targets: NDArray[Any] = np.empty(0, np.float32)

    def take(self, cells: list[str], line: int) -> None:
        """Collect the target of a record. Raises DataError for what is no finite number."""
        value = as_number(cells[self._number])
        # Beyond float32's largest, a number becomes infinite.
        if value is None or not abs(value) <= float(np.finfo(np.float32).max):
            raise DataError(
                f"{self._where}: line {line}, {self._column}: expected a finite number within "
                f"float32 as target, got {cells[self._number]!r:.80}; fill the gap or drop the row"
            )
        self._waiting.append(value)

    def flush(self) -> None:
        """Write what waits."""
        self._spool.write(np.frombuffer(self._waiting, np.float32))
        self._waiting = array("f")

    def finish(self, samples: int) -> None:
        """Write what waits and map everything."""
        self.flush()
        self._targets = self._spool.mapped(FLOAT32, (samples,))

    def stored(self) -> StoredArray:
        """The targets."""
        return stored_array(self._targets, self._where)
