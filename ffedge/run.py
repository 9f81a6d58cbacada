"""A network's arrays bound to the arena, and the moves that rules are made of.

A rule sees ``run`` (the buffers of the step) and ``run.layers`` (a layer's arrays with
``forward``, ``update``, ``normalize``). Nothing here allocates once a stage has begun.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arena import Arena
from .buffers import parameters
from .fetching import ALL_ROWS, Fetched, bring, bring_batch, choose, grid_for
from .kernels import activations, batch, dense, normalize, random
from .network import Network
from .optimizers import SGD
from .recipe import Recipe
from .run_box import Draws, bound_boxes
from .sources import Dataset
from .streamer import Streamer
from .streaming import bounds
from .visits import Visits

Array = np.ndarray[Any, Any]


def bound_params(arena: Arena, network: Network, index: int, suffix: str) -> dict[str, Array]:
    """A layer's parameters by name, as views of the buffers of that suffix."""
    return {name: arena[f"layer{index}.{name}{suffix}"] for name in parameters(network, index)}


class LayerRun:
    """One layer with its arrays: parameters, activity, delta and optimiser state.

    params, weight, bias: views of the arena; of a streamed layer valid while it is entered.
    """

    def __init__(self, run: Run, index: int) -> None:
        arena, network, recipe = run.arena, run.network, run.recipe
        self.index = index
        self._layer = network.layers[index]
        self.width, self.inputs = self._layer.out_features, self._layer.in_features
        self._run = run
        self.bind()
        self.out, self.length = arena[f"layer{index}.out"], arena["length"]
        self.activation = self._layer.activation
        #: The black box in front of the layer, and what came out of it last.
        self.box, self._taken = run.boxes.get(index), self.out
        self.sums = self.out
        if recipe is not None and self.activation.keeps_sums:
            self.sums = arena[f"layer{index}.sums"]
        self.active = False
        self.updates = 0
        self.loss, self.right, self.seen, self.goodness = 0.0, 0.0, 0, 0.0
        #: Counted in int8 only, see ``Int8Layer``.
        self.changed, self.offered = 0, 0
        self.memory: dict[str, Array] = {}
        self.state: dict[str, list[Array]] = {}
        if recipe is not None:
            self.delta = arena[f"layer{index}.delta"]
            memory = network.rule.memory(network, index)
            self.memory = {name: arena[f"layer{index}.{name}"] for name in memory}
            self.state = {
                name: [arena[f"layer{index}.{name}.{kind}"] for kind in recipe.optimizer.state]
                for name in self.params
                if network.rule.learns(name)
            }

    def bind(self, suffix: str = "") -> None:
        """Take the parameters from the buffers of that suffix; see ``StreamedLayer``."""
        self.params = bound_params(self._run.arena, self._run.network, self.index, suffix)
        self.weight, self.bias = self.params["weight"], self.params["bias"]

    def initialize(self, seed: int) -> None:
        """Random starting weights; He's scale for ReLU layers. All other parameters are zero."""
        self._fill_weights(seed)
        for name, array in self.params.items():
            if name != "weight":
                array[:] = 0.0

    def _fill_weights(self, seed: int) -> None:
        random.fill_normal(seed, self.width, self._scale(), 0, self.weight)
        self._layer.clear(self.weight)

    def _scale(self) -> np.float32:
        return np.float32((1.0 / self._layer.fan_in) ** 0.5)

    def take(self, x: Array, rows: int) -> Array:
        """What the layer takes in: ``x``, or what the black box in front of it makes of that."""
        if self.box is not None:
            x = self.box.apply(x, rows, self._run.draws)
        self._taken = x
        return x

    def forward(self, x: Array, rows: int) -> None:
        """``out = activation(x @ weight + bias)``."""
        run = self._run
        if run.visits is not None:
            run.visits.enter(self.index)
        x = self.take(x, rows)
        if self.activation.rectifies:
            dense.dense_forward(x, rows, self.weight, self.bias, run.index, run.offset, self.out)
            return
        activations.dense_sums(x, rows, self.weight, self.bias, run.index, run.offset, self.out)
        self.activation.apply(self.out, rows, self.width, self.sums)

    def gate(self, rows: int) -> None:
        """Turn ``delta`` from an error by ``out`` (not yet normalised) into one by the sums."""
        self.activation.gate(self.delta, rows, self.width, self.out, self.sums)

    def measure(self, rows: int) -> None:
        """``length`` = sum of squares of each row of ``out``."""
        normalize.sum_of_squares(self.out, rows, self.length)

    def mean_square(self, rows: int) -> float:
        """Mean square activity after ``measure``."""
        return float(self.length[:rows].mean()) / self.width

    def rescale(self, rows: int) -> None:
        """Divide each row by its root mean square, after ``measure``."""
        self.goodness = normalize.scale_rows(self.out, rows, self.width, self.length, self.out)

    def normalize(self, rows: int) -> None:
        """``measure`` and ``rescale``."""
        self.goodness = normalize.normalize_rows(self.out, rows, self.width, self.length)

    def delta_rate(self) -> float:
        """The factor of one sample's delta: its share of the batch, times the optimiser's."""
        recipe = self._run.recipe
        assert recipe is not None
        return recipe.optimizer.delta_rate(self._run.factor) / recipe.batch_size

    def step(self, name: str, x: Array, rows: int, delta: Array) -> None:
        """Step parameter ``name``, whose gradient is ``-x.T @ delta``."""
        run = self._run
        assert run.recipe is not None
        run.recipe.optimizer.step(
            x, rows, delta, self.params[name], self.state[name], run, run.factor, self.updates + 1
        )

    def update(self, x: Array, rows: int) -> None:
        """Step weight and bias with ``delta``; ends this layer's part of the step."""
        run = self._run
        assert run.recipe is not None
        x = x if self.box is None else self._taken
        optimizer = run.recipe.optimizer
        if isinstance(optimizer, SGD):
            optimizer.step_layer(x, rows, self.delta, self.weight, self.bias, run, run.factor)
        else:
            assert run.ones is not None
            self.step("weight", x, rows, self.delta)
            self.step("bias", run.ones, rows, self.delta)
        self._layer.clear(self.weight)
        self.updates += 1

    def begin_epoch(self) -> None:
        """Start the account of ``note`` anew."""
        self.loss, self.right, self.seen = 0.0, 0.0, 0

    def note(self, loss: float, right: float, count: int) -> None:
        """Keep account of the local loss (sum, nats) and of right decisions."""
        self.loss += loss
        self.right += right
        self.seen += count


