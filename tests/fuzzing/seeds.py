"""Good files, as ffedge and NumPy write them: small, many kinds, the same in every process."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.activations import Leaky, StudentT
from ffedge.buffers import model_needs, plan_training
from ffedge.fields import Fields
from ffedge.firmware.elf32_file import CODE, DATA, OBJECT, READ_ONLY, OutSection, OutSymbol
from ffedge.firmware.elf32_file import write_elf as write_elf32
from ffedge.firmware.store import Store
from ffedge.kernels import library_file
from ffedge.kernels.device import checkpoint as device_checkpoint
from ffedge.lowering.elf import link
from ffedge.model import Model
from ffedge.model_file import save_model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import Recipe
from ffedge.rules import Contrast, Group, Readout, Regions, hinton
from ffedge.training_file import TrainingFile

SAMPLES = 12


@dataclass(frozen=True, slots=True)
class Seed:
    """kind: which mutations know its structure. prefix: stands in front and is never changed."""

    kind: str
    data: bytes
    prefix: bytes = b""


_NETWORKS = (
    Network.dense(9, (20, 17), 3),
    Network.dense(4, (16,), 3, Group()),
    Network.dense(4, (16, 5), 2, hinton(), normalize_input=True),
    Network.dense(6, (16, 8), 3, precision="int8", input_parts=2),
    Network.dense(4, (16,), 2, Readout(frozen=True, seed=5)),
    Network.dense(
        6,
        (16, 4),
        2,
        Contrast(Regions(count=2)),
        activations=[Leaky(), StudentT()],
        fields=[Fields((3, 2), (2, 1), (1, 1)), None],
    ),
)


def _model(network: Network, names: bool, texts: bool) -> Model:
    rng = np.random.default_rng(7)
    params = {}
    for need in model_needs(network):
        array = np.zeros(need.spec.shape, need.spec.dtype)
        if need.spec.dtype == "float32":
            array[..., :1] = rng.standard_normal(array[..., :1].shape)
        params[need.name] = array
    classes: Any = tuple(range(network.classes))
    if texts:
        classes = tuple("abcdefgh"[: network.classes])
    features = tuple(f"f{i}" for i in range(network.features)) if names else None
    training = {"epochs": 3, "test_accuracy": 0.975, "recipe": Recipe().describe()}
    shape = (3, 3) if network.features == 9 else (network.features,)
    return Model(network, params, classes, shape, features, training)


@cache
def models() -> list[Seed]:
    """Model files as ``save_model`` writes them, and one that a training leaves."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.ffedge"
        for number, network in enumerate(_NETWORKS):
            save_model(_model(network, number % 2 == 0, number % 2 == 1), path)
            made.append(Seed("model", path.read_bytes()))
        with open(path, "w+b") as file:
            model = _model(_NETWORKS[0], True, False)
            training = TrainingFile(file, model, Recipe(Adam()))
            for name, array in model.params.items():
                training.write(training.place(name), [array.data.cast("B")])
            training.finish(model, memoryview(bytearray(4096)))
        # Most of its header are spaces; some are enough.
        made.append(Seed("model", path.read_bytes()))
    return made


