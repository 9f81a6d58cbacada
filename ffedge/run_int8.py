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
from .buffers import parameters
from .kernels import batch
from .kernels.int8 import dense, group, normalize, readout, start, step
from .kernels.int8 import input as int8_input
from .kernels.int8.input import INPUT_EXP
from .layers import OUTPUT_EXP, readout_exponent, weight_exponent
from .network import Network, cut_of
from .recipe import Recipe
from .rules import Group, Readout
from .run import Run, Visits
from .scales_int8 import constants, layer_seed, rate_of, scales_of, smallest_group
from .sources import Dataset
from .sources.residency import RowReader, row_reader

if TYPE_CHECKING:
    from .pipeline import Pipeline

Array = np.ndarray[Any, Any]

_ALL_ROWS = np.empty(0, np.int32)
_NO_GAIN = np.float32(0)


class Lane:
    """Scratch that layers of one thread share: of the lower layers, or of the upper ones."""

    def __init__(self, arena: Arena, suffix: str, learning: bool) -> None:
        self.length = arena[f"length{suffix}"]
        self.scores = arena[f"scores{suffix}"]
        self.listed = arena[f"listed{suffix}"]
        self.errors = arena[f"errors{suffix}"] if learning else None


class Int8Layer:
    """One layer with its arrays and exponents."""

    def __init__(self, run: Int8Run, index: int, lane: Lane) -> None:
        arena, network, recipe = run.arena, run.network, run.recipe
        self._run, self.lane = run, lane
        described = network.layers[index]
        self.index, self.width, self.inputs = index, described.out_features, described.in_features
        self.params = {name: arena[f"layer{index}.{name}"] for name in parameters(network, index)}
        self.weight, self.bias = self.params["weight"], self.params["bias"]
        self.out, self.length = arena[f"layer{index}.out"], lane.length
        self.scales = scales_of(network, index)
        self.shift = np.int32(self.scales.shift)
        self.smallest_group = smallest_group(network, index)
        self.gain = np.float32(2**INPUT_EXP) * np.sqrt(np.float32(self.width))
        self.active, self.updates = False, 0
        self.loss, self.right, self.seen, self.goodness = 0.0, 0.0, 0, 0.0
        #: Weights changed and offered to change since the epoch began.
        self.changed, self.offered = 0, 0
        self.scratch: list[Array] = []
        if recipe is not None:
            names = ("xt", "delta", "row", "sums", "input_words", "unit_words")
            self.scratch = [arena[f"layer{index}.{name}"] for name in names]
            #: The stream of the layer's random numbers.
            self.seed = layer_seed(recipe.seed, index)

    def begin_epoch(self) -> None:
        """Start the account of losses, decisions and changed weights anew."""
        self.loss, self.right, self.seen = 0.0, 0.0, 0
        self.changed, self.offered = 0, 0

    def forward(self, x: Array, rows: int) -> None:
        """``out = clip((x @ weight + bias) >> shift, 0, 127)``."""
        if self._run.visits is not None:
            self._run.visits.enter(self.index)
        listed = self.lane.listed
        dense.forward(x, rows, self.weight, self.bias, self.shift, listed, self.out)

    def measure(self, rows: int) -> None:
        """``length`` = sum of squares of each row of ``out``, an exact int32."""
        normalize.sum_of_squares(self.out, rows, self.length)

    def mean_square(self, rows: int) -> float:
        """Mean square activity after ``measure``, in real units."""
        return float(self.length[:rows].mean()) / self.width / 4.0**OUTPUT_EXP

    def normalize(self, rows: int) -> None:
        """Divide each row by its root mean square, in place."""
        self.note(normalize.normalize_rows(self.out, rows, self.gain, self.length), rows)

    def note(self, squares: int, rows: int) -> None:
        """Keep the mean square activity of ``rows`` rows, from their sum of squares."""
        self.goodness = squares / (rows * self.width * 4**OUTPUT_EXP)


