"""Features: which dtype they get, their conversion in chunks, the refusal of NaN and infinity."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .spool import Meter, Progress
from .stored import KEPT_DTYPES, StoredArray

_FLOAT32 = np.dtype(np.float32)
_UINT8 = np.dtype(np.uint8)
_INT16 = np.dtype(np.int16)


class Sink(Protocol):
    """Takes chunks, gives an array: Spool or MemorySink."""

    def write(self, chunk: NDArray[Any], /) -> None:
        """Append the elements of a 1-D array."""

    def mapped(self, dtype: np.dtype[Any], shape: tuple[int, ...], /) -> NDArray[Any]:
        """Everything written, as an array."""


def refuse_unusable_shape(features: StoredArray) -> None:
    """Raises DataError unless the array is numeric and (samples, ...) with neither of them 0."""
    where, shape, dtype = features.where, features.shape, features.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"{where}: expected features of a real number type of at most 64 bits, got {dtype}; "
            f"turn categories into numbers first"
        )
    if len(shape) < 2:
        raise DataError(
            f"{where}: expected features of shape (samples, width), got shape {shape}; "
            f"for one feature a sample use X.reshape(-1, 1)"
        )
    if shape[0] == 0:
        raise DataError(f"{where}: expected at least 1 sample, got 0 (shape {shape})")
    if features.width == 0:
        raise DataError(f"{where}: expected at least 1 feature, got 0 (shape {shape})")


def conversion_meter(features: StoredArray, progress: Progress | None) -> Meter:
    """For compact_dtype and convert: counts the bytes of every pass that they make."""
    scan = features.dtype.kind in "iu" and _native(features.dtype) not in KEPT_DTYPES
    return Meter(progress, features.nbytes * (1 + scan))


def compact_dtype(features: StoredArray, meter: Meter) -> np.dtype[Any]:
    """The dtype that data get: their own if kept, uint8 for bool, float32 for other floats.

    Wider integers become uint8, else int16, if every value fits (one pass in chunks), else float32.
    """
    dtype = _native(features.dtype)
    if dtype in KEPT_DTYPES:
        return dtype
    if dtype.kind == "b":
        return _UINT8
    if dtype.kind == "f":
        return _FLOAT32
    low = high = 0
    for chunk in features.flat():
        low = min(low, int(chunk.min()))
        high = max(high, int(chunk.max()))
        meter.add(chunk.nbytes)
    if low >= 0 and high <= 255:
        return _UINT8
    if low >= -32768 and high <= 32767:
        return _INT16
    return _FLOAT32


def check_kept(features: StoredArray) -> None:
    """Raises DataError if features that are used as they lie hold NaN or infinity."""
    if features.dtype.kind == "f":
        check = _FiniteCheck(features)
        for chunk in features.flat():
            check.see(chunk, chunk)
        check.finish()


def convert(features: StoredArray, dtype: np.dtype[Any], sink: Sink, meter: Meter) -> NDArray[Any]:
    """All values as (n, width) of dtype, through the sink. Refuses NaN, infinity, overflow."""
    check = _FiniteCheck(features)
    for chunk in features.flat():
        with np.errstate(over="ignore", invalid="ignore"):  # the check reports both
            # A file may hold any byte as a bool.
            values = chunk.view(np.uint8) != 0 if chunk.dtype.kind == "b" else chunk
            converted = np.ascontiguousarray(values, dtype)
        if dtype == _FLOAT32:
            check.see(converted, chunk)
        sink.write(converted)
        meter.add(chunk.nbytes)
    check.finish()
    return sink.mapped(dtype, (features.shape[0], features.width))


class _FiniteCheck:
    """Counts values that are not finite over all chunks and remembers the first."""

    def __init__(self, features: StoredArray) -> None:
        self._features = features
        self._seen = 0
        self._bad = 0
        self._first = 0
        self._value = ""

    def see(self, converted: NDArray[Any], original: NDArray[Any]) -> None:
        finite = np.isfinite(converted)
        bad = finite.size - int(np.count_nonzero(finite))
        if bad and not self._bad:
            position = int(finite.argmin())
            self._first = self._seen + position
            self._value = str(original[position])
        self._bad += bad
        self._seen += converted.size

    def finish(self) -> None:
        if self._bad:
            row, column = divmod(self._first, self._features.width)
            raise DataError(
                f"{self._features.where}: expected finite features within float32, got "
                f"{self._value} at row {row}, column {column} (counted from 0), "
                f"{self._bad:,} such in all; drop those rows or fill the gaps"
            )


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")
