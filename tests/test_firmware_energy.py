"""Cycles and energy: the formula by hand, and the kinds of instructions by their encodings."""

import numpy as np
import pytest

from ffedge.firmware.boards import BOARDS
from firmware_sim import energy

#: Halfwords of an instruction and its kind; from the architecture manual's encodings.
ENCODINGS = {
    "adds r0, r1, r2": ([0x1888], "other"),
    "ldr r0, [pc, #4]": ([0x4801], "memory"),
    "str r1, [r0]": ([0x6001], "memory"),
    "ldrb r2, [r4, r1]": ([0x5C62], "memory"),
    "push {r4, lr}": ([0xB510], "memory"),
    "pop {r4, pc}": ([0xBD10], "memory"),
    "ldmia r0!, {r1, r2}": ([0xC806], "memory"),
    "ldr.w r0, [r1, #100]": ([0xF8D1, 0x0064], "memory"),
    "ldrd r0, r1, [r2]": ([0xE9D2, 0x0100], "memory"),
    "vldr s0, [r0]": ([0xED90, 0x0A00], "memory"),
    "bne": ([0xD1FC], "branch"),
    "b": ([0xE7FE], "branch"),
    "bx lr": ([0x4770], "branch"),
    "cbz r0": ([0xB100], "branch"),
    "bl": ([0xF000, 0xF800], "branch"),
    "b.w": ([0xF000, 0xB800], "branch"),
    "mov.w r0, #1": ([0xF04F, 0x0001], "other"),
    "muls r0, r1": ([0x4348], "multiply"),
    "smlabb r0, r1, r2, r3": ([0xFB11, 0x3002], "multiply"),
    "smull r0, r1, r2, r3": ([0xFB82, 0x0103], "multiply"),
    "sdiv r0, r1, r2": ([0xFB91, 0xF0F2], "divide"),
    "udiv r0, r1, r2": ([0xFBB1, 0xF0F2], "divide"),
    "vmul.f32 s0, s0, s1": ([0xEE20, 0x0A20], "float"),
    "vadd.f32 s0, s0, s1": ([0xEE30, 0x0A20], "float"),
    "vcvt.f32.s32 s0, s0": ([0xEEB8, 0x0AC0], "float"),
    "vdiv.f32 s0, s0, s1": ([0xEE80, 0x0A20], "float divide"),
    "vsqrt.f32 s0, s0": ([0xEEB1, 0x0AC0], "float divide"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_instruction_is_of_its_kind(name):
    words, kind = ENCODINGS[name]
    code = np.array([*words, 0xBF00], np.uint16)
    often = np.array([7, *[0] * len(words)], np.int64)

    kinds = energy.instruction_kinds(code, often)

    assert {k: n for k, n in kinds.items() if n} == {kind: 7}


def test_cycles_add_up_by_kind():
    kinds = dict.fromkeys(energy.KINDS, 0) | {"other": 10, "memory": 5, "float divide": 1}

    assert energy.cycles(BOARDS["nrf52840"], 16, kinds) == 10 + 2 * 5 + 14


def test_cycles_without_kinds_grow_with_the_instructions():
    board = BOARDS["stm32f746"]

    assert energy.cycles(board, 2000) == 2 * energy.cycles(board, 1000) > 0


def test_energy_is_current_times_time_times_volts():
    board = BOARDS["stm32l476"]
    cycles = 8e6

    ampere = board.ua_per_mhz * 1e-6 * board.clock_hz / 1e6
    expected = ampere * board.volts * energy.seconds(board, cycles)

    assert energy.seconds(board, cycles) == pytest.approx(0.1)
    assert energy.joules(board, cycles) == pytest.approx(expected)
