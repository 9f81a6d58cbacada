"""Changes that know a format: the checksums are made right again, so that what is behind is met."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from typing import Any

from ffedge.kernels import library_file

from . import trees
from .archives import npy, npz
from .mutations import EXTREMES, PLAIN, Mutation, lines


def _bytes(rng: random.Random, data: bytes) -> bytes:
    return rng.choice(PLAIN)(rng, data)


def json_text(rng: random.Random, data: bytes) -> bytes:
    """One node of a JSON text."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return trees.write(trees.change(rng, tree))


def model(rng: random.Random, data: bytes) -> bytes:
    """Header or description of a model file; its length and checksum fit again, mostly."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        metadata = header["__metadata__"]
        description = json.loads(metadata["ffedge"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return data
    body = data[8 + length :]
    kind = rng.randrange(6)
    if kind <= 2:
        text = trees.write(trees.change(rng, description))
        metadata["ffedge"] = text.decode("utf-8", "surrogatepass")
    elif kind == 3:
        del metadata["ffedge"]
        header = trees.change(rng, header)
        if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
            header["__metadata__"]["ffedge"] = json.dumps(description)
    elif kind == 4:
        body = _bytes(rng, body)
    else:
        return _nested_or_padded(rng, data, length)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict) and isinstance(metadata.get("ffedge"), str):
        about = metadata["ffedge"].encode("utf-8", "surrogatepass")
        if rng.random() < 0.9:
            metadata["crc32"] = f"{zlib.crc32(body, zlib.crc32(about)):08x}"
    text = trees.write(header)
    return len(text).to_bytes(8, "little") + text + body


def _nested_or_padded(rng: random.Random, data: bytes, length: int) -> bytes:
    body = data[8 + length :]
    text = data[8 : 8 + length].rstrip()
    if rng.random() < 0.2:
        text = rng.choice((b"[", b'{"a":', b"[[1],")) * rng.choice((100, 1000, 100_000))
    elif rng.random() < 0.5:
        text += b" " * rng.choice((1, 100, 65536))
    else:
        text = text.replace(b"F32", rng.choice((b"F64", b"I8", b"", b"F32\\u0000")), 1)
    return len(text).to_bytes(8, "little") + text + body


def gzipped(rng: random.Random, data: bytes) -> bytes:
    """What is inside a .gz, as csv or IDX; several members; bombs; a wrong sum at the end."""
    try:
        unpacker = zlib.decompressobj(31)
        content = unpacker.decompress(data, 1 << 20)
    except zlib.error:
        return data
    kind = rng.randrange(8)
    if kind <= 1:
        content = _bytes(rng, content)
    elif kind <= 3:
        content = (idx if content[:2] == b"\0\0" else lines)(rng, content)
    elif kind == 4:
        content += rng.choice((b"\0", b"1,")) * rng.choice((1 << 10, 1 << 16, 1 << 22))
        content = content if rng.random() < 0.1 else content[: 1 << 16]
    elif kind == 5:
        return gzip.compress(content, mtime=0) + rng.choice((b"\0" * 9, b"x", data, data[:12]))
    elif kind == 6:
        return gzip.compress(gzip.compress(content, mtime=0), mtime=0)
    packed = gzip.compress(content, mtime=0)
    if rng.random() < 0.15:
        packed = packed[:-8] + rng.randbytes(8)
    return packed


def idx(rng: random.Random, data: bytes) -> bytes:
    """Header of an IDX file; sometimes with the data for it."""
    code = rng.choice((8, 9, 11, 12, 13, 14, 0, 10, 255))
    sizes = [rng.choice((1, 2, 3, 4, 12, 12)) for _ in range(rng.choice((1, 2, 3, 3, 8, 9, 0)))]
    if sizes and rng.random() < 0.5:
        sizes[0] = 12
    if sizes and rng.random() < 0.4:
        sizes[rng.randrange(len(sizes))] = rng.choice(EXTREMES) % 2**32
    count = len(sizes) if rng.random() < 0.95 else rng.randrange(256)
    head = struct.pack(f">HBB{len(sizes)}I", 0, code, count, *sizes)
    body = data[4 + 4 * (data[3] if len(data) > 3 else 0) :]
    wanted = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}.get(code, 1)
    for size in sizes:
        wanted *= size
    if wanted <= 1 << 16 and rng.random() < 0.6:
        body = (body * (wanted // max(len(body), 1) + 1))[:wanted].ljust(wanted, b"\0")
    return head + body


def library(rng: random.Random, data: bytes) -> bytes:
    """The text in a library's note, sealed again."""
    start = data.find(library_file.INTERFACE.encode())
    if start < 0:
        return data
    try:
        _, size = library_file.note_of(data)
    except library_file.NotOursError:
        return data
    text = data[start : start + size]
    if rng.random() < 0.6:
        rows = text.split(b"\n")
        at = rng.randrange(1, max(len(rows), 2))
        row = rng.choice((
            b"", b"kernel", b"kernel x", b"kernel x ->", b"paths", b"paths int8", b"architecture",
            b"architecture arm", b"sources", b"checksum ", b"kernel a b[1] -> ", b"->", b"\x0b",
            b"target \xff", b"built-with", b"checksum",
        ))  # fmt: skip
        rows[at : at + rng.randrange(2)] = [row]
        text = b"\n".join(rows)
    else:
        text = _bytes(rng, text)
    text = text[:size].ljust(size, rng.choice((b"\n", b" ", b"\0")))
    changed = data[:start] + text + data[start + size :]
    try:
        return library_file.seal(changed)
    except library_file.NotOursError:
        return changed


