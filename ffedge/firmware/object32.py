"""A relocatable object for 32-bit Arm, as LLVM writes it. Nothing in the bytes is trusted."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ..lowering.relocations import LinkError

ARM = 40

_ALLOC, _EXEC, _WRITE = 2, 4, 1
_SYMBOLS, _RELA, _NOBITS, _REL = 2, 4, 8, 9
_ABSOLUTE, _RESERVED = 0xFFF1, 0xFF00
_LOCAL, _WEAK = 0, 2

#: Unwinding tables (nothing is thrown through firmware) and notes for other tools.
_DROPPED = (".ARM.exidx", ".ARM.extab", ".eh_frame", ".note")

#: What a section is for, in the order in which flash, then RAM, is filled; sections named
#: ".vectors" and ".model" are kinds of their own.
KINDS = ("vectors", "code", "constants", "model", "data", "bss")

#: No board's flash is larger; a broken object must not make us allocate more.
_MOST = 1 << 28

#: Characters of a name.
_NAME = 512


@dataclass(frozen=True, slots=True)
class Relocation:
    """``addend`` is None where the field itself holds it. symbol: number in the object."""

    offset: int
    kind: int
    symbol: int
    addend: int | None


@dataclass(slots=True)
class Section:
    """A section that takes memory. kind: of ``KINDS``; ``data`` is empty for "bss"."""

    name: str
    kind: str
    data: bytearray
    nbytes: int
    align: int
    relocations: list[Relocation] = field(default_factory=list)
    address: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """``section`` is None if it is defined elsewhere, or absolute: then ``value`` counts alone."""

    name: str
    section: Section | None
    value: int
    nbytes: int
    binding: int
    kind: int
    absolute: bool

    @property
    def defined(self) -> bool:
        return self.section is not None or self.absolute

    @property
    def is_global(self) -> bool:
        return self.binding != _LOCAL

    @property
    def weak(self) -> bool:
        return self.binding == _WEAK

    @property
    def address(self) -> int:
        """Where it lies, with bit 0 set for a Thumb function, as code and vectors want it."""
        return self.value + (self.section.address if self.section is not None else 0)


class Object32:
    """``sections`` in the object's order, ``symbols`` by number.

    Raises LinkError for bytes that are no 32-bit little-endian Arm object, or a damaged one.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name, self._data = name, data
        head = data[:20].ljust(20, b"\0")
        kind, machine = struct.unpack_from("<HH", head, 16)
        if head[:6] != b"\x7fELF\x01\x01" or (kind, machine) != (1, ARM):
            raise LinkError(f"{name}: expected a 32-bit relocatable Arm object, got other bytes")
        (start,) = self._read("<I", 32)
        size, count, names = self._read("<HHH", 46)
        # Held against the size of the file before anything is set up for each of them.
        if names >= count or size < 40 or start + size * count > len(data):
            raise self._damaged("a table of section names")
        headers = [self._read("<10I", start + i * size) for i in range(count)]
        titles = headers[names][4]
        self._left = len(data)
        self._found: dict[int, Section] = {}
        for i, (label, kind, flags, _, offset, nbytes, _, _, align, _) in enumerate(headers):
            title = self._text(titles + label) if flags & _ALLOC else ""
            if flags & _ALLOC and not title.startswith(_DROPPED):
                self._found[i] = self._section(title, kind, flags, offset, nbytes, align)
        self.sections = list(self._found.values())
        self.symbols: list[Symbol] = []
        tables = [row for row in headers if row[1] == _SYMBOLS]
        if len(tables) > 1:
            raise self._damaged("one table of symbols")
        for _, _, _, _, offset, nbytes, link, _, _, _ in tables:
            if link >= count:
                raise self._damaged("names of its symbols")
            strings = headers[link][4]
            for at in range(offset, offset + nbytes, 16):
                self.symbols.append(self._symbol(at, strings))
        for _, kind, _, _, offset, nbytes, _, info, _, _ in headers:
            if kind in (_REL, _RELA) and info in self._found:
                self._relocations(self._found[info], kind, offset, nbytes)

    def _section(
        self, title: str, kind: int, flags: int, offset: int, nbytes: int, align: int
    ) -> Section:
        if nbytes > _MOST or align & (align - 1) or align > 1 << 16:
            raise self._damaged(f"a section {title} that fits a board")
        if kind == _NOBITS:
            return Section(title, "bss", bytearray(), nbytes, align)
        if offset + nbytes > len(self._data):
            raise self._damaged(f"the bytes of {title}")
        self._take(nbytes)
        own_kind = title[1:].split(".")[0]
        if flags & _WRITE:
            purpose = "data"
        elif own_kind in ("vectors", "model"):
            purpose = own_kind
        else:
            purpose = "code" if flags & _EXEC else "constants"
        own = bytearray(self._data[offset : offset + nbytes])
        return Section(title, purpose, own, nbytes, align)

    def _symbol(self, at: int, strings: int) -> Symbol:
        label, value, nbytes, info, _, number = self._read("<IIIBBH", at)
        title = self._text(strings + label)
        if number >= _RESERVED and number != _ABSOLUTE:
            raise LinkError(
                f"{self.name}: expected every symbol in a section, got {title or 'one'} in the "
                f"reserved {number:#x}"
            )
        section = self._found.get(number)
        return Symbol(title, section, value, nbytes, info >> 4, info & 15, number == _ABSOLUTE)

    def _take(self, nbytes: int) -> None:
        """Raise if the sections together are larger than the file: then they overlap."""
        self._left -= nbytes
        if self._left < 0:
            raise self._damaged("sections that do not overlap")

    def _relocations(self, section: Section, kind: int, offset: int, nbytes: int) -> None:
        self._take(nbytes)
        for at in range(offset, offset + nbytes, 8 if kind == _REL else 12):
            place, what = self._read("<II", at)
            addend = self._read("<i", at + 8)[0] if kind == _RELA else None
            if what >> 8 >= len(self.symbols):
                raise self._damaged("the symbol of a relocation")
            section.relocations.append(Relocation(place, what & 0xFF, what >> 8, addend))

    def _read(self, form: str, at: int) -> tuple[int, ...]:
        if at + struct.calcsize(form) > len(self._data):
            raise self._damaged(f"bytes at {at:,}")
        return struct.unpack_from(form, self._data, at)

    def _text(self, at: int) -> str:
        end = self._data.find(b"\0", at, at + _NAME)
        if end < 0:
            raise self._damaged(f"a name of less than {_NAME} characters")
        return self._data[at:end].decode("ascii", "replace")

    def _damaged(self, missing: str) -> LinkError:
        size = len(self._data)
        return LinkError(f"{self.name}: expected {missing}, got {size:,} B of a damaged object")
