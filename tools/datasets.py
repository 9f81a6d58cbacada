"""The data sets that the tools measure on: NAME.npz files in a folder, one way to read them.

Nothing is downloaded. A set that is not in the folder is left out, by name. Where a set comes
without a split, the one given here is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.sources import Dataset, from_arrays, load

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, Array, Array, Array]

#: Image, sound, sensor-window, tabular and small sets: what the defaults are judged on.
NAMES = (
    "optdigits", "mnist1d", "speech_commands_test", "hmp_wrist", "stm32_har", "magic_wand",
    "fan_vibration", "occupancy", "indoor_movement", "gas_drift", "mitbih", "GunPoint",
    "ItalyPowerDemand", "BasicMotions",
)  # fmt: skip


def folder(given: str | None) -> Path:
    """``given``, else $FFEDGE_DATA, else the folder ``../shared/data`` beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(given or os.environ.get("FFEDGE_DATA") or beside)


def _gas_drift(file: Any) -> Arrays:
    """Sensors as delivered against sensors a few months older."""
    return file["x1"], file["y1"], file["x2"], file["y2"]


def _time_series(file: Any) -> Arrays:
    keys = {key.lower(): key for key in file.files}
    return tuple(file[keys[key]] for key in ("x_train", "y_train", "x_test", "y_test"))  # type: ignore[return-value]


_READERS: dict[str, Callable[[Any], Arrays]] = {"gas_drift": _gas_drift}


def read(
    name: str, data_dir: str | None = None, limit: int | None = None
) -> tuple[Dataset, Dataset]:
    """(train, test) of one set; ``limit`` takes that many random training samples."""
    if name == "digits":
        train, test = load("digits")
        assert test is not None
        return train, test
    with np.load(folder(data_dir) / f"{name}.npz", allow_pickle=False) as file:
        x, y, x_test, y_test = _READERS.get(name, _time_series)(file)
    if limit is not None and len(x) > limit:
        chosen = np.random.RandomState(0).permutation(len(x))[:limit]
        x, y = x[chosen], y[chosen]
    classes = np.unique(np.concatenate([y, y_test]))
    return (from_arrays(x, y, classes=classes, name=name),
            from_arrays(x_test, y_test, classes=classes, name=name))  # fmt: skip


def available(names: tuple[str, ...], data_dir: str | None) -> Iterator[str]:
    """The names whose files are there; says which are not."""
    for name in names:
        if name == "digits" or (folder(data_dir) / f"{name}.npz").is_file():
            yield name
        else:
            print(f"left out, not in {folder(data_dir)}: {name}.npz")


def rows(data: Dataset) -> tuple[Array, Array]:
    """Features and labels of a data set as arrays."""
    if data.rows is None:
        return data.features, data.labels
    return data.features[data.rows], data.labels[data.rows]