class SlicedLayerRun(LayerRun):
    """A layer whose weight is never whole in memory: its units take turns, a slice at a time."""

    def __init__(self, run: Run, index: int, streamer: Streamer) -> None:
        super().__init__(run, index)
        self._streamer = streamer
        #: First and last panel of each slice.
        self._slices = bounds(len(self.out), len(self.weight))

    def _fill_weights(self, seed: int) -> None:
        for number, (first, last) in enumerate(self._slices):
            window = self.weight[: last - first]
            random.fill_normal(seed, self.width, self._scale(), first, window)
            self._layer.clear(window, first)
            self._streamer.made_slice(self.index, number)

    def forward(self, x: Array, rows: int) -> None:
        """As of a whole layer, slice by slice."""
        run = self._run
        assert run.visits is not None
        run.visits.enter(self.index)
        x = self.take(x, rows)
        product = dense.dense_forward if self.activation.rectifies else activations.dense_sums
        for number, (first, last) in enumerate(self._slices):
            self._streamer.bring(number)
            product(
                x, rows, self.weight[: last - first], self.bias[first:last],
                run.index, run.offset, self.out[first:last],
            )  # fmt: skip
        if not self.activation.rectifies:
            self.activation.apply(self.out, rows, self.width, self.sums)

    def update(self, x: Array, rows: int) -> None:
        """As of a whole layer, from the last slice on: it is still there."""
        run = self._run
        assert run.recipe is not None
        x = x if self.box is None else self._taken
        optimizer = run.recipe.optimizer
        for number in range(len(self._slices) - 1, -1, -1):
            first, last = self._slices[number]
            self._streamer.bring(number, change=True)
            window, delta = self.weight[: last - first], self.delta[first:last]
            if isinstance(optimizer, SGD):
                bias = self.bias[first:last]
                optimizer.step_layer(x, rows, delta, window, bias, run, run.factor)
            else:
                state = [array[: last - first] for array in self.state["weight"]]
                optimizer.step(x, rows, delta, window, state, run, run.factor, self.updates + 1)
            self._layer.clear(window, first)
        if not isinstance(optimizer, SGD):
            assert run.ones is not None
            self.step("bias", run.ones, rows, self.delta)
        self.updates += 1


