"""The device as the host can play it: real training, the real checkpoint, a modelled flash."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffedge.errors import ConfigError
from ffedge.firmware.store import Store, fingerprint_of
from ffedge.kernels.device import checkpoint
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Rule
from ffedge.run_int8 import Int8Run
from ffedge.sources import Dataset, from_arrays, load
from ffedge.trainer import Trainer

from .flash import Flash

Array = np.ndarray[Any, Any]

#: Buffers that a device keeps in its image: a reset brings them back.
_IN_THE_IMAGE = ("input.mean", "input.gain")


class HostDevice:
    """An int8 network that learns one sample at a time and keeps its state in ``flash``.

    trainer: batch size 1, scaler learned. data: sample n is number n modulo its length.
    flash: as large as the two slots of ``store``.
    Raises ConfigError for another precision, batch size, or flash.
    """

    def __init__(self, trainer: Trainer, data: Dataset, store: Store, flash: Flash) -> None:
        run = trainer.run
        if not isinstance(run, Int8Run) or trainer.recipe.batch_size != 1:
            raise ConfigError(
                "HostDevice: expected an int8 network and batch size 1, got "
                f"{trainer.network.precision} and {trainer.recipe.batch_size}"
            )
        if flash.nbytes != store.nbytes or store.counters != len(run.layers):
            raise ConfigError(
                f"HostDevice: expected a flash of {store.nbytes:,} B and {len(run.layers)} "
                f"counters, got {flash.nbytes:,} B and {store.counters}"
            )
        self.trainer, self.run, self.data, self.store, self.flash = trainer, run, data, store, flash
        self._kept = {name: trainer.arena[name].copy() for name in _IN_THE_IMAGE}
        self._words, self._table, self._layout = trainer.arena.words, store.table, store.layout
        self._random = np.random.default_rng(0)

    def reset(self) -> None:
        """Power up: the RAM holds nonsense but for what the image brings, the starting weights."""
        self.flash.boot()
        self._words[:] = self._random.integers(0, 2**32, self._words.size, np.uint32)
        for name, values in self._kept.items():
            self.trainer.arena[name][:] = values
        self._start()

    def _start(self) -> None:
        self.run.initialize()
        self.run.begin_stage(None)

    def load(self) -> int:
        """Bring the last checkpoint back; the kernels' status."""
        counters = np.zeros(self.store.counters, np.uint32)
        status = checkpoint.load(
            self.flash.words, self._table, self._layout, self._words, counters
        )  # fmt: skip
        if status == checkpoint.LOADED:
            for layer, updates in zip(self.run.layers, counters.tolist(), strict=True):
                layer.updates = updates
        else:
            self._start()
        return int(status)

    def learned(self) -> int:
        """Samples learned, by the first layer's counter."""
        return self.run.layers[0].updates

    def train(self, first: int, count: int) -> None:
        """Learn samples ``first`` to ``first + count - 1``."""
        for number in range(first, first + count):
            self.trainer.learn(self.data, number % self.data.n_samples, 1)

    def save(self) -> int:
        """Write a checkpoint; DONE or FAILED. Raises PowerCut as the flash does."""
        return save_into(self.flash, self.store, self._words, self._counters())

    def saved_bytes(self) -> bytes:
        """All that a checkpoint holds, as it stands in RAM."""
        content = self._words.view(np.uint8)
        parts = [content[p.offset : p.offset + p.nbytes].tobytes() for p in self.store.ranges]
        return b"".join(parts) + self._counters().tobytes()

    def _counters(self) -> Array:
        return np.array([layer.updates for layer in self.run.layers], np.uint32)


def save_into(flash: Flash, store: Store, arena: Array, counters: Array) -> int:
    """Do the operations that the checkpoint's kernels ask for; DONE or FAILED.

    arena: uint32, all of the device. counters: uint32 (layers,). Raises PowerCut as the flash does.
    """
    state = np.zeros(checkpoint.STATE_WORDS, np.uint32)
    flash.refresh()
    words, layout, table = flash.words, store.layout, store.table
    checkpoint.save_begin(words, layout, state)
    while True:
        code = checkpoint.save_next(words, arena, table, counters, layout, state)
        address = flash.address + 4 * int(state[checkpoint.ADDRESS])
        if code == checkpoint.ERASE:
            flash.erase(address)
        elif code == checkpoint.PROGRAM:
            flash.program(address, int(state[checkpoint.LOW]), int(state[checkpoint.HIGH]))
        else:
            return int(code)


def small_trainer(samples: int, rule: Rule | None = None, seed: int = 0) -> tuple[Trainer, Dataset]:
    """16 inputs, 8 units, 3 classes, and so many samples: two rows of pixels of the digits 0 to 2.

    So small that a power cut at every operation of the flash takes seconds.
    """
    digits, _ = load("digits")
    rows = np.arange(len(digits.labels)) if digits.rows is None else digits.rows
    chosen = rows[digits.labels[rows] < 3][:samples]
    pixels = np.ascontiguousarray(digits.features[chosen][:, 24:40])
    data = from_arrays(pixels, digits.labels[chosen], classes=range(3))
    network = Network.dense(16, (8,), 3, rule, precision="int8")
    trainer = Trainer(network, Recipe(SGD(0.3), batch_size=1, seed=seed))
    trainer.learn_scaling(data)
    return trainer, data


def small_device(
    page_bytes: int = 256, word_bytes: int = 4, *, rule: Rule | None = None, seed: int = 0
) -> HostDevice:
    """The network of ``small_trainer`` with a flash of its own."""
    trainer, data = small_trainer(64, rule, seed)
    mark = fingerprint_of([trainer.network.text, trainer.arena["input.mean"].tobytes()])
    store = Store.of(trainer.plan, page_bytes, word_bytes, mark, counters=1)
    flash = Flash(store.nbytes, page_bytes, word_bytes)
    return HostDevice(trainer, data, store, flash)
