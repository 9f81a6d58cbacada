"""Inputs made from good ones. The same random numbers give the same bytes, whatever the process."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from .seeds import Seed

Mutation = Callable[[random.Random, bytes], bytes]

#: No input is longer, so that thousands a minute can be read.
MAX_BYTES = 4 << 20

EXTREMES = (
    0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1,
    2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -128, -32768, -(2**31), -(2**63),
)  # fmt: skip

TOKENS = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\xa6\x89", b"\r",
    b"\n", b"\r\n", b"\x1b[31m", b"\xe2\x80\xa8", b"\xc2\x85", b'"', b"'", b",", b";", b"\t",
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"2147483648", b"9223372036854775808", b"0x10",
    b"1_000", b"99999999999999999999999999", b"../", b"/etc/passwd", b"\x93NUMPY", b"PK\x03\x04",
    b"\x1f\x8b\x08", b"\x7fELF", b"{", b"}", b"[", b"]", b"__import__('os')", b"=cmd|' /C'!A0",
    b"%s%n", b"${HOME}", b"\\ud800", b"True", b"O", b"|O", b"\xe2\x80\xae", b" " * 40,
)  # fmt: skip


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(rng: random.Random, data: bytes) -> bytes:
    at = _at(rng, data)
    count = rng.choice((1, 2, 4, 8, 32))
    filler = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b" ", b"A")) * count
    return data[:at] + filler + data[at + count :]


def set_number(rng: random.Random, data: bytes) -> bytes:
    """A field of 1, 2, 4 or 8 bytes to an extreme, or one more or less than it is."""
    width = rng.choice((1, 2, 4, 4, 8))
    order = rng.choice(("little", "little", "big"))
    at = _at(rng, data) // width * width if rng.random() < 0.7 else _at(rng, data)
    field = data[at : at + width]
    if len(field) < width:
        return data
    if rng.random() < 0.3:
        value = int.from_bytes(field, order) + rng.choice((-1, 1, 2, len(data), -len(data)))
    else:
        value = rng.choice((*EXTREMES, len(data), len(data) - 1, len(data) + 1))
    return data[:at] + (value % 256**width).to_bytes(width, order) + data[at + width :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: _at(rng, data)]


def cut_out(rng: random.Random, data: bytes) -> bytes:
    at = _at(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 64, 512)) :]


def insert(rng: random.Random, data: bytes) -> bytes:
    at = _at(rng, data)
    piece = rng.choice(TOKENS) if rng.random() < 0.7 else rng.randbytes(rng.choice((1, 4, 16)))
    return data[:at] + piece + data[at:]


def overwrite(rng: random.Random, data: bytes) -> bytes:
    at, piece = _at(rng, data), rng.choice(TOKENS)
    return data[:at] + piece + data[at + len(piece) :]


def repeat(rng: random.Random, data: bytes) -> bytes:
    """A stretch twice, or many times."""
    at = _at(rng, data)
    piece = data[at : at + rng.choice((1, 2, 4, 16, 64, 256))]
    return data[:at] + piece * rng.choice((2, 2, 3, 10, 100)) + data[at:]


def grow(rng: random.Random, data: bytes) -> bytes:
    """Very many times; seldom chosen."""
    at = _at(rng, data)
    piece = data[at : at + rng.choice((1, 2, 8, 64))] or b"A"
    count = rng.choice((1 << 14, 1 << 16, 1 << 18, 1 << 20)) // len(piece)
    return data[:at] + piece * count + data[at:]


def shuffle(rng: random.Random, data: bytes) -> bytes:
    """Two stretches change places."""
    a, b = sorted((_at(rng, data), _at(rng, data)))
    size = rng.choice((1, 4, 8, 16, 64))
    if a + size > b:
        return data
    first, second = data[a : a + size], data[b : b + size]
    return data[:a] + second + data[a + size : b] + first + data[b + size :]


def append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((b"\0", b"\n", data[:64], rng.randbytes(8), bytes(512)))


PLAIN: tuple[Mutation, ...] = (
    flip_bits, flip_bits, set_bytes, set_number, set_number, truncate, cut_out, insert, overwrite,
    repeat, shuffle, append,
)  # fmt: skip


def lines(rng: random.Random, data: bytes) -> bytes:
    """One change of a text of lines and cells."""
    rows = data.split(b"\n")
    at = rng.randrange(len(rows))
    kind = rng.randrange(12)
    if kind == 0:
        rows.insert(at, rows[rng.randrange(len(rows))])
    elif kind == 1:
        del rows[at]
    elif kind == 2:
        rows[at] = b""
    elif kind == 3:
        return rng.choice((b"\r", b"\r\n", b"\n\r", b"\x0b", b"\0")).join(rows)
    elif kind == 4:
        ends = [rng.choice((b"\r", b"\r\n", b"\n")) for _ in rows]
        return b"".join(row + end for row, end in zip(rows, ends, strict=True))
    elif kind == 5:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"\x1f\x8b")) + data
    elif kind == 6:
        try:
            return data.decode().encode(rng.choice(("utf-16", "utf-32", "utf-7", "cp500")))
        except UnicodeError:
            return data
    elif kind == 7:
        rows[at] += rng.choice((b",", b";", b"\t", b'"', b'""', b"\\")) * rng.choice((1, 2, 50))
    elif kind == 8 and rng.random() < 0.05:
        rows[at] += rng.choice((b",", b"1,", b"9", b'"')) * rng.choice((1 << 15, 1 << 18, 1 << 20))
    else:
        cells = rows[at].split(b",")
        cell = rng.randrange(len(cells))
        cells[cell] = rng.choice((
            *TOKENS, b"9" * rng.choice((20, 400, 5000)), b"0." + b"0" * 400 + b"1", b"1" * 300,
            b"x" * 251, b"\xd9\xa3", b"1e-999", b"", b" ", b"0.5", b"7", b'"a\nb"',
        ))  # fmt: skip
        rows[at] = b",".join(cells)
    return b"\n".join(rows)


def mutate(rng: random.Random, seeds: Sequence[Seed]) -> bytes:
    """One input: a seed, changed where its structure says, in its bytes, or both."""
    from .containers import BY_KIND

    seed = rng.choice(seeds)
    data = seed.data
    structured = BY_KIND.get(seed.kind, ())
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        chance = rng.random()
        if structured and chance < 0.6:
            data = rng.choice(structured)(rng, data)
        elif chance < 0.96:
            data = rng.choice(PLAIN)(rng, data)
        elif chance < 0.99:
            other = rng.choice(seeds).data
            data = data[: _at(rng, data)] + other[_at(rng, other) :]
        elif rng.random() < 0.1:
            data = grow(rng, data)
        data = data[:MAX_BYTES]
    return seed.prefix + data


def _at(rng: random.Random, data: bytes) -> int:
    """A place, the start of the file three times in ten: headers stand there."""
    if not data:
        return 0
    return rng.randrange(min(len(data), 64) if rng.random() < 0.3 else len(data))
