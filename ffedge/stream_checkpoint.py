"""The state of an estimator on a stream, kept in a folder: ``partial_fit(..., checkpoint=...)``.

What a call has learned is durable when it returns. A new estimator with the same parameters that is
given the same folder goes on from there.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import Any

import numpy as np

from .checkpoint_store import CheckpointStore, lock
from .errors import CheckpointError
from .resume import Cursor, Resume, arrays_of, cursor_of, facts_of
from .trainer import Trainer

Array = np.ndarray[Any, Any]


class StreamCheckpoint:
    """A folder's states and its lock, as long as this lives.

    Raises CheckpointError if another process has the folder, ConfigError if it cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._held = ExitStack()
        self._held.enter_context(lock(folder))
        self._store: CheckpointStore | None = None

    def close(self) -> None:
        """Let the folder go."""
        self._held.close()

    def resume(self, trainer: Trainer, classes: Array) -> int | None:
        """Bring ``trainer``, newly made, to the newest state; updates made so far, None: no state.

        Raises CheckpointError if the state is of an estimator with other parameters, data or
        classes.
        """
        self._store = self._store_of(trainer)
        self._store.sweep()
        facts = self._store.peek()
        if facts is None:
            return None
        about = _about(trainer, classes)
        if facts.get("about") != about:
            raise CheckpointError(
                f"{self.folder}: expected the state of an estimator with these parameters, "
                "features and classes, got that of another one; choose another folder, or remove "
                "this one"
            )
        trainer.run.begin_stage(None)
        Resume(self._store, facts, cursor_of(facts, trainer, 1)).apply(trainer)
        return int(facts["n_iter"])

    def save(self, trainer: Trainer, classes: Array, n_iter: int) -> int:
        """Write the state; durable when this returns. The bytes written; OSError as the system."""
        if self._store is None:
            self._store = self._store_of(trainer)
        about = {"about": _about(trainer, classes), "n_iter": n_iter}
        # A stream is always between two steps of its one endless epoch.
        facts = facts_of(trainer, Cursor(), 0.0) | about
        return self._store.save(facts, arrays_of(trainer, 0))

    def _store_of(self, trainer: Trainer) -> CheckpointStore:
        arena, name = trainer.arena, "checkpoint.marks"
        # An estimator that began without a folder has no room for them.
        return CheckpointStore(self.folder, marks=arena[name] if name in arena else None)  # noqa: SIM401


def _about(trainer: Trainer, classes: Array) -> Any:
    """What must be the same, as JSON gives it back."""
    about = [trainer.network.describe(), trainer.recipe.describe(), np.asarray(classes).tolist()]
    return json.loads(json.dumps(about))
