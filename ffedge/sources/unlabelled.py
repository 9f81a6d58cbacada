"""Samples without labels: ``load_features`` to predict, ``load_unlabelled`` to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from . import named
from .dataset import Dataset, from_features
from .digits import load_digits
from .features import compact_dtype, conversion_meter, refuse_unusable_shape
from .idx import read_idx
from .load import file_kind, refuse_absent
from .npy import read_npy
from .part import map_features
from .spool import PathLike, Progress
from .stored import StoredArray, stored_array


def load_features(
    spec: PathLike,
    *,
    width: int,
    names: Sequence[str] | None = None,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Samples to predict, (n, width), C order, uint8, int8, int16 or float32; mapped as by load.

    spec: "digits", "mnist" or "fashion-mnist", whose test part is taken; or the path of one file:
        .npy or IDX with the samples; .npz with them as x_test, X_test, X, x, data, x_train or
        X_train (the first that is there) or as its only array of 2 or more dimensions; .csv or
        .tsv. Beyond 2-D they are flattened
    width: the number of features of the model, at least 1
    names: the model's names of the features, width of them, or None
    data_dir, cache_dir, progress: as in load

    Of a csv file with a header the columns ``names`` are taken, in that order, wherever they stand;
    others, a label or row numbers, are not read. Without a header, or without names, it has width
    columns, or one more for the label, which is not read: the column that load takes by default.

    Raises DataError, naming the file, for other widths, absent columns, NaN, infinity and
    everything else that cannot be used; ConfigError for a width below 1 or another count of names.

    >>> features = load_features("digits", width=64)
    >>> features.shape, features.dtype
    ((359, 64), dtype('uint8'))
    """
    if width < 1:
        raise ConfigError(f"load_features: expected width >= 1, got {width}")
    if names is not None and len(names) != width:
        raise ConfigError(
            f"load_features: expected names for {width:,} features, got {len(names):,}; "
            f"take both from one model"
        )
    features = _stored(spec, width, names, data_dir, cache_dir, progress)
    refuse_unusable_shape(features)
    if features.width != width:
        raise DataError(
            f"{features.where}: expected samples of {width:,} features as the model has, got "
            f"{features.width:,} (shape {features.shape}); give data of the shape that the model "
            f"was trained on"
        )
    meter = conversion_meter(features, progress)
    return map_features(features, compact_dtype(features, meter), cache_dir, meter)


def load_unlabelled(
    spec: PathLike,
    *,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Samples to learn from without labels: a Dataset whose one class is "normal".

    spec: as in load_features, but the train part of what has one. Of a csv file all columns are
    features, except one that its header calls label, class, target or y.
    data_dir, cache_dir, progress: as in load

    Raises DataError as load_features.

    >>> load_unlabelled("digits").n_samples
    1438
    """
    names, path = None, Path(spec)
    if spec == "digits":
        features = stored_array(load_digits()[0].features.reshape(-1, 8, 8), "digits")
    elif spec in named.NAMES:
        features = named.read_named(str(spec), data_dir, cache_dir)[0].features
    else:
        refuse_absent(path, "load_unlabelled", "a file")
        kind = file_kind(path)
        if kind == "csv":
            from .csv_file import read_csv_unlabelled

            features, names = read_csv_unlabelled(path, cache_dir, progress)
        elif kind == "npz":
            from .npz import read_npz_features

            features = read_npz_features(path, cache_dir, train=True)
        else:
            features = read_npy(path) if kind == "npy" else read_idx(path)
    refuse_unusable_shape(features)
    meter = conversion_meter(features, progress)
    rows = map_features(features, compact_dtype(features, meter), cache_dir, meter)
    name = path.name.removesuffix(".gz")
    name = name.rpartition(".")[0] or name
    return from_features(rows, features.shape[1:], name, names, storage="mapped")


def _stored(
    spec: PathLike,
    width: int,
    names: Sequence[str] | None,
    data_dir: PathLike | None,
    cache_dir: PathLike | None,
    progress: Progress | None,
) -> StoredArray:
    """The samples as they lie."""
    if spec == "digits":
        return stored_array(load_digits()[1].features, "digits")
    if spec in named.NAMES:
        train, test = named.read_named(str(spec), data_dir, cache_dir)
        return (test or train).features
    path = Path(spec)
    refuse_absent(path, "load_features", "a file")
    kind = file_kind(path)
    if kind == "csv":
        from .csv_file import read_csv_features

        return read_csv_features(path, width, names, cache_dir, progress)
    if kind == "npz":
        from .npz import read_npz_features

        return read_npz_features(path, cache_dir)
    return read_npy(path) if kind == "npy" else read_idx(path)
