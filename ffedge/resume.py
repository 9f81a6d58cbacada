"""A training run between two steps, as facts and arrays: what a checkpoint holds.

Nothing else is needed to go on with the same bits: shuffling, random rounding and wrong labels are
functions of seed and counters (``kernels.random``), and learning rates of the step's number.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .buffers import state_specs
from .checkpoint_store import CheckpointStore
from .errors import CheckpointError
from .sources import Dataset

if TYPE_CHECKING:
    from .network import Network
    from .recipe import Recipe
    from .trainer import Trainer

Array = np.ndarray[Any, Any]

#: Counters and accounts of a layer, in the order of a state's ``layers``.
_ACCOUNTS = ("updates", "loss", "right", "seen", "changed", "offered", "goodness")

#: Rows of a data set that its fingerprint looks at.
_ROWS = 64


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next step begins: stage, epoch of the stage, first sample of the epoch.

    After a stage's last step ``epoch`` is the number of epochs.
    """

    turn: int = 0
    epoch: int = 0
    first: int = 0


class Resume:
    """A state in a store: ``apply`` brings a trainer to it, once its stage has begun."""

    def __init__(self, store: CheckpointStore, facts: dict[str, Any], cursor: Cursor) -> None:
        self._store, self._facts, self.cursor = store, facts, cursor

    @property
    def seconds(self) -> float:
        """Of training, before."""
        return float(self._facts["seconds"])

    def apply(self, trainer: Trainer) -> None:
        """Read parameters and state into the arena of ``trainer``, and set its counters."""
        facts = self._facts
        found = self._store.load(arrays_of(trainer, self.cursor.turn))
        # As text: a loss that is not a number differs from itself.
        if json.dumps(found) != json.dumps(facts):
            raise CheckpointError(
                f"{self._store.folder}: expected the state that was found before, got another; "
                "nothing else must use the folder"
            )
        trainer.run.samples_seen = facts["samples_seen"]
        trainer.scaler.count = facts["scaled"]
        trainer.epochs_done, trainer.reached = facts["epochs_done"], facts["reached"]
        for layer, values in zip(trainer.run.layers, facts["layers"], strict=True):
            for name, value in zip(_ACCOUNTS, values, strict=True):
                setattr(layer, name, value)


def facts_of(trainer: Trainer, cursor: Cursor, seconds: float) -> dict[str, Any]:
    """Counters and accounts as JSON types; ``seconds`` of training so far."""
    return {
        "cursor": [cursor.turn, cursor.epoch, cursor.first],
        "samples_seen": trainer.run.samples_seen,
        "scaled": trainer.scaler.count,
        "epochs_done": trainer.epochs_done,
        "reached": trainer.reached,
        "seconds": seconds,
        "layers": [
            [_plain(getattr(layer, name)) for name in _ACCOUNTS] for layer in trainer.run.layers
        ],
    }


def _plain(value: Any) -> int | float:
    return int(value) if isinstance(value, int | np.integer) else float(value)


def arrays_of(trainer: Trainer, turn: int) -> dict[str, Array]:
    """Views of all that learns in stage ``turn`` or has learned: parameters and state."""
    specs = state_specs(trainer.network, trainer.recipe, turn)
    return {name: trainer.arena[name] for name in specs}


def cursor_of(facts: dict[str, Any], trainer: Trainer, samples: int) -> Cursor:
    """The cursor of facts from a file; CheckpointError unless it lies inside the run."""
    try:
        turn, epoch, first = facts["cursor"]
        stages = trainer.recipe.stages(len(trainer.network.layers))
        inside = (
            all(type(value) is int and value >= 0 for value in (turn, epoch, first))
            and turn < stages and epoch <= trainer.recipe.epochs and first < samples
            and first % trainer.run.capacity == 0 and (epoch < trainer.recipe.epochs or first == 0)
            and len(facts["layers"]) == len(trainer.run.layers)
            and all(len(values) == len(_ACCOUNTS) for values in facts["layers"])
            and all(type(value) in (int, float) for values in facts["layers"] for value in values)
            and {"samples_seen", "scaled", "epochs_done", "reached", "seconds"} <= facts.keys()
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        inside = False
    if not inside:
        raise CheckpointError(
            f"checkpoint: expected a place inside this run, got {str(facts.get('cursor'))[:60]}; "
            "another program wrote it"
        )
    return Cursor(turn, epoch, first)


def fingerprint(
    network: Network, recipe: Recipe, data: Dataset, validation: Dataset | None, capacity: int
) -> str:
    """64 hex digits that are the same for the same run on the same data.

    Looks at the data's size and classes and at some rows spread over it.
    """
    about = [
        network.describe(), recipe.describe(), capacity, list(data.classes),
        *(_rows_of(part) for part in (data, validation) if part is not None),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _rows_of(data: Dataset) -> list[int]:
    found = 0
    for sample in range(0, data.n_samples, max(1, data.n_samples // _ROWS)):
        row = sample if data.rows is None else int(data.rows[sample])
        found = zlib.crc32(np.ascontiguousarray(data.features[row]).tobytes(), found)
        found = zlib.crc32(int(data.labels[row]).to_bytes(4, "little"), found)
    return [data.n_samples, data.width, found]
