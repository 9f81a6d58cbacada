"""On which microcontrollers and computers a training would fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from ..firmware.boards import BOARDS, Board
from ..firmware.fitting import needs
from ..firmware.layout import STACK_BYTES, beside_memory
from ..network import Network
from ..optimizers import SGD
from ..recipe import Recipe
from ..units import short_bytes

#: Flash for all but model and checkpoint: no firmware built so far takes as much.
CODE_BYTES = 16 * 1024

#: Of a computer's memory, for its system.
SYSTEM_BYTES = 128 << 20

_MIB, _GIB = 1 << 20, 1 << 30

#: name, title, memory in bytes.
COMPUTERS = (
    ("pi-zero-2w", "Raspberry Pi Zero 2 W", 512 * _MIB),
    ("pi-3b-plus", "Raspberry Pi 3B+", _GIB),
    ("pi-4-2gb", "Raspberry Pi 4, 2 GB", 2 * _GIB),
    ("pi-4-4gb", "Raspberry Pi 4, 4 GB", 4 * _GIB),
    ("pi-4-8gb", "Raspberry Pi 4, 8 GB", 8 * _GIB),
    ("pi-5-4gb", "Raspberry Pi 5, 4 GB", 4 * _GIB),
    ("pi-5-8gb", "Raspberry Pi 5, 8 GB", 8 * _GIB),
    ("pi-5-16gb", "Raspberry Pi 5, 16 GB", 16 * _GIB),
)


def fits(network: Network, recipe: Recipe, process_peak: int) -> list[dict[str, Any]]:
    """The ``fits`` of a profile: all boards, the smallest RAM first, then all computers.

    process_peak: bytes that the process took here; 0 if nobody knows.
    """
    boards = sorted(BOARDS.values(), key=lambda board: (board.ram_bytes, board.name))
    return [
        *(_on_board(network, recipe, board) for board in boards),
        *(_on_computer(name, title, memory, process_peak) for name, title, memory in COMPUTERS),
    ]


def _on_board(network: Network, recipe: Recipe, board: Board) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": board.name, "title": board.title, "kind": "microcontroller",
        "memory_bytes": board.ram_bytes, "needed_bytes": None, "fits": False,
    }  # fmt: skip
    if network.precision != "int8":
        return row | {"note": "boards train in int8 only: --precision int8"}
    optimizer = SGD(recipe.optimizer.rate)
    # A board trains all layers, sample by sample.
    alone = replace(recipe, optimizer=optimizer, batch_size=1, threads=1, schedule="sweep")
    beside = beside_memory(network.features, len(network.layers), STACK_BYTES)
    try:
        ram, flash = needs(network, alone, board, beside_ram=beside, code=CODE_BYTES)
    except ConfigError as error:
        return row | {"note": str(error)}
    row["needed_bytes"] = ram
    if not board.core.fpu:
        return row | {"note": f"a {board.core.title} has no floats"}
    missing = [
        f"{short_bytes(need - there)} of {what} missing"
        for what, need, there in (
            ("RAM", ram, board.ram_bytes), ("flash", flash, board.flash_bytes),
        )
        if need > there
    ]  # fmt: skip
    if missing:
        return row | {"note": f"batches of 1: {' and '.join(missing)}"}
    note = f"flash {short_bytes(flash)} (16 KiB for code: an estimate); batches of 1"
    return row | {"fits": True, "note": note}


def _on_computer(name: str, title: str, memory: int, peak: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name, "title": title, "kind": "computer", "memory_bytes": memory,
    }  # fmt: skip
    if peak == 0:
        return row | {
            "needed_bytes": None, "fits": False, "note": "this system does not tell the peak",
        }  # fmt: skip
    room = memory - SYSTEM_BYTES
    note = "measured here; 128 MiB left to the system"
    if peak > room:
        note = f"{short_bytes(peak - room)} missing beside 128 MiB for the system"
    return row | {"needed_bytes": peak, "fits": peak <= room, "note": note}
