"""Labels: from whole numbers or texts to codes 0..len(classes)-1, in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .features import Sink
from .stored import StoredArray

Classes: TypeAlias = tuple[str, ...] | tuple[int, ...]

MAX_CLASSES = 100_000
MAX_LABEL_LENGTH = 250  # characters
_STEP = 16_384  # labels at once: np.unique needs about 40 B for each
_INT64 = range(-(2**63), 2**63)


def code_dtype(n_classes: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16 and int32 that holds the codes 0..n_classes-1."""
    if n_classes <= 2**8:
        return np.dtype(np.uint8)
    return np.dtype(np.uint16 if n_classes <= 2**16 else np.int32)


def refuse_label_shape(labels: StoredArray, n_samples: int) -> None:
    """Raises DataError unless there is one label a sample: shape (n,) or (n, 1)."""
    shape = labels.shape
    if len(shape) not in (1, 2) or labels.width != 1:
        raise DataError(
            f"{labels.where}: expected labels of shape (samples,), got shape {shape}; "
            f"one-hot rows become labels with argmax(axis=1)"
        )
    if shape[0] != n_samples:
        raise DataError(
            f"{labels.where}: expected as many labels as samples, got {shape[0]:,} labels "
            f"and {n_samples:,} samples"
        )


def classes_of(labels: StoredArray) -> Classes:
    """The distinct labels, sorted. Raises DataError for fewer than 2 or a value that is no label.

    Labels are integers, bool, floats that are whole numbers, or texts; one kind in all rows.
    """
    classes = _sorted(_distinct(labels), labels.where)
    if len(classes) < 2:
        raise DataError(
            f"{labels.where}: expected at least 2 classes, got only {classes[0]!r}; "
            f"a classifier needs samples of each class"
        )
    return classes


def given_classes(classes: Iterable[Any], where: str) -> Classes:
    """Classes named by the caller, sorted. Raises DataError for mixed kinds or doubles."""
    values = [value.item() if isinstance(value, np.generic) else value for value in classes]
    values = [int(value) if isinstance(value, bool) else value for value in values]
    kinds = {type(value) for value in values}
    if kinds not in ({int}, {str}) or len(set(values)) < max(2, len(values)):
        raise DataError(
            f"{where}: expected classes to be 2 or more different integers or texts, "
            f"got {some(values)}"
        )
    return _sorted(set(values), where)


def encode(labels: StoredArray, classes: Classes, sink: Sink) -> NDArray[Any]:
    """Codes (n,) into sorted classes, through the sink. Raises DataError for labels outside."""
    code = {value: number for number, value in enumerate(classes)}
    outside = _distinct(labels) - code.keys()
    if outside:
        shown = sorted(outside, key=lambda value: (isinstance(value, str), value))
        raise DataError(
            f"{labels.where}: expected labels among the {len(classes):,} classes "
            f"{some(classes)}, got {some(shown)}"
        )
    dtype = code_dtype(len(classes))
    for values in _steps(labels):
        distinct, inverse = np.unique(values, return_inverse=True)
        codes = np.array([code[value] for value in distinct.tolist()], dtype)
        sink.write(codes[inverse])
    return sink.mapped(dtype, (labels.shape[0],))


def too_many_classes(where: str) -> DataError:
    """The refusal of more than MAX_CLASSES different labels."""
    return DataError(
        f"{where}: expected at most {MAX_CLASSES:,} classes, got more; "
        f"the labels look like row numbers or measurements"
    )


def some(values: Iterable[Any]) -> str:
    """For an error message: up to five values and how many more there are."""
    listed = list(values)
    shown = ", ".join(f"{value!r:.40}" for value in listed[:5])
    more = len(listed) - 5
    return f"{shown} and {more:,} more" if more > 0 else shown


def _distinct(labels: StoredArray) -> set[Any]:
    found: set[Any] = set()
    kinds = set()
    for values in _steps(labels):
        found.update(np.unique(values).tolist())
        kinds.add(values.dtype.kind == "U")
        if len(kinds) > 1:
            raise DataError(
                f"{labels.where}: expected labels of one kind, got integers and texts mixed"
            )
        if len(found) > MAX_CLASSES:
            raise too_many_classes(labels.where)
    return found


