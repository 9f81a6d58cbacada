"""The model file: safetensors layout with a JSON header, written whole or not at all.

    8 bytes   length N of the header, little-endian
    N bytes   JSON: {"__metadata__": {"ffedge": <JSON text>, "crc32": <hex>}, name: {"dtype": "F32",
              "shape": [...], "data_offsets": [first, last]}, ...}, padded with spaces
    rest      the arrays, C order, little-endian, 64-byte aligned in the file

The metadata's own ``format`` number is 1; other numbers are refused by name. Any safetensors
reader can open the file; arrays keep their kernels' panel layout (``kernels/dense.py``), so
that they can be mapped and used without a copy. Every length is checked against the file's
real size and the network's own plan before anything is allocated.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from .atomic import atomic_write
from .buffers import model_needs
from .described import describe, parse
from .errors import CheckpointError
from .model import Classes, Model
from .network import Network
from .plan import Need
from .reading import READINGS, Reading

FORMAT = 1

#: A longer header is not ours.
MAX_HEADER = 16 << 20

_ALIGN = 64
_DTYPES = {"float32": "F32", "int8": "I8", "int32": "I32", "uint8": "U8"}


def save_model(model: Model, path: str | os.PathLike[str]) -> int:
    """Write ``model`` to ``path`` and return the bytes written.

    Atomic: a temporary file in the same folder, fsync, rename, fsync of the folder. A reader
    or a power cut sees the old file or the new one. Raises OSError as the system does.
    """
    with atomic_write(path) as file:
        return _write(model, file)


def _write(model: Model, file: BinaryIO) -> int:
    needs = model_needs(model.network)
    arrays = [np.ascontiguousarray(model.params[n.name], dtype=n.spec.dtype) for n in needs]
    head = header(model, (array.data.cast("B") for array in arrays))
    file.write(head)
    for array in arrays:
        file.write(array.data.cast("B"))
    return len(head) + sum(array.nbytes for array in arrays)


def header(model: Model, contents: Iterable[memoryview], room: int = 0) -> bytes:
    """What stands in front of the arrays: length and JSON, at least ``room`` bytes.

    contents: all bytes of the arrays in their order, in pieces of any size. The parameters of
    ``model`` are not looked at.
    """
    about = {
        "format": FORMAT,
        "network": model.network.describe(),
        "classes": list(model.classes),
        "feature_shape": list(model.feature_shape),
        "feature_names": None if model.feature_names is None else list(model.feature_names),
        "training": model.training,
    }
    if model.reading is not None:
        about["reading"] = describe(model.reading)
    description = json.dumps(about)
    checksum = _checksum(description, contents)
    entries: dict[str, Any] = {"__metadata__": {"ffedge": description, "crc32": checksum}}
    offset = 0
    for need in model_needs(model.network):
        end = offset + need.spec.nbytes
        entries[need.name] = {
            "dtype": _DTYPES[need.spec.dtype],
            "shape": list(need.spec.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    length = max(8 + len(text), room)
    text = text.ljust(length + -length % _ALIGN - 8)
    return len(text).to_bytes(8, "little") + text


def _checksum(description: str, contents: Iterable[memoryview]) -> str:
    """CRC-32 of the description and the arrays, eight hex digits."""
    total = zlib.crc32(description.encode())
    for piece in contents:
        total = zlib.crc32(piece, total)
    return f"{total:08x}"


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file; the arrays are private copies.

    Raises CheckpointError, naming the file, if it is not a model file, is damaged, was cut
    short or has another format number.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return read_model(file, name)
    except FileNotFoundError:
        raise CheckpointError(f"{name}: expected a model file, got no such file") from None
    except IsADirectoryError:
        raise CheckpointError(f"{name}: expected a model file, got a folder") from None


def read_model(file: BinaryIO, name: str) -> Model:
    """As ``load_model``, from the start of an open file that ``name`` names."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        return _read(file, size, name)
    except (RecursionError, UnicodeError) as error:
        raise CheckpointError(f"{name}: expected a model file, got {error}") from None


