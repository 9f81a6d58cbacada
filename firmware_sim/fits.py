"""On which other boards the same training would fit, and what to change where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ffedge.defaults import WIDTHS
from ffedge.errors import ConfigError
from ffedge.firmware.boards import BOARDS, Board
from ffedge.firmware.store import Store
from ffedge.firmware.table import plan_device
from ffedge.network import Network
from ffedge.plan import Plan
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


def checkpoint_bytes(plan: Plan, board: Board, layers: int) -> int:
    """Bytes of flash that two slots take on a board."""
    return Store.of(plan, board.page_bytes, board.word_bytes, 0, counters=layers).nbytes


def fits(network: Network, recipe: Recipe, ram_beside: int, code_bytes: int) -> list[Fit]:
    """``fit`` for every board, the smallest RAM first."""
    boards = sorted(BOARDS.values(), key=lambda board: (board.ram_bytes, board.name))
    return [fit(network, recipe, ram_beside, code_bytes, board) for board in boards]


def fit(network: Network, recipe: Recipe, ram_beside: int, code_bytes: int, board: Board) -> Fit:
    """Whether a board has room for training a network: its plan, its code, its checkpoint.

    ram_beside: bytes of RAM beside the plan. code_bytes: of flash beside the checkpoint. Both are
    taken to be the same on every board. The change offered is a narrower network.
    """

    def missing(candidate: Network, plan: Plan) -> tuple[int, int]:
        slots = checkpoint_bytes(plan, board, len(candidate.layers))
        return (
            max(0, plan.peak + ram_beside - board.ram_bytes),
            max(0, code_bytes + slots - board.flash_bytes),
        )

    ram, flash = missing(network, plan_device(network, recipe))
    if not ram and not flash:
        return Fit(board.name, True, 0, 0)
    try:
        narrower = widest(network, recipe, lambda *candidate: missing(*candidate) == (0, 0))
    except ConfigError:
        return Fit(board.name, False, ram, flash, "no width of these layers; use another board")
    hidden = ",".join(str(width) for width in narrower.hidden)
    return Fit(board.name, False, ram, flash, f"--hidden {hidden}")


def widest(network: Network, recipe: Recipe, allowed: Callable[[Network, Plan], bool]) -> Network:
    """``network`` with equal layers, the widest of ``defaults.WIDTHS`` that are allowed.

    Raises ConfigError if none is.
    """
    depth = len(network.layers)
    for width in WIDTHS:
        narrower = Network.dense(
            network.features, (width,) * depth, network.classes, network.rule,
            precision="int8", input_parts=network.input_parts,
        )  # fmt: skip
        if allowed(narrower, plan_device(narrower, recipe)):
            return narrower
    raise ConfigError(
        f"fits: expected room for {depth} layers of {WIDTHS[-1]} units at least, got too little "
        "RAM or flash; use fewer features or another board"
    )
