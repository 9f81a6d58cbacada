"""A black box bound to the arena: activity out of its layout, through the box, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arena import Arena
from .boxes import Perturbed, Slot
from .errors import DataError
from .kernels import batch, normalize, random
from .kernels.int8 import normalize as int8_normalize
from .kernels.int8.input import INPUT_EXP
from .layers import OUTPUT_EXP
from .network import Network
from .tensor import PANEL

Array = np.ndarray[Any, Any]

_ALL_ROWS = np.empty(0, np.int32)
_NO_LIMIT = np.finfo(np.float32).max

#: Sets the random numbers of boxes apart from all others of a run.
_TRAINING, _SCORING = 0x7F4A7C15, 0x2545F491


class Draws:
    """Seeds for boxes that are random: functions of the run's seed and of what it is at.

    So a run that is repeated or resumed sees the same noise, and a batch that is scored twice too.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._base, self._calls = seed, 0, 0
        self.score(0)

    def train(self, samples_seen: int) -> None:
        """A batch is about to be learned."""
        self._begin(_TRAINING ^ self._seed, samples_seen)

    def score(self, first: int) -> None:
        """Samples from ``first`` on have been fetched."""
        self._begin(_SCORING, first)

    def _begin(self, stream: int, counter: int) -> None:
        base = int(random.mix(stream)) + counter
        self._base, self._calls = int(random.mix(base % 2**32)), 0

    def same(self, call: Callable[[], float]) -> float:
        """What ``call`` returns; afterwards the seeds that it took come again."""
        calls = self._calls
        found = call()
        self._calls = calls
        return found

    def next(self) -> int:
        """The next seed, 0..2**32-1."""
        self._calls += 1
        return int(random.mix((self._base + self._calls * 0x9E3779B9) % 2**32))


class BoxRun:
    """The box in front of a layer, with its buffers; ``apply`` is a layer's input."""

    def __init__(self, slot: Slot, arena: Arena) -> None:
        index, self.box = slot.index, slot.box
        self.index, self.inputs, self.outputs = index, slot.inputs, slot.outputs
        self.out: Array = arena[f"box{index}.out"]
        self.rows: Array = arena[f"box{index}.rows"]
        self.made: Array = arena[f"box{index}.made"]
        kept, capacity = self.box.kept(self.inputs), len(self.rows)
        names = (*kept, *self.box.workspace(self.inputs, capacity))
        params = self.box.params(self.inputs)
        self.arrays = {name: arena[f"box{index}.{name}"] for name in (*names, *params)}
        self.params = [self.arrays[name] for name in params]
        self.learner = self.box if isinstance(self.box, Perturbed) else None
        self.box.begin(self.inputs, self.arrays)

    def initialize(self) -> None:
        """What it learns begins at 0."""
        for array in self.params:
            array[:] = 0.0

    def learn(self, run: Any, layer: Any, x: Array, count: int) -> None:
        """A step of what the box learns, from its cost to ``layer``, whose turn has just come."""
        if self.learner is None:
            return
        draws, seed = run.draws, run.draws.next()

        def loss() -> float:
            layer.forward(x, count)
            return float(run.network.rule.local_loss(run, layer, count))

        # Both trials see the same noise.
        self.learner.learn(self.arrays, lambda: draws.same(loss), run.factor, seed)

    def apply(self, x: Array, count: int, draws: Draws) -> Array:
        """What the layer takes in instead of ``x``; DataError if the box makes nonsense of it."""
        self._bring(x, count)
        made = self.made[:count]
        self.box.apply(
            self.rows[:count], made, self.arrays, draws.next() if self.box.is_random else 0
        )
        with np.errstate(invalid="ignore"):
            sound = math.isfinite(made.min()) and math.isfinite(made.max())
        if not sound:
            custom = self.box.custom
            title = self.box.name if custom is None else custom.title
            raise DataError(
                f"black box {title!r}: expected finite float32 numbers in front of layer "
                f"{self.index}, got NaN or infinity; limit what it returns"
            )
        self._take(made, count)
        return self.out

    def _bring(self, x: Array, count: int) -> None:
        raise NotImplementedError

    def _take(self, made: Array, count: int) -> None:
        raise NotImplementedError


class FloatBoxRun(BoxRun):
    """In float32: activity in panels."""

    def __init__(self, slot: Slot, arena: Arena) -> None:
        super().__init__(slot, arena)
        full = self.inputs // PANEL
        # Whole panels of the rows, seen as they lie in an activity.
        self._panels = np.lib.stride_tricks.as_strided(
            self.rows, (full, len(self.rows), PANEL), (4 * PANEL, 4 * self.inputs, 4)
        )
        self._full, self._rest = full, self.inputs - full * PANEL
        index = slot.index
        self.length: Array = arena[f"box{index}.length"]
        self._chosen: Array = arena[f"box{index}.chosen"]
        self._zeros, self._ones = arena[f"box{index}.zeros"], arena[f"box{index}.ones"]
        self._chosen[:] = np.arange(len(self._chosen))
        self._zeros[:], self._ones[:] = 0.0, 1.0

    def _bring(self, x: Array, count: int) -> None:
        full, rest = self._full, self._rest
        np.copyto(self._panels[:, :count], x[:full, :count])
        if rest:
            np.copyto(self.rows[:count, full * PANEL :], x[full, :count, :rest])

    def _take(self, made: Array, count: int) -> None:
        # The way of raw samples into the first layer: flushes what is nearly zero.
        batch.fetch(
            made, _ALL_ROWS, self._chosen, count, self._zeros, self._ones, _NO_LIMIT, self.out
        )
        if self.box.normalize:
            normalize.normalize_rows(self.out, count, self.outputs, self.length)


class Int8BoxRun(BoxRun):
    """In int8: bytes 0..127 as real numbers into the box, and rounded to bytes again.

    What is below 0 becomes 0. Boxes whose arithmetic is the same everywhere keep the same bits.
    """

    def __init__(self, slot: Slot, arena: Arena) -> None:
        super().__init__(slot, arena)
        self.length: Array = arena[f"box{slot.index}.length"]
        self._gain = np.float32(2**INPUT_EXP) * np.sqrt(np.float32(self.outputs))

    def _bring(self, x: Array, count: int) -> None:
        rows = self.rows[:count]
        np.copyto(rows, x[:count, : self.inputs])
        np.multiply(rows, np.float32(2.0**-INPUT_EXP), out=rows)

    def _take(self, made: Array, count: int) -> None:
        exponent = OUTPUT_EXP if self.box.normalize else INPUT_EXP
        np.minimum(made, np.float32(128), out=made)
        np.multiply(made, np.float32(2.0**exponent), out=made)
        np.add(made, np.float32(0.5), out=made)
        np.floor(made, out=made)
        np.maximum(made, np.float32(0), out=made)
        np.minimum(made, np.float32(127), out=made)
        np.copyto(self.out[:count, : self.outputs], made, casting="unsafe")
        self.out[:count, self.outputs :] = 0
        if self.box.normalize:
            int8_normalize.normalize_rows(self.out, count, self._gain, self.length)


def bound_boxes(network: Network, arena: Arena) -> dict[int, BoxRun]:
    """The boxes of ``network`` by the layer they stand in front of."""
    kind = Int8BoxRun if network.precision == "int8" else FloatBoxRun
    return {slot.index: kind(slot, arena) for slot in network.boxes}
