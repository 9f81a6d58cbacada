"""Small trainings to be interrupted: each state depends on all of the one before.

A training has ``arrays`` (name to array), ``number`` (updates made), ``begin`` (state 0),
``step`` (to the next state), ``facts`` and ``resume`` (what the arrays do not hold). ``forget``
is what a power cut does to the memory.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from ffedge.buffers import model_needs
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer


class Scribbles:
    """No training: each step overwrites a few places, chosen by all bytes. Small deltas."""

    def __init__(self, nbytes: int = 5000) -> None:
        self.arrays: dict[str, np.ndarray[Any, Any]] = {
            "weight": np.empty(nbytes, np.int8),
            "bias": np.empty(37, np.int32),
            "moments": np.empty((2, 17)),
        }
        self.number = 0

    def begin(self) -> None:
        for array in self.arrays.values():
            array[:] = np.arange(array.size).reshape(array.shape) % 100
        self.number = 0

    def step(self) -> None:
        self.number += 1
        found = self.number
        for array in self.arrays.values():
            found = zlib.crc32(array.tobytes(), found)
        first = found % (self.arrays["weight"].size - 600)
        self.arrays["weight"][first : first + 600] += found % 101
        self.arrays["bias"][found % 37] += found % 1000
        self.arrays["moments"][1] += found / 7

    def facts(self) -> dict[str, Any]:
        return {"number": self.number, "note": "x" * (self.number % 7)}

    def resume(self, facts: dict[str, Any]) -> None:
        self.number = facts["number"]

    def forget(self) -> None:
        for array in self.arrays.values():
            array.reshape(-1).view(np.uint8)[:] = 0x5A


class SmallTraining:
    """A real one: int8, two layers, a batch a step; the trainer is the project's own."""

    BATCH = 4

    def __init__(self) -> None:
        chance = np.random.default_rng(5)
        labels = np.arange(48) % 3
        X = chance.normal(size=(48, 24)) + 2 * np.eye(3, 24)[labels]
        self._data = from_arrays(X.astype(np.float32), labels, classes=range(3))
        network = Network.dense(24, (40, 24), 3, precision="int8")
        recipe = Recipe(SGD(0.5), batch_size=self.BATCH, epochs=2, seed=7)
        self._trainer = Trainer(network, recipe)
        self._trainer.learn_scaling(self._data)
        self._trainer.run.begin_stage(None)
        names = [need.name for need in model_needs(network)]
        self.arrays = {name: self._trainer.arena[name] for name in names}
        self._start = {name: array.copy() for name, array in self.arrays.items()}
        self.number = 0

    def begin(self) -> None:
        for name, array in self._start.items():
            self.arrays[name][:] = array
        self.resume({"number": 0, "updates": [0, 0]})

    def step(self) -> None:
        run = self._trainer.run
        epoch, batch = divmod(self.number, self._data.n_samples // self.BATCH)
        order = self._trainer._order(epoch)
        run.fetch(self._data, batch * self.BATCH, self.BATCH, shuffle=order)
        run.factor = 1.0
        run.train_batch(self.BATCH)
        self.number += 1

    def facts(self) -> dict[str, Any]:
        return {"number": self.number, "updates": [n.updates for n in self._trainer.run.layers]}

    def resume(self, facts: dict[str, Any]) -> None:
        self.number = facts["number"]
        for layer, updates in zip(self._trainer.run.layers, facts["updates"], strict=True):
            layer.updates = updates

    def forget(self) -> None:
        for array in self.arrays.values():
            array.reshape(-1).view(np.uint8)[:] = 0x5A
