"""Writes static libraries: the ``ar`` format with the index of symbols that linkers ask for."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..errors import ConfigError
from .object32 import Object32


def write_archive(members: Sequence[tuple[str, bytes]]) -> bytes:
    """The library of ``members`` (name of at most 15 characters, object). No dates, no owners.

    Raises ConfigError for a longer name, or bytes that are no Arm object.
    """
    index: list[tuple[str, int]] = []
    for number, (name, data) in enumerate(members):
        if len(name) > 15 or "/" in name:
            raise ConfigError(f"archive: expected a name of at most 15 characters, got {name!r}")
        symbols = Object32(data, name).symbols
        index += [(s.name, number) for s in symbols if s.is_global and s.defined]
    names = b"".join(name.encode() + b"\0" for name, _ in index)
    table_size = 4 + 4 * len(index) + len(names)
    places, at = [], 8 + 60 + table_size + table_size % 2
    for _, data in members:
        places.append(at)
        at += 60 + len(data) + len(data) % 2
    # The index is big-endian on every machine.
    table = struct.pack(f">{1 + len(index)}I", len(index), *(places[n] for _, n in index)) + names
    archive = b"!<arch>\n" + _member("/", table)
    return archive + b"".join(_member(f"{name}/", data) for name, data in members)


def _member(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)