class Int8Run:
    """Arena, network and the moves of a step; ``recipe`` is None for prediction only."""

    def __init__(self, network: Network, arena: Arena, recipe: Recipe | None = None) -> None:
        self.network, self.arena, self.recipe = network, arena, recipe
        self.mean, self.gain = arena["input.mean"], arena["input.gain"]
        self.input, self.labels, self.chosen = arena["input"], arena["labels"], arena["chosen"]
        self.total = arena["total"]
        threads = 1 if recipe is None else recipe.threads
        lanes = [Lane(arena, suffix, recipe is not None) for suffix in ("", ".upper")[:threads]]
        cut = cut_of(network) if threads > 1 else len(network.layers)
        self.layers = [Int8Layer(self, i, lanes[i >= cut]) for i in range(len(network.layers))]
        self._pipeline: Pipeline | None = None
        self._reader: RowReader | None = None
        #: Bytes that are free until the first layer's update.
        self._space = None if recipe is None else arena["layer0.xt"].reshape(-1)
        self.last_active = len(self.layers) - 1
        self.factor, self.samples_seen = 1.0, 0
        self.visits: Visits | None = None
        self.seed = recipe.seed if recipe is not None else 0
        rule = network.rule
        assert isinstance(rule, Readout | Group)
        self._rule = rule
        self._smoothing = np.int32(round(rule.smoothing * 2**15))
        if recipe is None:
            self._begin_rule()

    def initialize(self) -> None:
        """Random starting weights from the recipe's seed: the float32 ones, rounded."""
        for layer in self.layers:
            seed = (self.seed * 0x01000193 + layer.index * 2) % 2**32
            exponent = weight_exponent(layer.inputs)
            scale = np.float32((1.0 / layer.inputs) ** 0.5) * np.float32(2.0**exponent)
            start.fill_weights(seed, layer.inputs, layer.width, scale, layer.weight)
            # The half of the forward rounding lives in the bias.
            layer.bias[:] = 1 << (int(layer.shift) - 1)
            if "readout" in layer.params:
                scale = np.float32(
                    (1.0 / layer.width) ** 0.5 * 2.0 ** readout_exponent(layer.width)
                )
                start.fill_readout(seed + 1, layer.width, scale, layer.params["readout"])

    def begin_stage(self, stage: int | None) -> None:
        """Make layer ``stage`` (None: all layers) active."""
        self.last_active = len(self.layers) - 1 if stage is None else stage
        for layer in self.layers[: self.last_active + 1]:
            layer.active = stage is None or layer.index == stage
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

    def fetch(self, data: Dataset, first: int, count: int, *, shuffle: int | None = None) -> None:
        """Bring samples first..first+count-1 (of permutation ``shuffle``) into the input."""
        if self.visits is not None:
            self.visits.begin()
        subset = _ALL_ROWS if data.rows is None else data.rows
        seed = 0 if shuffle is None else shuffle
        batch.choose_rows(first, count, data.n_samples, seed, shuffle is not None, self.chosen)
        batch.fetch_labels(data.labels, subset, self.chosen, count, self.labels)
        reader = self._reader_of(data) if shuffle is not None else None
        if reader is None:
            self._quantize(data.features, subset, count)
        else:
            self._fetch_from_file(reader, data, count)

    def fetch_features(self, features: Array, first: int, count: int) -> None:
        """Bring rows first..first+count-1 of unlabelled data into the input."""
        if self.visits is not None:
            self.visits.begin()
        batch.choose_rows(first, count, len(features), 0, False, self.chosen)
        self._quantize(features, _ALL_ROWS, count)

    def _reader_of(self, data: Dataset) -> RowReader | None:
        if self._space is None or data.storage != "mapped":
            return None
        if self._reader is None or not self._reader.belongs_to(data.features):
            self._reader = row_reader(data.features)
        return self._reader

    def _fetch_from_file(self, reader: RowReader, data: Dataset, count: int) -> None:
        """The chosen rows, as many at a time as fit the scratch of the first layer's update."""
        assert self._space is not None
        numbers = self.chosen[:count] if data.rows is None else data.rows[self.chosen[:count]]
        waiting, most = numbers.tolist(), reader.fit(self._space)
        batch.choose_rows(0, min(most, count), count, 0, False, self.chosen)
        for first in range(0, count, most):
            rows = reader.read(waiting[first : first + most], self._space)
            int8_input.fetch(
                rows, _ALL_ROWS, self.chosen, len(rows), self.mean, self.gain,
                self.network.input_parts, self.input[first:] if first else self.input,
            )  # fmt: skip

    def _quantize(self, features: Array, subset: Array, count: int) -> None:
        int8_input.fetch(
            features, subset, self.chosen, count, self.mean, self.gain,
            self.network.input_parts, self.input,
        )  # fmt: skip

    @property
    def capacity(self) -> int:
        """Samples that can be brought in at once: one batch, or a few small ones."""
        return len(self.labels)

    def train_batch(self, count: int) -> None:
        """Train the active layers on ``count`` fetched samples; with two threads, begin to."""
        assert self.recipe is not None
        rate = self.recipe.optimizer.rate * self.factor / self.recipe.batch_size
        if self.recipe.threads > 1:
            if self._pipeline is None:
                from .pipeline import Pipeline

                self._pipeline = Pipeline(self)
            self._pipeline.train(count, rate)
        else:
            self.train_layers(0, self.last_active + 1, self.input, self.labels, count, rate)
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
                self.step(layer, x, labels, count, rate, hand_on=on)
            else:
                layer.forward(x, count)
                if on:
                    layer.normalize(count)
            x = layer.out
        return x

    def drain(self) -> None:
        """Wait for the second thread, if there is one, and let it go."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.drain()
            pipeline.close()

    def step(
        self, layer: Int8Layer, x: Array, labels: Array, count: int, rate: float, *, hand_on: bool
    ) -> None:
        """Updates of one layer by ``count`` samples, batch by batch.

        rate: the learning rate over the batch size. hand_on: normalise the activity afterwards.
        """
        assert self.recipe is not None
        if self.visits is not None:
            self.visits.enter(layer.index)
        xt, delta, row, sums, input_words, unit_words = layer.scratch
        lane, rule, batch_size = layer.lane, self._rule, self.recipe.batch_size
        gain = layer.gain if hand_on else _NO_GAIN
        scales = layer.scales
        mantissa, exponent = rate_of(rule, rate, layer.smallest_group)
        if isinstance(rule, Readout):
            missed, right, changed, squares = step.readout_steps(
                x, count, batch_size, layer.inputs, labels, layer.weight, layer.bias,
                layer.params["readout"], layer.shift, scales.score, self._smoothing,
                mantissa, exponent + scales.delta, exponent + scales.readout, layer.seed,
                layer.updates, gain,
                layer.out, lane.length, lane.scores, lane.errors, xt, delta, row, sums,
                lane.listed, input_words, unit_words,
            )  # fmt: skip
        else:
            width = layer.width
            missed, right, changed, squares = step.group_steps(
                x, count, batch_size, layer.inputs, labels, layer.weight, layer.bias, layer.shift,
                scales.score, self._smoothing, mantissa, exponent + scales.delta, layer.seed,
                layer.updates, gain, self.arena[f"groups{width}"], rule.squared,
                self.arena[f"factors{width}"], self.arena[f"shares{width}"], layer.out,
                lane.length, lane.scores, lane.errors, xt, delta, row, lane.listed,
                input_words, unit_words,
            )  # fmt: skip
        steps = -(-count // batch_size)
        # The number wraps after 2**32 updates, by when nobody remembers the first one.
        layer.updates += steps
        layer.loss += missed / 2**15
        layer.right += right
        layer.seen += count
        layer.changed += changed
        layer.offered += steps * layer.inputs * layer.width
        if hand_on:
            layer.note(squares, count)

    def score_batch(self, count: int) -> None:
        """Sum of the layers' scores, exact int32 in units of 2**-``network.score_exponent``."""
        self.total[:count] = 0
        x = self.input
        layers = self.layers[: self.last_active + 1]
        for layer in layers:
            layer.forward(x, count)
            scores = layer.lane.scores
            if isinstance(self._rule, Group):
                width = layer.width
                group.group_scores(
                    layer.out, count, self.arena[f"groups{width}"], self._rule.squared,
                    self.arena[f"factors{width}"], scores,
                )  # fmt: skip
            else:
                readout.readout_scores(layer.out, count, layer.params["readout"], scores)
            step.add_scores(scores, count, layer.scales.vote, self.total)
            if layer is not layers[-1]:
                layer.normalize(count)
                x = layer.out
        if self.visits is not None:
            self.visits.end()


AnyRun = Run | Int8Run


def make_run(network: Network, arena: Arena, recipe: Recipe | None = None) -> AnyRun:
    """The run of the network's precision."""
    kind = Int8Run if network.precision == "int8" else Run
    return kind(network, arena, recipe)
