"""Checkpoints of a training run: when they are due, what they may write, going on from one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .checkpoint_store import CheckpointStore
from .disk import Disk
from .errors import CheckpointError, ConfigError
from .resume import Cursor, Resume, arrays_of, cursor_of, facts_of
from .trainer import Trainer
from .units import parse_bytes

_SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Every:
    """How often: after so many seconds, or so many steps (updates); one of them is None."""

    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, text: str) -> Every:
        """``60s``, ``5min``, ``1h`` or ``1000steps``; ConfigError for anything else.

        >>> Every.parse("5min"), Every.parse("1000steps")
        (Every(seconds=300.0, steps=None), Every(seconds=None, steps=1000))
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|min|h|day|steps?)", text)
        if found is not None and float(found[1]) > 0:
            number, unit = found.groups()
            if unit in _SECONDS:
                return cls(seconds=float(number) * _SECONDS[unit])
            if float(number).is_integer():
                return cls(steps=int(float(number)))
        raise ConfigError(f"expected a time or steps, such as 60s, 5min or 1000steps, got {text!r}")


@dataclass(frozen=True, slots=True)
class WriteLimit:
    """Most bytes that checkpoints may write in so many seconds, on average."""

    nbytes: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> WriteLimit:
        """``50MB/day`` and the like; ConfigError for anything else.

        >>> WriteLimit.parse("50MB/day")
        WriteLimit(nbytes=50000000, seconds=86400.0)
        """
        size, _, unit = text.partition("/")
        if unit not in _SECONDS:
            raise ConfigError(f"expected bytes in a time, such as 50MB/day, got {text!r}")
        return cls(parse_bytes(size), float(_SECONDS[unit]))


class Checkpoints:
    """Saves a trainer's state now and then; ``after_step`` goes to ``Trainer.train``.

    samples: of the training data. run: the fingerprint of the run (``resume.fingerprint``).
    title: the run in a few words, for messages. limit: None: no limit. clock: seconds, for tests.
    """

    def __init__(
        self, folder: str, trainer: Trainer, samples: int, run: str, title: str, *, every: Every,
        limit: WriteLimit | None = None, disk: Disk | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._trainer, self._samples, self._run, self._title = trainer, samples, run, title
        self._every, self._limit, self._clock = every, limit, clock
        self.store = CheckpointStore(folder, disk, marks=trainer.arena["checkpoint.marks"])
        self._began = self._saved = clock()
        self._steps = 0
        #: Saves made, put off for the limit, and failed (the training goes on).
        self.saves = self.put_off = self.failed = 0
        self.failure: str | None = None
        self.resumed: Cursor | None = None

    def resume(self, *, must: bool = False) -> Resume | None:
        """The state to go on from, if the folder has one.

        must: CheckpointError if it has none. Raises CheckpointError for the state of another run.
        """
        facts = self.store.peek()
        if facts is None:
            if must:
                raise CheckpointError(
                    f"{self.store.folder}: expected a state to go on from, got none; leave "
                    "--resume out to begin anew"
                )
            return None
        if facts.get("run") != self._run:
            raise CheckpointError(
                f"{self.store.folder}: expected a state of this run ({self._title}), got one of "
                f"another run ({str(facts.get('title'))[:120]}); data, network, recipe and seed "
                "must be the same: choose another folder, or remove this one"
            )
        self.resumed = cursor_of(facts, self._trainer, self._samples)
        self._steps = self._steps_before(self.resumed)
        return Resume(self.store, facts, self.resumed)

    def after_step(self, cursor: Cursor, seconds: float, stopping: bool) -> None:
        """Save if it is time to, or if training is about to stop."""
        if not stopping and not self._is_due(cursor):
            return
        if not stopping and not self._may_write():
            self.put_off += 1
            self._saved, self._steps = self._clock(), self._steps_before(cursor)
            return
        self.save(cursor, seconds)

    def save(self, cursor: Cursor, seconds: float) -> None:
        """Save now; a disk that refuses is noted in ``failure`` and does not stop the training."""
        trainer = self._trainer
        trainer.run.drain()
        facts = facts_of(trainer, cursor, seconds) | {"run": self._run, "title": self._title}
        try:
            self.store.save(facts, arrays_of(trainer, cursor.turn))
            self.saves, self.failure = self.saves + 1, None
        except OSError as error:
            self.failed, self.failure = self.failed + 1, error.strerror or str(error)
        self._saved, self._steps = self._clock(), self._steps_before(cursor)

    def _steps_before(self, cursor: Cursor) -> int:
        """Updates made when training is at ``cursor``, of all stages."""
        recipe = self._trainer.recipe
        an_epoch = -(-self._samples // recipe.batch_size)
        epochs = cursor.turn * recipe.epochs + cursor.epoch
        return epochs * an_epoch + cursor.first // recipe.batch_size

    def _is_due(self, cursor: Cursor) -> bool:
        if self._every.seconds is not None:
            return self._clock() - self._saved >= self._every.seconds
        assert self._every.steps is not None
        return self._steps_before(cursor) - self._steps >= self._every.steps

    def _may_write(self) -> bool:
        """Whether what was written so far has been earned; the first state always is."""
        if self._limit is None or self.saves == 0:
            return True
        earned = self._limit.nbytes * (self._clock() - self._began) / self._limit.seconds
        return self.store.bytes_written <= earned

    def describe(self) -> dict[str, Any]:
        """JSON types: saves and bytes of this process."""
        hours = max(self._clock() - self._began, 1e-9) / 3600
        return {
            "folder": self.store.folder,
            "resumed": None if self.resumed is None else list(self._place(self.resumed)),
            "saves": self.saves,
            "put_off": self.put_off,
            "failed": self.failed,
            "failure": self.failure,
            "bytes_written": self.store.bytes_written,
            "bytes_per_hour": round(self.store.bytes_written / hours),
            "skipped": list(self.store.skipped),
        }

    @staticmethod
    def _place(cursor: Cursor) -> tuple[int, int, int]:
        return cursor.turn, cursor.epoch, cursor.first