def _read(file: BinaryIO, size: int, name: str) -> Model:
    header, start = _read_header(file, size, name)
    about = header.pop("__metadata__", None)
    metadata = _parse_metadata(about, name)
    try:
        network = Network.parse(metadata["network"])
        classes = _parse_classes(metadata["classes"], network.classes)
        shape = _parse_shape(metadata["feature_shape"])
        names = metadata["feature_names"]
        if names is not None:
            names = tuple(_text(column) for column in names)
        training = _parse_training(metadata["training"])
        reading = _parse_reading(metadata.get("reading"), network)
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{name}: expected a complete model description, got {error!s:.300}; "
            "the file is damaged or was written by another program"
        ) from None
    if math.prod(shape) != network.features:
        raise CheckpointError(
            f"{name}: expected a feature shape of {network.features} values, got {shape!s:.120}"
        )
    if names is not None and len(names) != network.features:
        raise CheckpointError(
            f"{name}: expected {network.features} feature names, got {len(names)}"
        )
    if len(network.layers) > len(header):
        # Each has arrays: what is set up for a layer stays in proportion to the file.
        raise CheckpointError(
            f"{name}: expected arrays for {len(network.layers):,} layers, got {len(header):,}"
        )
    needs = {need.name: need for need in model_needs(network)}
    if header.keys() != needs.keys():
        odd = sorted(header.keys() ^ needs.keys())[:3]
        raise CheckpointError(
            f"{name}: expected the {len(needs)} arrays of network {network.short_text:.100}, got a "
            f"different set (first differences: {', '.join(f'{key:.40}' for key in odd)})"
        )
    spans = {key: _span(header[key], need, size - start, name) for key, need in needs.items()}
    ends = [(spans[key], need.spec.nbytes) for key, need in needs.items()]
    _check_tiling(ends, size - start, name)
    params = {}
    for key, need in needs.items():
        file.seek(start + spans[key])
        array = np.empty(need.spec.shape, need.spec.dtype)
        if file.readinto(array.data.cast("B")) != array.nbytes:  # type: ignore[attr-defined]
            raise CheckpointError(f"{name}: expected {array.nbytes:,} B of {key}, got fewer")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(f"{name}: expected finite numbers in {key}, got NaN or infinity")
        params[key] = array
    model = Model(network, params, classes, shape, names, training, reading)
    loud = model.loud_padding()
    if loud is not None:
        raise CheckpointError(
            f"{name}: expected zeros beyond the width of {loud}, got other values; "
            "the file was changed"
        )
    contents = (array.data.cast("B") for array in params.values())
    if about.get("crc32") != _checksum(about["ffedge"], contents):
        raise CheckpointError(
            f"{name}: expected checksum {about.get('crc32')!s:.20}, got another; the file was "
            "damaged or changed, take a copy of it"
        )
    return model


def _read_header(file: BinaryIO, size: int, name: str) -> tuple[dict[str, Any], int]:
    """The JSON header and the offset of the data behind it."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
        raise CheckpointError(
            f"{name}: expected a model file, got {size:,} B that do not start with a header "
            "length; was it saved by ffedge, and copied whole?"
        )
    try:
        header = json.loads(file.read(length))
    except ValueError as error:
        raise CheckpointError(f"{name}: expected a JSON header, got {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{name}: expected a JSON object as header, got another value")
    return header, 8 + length


def _parse_metadata(metadata: Any, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(metadata["ffedge"])
        version = parsed["format"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{name}: expected an ffedge model, got a safetensors file of another program"
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"{name}: expected format {FORMAT}, got format {version!r:.40}; "
            "a newer ffedge wrote it: update ffedge"
        )
    return parsed  # type: ignore[no-any-return]


def _parse_classes(names: Any, count: int) -> Classes:
    if len(names) != count:
        raise ValueError(f"{len(names)} class names for {count} classes")
    if len(set(names)) != count:
        raise ValueError("a class name that stands there twice")
    if all(type(name) is int and -(2**63) <= name < 2**63 for name in names):
        return tuple(names)
    if all(isinstance(name, str) for name in names):
        return tuple(_text(name) for name in names)
    raise ValueError("class names that are neither all text nor all whole numbers")


def _parse_shape(lengths: Any) -> tuple[int, ...]:
    if not isinstance(lengths, list) or not 1 <= len(lengths) <= 32:
        raise ValueError(f"a feature shape of {lengths!r:.40}")
    for length in lengths:
        if type(length) is not int or not 1 <= length < 1 << 40:
            raise ValueError(f"a length of {length!r:.40}")
    return tuple(lengths)


def _text(value: Any) -> str:
    """A name; halves of characters, which JSON can write, could never be printed or saved."""
    if not isinstance(value, str):
        raise TypeError(f"a name of {value!r:.40}")
    value.encode()
    return value


def _parse_training(about: Any, depth: int = 32) -> dict[str, Any]:
    """The figures of a training, which may be anything but endlessly nested."""
    if not isinstance(about, dict):
        raise TypeError(f"training figures of {about!r:.40}")
    level: list[Any] = [about]
    while level := [
        item
        for value in level
        for item in (value.values() if isinstance(value, dict) else value)
        if isinstance(item, dict | list)
    ]:
        depth -= 1
        if depth == 0:
            raise ValueError("training figures that are nested too deeply")
    return about


def _parse_reading(description: Any, network: Network) -> Reading | None:
    """How the model is read out, if its file says so."""
    if description is None:
        return None
    reading: Reading = parse(description, READINGS)
    reading.check(network)
    return reading


def _offset(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"an offset of {value!r:.40}")
    return value


def _check_tiling(spans: list[tuple[int, int]], available: int, name: str) -> None:
    """Raise unless arrays of (first, length) fill ``available`` bytes without gap or overlap."""
    end = 0
    for first, length in sorted(spans):
        if first != end:
            break
        end += length
    if end != available:
        raise CheckpointError(
            f"{name}: expected arrays that fill {available:,} B one behind the other, got a gap, "
            "an overlap or bytes left over; the file was changed"
        )


def _span(entry: Any, need: Need, available: int, name: str) -> int:
    """The first byte of one array, after checking its entry against the network and the file."""
    try:
        first, last = (_offset(value) for value in entry["data_offsets"])
        fits = 0 <= first <= last <= available and last - first == need.spec.nbytes
        kind, shape = _DTYPES[need.spec.dtype], list(need.spec.shape)
        same = entry["dtype"] == kind and entry["shape"] == shape
    except (KeyError, TypeError, ValueError):
        fits = same = False
        first = 0
    if not (fits and same):
        raise CheckpointError(
            f"{name}: expected {need.name} as {need.spec.dtype} {need.spec.shape} inside the "
            f"file, got {str(entry)[:120]}; the file was cut short or changed"
        )
    return first
