"""A bounded memory of past samples, replayed beside new ones so that old classes are not forgotten.

Samples are kept raw, as they came, by class-balancing reservoir sampling (Chrysakis and Moens 2020,
"Online Continual Learning from Imbalanced Data", algorithm 1): while there is room everything is
kept; then a sample of a class that never was the largest takes the place of a random one of the
largest class, and a sample of the others takes its place within its class as in Vitter's
algorithm R (1985). Everything lies in the arena, so that the plan counts it and a checkpoint of
the arena continues it; the random numbers depend on seed and samples seen only.

    replay.features  float32 or uint8 (N + B, features)  N kept samples, then an update's new ones
    replay.labels    int32 (N + B,)                      their codes
    replay.rows      int32 (B,)                          samples of the update in hand
    replay.counts    int64 (3, C)                        of each class: seen, kept, ever the largest
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .arena import Arena
from .errors import DataError
from .kernels import batch, random
from .network import Network
from .plan import Need
from .recipe import Recipe
from .sources import Dataset
from .tensor import TensorSpec

Array = np.ndarray[Any, Any]

#: Sets these random numbers apart from the others of a seed.
_STREAM = 0x7E91A7ED

_SEEN, _KEPT, _FULL = range(3)
#: Samples seen are counted up to here.
_MOST = 2**62


def replay_needs(network: Network, recipe: Recipe) -> Iterator[Need]:
    """The memory's buffers; none without replay."""
    if recipe.replay == 0:
        return
    rows = recipe.replay + recipe.batch_size
    specs = {
        "features": TensorSpec((rows, network.features), recipe.replay_dtype),
        "labels": TensorSpec((rows,), "int32"),
        "rows": TensorSpec((recipe.batch_size,), "int32"),
        "counts": TensorSpec((3, network.classes), "int64"),
    }
    for name, spec in specs.items():
        yield Need(f"replay.{name}", spec, "data")


class Replay:
    """The memory bound to a training arena. Holds no state of its own."""

    def __init__(self, arena: Arena, network: Network, recipe: Recipe) -> None:
        self.size, self.batch = recipe.replay, recipe.batch_size
        self.features, self.labels = arena["replay.features"], arena["replay.labels"]
        self.counts, self._rows = arena["replay.counts"], arena["replay.rows"]
        self._seed = recipe.seed ^ _STREAM
        #: What an update learns from: ``select`` says how many samples of it.
        self.data = Dataset(
            self.features, self.labels, tuple(range(network.classes)), (network.features,),
            "replay", "memory", rows=self._rows,
        )  # fmt: skip

    @property
    def kept(self) -> int:
        """Samples in the memory now."""
        return int(self.counts[_KEPT].sum())

    def check(self, features: Array) -> None:
        """Raise DataError for features that the memory cannot hold as they are."""
        if self.features.dtype == np.uint8 and features.dtype != np.uint8:
            whole = (features >= 0) & (features <= 255) & (features == np.floor(features))
            if not whole.all():
                raise DataError(
                    "replay: expected whole numbers 0..255 like the first samples, which were "
                    f"uint8, got {features[~whole][0]!s}; pass float32 from the start"
                )

    def select(self, features: Array, labels: Array, chosen: Array) -> int:
        """Lay out an update's samples: the new ones, and as many kept ones as fit beside them.

        features, labels: 1 to the batch size of new samples. chosen: int64, at least (batch size,),
        workspace. Returns how many samples of ``data`` to learn from.
        """
        new, kept = len(features), self.kept
        self.features[self.size : self.size + new] = features
        self.labels[self.size : self.size + new] = labels
        old = min(kept, self.batch - new)
        if old:
            seed = int(random.bits(self._seed, 2 * self._seen()))
            batch.choose_rows(0, old, kept, seed, True, chosen)
            self._rows[:old] = chosen[:old]
        self._rows[old : old + new] = np.arange(self.size, self.size + new)
        return old + new

    def keep(self, count: int) -> None:
        """Offer the first ``count`` new samples of the last ``select`` to the memory."""
        for row in range(self.size, self.size + count):
            place = self._place(int(self.labels[row]))
            if place is not None:
                self.features[place], self.labels[place] = self.features[row], self.labels[row]

    def offer(self, features: Array, labels: Array) -> None:
        """Offer any number of samples that have been learned elsewhere."""
        for first in range(0, len(features), self.batch):
            new = features[first : first + self.batch]
            self.features[self.size : self.size + len(new)] = new
            self.labels[self.size : self.size + len(new)] = labels[first : first + self.batch]
            self.keep(len(new))

    def take_over(self, other: Replay) -> None:
        """Go on from another memory of the same size and classes."""
        self.features[: self.size] = other.features[: self.size]
        self.labels[: self.size], self.counts[:] = other.labels[: self.size], other.counts

    def _seen(self) -> int:
        return int(self.counts[_SEEN].sum()) % 2**62

    def _place(self, label: int) -> int | None:
        """Where a new sample of class ``label`` goes; None: nowhere."""
        seen, kept, full = self.counts
        seen[label] = min(int(seen[label]) + 1, _MOST)
        number = int(random.bits(self._seed, 2 * self._seen() + 1))
        total = int(kept.sum())
        if total < self.size:
            kept[label] += 1
            return total
        most = int(kept.max())
        full[kept == most] = 1
        victim = label
        if full[label]:
            # Vitter's algorithm R among those of the class: kept with probability kept / seen.
            place = number * int(seen[label]) >> 32
            if place >= kept[label]:
                return None
        else:
            largest = np.flatnonzero(kept == most)
            victim = int(largest[number % len(largest)])
            place = (number >> 8) % most
            kept[victim] -= 1
            kept[label] += 1
        return int(np.flatnonzero(self.labels[: self.size] == victim)[place])
