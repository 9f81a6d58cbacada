"""MNIST and Fashion-MNIST by name: where their files are looked for. Nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError
from .idx import either, read_idx
from .part import Part
from .spool import PathLike

NAMES = ("mnist", "fashion-mnist")
_HOW_TO_GET = {
    "mnist": (
        "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        "t10k-labels-idx1-ubyte (plain or .gz) into one of them, or set data_dir"
    ),
    "fashion-mnist": "run: apt install dataset-fashion-mnist, or set data_dir",
}
_SYSTEM_FOLDERS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}


def read_named(
    name: str, data_dir: PathLike | None, cache_dir: PathLike | None
) -> tuple[Part, Part | None]:
    """The parts of a set in NAMES: NAME.npz or the four IDX files.

    Looked for in data_dir, then in the folder $FFEDGE_DATA, then where Debian's package puts it;
    in each first in NAME.npz, then in the folder NAME, then in the folder itself; a hyphen in NAME
    may be an underscore. Raises DataError with the places and how to get the files.
    """
    spellings = dict.fromkeys((name, name.replace("-", "_")))
    folders = [Path(folder) for folder in (data_dir, os.environ.get("FFEDGE_DATA")) if folder]
    looked_at: list[str] = []
    for folder in folders:
        for spelling in spellings:
            looked_at.append(str(folder / f"{spelling}.npz"))
            if (folder / f"{spelling}.npz").is_file():
                from .npz import read_npz

                return read_npz(folder / f"{spelling}.npz", None, cache_dir)
        for place in (*(folder / spelling for spelling in spellings), folder):
            looked_at.append(str(place))
            if files := _four_files(place):
                return _read_four(files)
    if (system := _SYSTEM_FOLDERS.get(name)) is not None:
        looked_at.append(str(system))
        if files := _four_files(system):
            return _read_four(files)
    places = ", ".join(looked_at) or "no folder (neither data_dir nor FFEDGE_DATA is set)"
    raise DataError(
        f"{name}: expected {name}.npz or the four IDX files, got none; looked at {places}; "
        f"{_HOW_TO_GET[name]}"
    )


def _four_files(folder: Path) -> list[Path] | None:
    """Train images and labels, test images and labels; None unless all are there."""
    found = []
    for part in ("train", "t10k"):
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            names = (f"{part}-{kind}", f"{part}-{kind.replace('-idx', '.idx')}")
            files = [file for name in names if (file := either(folder / name))]
            if not files:
                return None
            found.append(files[0])
    return found


def _read_four(files: list[Path]) -> tuple[Part, Part]:
    train_images, train_labels, test_images, test_labels = map(read_idx, files)
    return Part(train_images, train_labels), Part(test_images, test_labels)
