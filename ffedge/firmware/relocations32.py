"""How LLVM's Thumb code refers to itself: the relocations of 32-bit Arm that firmware needs.

A field holds its own addend in REL objects; RELA objects bring it along. ``value`` is S of the
Arm ELF specification, ``place`` is P and ``thumb`` is T: 1 where the target is Thumb code.
"""

from __future__ import annotations

import struct

from ..lowering.relocations import LinkError, signed

_ABS32, _REL32, _PREL31 = 2, 3, 42
_CALL, _JUMP24, _JUMP19 = 10, 30, 51
_JUMP11, _JUMP8 = 102, 103
_MOVW, _MOVT, _MOVW_PREL, _MOVT_PREL = 47, 48, 49, 50

#: Relocations that ask for nothing: NONE, and V4BX for cores without BX.
_NOTHING = (0, 40)

#: Bytes of each field.
_SIZES = {
    _ABS32: 4, _REL32: 4, _PREL31: 4, _CALL: 4, _JUMP24: 4, _JUMP19: 4, _JUMP11: 2, _JUMP8: 2,
    _MOVW: 4, _MOVT: 4, _MOVW_PREL: 4, _MOVT_PREL: 4,
}  # fmt: skip

#: Short branches: bits of the distance in halfwords.
_SHORT = {_JUMP11: 11, _JUMP8: 8}


def relocate32(
    kind: int, data: bytearray, at: int, place: int, value: int, thumb: int,
    addend: int | None, name: str,
) -> None:  # fmt: skip
    """Write the field at ``data[at]``, which will lie at address ``place``.

    kind: the ELF relocation number. value: the target's address, bit 0 clear. thumb: 1 for Thumb
    code, else 0. addend: None to take it from the field.
    Raises LinkError if the kind is not known, does not reach or lies outside of ``data``.
    """
    if kind in _NOTHING:
        return
    if kind not in _SIZES:
        raise LinkError(
            f"{name}: expected a relocation of firmware without a loader, got type {kind} of arm"
        )
    if not 0 <= at <= len(data) - _SIZES[kind]:
        raise LinkError(
            f"{name}: expected a relocation in a section of {len(data):,} B, got one at {at:,}"
        )
    if kind in (_ABS32, _REL32, _PREL31):
        _word(kind, data, at, place, value, thumb, addend, name)
    elif kind in _SHORT:
        (half,) = struct.unpack_from("<H", data, at)
        mask = (1 << _SHORT[kind]) - 1
        own = _extended((half & mask) << 1, _SHORT[kind] + 1) if addend is None else addend
        distance = signed(_to_code(value, thumb, name) + own - place, _SHORT[kind] + 1, name)
        struct.pack_into("<H", data, at, half & ~mask | distance >> 1)
    else:
        high, low = struct.unpack_from("<HH", data, at)
        if kind in (_CALL, _JUMP24):
            own = _far(high, low) if addend is None else addend
            distance = signed(_to_code(value, thumb, name) + own - place, 25, name)
            high, low = _with_far(high, low, distance)
        elif kind == _JUMP19:
            own = _near(high, low) if addend is None else addend
            distance = signed(_to_code(value, thumb, name) + own - place, 21, name)
            high, low = _with_near(high, low, distance)
        else:
            own = _extended(_immediate(high, low), 16) if addend is None else addend
            target = value + own
            if kind in (_MOVW, _MOVW_PREL):
                target |= thumb
            if kind in (_MOVW_PREL, _MOVT_PREL):
                target -= place
            half = target >> 16 if kind in (_MOVT, _MOVT_PREL) else target
            high, low = _with_immediate(high, low, half & 0xFFFF)
        struct.pack_into("<HH", data, at, high, low)


def _word(
    kind: int, data: bytearray, at: int, place: int, value: int, thumb: int,
    addend: int | None, name: str,
) -> None:  # fmt: skip
    (word,) = struct.unpack_from("<I", data, at)
    if kind == _PREL31:
        own = _extended(word & 0x7FFFFFFF, 31) if addend is None else addend
        distance = signed(((value + own) | thumb) - place, 31, name)
        struct.pack_into("<I", data, at, word & 0x80000000 | distance)
        return
    own = _extended(word, 32) if addend is None else addend
    target = (value + own) | thumb
    struct.pack_into("<I", data, at, (target - place * (kind == _REL32)) & 0xFFFFFFFF)


def _to_code(value: int, thumb: int, name: str) -> int:
    if not thumb:
        raise LinkError(
            f"{name}: expected a branch to Thumb code, got one to {value:#x}, which is none"
        )
    return value


def _extended(value: int, bits: int) -> int:
    """The two's complement number of that many bits."""
    return value - ((value >> (bits - 1)) << bits)


def _far(high: int, low: int) -> int:
    """The distance in BL and B.W (T4): S, I1, I2, 10 and 11 bits."""
    sign, j1, j2 = high >> 10 & 1, low >> 13 & 1, low >> 11 & 1
    value = sign << 24 | (1 ^ j1 ^ sign) << 23 | (1 ^ j2 ^ sign) << 22
    return _extended(value | (high & 0x3FF) << 12 | (low & 0x7FF) << 1, 25)


def _with_far(high: int, low: int, distance: int) -> tuple[int, int]:
    sign = distance >> 24 & 1
    j1, j2 = 1 ^ sign ^ (distance >> 23 & 1), 1 ^ sign ^ (distance >> 22 & 1)
    high = high & 0xF800 | sign << 10 | distance >> 12 & 0x3FF
    return high, low & 0xD000 | j1 << 13 | j2 << 11 | distance >> 1 & 0x7FF


def _near(high: int, low: int) -> int:
    """The distance in a conditional B.W (T3): S, J2, J1, 6 and 11 bits."""
    value = (high >> 10 & 1) << 20 | (low >> 11 & 1) << 19 | (low >> 13 & 1) << 18
    return _extended(value | (high & 0x3F) << 12 | (low & 0x7FF) << 1, 21)


def _with_near(high: int, low: int, distance: int) -> tuple[int, int]:
    high = high & 0xFBC0 | (distance >> 20 & 1) << 10 | distance >> 12 & 0x3F
    low = low & 0xD000 | (distance >> 18 & 1) << 13 | (distance >> 19 & 1) << 11
    return high, low | distance >> 1 & 0x7FF


def _immediate(high: int, low: int) -> int:
    """The 16 bits in MOVW and MOVT (T3)."""
    return (high & 15) << 12 | (high >> 10 & 1) << 11 | (low >> 12 & 7) << 8 | low & 0xFF


def _with_immediate(high: int, low: int, value: int) -> tuple[int, int]:
    high = high & 0xFBF0 | value >> 12 | (value >> 11 & 1) << 10
    return high, low & 0x8F00 | (value >> 8 & 7) << 12 | value & 0xFF
