"""``ffedge export --format firmware``: an image and a C library for a board."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..errors import ConfigError
from ..model import Model
from ..optimizers import named_optimizer
from ..units import parse_bytes, show_bytes

if TYPE_CHECKING:
    from ..firmware.image import Firmware
    from ..firmware.layout import Region

IMAGE = "firmware.elf"

#: What other formats have no use for.
OPTIONS = ("board", "rate", "seed", "stack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only firmware needs."""
    parser.add_argument("--board", metavar="NAME", help="board of the firmware, such as nrf52840")
    parser.add_argument(
        "--rate", metavar="R", type=float,
        help="learning rate on the board (default: by rule and features)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", metavar="N", type=int, help="of the board's rounding (default: 0)"
    )
    parser.add_argument(
        "--stack", metavar="BYTES", help="of the image, a multiple of 8 (default: 1024)"
    )


def run(options: argparse.Namespace, model: Model) -> int:
    """Build, write and print the report; ConfigError if it does not fit."""
    from ..firmware.boards import BOARDS, board_named
    from ..firmware.c_library import c_files
    from ..firmware.image import build, device_recipe
    from ..firmware.layout import STACK_BYTES

    if options.board is None:
        raise ConfigError(
            f"export: expected --board with --format firmware, one of {', '.join(sorted(BOARDS))}"
        )

    model = model.trimmed()

    def progress(text: str) -> None:
        if not options.json:
            print(text, file=sys.stderr, flush=True)

    recipe = replace(device_recipe(model), seed=options.seed or 0)
    if options.rate is not None:
        recipe = replace(recipe, optimizer=named_optimizer("sgd", options.rate))
    stack = STACK_BYTES if options.stack is None else parse_bytes(options.stack)
    firmware = build(
        model, board_named(options.board), recipe=recipe, stack_bytes=stack, progress=progress
    )
    progress("computing the self-test")
    files = {IMAGE: firmware.elf, **c_files(model, firmware)}
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with atomic_write(folder / name) as file:
            file.write(content)
    if options.json:
        print(json.dumps(_describe(firmware, folder, files)))
    else:
        _show(firmware, folder, files)
    return 0


def _describe(firmware: Firmware, folder: Path, files: dict[str, bytes]) -> dict[str, object]:
    board = firmware.board
    return {
        "path": str(folder), "files": {name: len(content) for name, content in files.items()},
        "board": board.name, "core": firmware.core.title, "network": firmware.network.text,
        "rule": firmware.network.rule.name, "rate": firmware.recipe.optimizer.rate,
        "seed": firmware.recipe.seed, "ram_bytes": firmware.ram_bytes,
        "ram_available": board.ram_bytes, "flash_bytes": firmware.flash_bytes,
        "flash_available": board.flash_bytes, "code_bytes": firmware.code_bytes,
        "map": [
            {"name": r.name, "kind": r.kind, "address": r.address, "bytes": r.nbytes}
            for r in firmware.sections
        ],
    }  # fmt: skip


def _show(firmware: Firmware, folder: Path, files: dict[str, bytes]) -> None:
    board = firmware.board
    print(f"{firmware.network.text}, rule {firmware.network.rule.name}, for {board.title}")
    for name, content in files.items():
        print(f"  {folder / name}: {show_bytes(len(content))}")
    flash = [r for r in firmware.sections if board.flash_address <= r.address < board.flash_end]
    ram = [r for r in firmware.sections if r not in flash]
    _table("flash", flash, firmware.flash_bytes, board.flash_bytes)
    _table("RAM", ram, firmware.ram_bytes, board.ram_bytes)


def _table(title: str, regions: list[Region], used: int, available: int) -> None:
    print(f"{title}: {used:,} of {available:,} B used")
    for region in regions:
        print(f"  {region.address:#010x}  {region.name:10} {region.nbytes:>10,} B")
