"""Every reader of files from outside, as a function of bytes that raises nothing but FFEdgeError.

Libraries of kernels are parsed and never loaded, black boxes in ONNX checked and never run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ffedge import cli
from ffedge.errors import DataError, FFEdgeError
from ffedge.firmware.elf32 import Program
from ffedge.firmware.object32 import Object32
from ffedge.firmware.store import newest
from ffedge.interop.onnx_box import check_onnx
from ffedge.kernels import library_file
from ffedge.model_file import load_model
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.sources import load, load_features

from . import seeds
from .seeds import Seed

#: Files of at least this much free space hold what readers spool.
_ROOM = 1 << 30


@dataclass(frozen=True, slots=True)
class Target:
    """A reader and the good inputs that others are made from. seeds: made when first asked for."""

    read: Callable[[bytes], None]
    seeds: Callable[[], list[Seed]]


class NotOursError(FFEdgeError):
    """What a reader below ``ffedge``'s own errors refused, such as a library of kernels."""


class _Place:
    """The folder in which inputs become files."""

    folder: Path | None = None

    def put(self, name: str, data: bytes) -> Path:
        """A new file: one that is still mapped keeps its bytes."""
        path = self.path / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return path

    @property
    def path(self) -> Path:
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="ffedge-fuzz-", dir=memory_folder()))
        return self.folder


place = _Place()


def memory_folder() -> Path:
    """A folder in memory if there is one with room, else the system's for temporary files."""
    import shutil

    shared = Path("/dev/shm")
    with contextlib.suppress(OSError):
        if shutil.disk_usage(shared).free >= _ROOM:
            return shared
    return Path(tempfile.gettempdir())


def read_model(data: bytes) -> None:
    load_model(place.put("a.ffedge", data))


def read_npz(data: bytes) -> None:
    path = place.put("a.npz", data)
    _both(path)


def read_npy(data: bytes) -> None:
    """As samples beside good labels, as labels beside good samples, as samples alone."""
    path = place.put("a.npy", data)
    good = place.path / "good"
    if not good.is_dir():
        good.mkdir()
        np.save(good / "labels.npy", np.arange(seeds.SAMPLES) % 3)
        np.save(good / "x.npy", np.ones((seeds.SAMPLES, 4), np.float32))
    _each(
        lambda: load(path, label=good / "labels.npy", cache_dir=place.path),
        lambda: load(good / "x.npy", label=path, cache_dir=place.path),
        lambda: load_features(path, width=4, cache_dir=place.path),
    )


def read_csv(data: bytes) -> None:
    path = place.put("a.csv", data)
    names = [f"f{i}" for i in range(4)]
    _each(
        lambda: load(path, cache_dir=place.path),
        lambda: load_features(path, width=4, names=names, cache_dir=place.path),
    )


def read_idx(data: bytes) -> None:
    path = place.put("a-images-idx3-ubyte", data)
    good = place.path / "good-labels-idx1-ubyte"
    if not good.is_file():
        good.write_bytes(seeds.idx_bytes((np.arange(seeds.SAMPLES) % 3).astype(np.uint8)))
    _each(
        lambda: load(path, label=good, cache_dir=place.path),
        lambda: load_features(path, width=4, cache_dir=place.path),
    )


def read_idx_labels(data: bytes) -> None:
    labels = place.put("b-labels-idx1-ubyte", data)
    good = place.path / "b-images-idx3-ubyte"
    if not good.is_file():
        good.write_bytes(seeds.idx_bytes(np.ones((seeds.SAMPLES, 2, 2), np.uint8)))
    load(good, label=labels, cache_dir=place.path)


def read_network(data: bytes) -> None:
    description = _json(data)
    if description is not _NO_JSON:
        Network.parse(description)


def read_recipe(data: bytes) -> None:
    description = _json(data)
    if description is not _NO_JSON:
        Recipe.parse(description)


def read_library(data: bytes) -> None:
    try:
        library_file.read(place.put("a.so", data))
    except library_file.NotOursError as error:
        raise NotOursError(str(error)) from error


def read_object(data: bytes) -> None:
    symbols = Object32(data, "a.o").symbols
    defined = {symbol.name for symbol in symbols if symbol.defined and symbol.is_global}
    Program([("a.o", data)], defined, {symbol.name for symbol in symbols} - defined)


def read_flash(data: bytes) -> None:
    newest(seeds.flash_store().read(data))


