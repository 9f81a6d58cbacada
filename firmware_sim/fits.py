"""On which other boards the same training would fit, and what to change where it does not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ffedge.defaults import WIDTHS
from ffedge.errors import ConfigError
from ffedge.firmware.boards import BOARDS, Board
from ffedge.firmware.fitting import advice, fits_board, needs
from ffedge.network import Network
from ffedge.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Fit:
    """A board and what it lacks: bytes, 0 where there is enough. change: the first that helps."""

    board: str
    fits: bool
    ram_missing: int
    flash_missing: int
    change: str = ""

    def describe(self) -> dict[str, Any]:
        """A description made of JSON types."""
        return asdict(self)


def fits(network: Network, recipe: Recipe, beside_ram: int, code: int) -> list[Fit]:
    """``fit`` for every board, the smallest RAM first."""
    boards = sorted(BOARDS.values(), key=lambda board: (board.ram_bytes, board.name))
    return [fit(network, recipe, beside_ram, code, board) for board in boards]


def fit(network: Network, recipe: Recipe, beside_ram: int, code: int, board: Board) -> Fit:
    """Whether a board has a core and room for training a network.

    beside_ram, code: as for ``fitting.advice``, taken to be the same on every board.
    """
    ram, flash = needs(network, recipe, board, beside_ram=beside_ram, code=code)
    ram_missing, flash_missing = max(0, ram - board.ram_bytes), max(0, flash - board.flash_bytes)
    if not board.core.fpu:
        change = f"a {board.core.title} has no floats; take a Cortex-M4F, M7 or M33"
        return Fit(board.name, False, ram_missing, flash_missing, change)
    if not ram_missing and not flash_missing:
        return Fit(board.name, True, 0, 0)
    change = advice(network, recipe, board, beside_ram=beside_ram, code=code)
    return Fit(board.name, False, ram_missing, flash_missing, change)


def widest(
    network: Network, recipe: Recipe, board: Board, *, beside_ram: int, code: int
) -> Network:
    """``network`` with equal layers, the widest of ``defaults.WIDTHS`` that fit the board.

    Raises ConfigError if none does.
    """
    depth = len(network.layers)
    for width in WIDTHS:
        candidate = Network.dense(
            network.features, (width,) * depth, network.classes, network.rule,
            precision="int8", input_parts=network.input_parts,
        )  # fmt: skip
        if fits_board(candidate, recipe, board, beside_ram, code):
            return candidate
    raise ConfigError(
        f"fits: expected room for {depth} layers of {WIDTHS[-1]} units on {board.name}, got too "
        "little RAM or flash; use fewer features or another board"
    )
