"""The memory map of an image: what lies where, to the byte.

Flash from its start: vectors, code, constants, the model's tables and first weights, first values
of variables; at its end, on erase units, the two slots of the checkpoint. RAM from its bottom:
stack (so that one that grows too far leaves RAM and faults at once), mailbox, the caller's memory
of ``interface_ir`` (arena, counters, rates), variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import ConfigError
from ..lowering.elf import up
from .boards import Board
from .interface_ir import Memory

#: Bytes of stack unless said otherwise: twice what was measured, see ``firmware_sim``.
STACK_BYTES = 1024

#: Kinds of the linker in flash, in order; "data" is kept there and copied.
_FLASH_KINDS = ("vectors", "code", "constants", "model")


@dataclass(frozen=True, slots=True)
class Region:
    """``nbytes`` at ``address``. kind: vectors, code, constants, model, checkpoint, stack, mailbox,
    arena, counters, rates, data, bss, padding or unused.
    """

    name: str
    kind: str
    address: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """regions: of flash, then RAM, gaps included. addresses: by the linker's kinds.

    symbols: what the start-up code asks for by name. data_load: where "data" is kept in flash.
    """

    regions: tuple[Region, ...]
    addresses: dict[str, int]
    symbols: dict[str, int]
    data_load: int


def mailbox_bytes(features: int, layers: int) -> int:
    """A sample, a label, and two words of rate for each layer."""
    return 4 * features + 4 + 8 * layers


def beside_memory(features: int, layers: int, stack_bytes: int) -> int:
    """Bytes of RAM from its bottom to the caller's memory: stack and mailbox."""
    return stack_bytes + up(mailbox_bytes(features, layers), 8)


def check_stack(stack_bytes: int) -> None:
    """Raise ConfigError for a stack that is no multiple of 8, or smaller than 256 bytes."""
    if stack_bytes % 8 or stack_bytes < 256:
        raise ConfigError(
            f"firmware: expected a stack of a multiple of 8 bytes, at least 256, got {stack_bytes}"
        )


def make_layout(
    board: Board, sizes: Mapping[str, int], alignment: Mapping[str, int], *, stack_bytes: int,
    features: int, memory: Memory, store_bytes: int, change: Callable[[], str] = lambda: "",
) -> Layout:  # fmt: skip
    """Everything's place. sizes, alignment: of the linker's kinds. store_bytes: both slots.

    change: asked for what would make it fit, if it does not.
    Raises ConfigError with the missing bytes of RAM or flash.
    """
    check_stack(stack_bytes)
    flash, ram, addresses = [], [], {}
    at = board.flash_address
    for kind in (*_FLASH_KINDS, "data"):
        start = up(at, alignment[kind])
        flash.append(Region(kind, kind, start, sizes[kind]))
        addresses[kind] = start
        at = start + sizes[kind]
    data_load = addresses["data"]
    flash_used = at - board.flash_address
    store = board.flash_end - store_bytes
    _check(board, "flash", flash_used + store_bytes, board.flash_bytes, change)

    layers = memory.layers
    arena = board.ram_address + beside_memory(features, layers, stack_bytes)
    wanted = [
        ("stack", "stack", board.ram_address, stack_bytes),
        ("mailbox", "mailbox", board.ram_address + stack_bytes, mailbox_bytes(features, layers)),
        ("arena", "arena", arena, memory.peak),
        ("counters", "counters", arena + memory.counters, 4 * layers),
        ("rates", "rates", arena + memory.rates, 8 * layers),
    ]
    ram = [Region(*row) for row in wanted]
    at = arena + memory.nbytes
    for kind in ("data", "bss"):
        at = up(at, alignment[kind])
        ram.append(Region(kind, kind, at, sizes[kind]))
        addresses[kind] = at
        at = up(at + sizes[kind], 4)
    _check(board, "RAM", at - board.ram_address, board.ram_bytes, change)

    sample = board.ram_address + stack_bytes
    symbols = {
        "ff_stack_bottom": board.ram_address, "ff_stack_top": board.ram_address + stack_bytes,
        "ff_mailbox_sample": sample, "ff_mailbox_label": sample + 4 * features,
        "ff_mailbox_rates": sample + 4 * features + 4, "ff_memory": arena,
        "ff_checkpoint": store, "ff_data_load": data_load,
        "ff_data_start": addresses["data"], "ff_data_end": up(addresses["data"] + sizes["data"], 4),
        "ff_bss_start": addresses["bss"], "ff_bss_end": up(addresses["bss"] + sizes["bss"], 4),
    }  # fmt: skip
    flash.append(Region("checkpoint", "checkpoint", store, store_bytes))
    regions = _with_gaps(flash, board.flash_address, board.flash_end)
    regions += _with_gaps(ram, board.ram_address, board.ram_end)
    return Layout(tuple(regions), addresses, symbols, data_load)


def _check(
    board: Board, what: str, needed: int, available: int, change: Callable[[], str]
) -> None:  # fmt: skip
    if needed > available:
        raise ConfigError(
            f"firmware: expected at most {available:,} B of {what} on {board.name}, got a need of "
            f"{needed:,} B: {needed - available:,} B missing. {change()}".rstrip()
        )


def _with_gaps(regions: list[Region], start: int, end: int) -> list[Region]:
    """The regions that have bytes, with what lies between them: padding, or the one free gap."""
    found, at = [], start
    for region in [*regions, Region("end", "end", end, 0)]:
        if region.address > at and (region.nbytes or region.kind == "end"):
            kind = "unused" if region.kind in ("checkpoint", "end") else "padding"
            found.append(Region(kind, kind, at, region.address - at))
        if region.nbytes:
            found.append(region)
            at = region.address + region.nbytes
    return found
