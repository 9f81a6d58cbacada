"""The built firmware: program, start-up code and model, linked at a board's addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from ..defaults import choose_optimizer
from ..errors import ConfigError
from ..model import Model
from ..network import Network
from ..plan import Plan
from ..reading import Everything
from ..recipe import Recipe
from ..tensor import TensorSpec
from . import startup
from .boards import Board, board_named
from .cores import CORES, Core
from .elf32 import Linked, Program
from .elf32_file import (
    ABI,
    CODE,
    DATA,
    EXECUTABLE,
    FUNCTION,
    HARD_FLOAT,
    OBJECT_TYPE,
    READ_ONLY,
    OutSection,
    OutSymbol,
    write_elf,
)  # fmt: skip
from .emit import emit_object
from .fitting import advice
from .interface_ir import program_ir, store_ir
from .layout import STACK_BYTES, Layout, Region, beside_memory, check_stack, make_layout
from .model_data import ModelData, data_object, model_data
from .thumb import lower

#: Bytes of code assumed before there is any, to refuse early.
_NO_CODE = dict.fromkeys(("vectors", "code", "constants", "model", "data", "bss"), 0)

_TITLES = {
    "vectors": ".vectors", "code": ".text", "constants": ".rodata", "model": ".model",
    "data": ".data", "bss": ".bss",
}  # fmt: skip


@dataclass(frozen=True)
class Firmware:
    """An image and all that is known about it.

    elf: bootable, for gdb and QEMU. segments: (address, bytes) to be written to flash. entry: of
    the reset handler, bit 0 set. symbols: addresses by name, functions with bit 0 set.
    sections: the map of flash, then RAM, gaps included. code_bytes: of flash without the model
    and the checkpoint. buffers: RAM address of each buffer of ``plan``, and of the update
    ``counters`` and ``rates``. sample: what the mailbox takes. data: the model's tables.
    objects: name and bytes of each object that a C library needs.
    """

    board: Board
    network: Network
    recipe: Recipe
    elf: bytes
    segments: list[tuple[int, bytes]]
    entry: int
    symbols: dict[str, int]
    sections: list[Region]
    code_bytes: int
    plan: Plan
    buffers: dict[str, int]
    sample: TensorSpec
    data: ModelData
    objects: list[tuple[str, bytes]] = field(repr=False)

    @property
    def core(self) -> Core:
        """The board's."""
        return self.board.core

    @property
    def ram_bytes(self) -> int:
        """All RAM in use: stack, mailbox, arena and variables."""
        return self._used(self.board.ram_address, self.board.ram_end)

    @property
    def flash_bytes(self) -> int:
        """All flash in use, both slots of the checkpoint included."""
        return self._used(self.board.flash_address, self.board.flash_end)

    def _used(self, start: int, end: int) -> int:
        return sum(
            part.nbytes for part in self.sections
            if start <= part.address < end and part.kind != "unused"
        )  # fmt: skip


def device_recipe(model: Model) -> Recipe:
    """The recipe of a device that goes on training ``model``: batches of 1, the default rate."""
    network = model.network
    optimizer = choose_optimizer(network.rule, network.precision, network.features, 1)
    return Recipe(optimizer=optimizer, batch_size=1)


def build(
    model: Model, board: Board | str, *, recipe: Recipe | None = None,
    stack_bytes: int = STACK_BYTES, progress: Callable[[str], None] = lambda text: None,
) -> Firmware:  # fmt: skip
    """The firmware of ``model`` for ``board``; the same arguments give the same bytes.

    recipe: what the device trains by (batches of 1, SGD); its full rate is the first one. None
    for ``device_recipe``. progress: called with the name of each step.
    Raises ConfigError for a network that a device cannot train, and with the missing bytes if
    flash or RAM are too small; MissingDependencyError without Numba.
    """
    board = board_named(board) if isinstance(board, str) else board
    recipe = device_recipe(model) if recipe is None else recipe
    recipe = replace(recipe, threads=1)
    if model.reading not in (None, Everything()):
        raise ConfigError(
            f"firmware: expected a model that is read out by all of its layers, as the device's "
            f"program does, got {model.reading.text if model.reading else None}; use --reading "
            "everything"
        )
    network, core = model.network, board.core
    progress("planning")
    check_stack(stack_bytes)
    data = model_data(model, recipe, board)

    def layout_of(sizes: dict[str, int], alignment: dict[str, int]) -> Layout:
        beside = beside_memory(network.features, len(network.layers), stack_bytes)
        beside += sizes["data"] + sizes["bss"]
        code = sum(sizes[kind] for kind in ("vectors", "code", "constants", "data"))
        return make_layout(
            board, sizes, alignment, stack_bytes=stack_bytes,
            features=network.features,
            memory=data.memory, store_bytes=data.store.nbytes,
            change=lambda: advice(network, recipe, board, beside_ram=beside, code=code),
        )  # fmt: skip

    # RAM does not depend on the code: what cannot fit is refused before anything is lowered.
    model_bytes = sum(array.nbytes for array in data.tables.values())
    layout_of(_NO_CODE | {"model": model_bytes}, dict.fromkeys(_NO_CODE, 4))
    progress(f"lowering the kernels for {core.title}")
    objects = program_objects(network, core, data)
    progress("linking")
    bare = [
        ("startup.o", emit_object(startup.startup_ir(core, data.memory), core)),
        ("hal.o", startup.hal_object()), ("model.o", data_object(data)),
    ]  # fmt: skip
    program = Program([*bare, *objects], startup.ROOTS, startup.GIVEN)
    layout = layout_of(program.sizes, program.alignment)
    linked = program.link(layout.addresses, layout.symbols)
    return _firmware(model, board, recipe, data, objects, program, layout, linked)


