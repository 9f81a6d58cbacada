"""Writes ELF files for 32-bit Arm: the bootable image, and small objects made by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..lowering.elf import string_table, up
from .object32 import ARM

OBJECT, EXECUTABLE = 1, 2

#: ABI version 5, and floats in their own registers.
ABI, HARD_FLOAT = 0x05000000, 0x400

CODE, DATA = 6, 3
READ_ONLY = 2

_PROGBITS, _SYMTAB, _STRTAB, _NOBITS = 1, 2, 3, 8
_ABSOLUTE = 0xFFF1
_HEADER, _SEGMENT = 52, 32

LOCAL, GLOBAL = 0, 1
NO_TYPE, OBJECT_TYPE, FUNCTION = 0, 1, 2


@dataclass(frozen=True, slots=True)
class OutSection:
    """flags: ``CODE``, ``DATA`` or ``READ_ONLY``. address: where it runs; load: where it is kept.

    nbytes: only for memory that is cleared at the start, then ``data`` is empty.
    """

    name: str
    flags: int
    data: bytes
    align: int = 4
    address: int = 0
    load: int = 0
    nbytes: int = 0

    @property
    def size(self) -> int:
        return len(self.data) or self.nbytes


@dataclass(frozen=True, slots=True)
class OutSymbol:
    """section: index in the list given, None for a plain number. value: as ELF wants it, with
    bit 0 set for Thumb functions.
    """

    name: str
    section: int | None
    value: int
    nbytes: int = 0
    binding: int = GLOBAL
    kind: int = NO_TYPE


def write_elf(
    kind: int, sections: Sequence[OutSection], symbols: Sequence[OutSymbol], *,
    flags: int = ABI, entry: int = 0,
) -> bytes:  # fmt: skip
    """The file. An ``EXECUTABLE`` has one segment for each section that takes memory."""
    loaded = [s for s in sections if s.size] if kind == EXECUTABLE else []
    image = bytearray(_HEADER + _SEGMENT * len(loaded))
    offsets = []
    for section in sections:
        image += bytes(up(len(image), section.align) - len(image))
        offsets.append(len(image))
        image += section.data
    ordered = sorted(symbols, key=lambda symbol: (symbol.binding != LOCAL, symbol.name))
    names, name_at = string_table([symbol.name for symbol in ordered])
    table = bytearray(16)
    for symbol in ordered:
        number = _ABSOLUTE if symbol.section is None else symbol.section + 1
        table += struct.pack(
            "<IIIBBH", name_at[symbol.name], symbol.value, symbol.nbytes,
            symbol.binding << 4 | symbol.kind, 0, number,
        )  # fmt: skip
    image += bytes(up(len(image), 4) - len(image))
    table_offset = len(image)
    image += table
    names_offset = len(image)
    image += names
    titles, title_at = string_table(
        [section.name for section in sections] + [".symtab", ".strtab", ".shstrtab"]
    )
    titles_offset = len(image)
    image += titles
    image += bytes(up(len(image), 4) - len(image))
    headers_offset = len(image)
    locals_ = 1 + sum(symbol.binding == LOCAL for symbol in ordered)
    rows = [(0,) * 10]
    for section, offset in zip(sections, offsets, strict=True):
        form = _PROGBITS if section.data or not section.nbytes else _NOBITS
        rows.append(
            (title_at[section.name], form, section.flags, section.address, offset, section.size,
             0, 0, section.align, 0)
        )  # fmt: skip
    strings = len(sections) + 2
    rows += [
        (title_at[".symtab"], _SYMTAB, 0, 0, table_offset, len(table), strings, locals_, 4, 16),
        (title_at[".strtab"], _STRTAB, 0, 0, names_offset, len(names), 0, 0, 1, 0),
        (title_at[".shstrtab"], _STRTAB, 0, 0, titles_offset, len(titles), 0, 0, 1, 0),
    ]
    for row in rows:
        image += struct.pack("<10I", *row)
    image[:_HEADER] = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", kind, ARM, 1, entry,
        _HEADER if loaded else 0, headers_offset, flags, _HEADER, _SEGMENT if loaded else 0,
        len(loaded), 40, len(rows), len(rows) - 1,
    )  # fmt: skip
    for i, section in enumerate(loaded):
        rights = 4 | (section.flags & 1) << 1 | (section.flags & 4) >> 2
        struct.pack_into(
            "<8I", image, _HEADER + _SEGMENT * i, 1, offsets[sections.index(section)],
            section.address, section.load, len(section.data), section.size, rights, section.align,
        )  # fmt: skip
    return bytes(image)
