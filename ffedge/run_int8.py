"""The int8 network bound to its arena: what ``run`` is to float32, in the integers of kernels/int8.

With e for a power of two, a real value is its integer times 2**-e: inputs of every layer
INPUT_EXP, activities OUTPUT_EXP, weights ``weight_exponent(fan-in)``, the readout
``readout_exponent(width)``. Updates are stochastically rounded into the weights; the random
numbers depend on seed, layer, update, input, unit and sample only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arena import Arena
from .buffers_int8 import cut_of
from .fetching import ALL_ROWS, choose, grid_for
from .kernels import batch
from .kernels.int8 import input as int8_input
from .kernels.int8 import shift as shifted
from .network import Network
from .recipe import Recipe
from .run import Run
from .run_box import Draws, bound_boxes
from .run_int8_layer import Int8Layer, Lane, SlicedInt8Layer
from .scales_int8 import constants
from .shifts import STREAM, Grid
from .sources import Dataset
from .sources.residency import RowReader, row_reader
from .streamer import Streamer
from .visits import Visits

if TYPE_CHECKING:
    from .pipeline import Pipeline

Array = np.ndarray[Any, Any]


class Int8Run:
    """Arena, network and the moves of a step; ``recipe`` is None for prediction only.

    streamer: brings in the layers that are not resident; None where all are.
    """

    def __init__(
        self, network: Network, arena: Arena, recipe: Recipe | None = None,
        streamer: Streamer | None = None,
    ) -> None:  # fmt: skip
        self.network, self.arena, self.recipe = network, arena, recipe
        self.mean, self.gain = arena["input.mean"], arena["input.gain"]
        self.input, self.labels, self.chosen = arena["input"], arena["labels"], arena["chosen"]
        self.total = arena["total"]
        #: Targets are class codes here.
        self.targets: Array | None = None
        threads = 1 if recipe is None else recipe.threads
        lanes = [Lane(arena, suffix, recipe is not None) for suffix in ("", ".upper")[:threads]]
        cut = cut_of(network) if threads > 1 else len(network.layers)
        self.boxes = bound_boxes(network, arena)
        self.draws = Draws(0 if recipe is None else recipe.seed)
        self.streamer = streamer
        self.visits: Visits | None = streamer
        self.layers = [
            SlicedInt8Layer(self, i, lanes[i >= cut], streamer)
            if streamer is not None and streamer.streaming.slices(network, i)
            else Int8Layer(self, i, lanes[i >= cut])
            for i in range(len(network.layers))
        ]
        self._pipeline: Pipeline | None = None
        #: How the samples in hand move, None: they do not.
        self._grid: Grid | None = None
        self._reader: RowReader | None = None
        #: Bytes that are free until the first layer's update.
        self._space = None if recipe is None else arena["layer0.xt"].reshape(-1)
        #: First and last layer that run in a training pass.
        self.first, self.last_active = 0, len(self.layers) - 1
        self.factor, self.samples_seen = 1.0, 0
        self.seed = recipe.seed if recipe is not None else 0
        if recipe is None:
            self._begin_rule()

    def initialize(self) -> None:
        """Random starting weights from the recipe's seed: the float32 ones, rounded."""
        for layer in self.layers:
            layer.initialize((self.seed * 0x01000193 + layer.index * 2) % 2**32)
            if self.streamer is not None:
                self.streamer.made(layer.index)

    def begin_stage(self, stage: int | None) -> None:
        """Make layer ``stage`` (None: all layers) active."""
        self.last_active = len(self.layers) - 1 if stage is None else stage
        if self.streamer is not None:
            self.streamer.begin_stage(stage)
        for layer in self.layers[: self.last_active + 1]:
            layer.active = stage is None or layer.index == stage
            if self.streamer is not None:
                layer.bind(self.streamer.suffix(layer.index))
            if layer.active:
                layer.updates = 0
        self._begin_rule()

    def use_all_layers(self) -> None:
        """Score with all layers from now on, also with those that no stage has reached."""
        for layer in self.layers[self.last_active + 1 :]:
            layer.active = False
        self.last_active = len(self.layers) - 1
        self._begin_rule()

    def _begin_rule(self) -> None:
        for name, values in constants(self.network).items():
            self.arena[name][:] = values

    def fetch(
        self, data: Dataset, first: int, count: int, *, shuffle: int | None = None,
        moved: bool = False,
    ) -> None:  # fmt: skip
        """Bring samples first..first+count-1 (of permutation ``shuffle``) into the input.

        moved: by up to the recipe's shift, where it has one; see ``ffedge.shifts``.
        """
        if self.visits is not None:
            self.visits.begin()
        self.draws.score(first)
        self._grid = grid_for(self, data, moved)
        subset = choose(self, data, first, count, shuffle)
        reader = self._reader_of(data) if shuffle is not None else None
        if reader is None:
            self._quantize(data.features, subset, count)
        else:
            self._fetch_from_file(reader, data, count)

    def fetch_features(self, features: Array, first: int, count: int) -> None:
        """Bring rows first..first+count-1 of unlabelled data into the input."""
        if self.visits is not None:
            self.visits.begin()
        self.draws.score(first)
        batch.choose_rows(first, count, len(features), 0, False, self.chosen)
        self._grid = None
        self._quantize(features, ALL_ROWS, count)

    def _reader_of(self, data: Dataset) -> RowReader | None:
        if self._space is None or data.storage != "mapped":
            return None
        if self._reader is None or not self._reader.belongs_to(data.features):
            self._reader = row_reader(data.features)
        return self._reader

    def _fetch_from_file(self, reader: RowReader, data: Dataset, count: int) -> None:
        """The chosen rows, as many at a time as fit the scratch of the first layer's update."""
        assert self._space is not None
        waiting, most = self.chosen[:count].tolist(), reader.fit(self._space)
        if data.rows is not None:
            # Python's numbers: indexing by an array would allocate one.
            waiting = [data.rows.item(n) for n in waiting]
        batch.choose_rows(0, min(most, count), count, 0, False, self.chosen)
        for first in range(0, count, most):
            rows = reader.read(waiting[first : first + most], self._space)
            out = self.input[first:] if first else self.input
            self._quantize(rows, ALL_ROWS, len(rows), first, out)

    def _quantize(
        self, features: Array, subset: Array, count: int, first: int = 0, out: Array | None = None
    ) -> None:
        """The ``chosen`` rows into ``out``, the input, as samples ``first`` and on of the fetch."""
        out = self.input if out is None else out
        scale = (self.mean, self.gain, self.network.input_parts)
        if self._grid is None:
            int8_input.fetch(features, subset, self.chosen, count, *scale, out)
        else:
            shifted.fetch_shifted(
                features, subset, self.chosen, count, *scale, *self._grid,
                self.seed ^ STREAM, self.samples_seen + first, out,
            )  # fmt: skip

    @property
    def capacity(self) -> int:
        """Samples that can be brought in at once: one batch, or a few small ones."""
        return len(self.labels)

    @property
    def first_input(self) -> Array:
        """What the first layer of a training pass takes in."""
        return self.input if self.first == 0 else self.layers[self.first - 1].out

    def train_batch(self, count: int) -> None:
        """Train the active layers on ``count`` fetched samples; with two threads, begin to."""
        assert self.recipe is not None
        self.draws.train(self.samples_seen)
        rate = self.recipe.optimizer.rate * self.factor / self.recipe.batch_size
        if self.recipe.threads > 1:
            if self._pipeline is None:
                from .pipeline import Pipeline

                self._pipeline = Pipeline(self)
            self._pipeline.train(count, rate)
        else:
            self.train_layers(
                self.first, self.last_active + 1, self.first_input, self.labels, count, rate
            )
        if self.visits is not None:
            self.visits.end()

    def train_layers(
        self, first: int, last: int, x: Array, labels: Array, count: int, rate: float
    ) -> Array:
        """Layers ``first`` to ``last`` - 1 on input x, each updated or only run; the last output.

        The output is normalised unless it is the topmost: nobody takes that one in.
        """
        for layer in self.layers[first:last]:
            on = layer.index < self.last_active
            if layer.active:
                layer.step(x, labels, count, rate, hand_on=on)
            else:
                layer.forward(x, count)
                if on:
                    layer.normalize(count)
            x = layer.out
        return x

    def drain(self) -> None:
        """Wait for the second thread, if there is one."""
        if self._pipeline is not None:
            self._pipeline.drain()

    def close(self) -> None:
        """Let the second thread go."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    def score_batch(self, count: int) -> None:
        """Sum of the layers' scores, exact int32 in units of 2**-``network.score_exponent``."""
        self.total[:count] = 0
        x = self.input
        layers = self.layers[: self.last_active + 1]
        for layer in layers:
            layer.forward(x, count)
            layer.vote(count)
            if layer is not layers[-1]:
                layer.normalize(count)
                x = layer.out
        if self.visits is not None:
            self.visits.end()


AnyRun = Run | Int8Run


def make_run(
    network: Network, arena: Arena, recipe: Recipe | None = None, streamer: Streamer | None = None
) -> AnyRun:
    """The run of the network's precision."""
    kind = Int8Run if network.precision == "int8" else Run
    return kind(network, arena, recipe, streamer)
