"""Changes that know a format: the checksums are made right again, so that what is behind is met."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffedge.kernels import library_file

from . import trees
from .mutations import EXTREMES, PLAIN, Mutation, lines

_PLAIN = PLAIN


def _bytes(rng: random.Random, data: bytes) -> bytes:
    return rng.choice(_PLAIN)(rng, data)


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


_DESCRS = (
    "<f4", ">f8", "|u1", "|b1", "<i8", "|O", "O", "<U0", "<U1", "<U9999", "|S5", "<c8", "<f16",
    "<M8[ns]", "|V8", "<U99999", "", "<i3", "[('a', '<f4')]", "=f4", "f4", "<f2", "<U250", "|i1",
)  # fmt: skip


def npy(rng: random.Random, data: bytes) -> bytes:
    """Header of a .npy file, whose length fits again, mostly; sometimes with the data for it."""
    if len(data) < 10 or data[:6] != b"\x93NUMPY":
        return data
    if data[6] == 1:
        start, length = 10, int.from_bytes(data[8:10], "little")
    else:
        start, length = 12, int.from_bytes(data[8:12], "little")
    body = data[start + length :]
    descr = rng.choice(_DESCRS)
    shape = [rng.choice((1, 2, 3, 4, 12, 12, 48)) for _ in range(rng.choice((0, 1, 2, 2, 3, 33)))]
    if rng.random() < 0.5:
        shape[:] = [12, 4]
    if shape and rng.random() < 0.4:
        shape[rng.randrange(len(shape))] = rng.choice(EXTREMES)
    order = rng.choice(("False", "False", "True", "1", "None"))
    sizes = ", ".join(map(str, shape)) + ("," if len(shape) == 1 or rng.random() < 0.1 else "")
    quote = "" if descr.startswith("[") else rng.choice("'''\"")
    items = [
        f"'descr': {quote}{descr}{quote}", f"'fortran_order': {order}", f"'shape': ({sizes})",
    ]  # fmt: skip
    chance = rng.random()
    if chance < 0.1:
        rng.shuffle(items)
    elif chance < 0.2:
        items.append(rng.choice((items[0], "'x': 1", "'shape': __import__('os')", "")))
    elif chance < 0.25:
        del items[rng.randrange(3)]
    text = "{" + ", ".join(items) + rng.choice((", }", "}", " }", ""))
    text += " " * rng.choice((0, 1, 30, 30, 9000, 70000)) + "\n"
    if rng.random() < 0.5:
        total = 1
        for size in shape:
            total *= max(size, 0)
        width = int("".join(c for c in descr if c.isdigit()) or 8) * (4 if "U" in descr else 1)
        wanted = total * width
        if wanted <= 1 << 18:
            body = (body * (wanted // max(len(body), 1) + 1))[:wanted].ljust(wanted, b"\0")
    return npy_with(rng, text.encode("latin-1"), body)


def npy_with(rng: random.Random, text: bytes, body: bytes) -> bytes:
    """A .npy of this header and data; seldom with a length that lies."""
    version = rng.choice(((1, 0), (1, 0), (2, 0), (3, 0), (0, 0), (4, 7)))
    width = 2 if version == (1, 0) else 4
    length = len(text) if rng.random() < 0.9 else rng.choice(EXTREMES)
    return b"\x93NUMPY" + bytes(version) + (length % 256**width).to_bytes(width, "little") + (
        text + body
    )  # fmt: skip


@dataclass(slots=True)
class Member:
    """One file of a zip, with all that may be said of it. raw: as it lies there."""

    name: bytes
    method: int
    raw: bytes
    size: int
    crc: int
    flags: int = 0
    local: dict[str, int] | None = None
    extra: bytes = b""

    @classmethod
    def of(cls, name: bytes, content: bytes, method: int) -> Member:
        raw = content
        if method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            raw = packer.compress(content) + packer.flush()
        return cls(name, method, raw, len(content), zlib.crc32(content))


def members_of(data: bytes) -> list[Member]:
    """The members of a zip that NumPy wrote; [] for anything odd."""
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > 1 << 20 or len(infos) > 50:
                return []
            return [
                Member.of(info.filename.encode(), archive.read(info), info.compress_type)
                for info in infos
                if info.compress_type in (0, 8)
            ]
    except Exception:  # any of the dozen kinds that zipfile raises on damaged files
        return []


def write_zip(members: list[Member], end: Mapping[str, int] | None = None) -> bytes:
    """A zip of these members, whatever they say. end: other numbers for the last record."""
    out, central = bytearray(), bytearray()
    for item in members:
        told = {"crc": item.crc, "packed": len(item.raw), "size": item.size} | (item.local or {})
        offset = told.get("offset", len(out))
        numbers = [told[key] % 2**32 for key in ("crc", "packed", "size")]
        name_length, extra_length = len(item.name) % 65536, len(item.extra) % 65536
        out += struct.pack(
            "<4s5H3I2H", b"PK\3\4", 20, item.flags, item.method, 0, 33, *numbers,
            told.get("name", name_length) % 65536, told.get("extra", extra_length) % 65536,
        )  # fmt: skip
        out += item.name + item.extra + item.raw
        central += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, item.flags, item.method, 0, 33, *numbers,
            name_length, extra_length, 0, 0, 0, 0, offset % 2**32,
        ) + item.name + item.extra  # fmt: skip
    numbers = {"count": len(members), "size": len(central), "offset": len(out)} | dict(end or {})
    out += central
    out += struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, numbers["count"] % 65536, numbers["count"] % 65536,
        numbers["size"] % 2**32, numbers["offset"] % 2**32, 0,
    )  # fmt: skip
    return bytes(out)


_NAMES = (
    b"../../x_train.npy", b"/etc/x_train.npy", b"x_train.npy/", b"", b"x_train.npy\0.txt",
    b"..\\x_train.npy", b"x_train.npy", b"y_train.npy", b"X.npy", b"y.npy", b"x_test.npy",
    b"\xff\xfe.npy", b"\x1b[2J\r.npy", b"A" * 60000 + b".npy", b"C:x.npy", b".npy", b"data.npy",
    b"./x_train.npy", b"a\nb.npy", b"\xe2\x80\xae.npy",
)  # fmt: skip


def npz(rng: random.Random, data: bytes) -> bytes:
    """Members with lying sizes, odd names, doubles, bombs, encryption, overlaps, zip64."""
    members = members_of(data)
    if not members:
        return data
    at = rng.randrange(len(members))
    item = members[at]
    kind = rng.randrange(14)
    end: dict[str, int] = {}
    if kind <= 2:
        content = item.raw if item.method == 0 else zlib.decompress(item.raw, -15)
        change = npy if kind else _bytes
        members[at] = Member.of(item.name, change(rng, content), item.method)
    elif kind == 3:
        item.name = rng.choice(_NAMES)
    elif kind == 4:
        members.append(rng.choice(members))
    elif kind == 5:
        field = rng.choice(("size", "packed", "crc", "offset", "name", "extra"))
        item.local = {field: rng.choice((*EXTREMES, len(data), item.size + 1, item.size - 1))}
    elif kind == 6:
        item.size = rng.choice((*EXTREMES, item.size + 1, item.size * 1000))
    elif kind == 7:
        members[at] = _bomb(rng, item)
    elif kind == 8:
        item.method = rng.choice((0, 8, 9, 12, 14, 93, 95, 99, 65535))
    elif kind == 9:
        item.flags = rng.choice((1, 2, 4, 8, 0x20, 0x40, 0x800, 0x2000, 0xFFFF))
    elif kind == 10:
        item.extra = _extra(rng)
        if rng.random() < 0.5:
            item.local = {"size": 2**32 - 1, "packed": 2**32 - 1}
    elif kind == 11:
        item.raw = _bytes(rng, item.raw)
    elif kind == 12:
        end[rng.choice(("count", "size", "offset"))] = rng.choice((*EXTREMES, len(data)))
    else:
        content = item.raw if item.method == 0 else zlib.decompress(item.raw, -15)
        members[at] = Member.of(item.name, content, 8 - item.method)
    return write_zip(members, end)


def _bomb(rng: random.Random, item: Member) -> Member:
    """Some MB of zeros in some KB, under a header that fits, or promises more or less."""
    size = rng.choice((1 << 16, 1 << 20, 1 << 22, 1 << 24) if rng.random() < 0.1 else (1 << 16,))
    rows = size // 4 * rng.choice((1, 1, 1000, 2**40))
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows // 4}, 4), }}\n".encode()
    head = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text
    made = Member.of(item.name, head + bytes(size), 8)
    if rng.random() < 0.3:
        made.size = len(head) + rows * 4
    return made


def _extra(rng: random.Random) -> bytes:
    chance = rng.random()
    if chance < 0.5:
        values = [rng.choice(EXTREMES) % 2**64 for _ in range(rng.choice((1, 2, 3)))]
        body = struct.pack(f"<{len(values)}Q", *values)
        return struct.pack("<HH", 1, len(body)) + body
    if chance < 0.75:
        return struct.pack("<HH", rng.choice((1, 0x7075, 0xFFFF)), rng.choice((0, 5, 65535)))
    return rng.randbytes(rng.choice((1, 3, 4, 100)))


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