def elf(rng: random.Random, data: bytes) -> bytes:
    """A field of the ELF header or of a section's, little-endian and aligned."""
    if len(data) < 52:
        return data
    (start,) = struct.unpack_from("<I", data, 32)
    count = struct.unpack_from("<H", data, 48)[0]
    changed = bytearray(data)
    extreme = rng.choice((*EXTREMES, len(data), len(data) - 1, start)) % 2**32
    if rng.random() < 0.2 or not count or start + 40 * count > len(data):
        at = rng.choice((16, 18, 46, 48, 50))
        struct.pack_into("<H", changed, at, extreme % 65536)
        return bytes(changed)
    if rng.random() < 0.1:
        # All sections are the whole file, and there are many.
        row = struct.pack("<10I", 0, 1, 6, 0, 0, len(data), 0, 0, 4, 0)
        many = rng.choice((10, 1000, 60_000) if rng.random() < 0.1 else (10, 100))
        struct.pack_into("<I", changed, 32, len(changed))
        struct.pack_into("<HHH", changed, 46, 40, many, 0)
        return bytes(changed) + row * many
    field = start + 40 * rng.randrange(count) + 4 * rng.randrange(10)
    struct.pack_into("<I", changed, field, extreme)
    return bytes(changed)


def flash(rng: random.Random, data: bytes) -> bytes:
    """A word of a slot's header; its sum fits again."""
    from .seeds import flash_store

    size = flash_store().slot_bytes
    if len(data) != 2 * size:
        return data
    changed = bytearray(data)
    first = rng.choice((0, size))
    value = rng.choice((*EXTREMES, size // 4, size // 4 - 8)) % 2**32
    struct.pack_into("<I", changed, first + 4 * rng.randrange(6), value)
    words = struct.unpack_from("<2I", changed, first + 16)
    end = 24 + 4 * sum(words)
    end += end % 8
    if end + 4 <= size:
        struct.pack_into("<I", changed, first + end, zlib.crc32(changed[first : first + end]))
    return bytes(changed)


def state(rng: random.Random, data: bytes) -> bytes:
    """Header, JSON or payload of one record of a state file; its lengths and sum fit again."""
    head = struct.Struct("<4sIIQIQ")
    records, at = [], 0
    while at + head.size <= len(data):
        fields = list(head.unpack_from(data, at))
        end = at + head.size + fields[4] + fields[5] + 4
        if end > len(data):
            break
        middle = at + head.size + fields[4]
        records.append([fields, data[at + head.size : middle], data[middle : end - 4]])
        at = end
    if not records:
        return data
    record = rng.choice(records)
    kind = rng.randrange(6)
    if kind == 0:
        index = rng.randrange(1, 4)
        record[0][index] = rng.choice(EXTREMES) % 2 ** (64 if index == 3 else 32)
    elif kind <= 2:
        record[1] = json_text(rng, record[1])
    elif kind <= 4:
        record[2] = _bytes(rng, record[2])
    else:
        records.insert(rng.randrange(len(records) + 1), rng.choice(records))
    out = b""
    for fields, text, payload in records:
        told: list[Any] = [*fields[:4], len(text), len(payload)]
        if rng.random() < 0.05:
            told[rng.choice((4, 5))] = rng.choice(EXTREMES) % 2**32
        whole = head.pack(*told) + text + payload
        out += whole + struct.pack("<I", zlib.crc32(whole))
    return out + data[at:]


BY_KIND: dict[str, tuple[Mutation, ...]] = {
    "json": (json_text,),
    "model": (model,),
    "npy": (npy,),
    "npz": (npz,),
    "csv": (lines,),
    "gzip": (gzipped,),
    "idx": (idx,),
    "library": (library,),
    "elf": (elf,),
    "flash": (flash,),
    "state": (state,),
}
