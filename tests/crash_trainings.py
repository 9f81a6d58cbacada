"""What is cut off: a training that is none, step by step through any store, and a real one."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from crash_runs import NOT_IDENTICAL, REFUSED, Campaign, Ended, Life

from ffedge.checkpoint_store import CheckpointStore, marks_of
from ffedge.checkpointing import Checkpoints, Every
from ffedge.disk import Disk
from ffedge.errors import CheckpointError
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.recipe import Recipe
from ffedge.resume import Cursor, Resume, arrays_of, facts_of
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer

Array = np.ndarray[Any, Any]

FOLDER = "/run"

#: The mean goodness is measured for reports, which come by the clock: states must not.
NEVER = float("inf")


class Store(Protocol):
    """What the real store and the known-bad ones have."""

    def save(self, facts: dict[str, Any], arrays: dict[str, Array]) -> int: ...
    def load(self, arrays: dict[str, Array]) -> dict[str, Any] | None: ...


MakeStore = Callable[[Disk, dict[str, Array]], Store]


def real_store(disk: Disk, arrays: dict[str, Array]) -> CheckpointStore:
    """The store under test, as a training opens it: what was half written is swept away."""
    store = CheckpointStore(FOLDER, disk, marks=np.zeros(marks_of(arrays), np.uint64))
    store.sweep()
    return store


def whole_store(disk: Disk, arrays: dict[str, Array]) -> CheckpointStore:
    """The same without deltas."""
    store = CheckpointStore(FOLDER, disk)
    store.sweep()
    return store


class Scribbles(Campaign):
    """Each step overwrites a few places, chosen by all bytes of the state before."""

    def __init__(self, steps: int, store: MakeStore = real_store, nbytes: int = 5000) -> None:
        self.steps, self._store = steps, store
        self._arrays: dict[str, Array] = {
            "weight": np.empty(nbytes, np.int8),
            "bias": np.empty(37, np.int32),
            "moments": np.empty((2, 17)),
        }
        self._begin()
        self._states = [self._state()]
        for number in range(1, steps + 1):
            self._step(number)
            self._states.append(self._state())
        assert len(set(self._states)) == steps + 1

    def _begin(self) -> None:
        for array in self._arrays.values():
            array[:] = np.arange(array.size).reshape(array.shape) % 100

    def _step(self, number: int) -> None:
        found = number
        for array in self._arrays.values():
            found = zlib.crc32(array.tobytes(), found)
        weight = self._arrays["weight"]
        first = found % (weight.size - 600)
        weight[first : first + 600] += found % 101
        self._arrays["bias"][found % 37] += found % 1000
        self._arrays["moments"][1] += found / 7

    def _facts(self, number: int) -> dict[str, Any]:
        return {"number": number, "note": "x" * (number % 7)}

    def _state(self) -> bytes:
        return b"".join(array.tobytes() for array in self._arrays.values())

    def process(self, life: Life) -> None:
        store = self._store(life.disk, self._arrays)
        poison(self._arrays)
        number = 0
        try:
            facts = store.load(self._arrays)
        except CheckpointError:
            raise Ended(REFUSED) from None
        if facts is None:
            self._begin()
        else:
            number = facts["number"]
            if facts != self._facts(number) or not number <= life.attempted:
                raise Ended(NOT_IDENTICAL)
        if self._state() != self._states[number]:
            raise Ended(NOT_IDENTICAL)
        life.loaded(number)
        while number < self.steps:
            number += 1
            self._step(number)
            life.attempts(number)
            # A training goes on when the disk is full, and saves the next time.
            with contextlib.suppress(OSError):
                store.save(self._facts(number), self._arrays)
                life.saved(number)
        if self._state() != self._states[-1]:
            raise Ended(NOT_IDENTICAL)


class Training(Campaign):
    """The project's own trainer and checkpoints, saved after every step; a new trainer each time.

    At the end the states are removed, as ``ffedge train`` does once the model is in place.
    """

    def __init__(
        self, hidden: tuple[int, ...] = (40,), *, precision: str = "int8", epochs: int = 1,
        schedule: str = "sweep", samples: int = 48,
    ) -> None:  # fmt: skip
        chance = np.random.default_rng(5)
        labels = np.arange(samples) % 3
        X = chance.normal(size=(samples, 24)) + 2 * np.eye(3, 24)[labels]
        self._data = from_arrays(X.astype(np.float32), labels, classes=range(3))
        self._network = Network.dense(24, hidden, 3, precision=precision)
        optimizer = SGD(0.5) if precision == "int8" else Adam(0.01)
        self._recipe = Recipe(optimizer, batch_size=8, epochs=epochs, schedule=schedule, seed=7)
        #: Of the uncut run: state by cursor, numbered from 1 on.
        self._states: dict[Cursor, tuple[int, Any]] = {}
        trainer = Trainer(self._network, self._recipe, checkpoint=True)
        trainer.learn_scaling(self._data)
        for _ in trainer.train(
            self._data,
            tick=NEVER,
            after_step=lambda cursor, *_: self._states.__setitem__(
                cursor, (len(self._states) + 1, self._state(trainer, cursor))
            ),
        ):
            pass
        self._final = self._weights(trainer)

    @property
    def steps(self) -> int:
        """Saves of the uncut run."""
        return len(self._states)

    def _state(self, trainer: Trainer, cursor: Cursor) -> Any:
        arrays = arrays_of(trainer, cursor.turn)
        return facts_of(trainer, cursor, 0.0), [array.tobytes() for array in arrays.values()]

    def _weights(self, trainer: Trainer) -> list[bytes]:
        return [array.tobytes() for array in trainer.params.values()]

    def process(self, life: Life) -> None:
        trainer = Trainer(self._network, self._recipe, checkpoint=True)
        kept = Checkpoints(
            FOLDER, trainer, self._data.n_samples, "this run", "small", every=Every(steps=1),
            disk=life.disk,
        )  # fmt: skip
        kept.store.sweep()
        try:
            resume = kept.resume()
        except CheckpointError:
            raise Ended(REFUSED) from None
        watched = None
        if resume is None:
            life.loaded(0)
            trainer.learn_scaling(self._data)
        else:
            watched = Watched(self, life, resume)

        def after_step(cursor: Cursor, seconds: float, stopping: bool) -> None:
            number, _ = self._states[cursor]
            life.attempts(number)
            kept.after_step(cursor, seconds, stopping)
            if kept.failure is None:
                life.saved(number)

        options: Any = {"resume": watched, "after_step": after_step}
        for _ in trainer.train(self._data, tick=NEVER, **options):
            pass
        if self._weights(trainer) != self._final:
            raise Ended(NOT_IDENTICAL)
        # The model is in its place: nothing is owed any more.
        life.completed = 0
        with contextlib.suppress(OSError):
            kept.store.clear()


class Watched:
    """A ``Resume`` that looks at what it has brought back."""

    def __init__(self, campaign: Training, life: Life, resume: Resume) -> None:
        self._campaign, self._life, self._resume = campaign, life, resume
        self.cursor, self.seconds = resume.cursor, resume.seconds

    def apply(self, trainer: Trainer) -> None:
        """Bring the trainer to the state, or raise Ended."""
        campaign, life = self._campaign, self._life
        number, state = campaign._states.get(self.cursor, (-1, None))
        poison(arrays_of(trainer, self.cursor.turn))
        try:
            self._resume.apply(trainer)
        except CheckpointError:
            raise Ended(REFUSED) from None
        if not 0 < number <= life.attempted or campaign._state(trainer, self.cursor) != state:
            raise Ended(NOT_IDENTICAL)
        life.loaded(number)


def poison(arrays: dict[str, Array]) -> None:
    """The power was off: nothing of what was in memory is there."""
    for array in arrays.values():
        array.reshape(-1).view(np.uint8)[:] = 0x5A