def program_objects(network: Network, core: Core, data: ModelData) -> list[tuple[str, bytes]]:
    """The objects of the C library: the functions of the header, and the kernels."""
    program = program_ir(data.memory, network.classes, len(data.fills))
    store = store_ir(data.memory, len(data.store.ranges))
    return [
        ("program.o", emit_object(program, core)), ("store.o", emit_object(store, core)),
        ("kernels.o", _lowered(core.name, network.rule.name)),
    ]  # fmt: skip


@cache
def _lowered(core: str, rule: str) -> bytes:
    return lower(CORES[core], rule)


def _firmware(
    model: Model, board: Board, recipe: Recipe, data: ModelData,
    objects: list[tuple[str, bytes]], program: Program, layout: Layout, linked: Linked,
) -> Firmware:  # fmt: skip
    loads = layout.addresses | {"data": layout.data_load}
    end = max(loads[kind] + len(part) for kind, part in linked.parts.items())
    content = bytearray(end - board.flash_address)
    for kind, part in linked.parts.items():
        at = loads[kind] - board.flash_address
        content[at : at + len(part)] = part
    arena, memory = layout.symbols["ff_memory"], data.memory
    buffers = {buffer.name: arena + buffer.offset for buffer in data.plan.buffers}
    buffers |= {"counters": arena + memory.counters, "rates": arena + memory.rates}
    entry = linked.symbols["ff_reset_handler"]
    sizes = program.sizes
    return Firmware(
        board=board, network=model.network, recipe=recipe,
        elf=_elf(board, layout, program, linked, loads, entry),
        segments=[(board.flash_address, bytes(content))], entry=entry, symbols=linked.symbols,
        sections=list(layout.regions),
        code_bytes=sum(sizes[kind] for kind in ("vectors", "code", "constants", "data")),
        plan=data.plan, buffers=buffers,
        sample=TensorSpec((model.network.features,), "float32"), data=data, objects=objects,
    )  # fmt: skip


def _elf(
    board: Board, layout: Layout, program: Program, linked: Linked, loads: dict[str, int],
    entry: int,
) -> bytes:  # fmt: skip
    flags = {"vectors": READ_ONLY, "code": CODE, "constants": READ_ONLY, "model": READ_ONLY}
    sections: list[OutSection] = []
    for kind, title in _TITLES.items():
        if program.sizes[kind]:
            sections.append(
                OutSection(
                    title,
                    flags.get(kind, DATA),
                    linked.parts.get(kind, b""),
                    program.alignment[kind],
                    layout.addresses[kind],
                    loads[kind],
                    program.sizes[kind],
                )
            )  # fmt: skip
    for region in layout.regions:
        if region.kind in ("stack", "mailbox", "arena", "counters", "rates"):
            at, nbytes = region.address, region.nbytes
            sections.append(OutSection(f".{region.name}", DATA, b"", 4, at, at, nbytes))
    symbols = []
    for name, value in linked.symbols.items():
        place = next(
            (i for i, s in enumerate(sections) if s.address <= value & ~1 < s.address + s.size),
            None,
        )
        code = place is not None and sections[place].flags == CODE
        form = FUNCTION if code else OBJECT_TYPE
        symbols.append(OutSymbol(name, place, value, linked.sizes.get(name, 0), kind=form))
    hard = ABI | (HARD_FLOAT if board.core.fpu else 0)
    return write_elf(EXECUTABLE, sections, symbols, flags=hard, entry=entry)
