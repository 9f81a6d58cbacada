"""Changes of .npy files, and of the zips that NumPy puts them into."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from .mutations import EXTREMES, PLAIN

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
        change = npy if kind else rng.choice(PLAIN)
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
        item.raw = rng.choice(PLAIN)(rng, item.raw)
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
