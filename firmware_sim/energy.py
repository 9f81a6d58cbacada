"""Clock cycles and energy from instructions: estimates, and never from anything but tables.

cycles = sum over the kinds of instructions of count * cycles of the kind, where an emulator tells
the kinds apart (unicorn); else instructions * cycles per instruction. seconds = cycles / clock.
joules = cycles * microampere per MHz * 1e-12 * volts: what the whole chip draws, not its adders.

The cycles are those of Arm's manuals with memory that never waits; flash without a cache makes
them more, the M7's two pipelines fewer. Not checked against silicon: take them for right within
a factor of two, and the comparison of two programs on one board for better than that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffedge.firmware.boards import Board

Array = np.ndarray[Any, Any]

KINDS = ("other", "memory", "branch", "multiply", "divide", "float", "float divide")

#: Cycles of each kind, in the order of ``KINDS``. M4F: Arm 100166 table 3-1, a branch counted as
#: taken; M3, M33: the same where their manuals differ little. M0+: Arm DDI 0484, table 3-1.
#: M7: the M4F's halved where two instructions go together, an estimate.
_CYCLES: dict[str, tuple[float, ...]] = {
    "m0plus": (1, 2, 2, 1, 20, 40, 80),
    "m3": (1, 2, 2, 1, 7, 40, 80),
    "m4f": (1, 2, 2, 1, 7, 1, 14),
    "m33": (1, 2, 2, 1, 7, 1, 14),
    "m7": (0.5, 1, 1, 0.5, 7, 1, 14),
}

#: Cycles per instruction where the kinds are not known: what the kinds of training steps on the
#: digits came to, 1.28 to 1.30 on the M4F with either rule, half of it on the M7.
_PER_INSTRUCTION = {"m0plus": 1.4, "m3": 1.3, "m4f": 1.3, "m33": 1.3, "m7": 0.65}


def instruction_kinds(code: Array, executions: Array) -> dict[str, int]:
    """How many instructions of each of ``KINDS`` were executed.

    code: uint16 (n,) halfwords. executions: int64 (n,), at each instruction's first halfword.
    """
    second = np.append(code[1:], 0)
    kinds = np.select(
        [_is_float(code) & _is_float_divide(code, second), _is_memory(code), _is_float(code),
         _is_divide(code), _is_multiply(code), _is_branch(code, second)],
        [6, 1, 5, 4, 3, 2],
        0,
    )  # fmt: skip
    totals = np.bincount(kinds, executions, len(KINDS))
    return {kind: int(total) for kind, total in zip(KINDS, totals, strict=True)}


def _is_memory(code: Array) -> Any:
    narrow = ((code >> 11) == 0b01001) | ((code >> 12) >= 5) & ((code >> 12) <= 9)
    narrow |= ((code >> 12) == 0b1100) | ((code & 0xF600) == 0xB400)
    # ldm, stm, ldrd, strd; ldr, str and their like; vldr, vstr, vldm, vstm, vpush
    wide = ((code & 0xFE00) == 0xE800) | ((code & 0xFE00) == 0xF800) | ((code & 0xFE00) == 0xEC00)
    return narrow | wide


def _is_branch(code: Array, second: Array) -> Any:
    narrow = ((code >> 12) == 0b1101) | ((code >> 11) == 0b11100) | ((code & 0xFF00) == 0x4700)
    narrow |= (code & 0xF500) == 0xB100
    return narrow | ((code >> 11) == 0b11110) & (second >> 15 == 1)


def _is_multiply(code: Array) -> Any:
    return ((code & 0xFFC0) == 0x4340) | ((code & 0xFF00) == 0xFB00)


def _is_divide(code: Array) -> Any:
    return ((code & 0xFFF0) == 0xFB90) | ((code & 0xFFF0) == 0xFBB0)


def _is_float(code: Array) -> Any:
    return ((code & 0xFF00) == 0xEE00) | ((code & 0xFE00) == 0xEC00)


def _is_float_divide(code: Array, second: Array) -> Any:
    single = (second & 0x0E00) == 0x0A00
    divide = (code & 0xFFB0) == 0xEE80
    root = ((code & 0xFFBF) == 0xEEB1) & ((second & 0x00C0) == 0x00C0)
    return single & (divide | root)


def cycles(board: Board, instructions: int, kinds: dict[str, int] | None = None) -> float:
    """Clock cycles of so many instructions, by kind if known."""
    name = board.core.name
    if kinds is None:
        return instructions * _PER_INSTRUCTION[name]
    return sum(kinds[kind] * each for kind, each in zip(KINDS, _CYCLES[name], strict=True))


def seconds(board: Board, clock_cycles: float) -> float:
    """Time of so many cycles at the board's full clock."""
    return clock_cycles / board.clock_hz


def joules(board: Board, clock_cycles: float) -> float:
    """Energy of so many cycles: ampere per hertz * cycles * volts.

    >>> from ffedge.firmware.boards import BOARDS
    >>> round(joules(BOARDS["nrf52840"], 1e6) * 1e6)
    156
    """
    return clock_cycles * board.ua_per_mhz * 1e-12 * board.volts
