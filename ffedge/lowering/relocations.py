"""How LLVM's code refers to itself: the relocations of x86-64 and AArch64 that kernels need."""

from __future__ import annotations

import struct

from ..errors import ConfigError


class LinkError(ConfigError):
    """Objects that cannot become a library of kernels: they need something from outside."""


#: x86-64: bytes of a PC-relative field.
_X86 = {2: 4, 4: 4, 24: 8}

#: AArch64: shift of the page offset in LDST and ADD.
_LOW12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}

#: AArch64: (bits, lowest bit in the instruction) of a branch or a literal load, in words.
_BRANCH = {273: (19, 5), 279: (14, 5), 280: (19, 5), 282: (26, 0), 283: (26, 0)}


def relocate(
    architecture: str, kind: int, data: bytearray, at: int, place: int, target: int, name: str
) -> None:
    """Write the field at ``data[at]``, which will lie at address ``place``, to mean ``target``.

    kind: the ELF relocation number. Raises LinkError if it is not known or does not reach.
    """
    if architecture == "x86_64":
        known = _x86(kind, data, at, target - place, name)
    else:
        known = _aarch64(kind, data, at, place, target, name)
    if not known:
        raise LinkError(
            f"{name}: expected a relocation inside the library, got type {kind} of {architecture}"
        )


def _x86(kind: int, data: bytearray, at: int, distance: int, name: str) -> bool:
    nbytes = _X86.get(kind)
    if nbytes is None:
        return False
    data[at : at + nbytes] = signed(distance, 8 * nbytes, name).to_bytes(nbytes, "little")
    return True


def _aarch64(kind: int, data: bytearray, at: int, place: int, target: int, name: str) -> bool:
    distance = target - place
    if kind in (260, 261):  # PREL64, PREL32
        nbytes = 8 if kind == 260 else 4
        data[at : at + nbytes] = signed(distance, 8 * nbytes, name).to_bytes(nbytes, "little")
        return True
    (word,) = struct.unpack_from("<I", data, at)
    if kind in (274, 275):  # ADR_PREL_LO21, ADR_PREL_PG_HI21
        pages = distance if kind == 274 else (target >> 12) - (place >> 12)
        value = signed(pages, 21, name)
        word = word & ~0x60FFFFE0 | (value & 3) << 29 | (value >> 2) << 5
    elif kind in _LOW12:
        shift = _LOW12[kind]
        low = target & 0xFFF
        if low & ((1 << shift) - 1):
            raise LinkError(f"{name}: expected an address that is aligned, got {target:#x}")
        word = word & ~0x3FFC00 | (low >> shift) << 10
    elif kind in _BRANCH:
        bits, first = _BRANCH[kind]
        if distance & 3:
            raise LinkError(f"{name}: expected an address that is aligned, got {target:#x}")
        mask = ((1 << bits) - 1) << first
        word = word & ~mask | signed(distance >> 2, bits, name) << first
    else:
        return False
    struct.pack_into("<I", data, at, word)
    return True


def signed(value: int, bits: int, name: str) -> int:
    """Two's complement of ``value`` in ``bits``. Raises LinkError if it does not fit."""
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise LinkError(f"{name}: expected a distance of {bits} bits, got {value:#x}")
    return value & ((1 << bits) - 1)
