"""A model as its device reads it: the tables and first weights that lie in flash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Model
from ..plan import Plan
from ..recipe import Recipe
from .boards import Board
from .elf32_file import OBJECT, OBJECT_TYPE, READ_ONLY, OutSection, OutSymbol, write_elf
from .interface_ir import Memory
from .store import Store, fingerprint_of
from .table import first_contents, make_rates, make_table, plan_device

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ModelData:
    """tables: arrays by the names of ``interface_ir``, flat. store: the checkpoint's place.

    fills: (buffer, byte offset in the arena, bytes) of each piece of ``ff_initial``.
    """

    plan: Plan
    memory: Memory
    store: Store
    tables: dict[str, Array]
    fills: tuple[tuple[str, int, int], ...]


def model_data(model: Model, recipe: Recipe, board: Board) -> ModelData:
    """Everything that the program needs to know of ``model``.

    The checkpoint's fingerprint covers table, scaler and board, so also the recipe's seed.
    Raises ConfigError for a network or recipe that a device cannot train.
    """
    network = model.network
    plan = plan_device(network, recipe)
    layers = len(network.layers)
    table = make_table(network, recipe, plan)
    scaler = np.concatenate([model.params["input.mean"], model.params["input.gain"]])
    mark = fingerprint_of([board.name, table.tobytes(), scaler.tobytes()])
    store = Store.of(plan, board.page_bytes, board.word_bytes, mark, counters=layers)
    pieces = list(first_contents(network, plan, model.params))
    fills = tuple((buffer.name, buffer.offset, piece.nbytes) for buffer, piece in pieces)
    tables = {
        "ff_table": table,
        "ff_scaler": scaler.astype(np.float32),
        "ff_fills": np.array([row[1:] for row in fills], np.int32).reshape(-1),
        "ff_initial": np.frombuffer(b"".join(piece.tobytes() for _, piece in pieces), np.uint32),
        "ff_first_rates": make_rates(network, recipe.optimizer.rate),
        "ff_ranges": store.table.reshape(-1),
        "ff_layout": store.layout,
    }
    return ModelData(plan, Memory(plan.peak, layers), store, tables, fills)


def data_object(data: ModelData) -> bytes:
    """The tables as a relocatable object."""
    sections, symbols = [], []
    for i, (name, array) in enumerate(data.tables.items()):
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        sections.append(OutSection(f".model.{name}", READ_ONLY, content))
        symbols.append(OutSymbol(name, i, 0, len(content), kind=OBJECT_TYPE))
    return write_elf(OBJECT, sections, symbols)