class Run:
    """An arena bound to its network; ``recipe`` is None where only prediction is wanted.

    streamer: brings in the layers that are not resident; None where all are.
    """

    def __init__(
        self, network: Network, arena: Arena, recipe: Recipe | None = None,
        streamer: Streamer | None = None,
    ) -> None:  # fmt: skip
        self.network, self.arena, self.recipe = network, arena, recipe
        self.mean, self.gain = arena["input.mean"], arena["input.gain"]
        self.input, self.labels, self.chosen = arena["input"], arena["labels"], arena["chosen"]
        self.index, self.offset, self.total = arena["index"], arena["offset"], arena["total"]
        self.length = arena["length"]
        self.ones = arena["ones"] if "ones" in arena else None  # noqa: SIM401
        self.tile = arena["tile"] if "tile" in arena else None  # noqa: SIM401
        #: Where targets are numbers: those of the batch in hand.
        self.targets: Array | None = None
        for name in network.rule.workspace(network, 1):
            setattr(self, name, arena[name])
        self.boxes = bound_boxes(network, arena)
        self.draws = Draws(0 if recipe is None else recipe.seed)
        self.streamer = streamer
        self.visits: Visits | None = streamer
        self.layers = [
            SlicedLayerRun(self, i, streamer)
            if streamer is not None and streamer.streaming.slices(network, i)
            else LayerRun(self, i)
            for i in range(len(network.layers))
        ]
        #: First and last layer that run in a training pass.
        self.first, self.last_active = 0, len(self.layers) - 1
        self.factor = 1.0
        self.seed = recipe.seed if recipe is not None else 0
        self.samples_seen = 0
        self._fetched = Fetched(ALL_ROWS)
        for layer in self.layers:
            network.rule.begin(self, layer)

    def initialize(self) -> None:
        """Random starting weights from the recipe's seed; what boxes learn begins at 0."""
        for box in self.boxes.values():
            box.initialize()
        for layer in self.layers:
            seed = (self.seed * 0x01000193 + layer.index * 2) % 2**32
            layer.initialize(seed)
            self.network.rule.initialize(layer, seed + 1)
            if self.streamer is not None:
                self.streamer.made(layer.index)

    def begin_stage(self, stage: int | None) -> None:
        """Make layer ``stage`` (None: all layers) active, with fresh optimiser state."""
        self.last_active = len(self.layers) - 1 if stage is None else stage
        if self.streamer is not None:
            self.streamer.begin_stage(stage)
        if self.ones is not None:
            self.ones[:] = 0.0
            self.ones[:, :, 0] = 1.0
        for layer in self.layers[: self.last_active + 1]:
            layer.active = stage is None or layer.index == stage
            if self.streamer is not None:
                layer.bind(self.streamer.suffix(layer.index))
            if layer.active:
                for arrays in layer.state.values():
                    for array in arrays:
                        array[:] = 0.0
                layer.updates = 0
            self.network.rule.begin(self, layer)
            if layer.active and self.streamer is not None:
                self.streamer.reset(layer.index)

    def use_all_layers(self) -> None:
        """Score with all layers from now on, also with those that no stage has reached."""
        for layer in self.layers[self.last_active + 1 :]:
            layer.active = False
            self.network.rule.begin(self, layer)
        self.last_active = len(self.layers) - 1

    @property
    def capacity(self) -> int:
        """Samples that can be brought in at once: a batch."""
        return len(self.labels)

    @property
    def first_input(self) -> Array:
        """What the first layer of a training pass takes in."""
        return self.input if self.first == 0 else self.layers[self.first - 1].out

    def train_batch(self, count: int) -> None:
        """Train the active layers on ``count`` fetched samples; the rule decides how."""
        self.draws.train(self.samples_seen)
        self.network.rule.train_batch(self, count)
        if self.visits is not None:
            self.visits.end()

    def drain(self) -> None:
        """Nothing to wait for: one thread does it all."""

    def close(self) -> None:
        """Nobody to let go."""

    def score_batch(self, count: int) -> None:
        """Write the class scores of ``count`` fetched samples to ``total``."""
        self.network.rule.score_batch(self, count)
        if self.visits is not None:
            self.visits.end()

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
        grid = grid_for(self, data, moved)
        if grid is None and self.targets is None and not data.numeric:
            self._fetched = bring_batch(self, data, first, count, shuffle)
        else:
            subset = choose(self, data, first, count, shuffle)
            self._fetched = Fetched(data.features, subset, grid)
            bring(self, self._fetched, count)
        self._normalize_input(count)

    def fetch_features(self, features: Array, first: int, count: int) -> None:
        """Bring rows first..first+count-1 of unlabelled data into the input."""
        batch.choose_rows(first, count, len(features), 0, False, self.chosen)
        self._fetched = Fetched(features)
        self.draws.score(first)
        self.fetch_again(count)

    def fetch_again(self, count: int) -> None:
        """Bring the last fetched features into the input once more, moved as they were."""
        if self.visits is not None:
            self.visits.begin()
        bring(self, self._fetched, count)
        self._normalize_input(count)

    def _normalize_input(self, count: int) -> None:
        if self.network.normalize_input:
            normalize.normalize_rows(self.input, count, self.network.features, self.length)
