"""A firmware of 80 instructions, assembled by hand, that keeps the boot protocol.

Its network is four bytes of weights and one feature. Training on a sample adds it, as a whole
number, to the label's weight, and answers with the result's lowest bit, or with -1 for label 9;
predicting gives the weight that the sample names. A save erases the last page of flash and
programs the weights as one word; a load gives 1 where there is none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from ffedge.firmware.boards import BOARDS
from ffedge.plan import Need, place
from ffedge.tensor import TensorSpec

STACK_BYTES = 256
PAINT = 0xC5C5C5C5


class Region(NamedTuple):
    name: str
    kind: str
    address: int
    nbytes: int


@dataclass
class ToyFirmware:
    """What ``Device`` wants of a ``Firmware``."""

    board: Any
    segments: list[tuple[int, bytes]]
    symbols: dict[str, int]
    sections: list[Region]
    buffers: dict[str, int]
    plan: Any


def toy_firmware(board_name="nrf52840", *, wild=None):
    """The firmware for a board. wild: an address it stores to when it is to set the rates."""
    board = BOARDS[board_name]
    ram, flash, page = board.ram_address, board.flash_address, board.page_bytes
    sample, label = ram + STACK_BYTES, ram + STACK_BYTES + 4
    rates, weight = label + 4, label + 16
    slot = board.flash_end - page
    whole = (0xED95, 0x0A00, 0xEEBD, 0x0AC0, 0xEE10, 0x0A10)  # r0 = int(*sample), in floats
    image, symbols = _assemble(flash + 8, [
        "reset", ("ldr", 0, 0xE000ED88), ("ldr", 1, 0xF << 20), 0x6001,  # the FPU is on
        ("ldr", 0, ram), ("ldr", 1, ram + STACK_BYTES), ("ldr", 2, PAINT),
        "paint", 0x6002, 0x3004, 0x4288, ("b", 1, "paint"),  # str r2,[r0]; r0 += 4; cmp r0,r1; bne
        ("ldr", 0, weight), 0x2100, 0x6001,  # weights = 0
        "loop", ("bl", "hal_next"), ("ldr", 4, weight), ("ldr", 5, sample), ("ldr", 6, label),
        0x2801, ("b", 0, "train"), 0x2802, ("b", 0, "predict"), 0x2803, ("b", 0, "save"),
        0x2804, ("b", 0, "load"), 0x2805, ("b", 0, "set"), ("b", 14, "halt"),
        "done", ("bl", "hal_done"), ("b", 14, "loop"),
        "halt", ("b", 14, "halt"),
        "train", 0xB4F0, 0xBCF0,  # push, pop {r4-r7}: 16 bytes of stack
        0x6831, 0x2909, ("b", 0, "bad"), *whole, 0x5C62, 0x1812, 0x5462,  # weight[r1] += r0
        0x2001, 0x4010, ("b", 14, "done"),  # r0 = r2 & 1
        "bad", 0x2000, 0x43C0, ("b", 14, "done"),
        "predict", *whole, 0x5C20, ("b", 14, "done"),
        "save", ("ldr", 0, slot), ("bl", "ff_flash_erase"), 0x2800, ("b", 1, "done"),
        ("ldr", 0, slot), 0x6821, 0x2200, 0x43D2, ("bl", "ff_flash_program"), ("b", 14, "done"),
        "load", ("ldr", 1, slot), 0x6809, 0x1C48, ("b", 0, "none"),  # r0 = r1 + 1: 0 if erased
        0x6021, 0x2000, ("b", 14, "done"), "none", 0x2001, ("b", 14, "done"),
        "set", ("ldr", 0, wild or rates), 0x6001, 0x2000, ("b", 14, "done"),
        "hal_next", 0xBE00, 0x4770, "hal_done", 0xBE01, 0x4770, "ff_flash_erase", 0xBE02, 0x4770,
        "ff_flash_program", 0xBE03, 0x4770, "hal_fault", 0xBE04, 0x4770,
    ])  # fmt: skip
    vectors = struct.pack("<2I", ram + STACK_BYTES, symbols["reset"] | 1)
    plan = place([Need("layer0.weight", TensorSpec((4,), "uint8"), "weights")])
    return ToyFirmware(
        board, [(flash, vectors + image)],
        symbols | {
            "ff_mailbox_sample": sample, "ff_mailbox_label": label, "ff_mailbox_rates": rates,
        },
        [
            Region("code", "code", flash, 8 + len(image)),
            Region("checkpoint", "checkpoint", slot, page),
            Region("stack", "stack", ram, STACK_BYTES),
            Region("mailbox", "mailbox", sample, 16),
            Region("arena", "arena", weight, 64),
        ],
        {"layer0.weight": weight}, plan,
    )  # fmt: skip


def _assemble(origin, program):
    """(bytes, addresses of the labels): halfwords, b with a condition, bl, ldr of a constant."""
    sizes = {"b": 2, "bl": 4, "ldr": 2}
    at, labels = origin, {}
    for item in program:
        if isinstance(item, str):
            labels[item] = at
        else:
            at += 2 if isinstance(item, int) else sizes[item[0]]
    pool = at + at % 4
    loads = [item for item in program if isinstance(item, tuple) and item[0] == "ldr"]
    constants = sorted({item[2] for item in loads})
    out, at = b"", origin
    for item in program:
        if isinstance(item, str):
            continue
        if isinstance(item, int):
            words = [item]
        elif item[0] == "ldr":
            place_ = pool + 4 * constants.index(item[2])
            words = [0x4800 | item[1] << 8 | (place_ - (at + 4 & ~3)) // 4]
        elif item[0] == "b":
            offset = (labels[item[2]] - at - 4) // 2
            always = item[1] == 14
            words = [0xE000 | offset & 0x7FF if always else 0xD000 | item[1] << 8 | offset & 0xFF]
        else:
            offset = (labels[item[1]] - at - 4) // 2
            words = [0xF000 | offset >> 11 & 0x7FF, 0xF800 | offset & 0x7FF]
        out += struct.pack(f"<{len(words)}H", *words)
        at += 2 * len(words)
    out += bytes(pool - at) + struct.pack(f"<{len(constants)}I", *constants)
    return out, labels
