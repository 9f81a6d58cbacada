"""A data set whose samples are addressed by row, and its making from arrays in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, DataError
from .features import check_kept, compact_dtype, convert, refuse_unusable_shape
from .labels import (
    Classes,
    classes_of,
    code_dtype,
    encode,
    given_classes,
    refuse_label_shape,
)
from .permutation import Permutations
from .spool import MemorySink, Meter
from .stored import stored_array
from .targets import FLOAT32, read_targets


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset:
    """Features and labels, addressed by row; made by ``from_arrays`` and ``load``.

    features: (n, width), C order, uint8, int8, int16 or float32; a plain writable np.ndarray,
        though nobody writes to it (a mapped file is private to the process)
    labels: (n,) codes 0..len(classes)-1, the smallest of uint8, uint16 and int32 that fits; or
        float32, the numbers to be predicted
    classes: the label of each code, sorted; all str or all int; () where labels are numbers
    feature_shape: shape of one sample before flattening, (28, 28) or (5,)
    name: for reports
    storage: "memory", or "mapped" for features in a file, which may be larger than memory
    feature_names: column names of a csv file with a header, else None
    rows: None: the samples are all rows in order. Else int32 (int64 from 2**31 rows), 4 bytes a
        sample: sample i is features[rows[i]] with labels[rows[i]]
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    classes: Classes
    feature_shape: tuple[int, ...]
    name: str
    storage: Literal["memory", "mapped"]
    feature_names: tuple[str, ...] | None = None
    rows: NDArray[Any] | None = None

    @property
    def n_samples(self) -> int:
        """Samples; fewer than rows of ``features`` after a split."""
        return len(self.features) if self.rows is None else len(self.rows)

    @property
    def width(self) -> int:
        """Features of a sample."""
        return int(self.features.shape[1])

    @property
    def numeric(self) -> bool:
        """Whether the labels are numbers to be predicted: a regression's targets."""
        return not self.classes

    def check_numeric(self, wanted: bool, where: str) -> None:
        """Raise DataError unless labels are numbers where those are ``wanted``, else classes."""
        if self.numeric == wanted:
            return
        if wanted:
            raise DataError(
                f"{where}: expected numbers to predict, got {len(self.classes):,} classes; read "
                "the data with numeric=True (--regression), or use a rule for classes"
            )
        raise DataError(
            f"{where}: expected classes, got numbers to predict; use the rule ordinal "
            "(--regression), or FFRegressor"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of features and labels, which the two parts of a split share; rows not counted."""
        return self.features.nbytes + self.labels.nbytes

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """(rest, part): a stratified division that copies neither features nor labels.

        fraction: the share of the samples in part, above 0 and below 1; each class gives its share,
            rounded so that the total is right, and keeps at least 1 sample in rest. Numbers are
            divided at random
        seed: 0..2**32-1; the same seed gives the same rows with every NumPy version

        Both keep their rows in ascending order. Working memory: about 10 bytes a sample.
        Raises ConfigError for a fraction or seed out of range, DataError if part would be empty.
        """
        if not 0 < fraction < 1:
            raise ConfigError(f"split: expected a fraction above 0 and below 1, got {fraction}")
        if not 0 <= seed < 2**32:
            raise ConfigError(f"split: expected a seed in 0..{2**32 - 1}, got {seed}")
        if self.numeric:
            labels: NDArray[Any] = np.zeros(self.n_samples, np.uint8)
        else:
            labels = self.labels if self.rows is None else self.labels[self.rows]
        counts = np.bincount(labels, minlength=max(len(self.classes), 1))
        taken = _shares(counts, fraction)
        if not taken.any():
            raise DataError(
                f"split: expected at least 1 sample in each part, got {self.n_samples:,} samples "
                f"at fraction {fraction}, which leaves one empty; use a larger fraction or more "
                f"data (a class with a single sample is never divided)"
            )
        random = Permutations(seed)
        order = np.argsort(labels, kind="stable")
        in_part = np.zeros(self.n_samples, bool)
        start = 0
        for count, take in zip(counts.tolist(), taken.tolist(), strict=True):
            in_part[order[start + random.permutation(count)[:take]]] = True
            start += count
        return self._at(np.flatnonzero(~in_part)), self._at(np.flatnonzero(in_part))

    def _at(self, positions: NDArray[Any]) -> Dataset:
        dtype = np.int32 if len(self.features) < 2**31 else np.int64
        rows = positions if self.rows is None else self.rows[positions]
        return replace(self, rows=rows.astype(dtype))

    def __repr__(self) -> str:
        kind = "numbers to predict" if self.numeric else f"{len(self.classes):,} classes"
        return (
            f"Dataset({self.name!r}: {self.n_samples:,} samples of shape {self.feature_shape}, "
            f"{self.features.dtype}, {kind}, {self.storage})"
        )


def from_features(
    features: NDArray[Any], shape: tuple[int, ...], name: str,
    feature_names: tuple[str, ...] | None = None, *,
    storage: Literal["memory", "mapped"] = "memory",
) -> Dataset:  # fmt: skip
    """A Dataset without labels: every sample has the code 0 of the one class "normal".

    features: (n, width) as ``load_features`` gives them; shape: of one sample.
    """
    labels = np.zeros(len(features), np.uint8)
    return Dataset(features, labels, ("normal",), shape, name, storage, feature_names)


def from_arrays(
    X: ArrayLike, y: ArrayLike, *, classes: Iterable[Any] | None = None, name: str = "arrays",
    numeric: bool = False,
) -> Dataset:  # fmt: skip
    """A Dataset from arrays in memory.

    X: (n, ...) of any real number type of at most 64 bits; beyond 2-D it is flattened. uint8, int8,
        int16 and float32 keep their dtype, and are not copied if they are writable and in C order;
        bool becomes uint8, other integers uint8 or int16 if every value fits, all else float32:
        the dtypes that load gives too
    y: (n,) or (n, 1): integers, bool, floats that are whole numbers, or texts (a str dtype or
        objects)
    classes: the labels there may be, 2 or more; they are sorted. None takes those in y
    numeric: y are numbers to be predicted, kept as float32; there are no classes

    Beyond its result it needs less than 8 MiB, whatever the size of X.
    Raises DataError, in words that name the first bad row and column, counted from 0, for NaN and
    infinity, unequal lengths, no samples, no features, one class only, and labels that are not
    among the classes.

    >>> data = from_arrays([[0.5, 1.0], [2.0, 3.0]], ["cat", "dog"])
    >>> data.classes, data.labels.tolist(), data.nbytes
    (('cat', 'dog'), [0, 1], 18)
    """
    stored = stored_array(_array(X, "X"), "X")
    labels = stored_array(_array(y, "y"), "y")
    refuse_unusable_shape(stored)
    n_samples = stored.shape[0]
    refuse_label_shape(labels, n_samples)
    named: Classes = ()
    if numeric:
        codes = read_targets(labels, MemorySink(FLOAT32, n_samples))
    else:
        named = classes_of(labels) if classes is None else given_classes(classes, "classes")
        codes = encode(labels, named, MemorySink(code_dtype(len(named)), n_samples))
    if stored.kept is not None:
        features = stored.kept
        check_kept(stored)
    else:
        meter = Meter(None, 0)
        dtype = compact_dtype(stored, meter)
        sink = MemorySink(dtype, math.prod(stored.shape))
        features = convert(stored, dtype, sink, meter)
    return Dataset(features, codes, named, stored.shape[1:], name, "memory")


def _array(values: ArrayLike, where: str) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise DataError(f"{where}: expected values without gaps, got a masked array; fill the gaps")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"{where}: expected rows of equal length, got {error}") from error


def _shares(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """How many samples of each class go into the part; at most all but one."""
    wanted = counts * fraction
    most = np.maximum(counts - 1, 0)
    taken: NDArray[np.int64] = np.minimum(np.floor(wanted).astype(np.int64), most)
    left = round(int(counts.sum()) * fraction) - int(taken.sum())
    # The classes with the largest remainders get one more, the first of equals first.
    order = np.argsort(taken - wanted, kind="stable")
    order = order[taken[order] < most[order]]
    taken[order[: max(left, 0)]] += 1
    return taken