def _steps(labels: StoredArray) -> Iterator[NDArray[Any]]:
    """Chunks of at most _STEP labels, as integers or texts."""
    row = 0
    for chunk in labels.flat():
        for start in range(0, chunk.size, _STEP):
            values = chunk[start : start + _STEP]
            yield _plain(values, labels.where, row)
            row += values.size


def _plain(values: NDArray[Any], where: str, row: int) -> NDArray[Any]:
    kind = values.dtype.kind
    if kind in "OT":
        values = _from_objects(values.astype(object), where, row)
        kind = values.dtype.kind
    if kind == "b":
        return np.asarray(values.view(np.uint8) != 0, np.uint8)
    if kind in "iu":
        return values
    if kind == "U":
        return _checked_texts(values.astype(values.dtype.newbyteorder("=")), where, row)
    if kind == "f":
        # A signalling NaN warns already when it is widened.
        with np.errstate(invalid="ignore"):
            values = values.astype(np.float64)
            good = (np.abs(values) < 2.0**63) & (np.floor(values) == values)
        _refuse_first(~good, values, where, row, "whole numbers or texts")
        return values.astype(np.int64)
    raise DataError(
        f"{where}: expected labels of an integer, whole float or text type, got {values.dtype}"
    )


def _from_objects(values: NDArray[Any], where: str, row: int) -> NDArray[Any]:
    items = values.tolist()
    for allowed, dtype in ((str, np.str_), ((int, np.integer), np.int64)):
        if all(isinstance(item, cast("type", allowed)) for item in items):
            if allowed is str:
                _refuse_long(items, where, row)
            elif any(int(item) not in _INT64 for item in items):
                raise DataError(f"{where}: expected labels within 64 bits, got a larger integer")
            return np.array(items, dtype)
    first = type(items[0])
    for number, item in enumerate(items):
        if not isinstance(item, (str, int, np.integer)) or type(item) is not first:
            raise DataError(
                f"{where}: expected labels that are all texts or all integers, got {item!r:.80} "
                f"({type(item).__name__}) at row {row + number} (counted from 0)"
            )
    raise DataError(f"{where}: expected labels that are all texts or all integers, got a mixture")


def _checked_texts(values: NDArray[Any], where: str, row: int) -> NDArray[Any]:
    characters = values.dtype.itemsize // 4
    if characters == 0:
        raise DataError(f"{where}: expected labels, got empty texts only")
    points = np.ascontiguousarray(values).view(np.uint32).reshape(-1, characters)
    bad = (points > 0x10FFFF) | ((points >= 0xD800) & (points <= 0xDFFF))
    if bad.any():
        number = int(bad.any(axis=1).argmax())
        raise DataError(
            f"{where}: expected labels of Unicode characters, got a value that is none at row "
            f"{row + number} (counted from 0)"
        )
    _refuse_first(values == "", values, where, row, "a label in every row")
    if characters > MAX_LABEL_LENGTH:
        _refuse_long(values.tolist(), where, row)
    return values


def _refuse_long(items: list[str], where: str, row: int) -> None:
    for number, item in enumerate(items):
        if len(item) > MAX_LABEL_LENGTH:
            raise DataError(
                f"{where}: expected labels of at most {MAX_LABEL_LENGTH:,} characters, got "
                f"{len(item):,} at row {row + number} (counted from 0)"
            )


def _refuse_first(
    bad: NDArray[Any], values: NDArray[Any], where: str, row: int, expected: str
) -> None:
    if bad.any():
        number = int(bad.argmax())
        raise DataError(
            f"{where}: expected {expected} as labels, got {values[number].item()!r} at row "
            f"{row + number} (counted from 0)"
        )


def _sorted(values: set[Any], where: str) -> Classes:
    if any(isinstance(value, int) and value not in _INT64 for value in values):
        raise DataError(f"{where}: expected labels within 64 bits, got a larger integer")
    return cast("Classes", tuple(sorted(values)))