def read_checkpoint(data: bytes) -> None:
    """A state file that is newer than a good one beside it, then one that is alone."""
    from ffedge.checkpoint_store import CheckpointStore

    for alone in (False, True):
        folder = place.path / ("alone" if alone else "beside")
        if not folder.is_dir():
            folder.mkdir()
            CheckpointStore(folder).save({"step": 1}, seeds.state_arrays())
            if alone:
                next(folder.glob("*.ffstate")).unlink()
        path = folder / "0000000007.ffstate"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        with contextlib.suppress(FFEdgeError):
            CheckpointStore(folder).peek()
        try:
            CheckpointStore(folder).load(seeds.state_arrays())
        except FFEdgeError:
            if alone:
                raise


#: The file that ``ffedge inspect`` gets is called as the first byte of the input chooses.
NAMES = (
    "x.ffedge", "x.npz", "x_train.npy", "x.csv", "x.tsv.gz", "train-images-idx3-ubyte",
    "train-images-idx3-ubyte.gz", "x.so", "0000000001.ffstate", "x.html", "x.safetensors", "x",
)  # fmt: skip


def run_inspect(data: bytes) -> None:
    """``ffedge inspect``: exit code 0 with a description, or 4 or 5 with one line of words."""
    labels = place.path / "train-labels-idx1-ubyte"
    if not labels.is_file():
        labels.write_bytes(seeds.idx_bytes((np.arange(seeds.SAMPLES) % 3).astype(np.uint8)))
        np.save(place.path / "y_train.npy", np.arange(seeds.SAMPLES) % 3)
    path = place.put(NAMES[data[0] % len(NAMES)] if data else "x", data[1:])
    as_json = len(data) % 2 == 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(["inspect", str(path), *(["--json"] if as_json else [])])
    shown, said = out.getvalue(), err.getvalue()
    if code not in (0, 4, 5):
        raise AssertionError(f"exit code {code}, stderr {said!r}")
    if as_json:
        json.loads(shown, parse_constant=_no_json)
    loud = [c for c in shown + said if c != "\n" and not c.isprintable()]
    if loud:
        raise AssertionError(f"{loud[0]!r} reached the terminal")
    if code == 0:
        if said or not shown:
            raise AssertionError(f"exit code 0, stderr {said!r}")
        return
    if not said.startswith("ffedge: ") or said.count("\n") != 1 or (shown and not as_json):
        raise AssertionError(f"expected one line of words, got {said!r}")
    raise DataError(said)


_NO_JSON = object()


def read_onnx_box(data: bytes) -> None:
    """Everything that is looked at before ONNX Runtime gets the file."""
    check_onnx(data, "a.onnx")


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return _NO_JSON


def _no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _both(path: Path) -> None:
    _each(
        lambda: load(path, cache_dir=place.path),
        lambda: load_features(path, width=4, cache_dir=place.path),
    )


def _each(*readers: Callable[[], object]) -> None:
    """All of them; then the first refusal, if all refused."""
    refusals = []
    for reader in readers:
        try:
            reader()
        except FFEdgeError as error:
            refusals.append(error)
    if len(refusals) == len(readers):
        raise refusals[0]


@cache
def targets() -> dict[str, Target]:
    """By name. The checkpoint reader is among them once there is one."""
    found = {
        "model": Target(read_model, seeds.models),
        "npz": Target(read_npz, seeds.archives),
        "npy": Target(read_npy, seeds.arrays),
        "csv": Target(read_csv, seeds.tables),
        "idx": Target(read_idx, seeds.images),
        "idx-labels": Target(read_idx_labels, seeds.image_labels),
        "network": Target(read_network, seeds.networks),
        "recipe": Target(read_recipe, seeds.recipes),
        "library": Target(read_library, seeds.libraries),
        "object": Target(read_object, seeds.objects),
        "flash": Target(read_flash, seeds.flash_dumps),
        "inspect": Target(run_inspect, inspect_seeds),
    }
    if importlib.util.find_spec("ffedge.checkpoint_store") is not None:
        found["checkpoint"] = Target(read_checkpoint, seeds.states)
    if importlib.util.find_spec("onnx") is not None:
        found["onnx-box"] = Target(read_onnx_box, seeds.graphs)
    return found


def inspect_seeds() -> list[Seed]:
    """Seeds of all files, each behind the byte that chooses its ending."""
    plain, packed = ([s for s in seeds.images() if s.kind == kind] for kind in ("idx", "gzip"))
    tables = [seed for seed in seeds.tables() if seed.kind == "csv"]
    made = [
        ("x.ffedge", seeds.models()), ("x.npz", seeds.archives()), ("x_train.npy", seeds.arrays()),
        ("x.csv", tables), ("x.tsv.gz", seeds.tables()[-1:]), ("train-images-idx3-ubyte", plain),
        ("train-images-idx3-ubyte.gz", packed), ("x.so", seeds.libraries()),
    ]  # fmt: skip
    return [
        Seed(seed.kind, seed.data, bytes([NAMES.index(name)]))
        for name, several in made
        for seed in several
    ]
