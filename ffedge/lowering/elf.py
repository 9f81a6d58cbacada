"""A linker for what the kernels need: LLVM's relocatable objects into one shared library.

64-bit little-endian ELF for x86-64 and AArch64. The code is position-independent, calls nothing
outside and keeps no writable data, so the result needs no dynamic relocation at all: whatever
else an object asks for is refused by name. Same objects, same bytes.

Layout: [headers, note, symbols, constants] read-only, [code] executable, [dynamic section]
writable, because the loader writes there. Segments start in pages of their own, of 64 KiB on
AArch64, where a kernel's pages may be 4, 16 or 64 KiB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..kernels.library_file import MACHINES, NOTE_NAME, NOTE_TYPE
from .relocations import LinkError, relocate

PAGE = {"x86_64": 0x1000, "aarch64": 0x10000}

_ALLOC, _EXEC, _WRITE = 2, 4, 1


@dataclass
class Section:
    """A section of an object that is loaded; ``address`` is set by ``link``."""

    name: str
    data: bytearray
    align: int
    executable: bool
    relocations: list[tuple[int, int, int, int]] = field(default_factory=list)
    address: int = 0


@dataclass
class Symbol:
    """``section``: index in the object; 0 if it is defined elsewhere."""

    name: str
    section: int
    value: int
    is_global: bool


class Object:
    """A relocatable object, parsed."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 16)[0] != 1:
            raise LinkError(f"{name}: expected a 64-bit relocatable ELF object, got other bytes")
        self.machine: int = struct.unpack_from("<H", data, 18)[0]
        (start,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
        self.sections: dict[int, Section] = {}
        self.symbols: list[Symbol] = []
        for i, (label, kind, flags, _, offset, nbytes, _, _, align, _) in enumerate(headers):
            if not flags & _ALLOC or not nbytes:
                continue
            title = _text(data, headers[names][4] + label)
            if title.startswith((".eh_frame", ".note")):
                continue  # nothing is thrown through a kernel
            if flags & _WRITE or kind == 8:
                raise LinkError(f"{name}: expected no writable data in kernels, got {title}")
            self.sections[i] = Section(
                title, bytearray(data[offset : offset + nbytes]), align, bool(flags & _EXEC)
            )
        for _, kind, _, _, offset, nbytes, link, info, _, _ in headers:
            if kind == 2:
                strings = headers[link][4]
                for at in range(offset, offset + nbytes, 24):
                    label, bind, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, at)
                    self.symbols.append(
                        Symbol(_text(data, strings + label), section, value, bind >> 4 != 0)
                    )
            elif kind == 4 and info in self.sections:
                for at in range(offset, offset + nbytes, 24):
                    place, what, addend = struct.unpack_from("<QQq", data, at)
                    self.sections[info].relocations.append(
                        (place, what & 0xFFFFFFFF, what >> 32, addend)
                    )
            elif kind == 9:
                raise LinkError(f"{name}: expected relocations with addends, got REL ones")


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def link(
    objects: Iterable[tuple[str, bytes]], architecture: str, exports: Iterable[str], note: bytes
) -> bytes:
    """A shared library of ``objects`` (name, bytes) with ``exports`` as its dynamic symbols.

    note: text of the "ffedge" note. Raises LinkError for undefined or doubled symbols, writable
    data and relocations that are not known.
    """
    parsed = [Object(data, name) for name, data in objects]
    machine, page = MACHINES[architecture], PAGE[architecture]
    for item in parsed:
        if item.machine != machine:
            raise LinkError(f"{item.name}: expected code for {architecture}, got {item.machine}")
    found = _definitions(parsed)
    wanted = sorted(exports)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise LinkError(f"link: expected the symbol {missing[0]} in an object, got none")

    # Everything read-only first: its size fixes where the code begins.
    note_data = struct.pack("<III", 8, len(note), NOTE_TYPE) + NOTE_NAME + note
    strings, name_at = string_table(wanted)
    at = 64 + 56 * 6
    note_at, at = at, up(at + len(note_data), 8)
    hash_at, at = at, up(at + 4 * (2 + _buckets(len(wanted)) + 1 + len(wanted)), 8)
    symbols_at, at = at, at + 24 * (1 + len(wanted))
    strings_at, at = at, at + len(strings)
    at = _place(parsed, at, executable=False)
    constants_end = at
    code_offset = up(at, 64)
    code_at = up(constants_end, page) + code_offset % page
    code_end = _place(parsed, code_at, executable=True)
    dynamic_offset = up(code_offset + code_end - code_at, 8)
    dynamic_at = up(code_end, page) + dynamic_offset % page

    def address_of(item: Object, number: int) -> int:
        symbol = item.symbols[number]
        if symbol.section and symbol.section in item.sections:
            return item.sections[symbol.section].address + symbol.value
        if symbol.name in found:
            owner, other = found[symbol.name]
            return owner.sections[other.section].address + other.value
        raise LinkError(f"{item.name}: expected nothing from outside, got a need of {symbol.name}")

    for item in parsed:
        for section in item.sections.values():
            for place, kind, number, addend in section.relocations:
                relocate(
                    architecture, kind, section.data, place, section.address + place,
                    address_of(item, number) + addend, item.name,
                )  # fmt: skip

    dynamic = struct.pack(
        "<12Q", 4, hash_at, 5, strings_at, 6, symbols_at, 10, len(strings), 11, 24, 0, 0
    )
    table = bytearray(24)
    for name in wanted:
        owner, symbol = found[name]
        value = owner.sections[symbol.section].address + symbol.value
        table += struct.pack("<IBBHQQ", name_at[name], 0x12, 0, _CODE_SECTION, value, 0)
    image = bytearray(dynamic_offset)
    image[note_at : note_at + len(note_data)] = note_data
    hashes = _hash_table(wanted)
    image[hash_at : hash_at + len(hashes)] = hashes
    image[symbols_at : symbols_at + len(table)] = table
    image[strings_at : strings_at + len(strings)] = strings
    for item in parsed:
        for section in item.sections.values():
            start = section.address - (code_at - code_offset if section.executable else 0)
            image[start : start + len(section.data)] = section.data
    image += dynamic
    code_size = code_end - code_at
    programs = [
        (1, 4, 0, 0, constants_end, page),
        (1, 5, code_offset, code_at, code_size, page),
        (1, 6, dynamic_offset, dynamic_at, len(dynamic), page),
        (2, 6, dynamic_offset, dynamic_at, len(dynamic), 8),
        (4, 4, note_at, note_at, len(note_data), 4),
        (0x6474E551, 6, 0, 0, 0, 16),
    ]
    sections = [
        (".note.ffedge", 7, 2, note_at, note_at, len(note_data), 0, 0, 4, 0),
        (".hash", 5, 2, hash_at, hash_at, len(hashes), 3, 0, 8, 4),
        (".dynsym", 11, 2, symbols_at, symbols_at, len(table), 4, 1, 8, 24),
        (".dynstr", 3, 2, strings_at, strings_at, len(strings), 0, 0, 1, 0),
        (".rodata", 1, 2, strings_at + len(strings), strings_at + len(strings),
         constants_end - strings_at - len(strings), 0, 0, 1, 0),
        (".text", 1, 6, code_at, code_offset, code_size, 0, 0, 64, 0),
        (".dynamic", 6, 3, dynamic_at, dynamic_offset, len(dynamic), 4, 0, 8, 16),
    ]  # fmt: skip
    return _with_headers(image, machine, programs, sections)


