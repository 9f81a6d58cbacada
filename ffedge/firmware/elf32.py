"""A linker for firmware: Thumb objects into bytes at a board's addresses.

Two steps, because sizes must be known before addresses are given: ``Program`` takes what the
roots reach, ``Program.link`` puts it where the memory map says. Same objects, same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..lowering.elf import up
from ..lowering.relocations import LinkError
from .object32 import KINDS, Object32, Relocation, Section, Symbol
from .relocations32 import relocate32

_NOTYPE, _FUNCTION = 0, 2


@dataclass(frozen=True, slots=True)
class Linked:
    """parts: bytes of each kind but "bss". symbols: address by name; functions with bit 0 set.

    sizes: bytes of functions and objects by name, where the object says so.
    """

    parts: dict[str, bytes]
    symbols: dict[str, int]
    sizes: dict[str, int]


class Program:
    """The sections that ``roots`` (names of symbols) reach, and what they need from outside.

    objects: (name, bytes). given: names that ``link`` will be told the addresses of.
    Raises LinkError for damaged objects, a symbol defined twice (weak ones give way), and one
    that is defined nowhere.
    """

    def __init__(
        self,
        objects: Iterable[tuple[str, bytes]],
        roots: Iterable[str],
        given: Iterable[str] = (),
    ) -> None:
        self._objects = [Object32(data, name) for name, data in objects]
        self._given = set(given)
        self._defined = self._definitions()
        self._owner = {id(s): item for item in self._objects for s in item.sections}
        kept = self._reached(sorted(roots))
        self.sections = [s for item in self._objects for s in item.sections if id(s) in kept]
        self._places: dict[str, list[int]] = {}
        self._sizes: dict[str, int] = {}
        for kind in KINDS:
            at, places = 0, []
            for section in self._of(kind):
                at = up(at, section.align)
                places.append(at)
                at += section.nbytes
            self._places[kind], self._sizes[kind] = places, at

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each kind, if it begins at a multiple of its ``alignment``."""
        return dict(self._sizes)

    @property
    def alignment(self) -> dict[str, int]:
        """What each kind's address must be a multiple of; at least 4."""
        return {kind: max([4, *(s.align for s in self._of(kind))]) for kind in KINDS}

    def _of(self, kind: str) -> list[Section]:
        return [section for section in self.sections if section.kind == kind]

    def _definitions(self) -> dict[str, Symbol]:
        found: dict[str, Symbol] = {}
        for item in self._objects:
            for symbol in item.symbols:
                if not symbol.is_global or not symbol.defined:
                    continue
                before = found.get(symbol.name)
                if before is not None and not before.weak and not symbol.weak:
                    raise LinkError(f"{item.name}: expected one {symbol.name}, got a second one")
                if symbol.name in self._given:
                    raise LinkError(
                        f"{item.name}: expected {symbol.name} from the memory map, got another"
                    )
                if before is None or (before.weak and not symbol.weak):
                    found[symbol.name] = symbol
        return found

    def _reached(self, roots: list[str]) -> set[int]:
        missing = [root for root in roots if root not in self._defined]
        if missing:
            raise LinkError(f"link: expected the symbol {missing[0]} in an object, got none")
        waiting = [self._defined[root].section for root in roots]
        kept: set[int] = set()
        while waiting:
            section = waiting.pop()
            if section is None or id(section) in kept:
                continue
            kept.add(id(section))
            item = self._owner[id(section)]
            for relocation in section.relocations:
                symbol = self._target(item, relocation)
                waiting.append(None if symbol is None else symbol.section)
        return kept

    def _target(self, item: Object32, relocation: Relocation) -> Symbol | None:
        """The symbol that a relocation means; None for one of the memory map, or of nothing."""
        own = item.symbols[relocation.symbol]
        if own.is_global:
            if own.name in self._given:
                return None
            if own.name in self._defined:
                return self._defined[own.name]
        elif own.defined:
            return own
        elif not own.name:
            return None
        raise LinkError(f"{item.name}: expected nothing from outside, got a need of {own.name}")

    def link(self, addresses: Mapping[str, int], given: Mapping[str, int] | None = None) -> Linked:
        """Bytes with every reference filled in.

        addresses: of each kind that has bytes, a multiple of its ``alignment``.
        given: addresses of the names that were announced; an odd one is Thumb code.
        Raises LinkError for an address that is missing or not aligned, and for a reference that
        does not reach.
        """
        outside = dict(given or {})
        if set(outside) != self._given:
            odd = sorted(set(outside) ^ self._given)[0]
            raise LinkError(f"link: expected an address for each name announced, got none of {odd}")
        for kind in KINDS:
            if not self._of(kind):
                continue
            base = addresses.get(kind)
            if base is None or base % self.alignment[kind]:
                raise LinkError(
                    f"link: expected an address for {kind}, a multiple of "
                    f"{self.alignment[kind]}, got {base}"
                )
            for section, at in zip(self._of(kind), self._places[kind], strict=True):
                section.address = base + at
        parts = {}
        for kind in KINDS[:-1]:
            content = bytearray(self._sizes[kind])
            for section, at in zip(self._of(kind), self._places[kind], strict=True):
                content[at : at + section.nbytes] = self._filled(section, outside)
            parts[kind] = bytes(content)
        kept = {id(section) for section in self.sections}
        symbols, sizes = dict(outside), dict[str, int]()
        for item in self._objects:
            for symbol in item.symbols:
                named = symbol.name and not symbol.name.startswith(("$", ".L"))
                if named and symbol.section is not None and id(symbol.section) in kept:
                    if symbol.is_global and self._defined[symbol.name] is not symbol:
                        continue
                    symbols.setdefault(symbol.name, symbol.address)
                    sizes.setdefault(symbol.name, symbol.nbytes)
        return Linked(parts, symbols, sizes)

    def _filled(self, section: Section, outside: Mapping[str, int]) -> bytearray:
        item, data = self._owner[id(section)], bytearray(section.data)
        for relocation in section.relocations:
            symbol = self._target(item, relocation)
            if symbol is None:
                address = outside.get(item.symbols[relocation.symbol].name, 0)
                thumb = address & 1
                address -= thumb
            else:
                # Bit 0 of a function's value says that it is Thumb code; of data it is address.
                thumb = symbol.value & 1 if symbol.kind == _FUNCTION else 0
                address = symbol.address - thumb
            where = f"{item.name}, {section.name}"
            relocate32(
                relocation.kind, data, relocation.offset, section.address + relocation.offset,
                address, thumb, relocation.addend, where,
            )  # fmt: skip
        return data