@cache
def archives() -> list[Seed]:
    """npz: the usual names, stored and deflated, number and text labels, a test part."""
    rng = np.random.default_rng(3)
    y = np.arange(SAMPLES) % 3
    made = []
    for dtype in ("f4", "u1", ">i2", "f8", "?"):
        x = (rng.standard_normal((SAMPLES, 4)) * 50).astype(dtype)
        for save in (np.savez, np.savez_compressed):
            stream = io.BytesIO()
            save(stream, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
            made.append(Seed("npz", stream.getvalue()))
    stream = io.BytesIO()
    X = np.asfortranarray(rng.standard_normal((SAMPLES, 2, 2)))
    np.savez_compressed(stream, X=X, y=np.array(["cat", "dog", "eel"])[y])
    made.append(Seed("npz", stream.getvalue()))
    return made


@cache
def arrays() -> list[Seed]:
    """npy: samples and labels of many types."""
    rng = np.random.default_rng(4)
    made = []
    for dtype in ("f4", "f2", ">f8", "u1", "i8", ">i4", "?"):
        x = (rng.standard_normal((SAMPLES, 4)) * 50).astype(dtype)
        made.append(x)
    made.append(np.asfortranarray(made[0]))
    made.append(np.arange(SAMPLES) % 3)
    made.append(np.array(["cat", "dog", "eel"])[np.arange(SAMPLES) % 3])
    return [Seed("npy", npy_bytes(array)) for array in made]


def npy_bytes(array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


@cache
def tables() -> list[Seed]:
    """csv: with and without header, other delimiters, quotes, text labels, .gz, line ends."""
    rng = np.random.default_rng(5)
    rows = [[f"{v:.4g}" for v in rng.standard_normal(4)] for _ in range(SAMPLES)]
    labels = ["cat", "dog", "eel"]
    made = []
    for delimiter in (",", ";", "\t"):
        lines = [delimiter.join([*row, str(n % 3)]) for n, row in enumerate(rows)]
        made.append("\n".join(lines) + "\n")
        lines = [delimiter.join([*row, labels[n % 3]]) for n, row in enumerate(rows)]
        head = delimiter.join([*(f"f{i}" for i in range(4)), "label"])
        made.append("\r\n".join([head, *lines]) + "\r\n")
    made.append('"f0","f1","a, b","f3",class\n' + "".join(
        ",".join(f'"{v}"' for v in row) + f",{n % 2}\n" for n, row in enumerate(rows)
    ))  # fmt: skip
    made.append("\ufeffy,f0,f1,f2,f3\n1,2,3,4,5\n0,1e3,-.5,nan,7\n")
    plain = [Seed("csv", text.encode()) for text in made]
    return [*plain, Seed("gzip", gzip.compress(plain[1].data, mtime=0))]


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """An IDX file."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@cache
def images() -> list[Seed]:
    """IDX samples of all types, plain and .gz."""
    rng = np.random.default_rng(6)
    made = []
    for dtype in ("u1", "i1", "i2", "i4", "f4", "f8"):
        data = idx_bytes((rng.standard_normal((SAMPLES, 2, 2)) * 50).astype(dtype))
        made += [Seed("idx", data), Seed("gzip", gzip.compress(data, mtime=0))]
    return made


@cache
def image_labels() -> list[Seed]:
    """IDX labels, plain and .gz."""
    made = []
    for dtype in ("u1", "i4", "f4"):
        data = idx_bytes((np.arange(SAMPLES) % 3).astype(dtype))
        made += [Seed("idx", data), Seed("gzip", gzip.compress(data, mtime=0))]
    return made


def networks() -> list[Seed]:
    """Descriptions of networks of all rules, JSON."""
    return [Seed("json", json.dumps(network.describe()).encode()) for network in _NETWORKS]


def recipes() -> list[Seed]:
    """Descriptions of recipes with all optimisers, JSON."""
    made = [Recipe(), Recipe(SGD(0.25), 1, 3, hold=1.0, scaling="global", stream=True)]
    made += [Recipe(Momentum(), schedule="layerwise"), Recipe(SGD(), threads=2, shuffle=False)]
    return [Seed("json", json.dumps(recipe.describe()).encode()) for recipe in made]


@cache
def libraries() -> list[Seed]:
    """Libraries of kernels for both architectures, with a function that does nothing."""
    made = []
    for architecture, code in (("x86_64", b"\x31\xc0\xc3"), ("aarch64", b"\0\0\x80\x52")):
        lines = [
            library_file.INTERFACE, "checksum 00000000", f"architecture {architecture}",
            "target test", "sources 0123456789abcdef", "built-with hand", "paths int8 generic",
            "paths float generic", "kernel int8.delta.peak i4[1] -> i8", "",
        ]  # fmt: skip
        item = ("tiny", _object64(architecture, code))
        data = link([item], architecture, ["f"], "\n".join(lines).encode())
        made.append(Seed("library", library_file.seal(data)))
    return made


def _object64(architecture: str, code: bytes) -> bytes:
    """A relocatable object with the function ``f``."""
    parts = [code, bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0, len(code)), b"\0f\0"]
    parts.append(b"\0.text\0")
    offsets, body = [], b""
    for part in parts:
        offsets.append(64 + len(body))
        body += part + bytes(-len(part) % 8)
    kinds = [(1, 1, 6, 0, 0, 16, 0), (0, 2, 0, 3, 1, 8, 24), (0, 3, 0, 0, 0, 1, 0)]
    kinds.append(kinds[2])
    rows = bytes(64)
    for part, at, (label, kind, flags, joined, info, align, size) in zip(
        parts, offsets, kinds, strict=True
    ):
        rows += struct.pack(
            "<IIQQQQIIQQ", label, kind, flags, 0, at, len(part), joined, info, align, size
        )
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, library_file.MACHINES[architecture], 1,
        0, 0, 64 + len(body), 0, 64, 0, 0, 64, 5, 4,
    )  # fmt: skip
    return head + body + rows


@cache
def objects() -> list[Seed]:
    """32-bit Arm objects: one written by ffedge, one by LLVM, with relocations."""
    sections = [
        OutSection(".text.f", CODE, bytes(12)), OutSection(".model.t", READ_ONLY, bytes(32)),
        OutSection(".bss.b", DATA, b"", nbytes=64),
    ]  # fmt: skip
    symbols = [OutSymbol(name, i, 0, 4) for i, name in enumerate(("f", "t", "b"))]
    made = [write_elf32(OBJECT, sections, [*symbols, OutSymbol("n", None, 7)])]
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    try:
        from thumb import thumb_object
    finally:
        del sys.path[0]
    text = (
        "@t = constant [2 x i32] [i32 3, i32 5]\ndeclare i32 @far(i32)\n"
        "define i32 @f(ptr %p) {\n%x = load volatile i32, ptr @t\n"
        "%y = call i32 @far(i32 %x)\nret i32 %y\n}\n"
    )
    return [Seed("elf", data) for data in [*made, thumb_object(text)]]


@cache
def flash_store() -> Store:
    """The layout of the flash dumps."""
    network = Network.dense(6, (16,), 3, precision="int8")
    return Store.of(plan_training(network, Recipe(SGD(), batch_size=1)), 256, 4, 7, counters=1)


@cache
def flash_dumps() -> list[Seed]:
    """An erased flash, and one with two slots, of which the second is committed."""
    store = flash_store()
    dump = b""
    for sequence, commit in ((4, b"\xff" * 4), (5, b"\0" * 4)):
        words = store.layout[:6].copy()
        words[device_checkpoint.SEQUENCE] = sequence
        slot = words.tobytes() + bytes(range(256)) * (store.payload_bytes // 256 + 1)
        slot = slot[: 24 + store.payload_bytes]
        slot += b"\xff" * (-len(slot) % 8)
        slot += struct.pack("<I", zlib.crc32(slot)) + commit
        dump += slot.ljust(store.slot_bytes, b"\xff")
    return [Seed("flash", dump), Seed("flash", b"\xff" * store.nbytes)]


def state_arrays() -> dict[str, np.ndarray[Any, Any]]:
    """What the checkpoints hold."""
    rng = np.random.default_rng(8)
    return {
        "weight": rng.standard_normal((40, 16)).astype(np.float32),
        "state": np.zeros((3, 100), np.int8),
        "counter": np.arange(4, dtype=np.uint64),
    }


@cache
def states() -> list[Seed]:
    """State files: a base alone, and one with deltas where the store writes them."""
    from ffedge.checkpoint_store import CheckpointStore, marks_of

    made = []
    with tempfile.TemporaryDirectory() as folder:
        arrays = state_arrays()
        store = CheckpointStore(folder, marks=np.zeros(marks_of(arrays), np.uint64))
        for step in range(3):
            arrays["state"][0, step] += 1
            store.save({"step": step, "epoch": [1, 2.5, "a"]}, arrays)
            newest = max(Path(folder).glob("*.ffstate"))
            made.append(Seed("state", newest.read_bytes()))
    return made