#: Index of .text among the sections of the result.
_CODE_SECTION = 6


def _definitions(parsed: list[Object]) -> dict[str, tuple[Object, Symbol]]:
    found: dict[str, tuple[Object, Symbol]] = {}
    for item in parsed:
        for symbol in item.symbols:
            if symbol.is_global and symbol.section in item.sections:
                if symbol.name in found:
                    raise LinkError(f"{item.name}: expected one {symbol.name}, got a second one")
                found[symbol.name] = (item, symbol)
    return found


def _place(parsed: list[Object], at: int, *, executable: bool) -> int:
    for item in parsed:
        for section in item.sections.values():
            if section.executable == executable:
                at = up(at, section.align)
                section.address = at
                at += len(section.data)
    return at


def up(value: int, align: int) -> int:
    """``value`` rounded up to a multiple of ``align``; of 0 as of 1."""
    return -(-value // max(align, 1)) * max(align, 1)


def string_table(names: list[str]) -> tuple[bytes, dict[str, int]]:
    """(bytes, offset of each name) of names that end in a zero, behind the empty one."""
    text, places = b"\0", {}
    for name in names:
        places[name] = len(text)
        text += name.encode() + b"\0"
    return text, places


def _buckets(count: int) -> int:
    return max(1, count // 2)


def _hash_table(names: list[str]) -> bytes:
    """The System V hash table: buckets, then chains, of symbol numbers from 1."""
    buckets, chains = [0] * _buckets(len(names)), [0] * (len(names) + 1)
    for number, name in enumerate(names, 1):
        value = 0
        for byte in name.encode():
            value = (value << 4) + byte
            value = (value ^ ((value & 0xF0000000) >> 24)) & 0x0FFFFFFF
        chains[number] = buckets[value % len(buckets)]
        buckets[value % len(buckets)] = number
    head = struct.pack("<II", len(buckets), len(chains))
    return head + struct.pack(f"<{len(buckets) + len(chains)}I", *buckets, *chains)


def _with_headers(
    image: bytearray,
    machine: int,
    programs: Sequence[tuple[int, ...]],
    sections: Sequence[tuple[Any, ...]],
) -> bytes:
    labels, label_at = string_table([section[0] for section in sections] + [".shstrtab"])
    labels_offset = len(image)
    table_offset = up(labels_offset + len(labels), 8)
    rows = [(label_at[section[0]], *section[1:]) for section in sections]
    rows += [(label_at[".shstrtab"], 3, 0, 0, labels_offset, len(labels), 0, 0, 1, 0)]
    image += labels + bytes(table_offset - labels_offset - len(labels)) + bytes(64)
    for row in rows:
        image += struct.pack("<IIQQQQIIQQ", *row)
    image[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 64, table_offset, 0, 64, 56,
        len(programs), 64, len(rows) + 1, len(rows),
    )  # fmt: skip
    for i, (kind, flags, offset, address, size, align) in enumerate(programs):
        image[64 + 56 * i : 120 + 56 * i] = struct.pack(
            "<IIQQQQQQ", kind, flags, offset, address, address, size, size, align
        )
    return bytes(image)
