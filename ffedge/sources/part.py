"""One part of a data set as read from files, and its making into a Dataset on mapped files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .dataset import Dataset
from .features import (
    check_kept,
    compact_dtype,
    conversion_meter,
    convert,
    refuse_unusable_shape,
)
from .labels import Classes, classes_of, encode, refuse_label_shape
from .spool import Meter, PathLike, Progress, Spool
from .stored import StoredArray
from .targets import read_targets


@dataclass(frozen=True, slots=True)
class Part:
    """The train part or the test part: features (n, ...), labels (n,), names of the columns."""

    features: StoredArray
    labels: StoredArray
    feature_names: tuple[str, ...] | None = None


def datasets(
    name: str,
    train: Part,
    test: Part | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
    numeric: bool = False,
) -> tuple[Dataset, Dataset | None]:
    """Both parts with one dtype, one width and the classes of the train part.

    numeric: the labels are numbers to be predicted, and there are no classes. What cannot be used
    as it lies is converted in chunks into a temporary file. Raises DataError.
    """
    parts = [train] if test is None else [train, test]
    for part in parts:
        refuse_unusable_shape(part.features)
        refuse_label_shape(part.labels, part.features.shape[0])
        if part.features.shape[1:] != train.features.shape[1:]:
            raise DataError(
                f"{part.features.where}: expected samples of shape {train.features.shape[1:]} "
                f"as in the train part, got {part.features.shape[1:]}"
            )
    classes: Classes = () if numeric else classes_of(train.labels)
    labels = [_codes(part.labels, classes, cache_dir) for part in parts]
    meters = [conversion_meter(part.features, progress) for part in parts]
    dtypes = [
        compact_dtype(part.features, meter) for part, meter in zip(parts, meters, strict=True)
    ]
    # uint8 with int8 gives int16, anything with float32 gives float32: no value is changed.
    dtype = np.result_type(*dtypes)
    made = [
        _dataset(name, part, codes, classes, map_features(part.features, dtype, cache_dir, meter))
        for part, codes, meter in zip(parts, labels, meters, strict=True)
    ]
    return made[0], None if test is None else made[1]


def map_features(
    features: StoredArray, dtype: np.dtype[Any], cache_dir: PathLike | None, meter: Meter
) -> NDArray[Any]:
    """The features as (n, width) of dtype: as they lie if they can be, else through a spool.

    Raises DataError for NaN, infinity and what float32 cannot hold.
    """
    if features.kept is not None and features.kept.dtype == dtype:
        check_kept(features)
        return features.kept
    needed = features.shape[0] * features.width * dtype.itemsize
    with Spool(features.where, cache_dir, needed) as spool:
        return convert(features, dtype, spool, meter)


def _codes(labels: StoredArray, classes: Classes, cache_dir: PathLike | None) -> NDArray[Any]:
    with Spool(labels.where, cache_dir) as spool:
        return encode(labels, classes, spool) if classes else read_targets(labels, spool)


def _dataset(
    name: str, part: Part, codes: NDArray[Any], classes: Classes, features: NDArray[Any]
) -> Dataset:
    shape = part.features.shape[1:]
    return Dataset(features, codes, classes, shape, name, "mapped", part.feature_names)
