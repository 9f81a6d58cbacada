"""What would make a network fit a board that it does not fit."""

from __future__ import annotations

from ..errors import ConfigError
from ..network import Network
from ..recipe import Recipe
from ..scales_int8 import constants
from .boards import Board
from .interface_ir import Memory
from .store import Store
from .table import plan_device


def advice(network: Network, recipe: Recipe, board: Board, *, beside_ram: int, code: int) -> str:
    """The widest hidden layers of the same proportions that fit, in words.

    beside_ram: bytes of RAM for stack, mailbox and variables. code: bytes of flash for all but
    the model and the checkpoint.
    """
    low, high = 0, max(network.hidden)
    while low < high:
        middle = (low + high + 1) // 2
        narrow = _narrowed(network, middle)
        if narrow is not None and fits_board(narrow, recipe, board, beside_ram, code):
            low = middle
        else:
            high = middle - 1
    narrow = _narrowed(network, low) if low else None
    if narrow is None or not fits_board(narrow, recipe, board, beside_ram, code):
        return "No widths of these layers fit; take a board with more memory or fewer features."
    widths = ",".join(str(width) for width in narrow.hidden)
    return f"It fits with hidden layers of {widths} (--hidden {widths}), or on a larger board."


def _narrowed(network: Network, widest: int) -> Network | None:
    """The network with its hidden layers scaled; None if the rule refuses such widths."""
    top = max(network.hidden)
    hidden = [max(1, width * widest // top) for width in network.hidden]
    try:
        return Network.dense(
            network.features, hidden, network.classes, network.rule,
            precision=network.precision, input_parts=network.input_parts,
        )  # fmt: skip
    except ConfigError:
        return None


def needs(
    network: Network, recipe: Recipe, board: Board, *, beside_ram: int, code: int
) -> tuple[int, int]:
    """Bytes of RAM and of flash that a network takes on a board; see ``advice``."""
    plan, layers = plan_device(network, recipe), len(network.layers)
    memory = Memory(plan.peak, layers)
    store = Store.of(plan, board.page_bytes, board.word_bytes, 0, counters=layers)
    fixed = sum(array.nbytes for array in constants(network).values())
    model = sum(part.nbytes for part in store.ranges) + fixed + 8 * network.features
    return memory.nbytes + beside_ram, code + model + store.nbytes


def fits_board(network: Network, recipe: Recipe, board: Board, beside_ram: int, code: int) -> bool:
    """Whether a board has that RAM and flash."""
    ram, flash = needs(network, recipe, board, beside_ram=beside_ram, code=code)
    return ram <= board.ram_bytes and flash <= board.flash_bytes
