"""A network's arrays bound to the arena, and the moves that rules are made of.

A rule sees ``run`` (the buffers of the step) and ``run.layers`` (a layer's arrays with
``forward``, ``update``, ``normalize``). Nothing here allocates once a stage has begun.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .arena import Arena
from .buffers import parameters
from .kernels import batch, dense, normalize, random
from .network import Network
from .optimizers import SGD
from .recipe import Recipe
from .scaling import LIMIT
from .sources import Dataset

Array = np.ndarray[Any, Any]

_ALL_ROWS = np.empty(0, np.int32)
_NO_LABELS = np.empty(0, np.int32)
_LIMIT = np.float32(LIMIT)


class Visits(Protocol):
    """Who is told of a run's way through its layers, before each is touched.

    A pass begins when samples are fetched, enters layers in any order, some more than once, and
    ends when the last update or score of these samples has been made.
    """

    def begin(self) -> None:
        """Samples are about to be fetched."""

    def enter(self, index: int) -> None:
        """Layer ``index`` is about to run forward; the one entered before is done with."""

    def end(self) -> None:
        """The pass is over."""


class LayerRun:
    """One layer with its arrays: parameters, activity, delta and optimiser state."""

    def __init__(self, run: Run, index: int) -> None:
        arena, network, recipe = run.arena, run.network, run.recipe
        self.index = index
        self.width = network.layers[index].out_features
        self.inputs = network.layers[index].in_features
        self.params = {name: arena[f"layer{index}.{name}"] for name in parameters(network, index)}
        self.weight, self.bias = self.params["weight"], self.params["bias"]
        self.out, self.length = arena[f"layer{index}.out"], arena["length"]
        self._run = run
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
            }

    def forward(self, x: Array, rows: int) -> None:
        """``out = relu(x @ weight + bias)``."""
        run = self._run
        if run.visits is not None:
            run.visits.enter(self.index)
        dense.dense_forward(x, rows, self.weight, self.bias, run.index, run.offset, self.out)

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
        optimizer = run.recipe.optimizer
        if isinstance(optimizer, SGD):
            optimizer.step_layer(x, rows, self.delta, self.weight, self.bias, run, run.factor)
        else:
            assert run.ones is not None
            self.step("weight", x, rows, self.delta)
            self.step("bias", run.ones, rows, self.delta)
        self.updates += 1

    def begin_epoch(self) -> None:
        """Start the account of ``note`` anew."""
        self.loss, self.right, self.seen = 0.0, 0.0, 0

    def note(self, loss: float, right: float, count: int) -> None:
        """Keep account of the local loss (sum, nats) and of right decisions."""
        self.loss += loss
        self.right += right
        self.seen += count


class Run:
    """An arena bound to its network; ``recipe`` is None where only prediction is wanted."""

    def __init__(self, network: Network, arena: Arena, recipe: Recipe | None = None) -> None:
        self.network, self.arena, self.recipe = network, arena, recipe
        self.mean, self.gain = arena["input.mean"], arena["input.gain"]
        self.input, self.labels, self.chosen = arena["input"], arena["labels"], arena["chosen"]
        self.index, self.offset, self.total = arena["index"], arena["offset"], arena["total"]
        self.length = arena["length"]
        self.ones = arena["ones"] if "ones" in arena else None  # noqa: SIM401
        self.tile = arena["tile"] if "tile" in arena else None  # noqa: SIM401
        for name in network.rule.workspace(network, 1):
            setattr(self, name, arena[name])
        self.layers = [LayerRun(self, i) for i in range(len(network.layers))]
        self.last_active = len(self.layers) - 1
        self.factor = 1.0
        self.visits: Visits | None = None
        self.seed = recipe.seed if recipe is not None else 0
        self.samples_seen = 0
        self._fetched: tuple[Array, Array] = (_NO_LABELS, _ALL_ROWS)
        for layer in self.layers:
            network.rule.begin(self, layer)

    def initialize(self) -> None:
        """Random starting weights from the recipe's seed; He's scale for ReLU layers."""
        for layer in self.layers:
            seed = (self.seed * 0x01000193 + layer.index * 2) % 2**32
            scale = np.float32((1.0 / layer.inputs) ** 0.5)
            random.fill_normal(seed, layer.width, scale, layer.weight)
            layer.bias[:] = 0.0
            self.network.rule.initialize(layer, seed + 1)

    def begin_stage(self, stage: int | None) -> None:
        """Make layer ``stage`` (None: all layers) active, with fresh optimiser state."""
        self.last_active = len(self.layers) - 1 if stage is None else stage
        if self.ones is not None:
            self.ones[:] = 0.0
            self.ones[:, :, 0] = 1.0
        for layer in self.layers[: self.last_active + 1]:
            layer.active = stage is None or layer.index == stage
            if layer.active:
                for arrays in layer.state.values():
                    for array in arrays:
                        array[:] = 0.0
                layer.updates = 0
            self.network.rule.begin(self, layer)

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

    def train_batch(self, count: int) -> None:
        """Train the active layers on ``count`` fetched samples; the rule decides how."""
        self.network.rule.train_batch(self, count)
        if self.visits is not None:
            self.visits.end()

    def drain(self) -> None:
        """Nothing to wait for: one thread does it all."""

    def score_batch(self, count: int) -> None:
        """Write the class scores of ``count`` fetched samples to ``total``."""
        self.network.rule.score_batch(self, count)
        if self.visits is not None:
            self.visits.end()

    def fetch(self, data: Dataset, first: int, count: int, *, shuffle: int | None = None) -> None:
        """Bring samples first..first+count-1 (of permutation ``shuffle``) into the input."""
        if self.visits is not None:
            self.visits.begin()
        subset = _ALL_ROWS if data.rows is None else data.rows
        seed = 0 if shuffle is None else shuffle
        batch.fetch_batch(
            data.features, data.labels, subset, first, count, data.n_samples, seed,
            shuffle is not None, self.mean, self.gain, _LIMIT,
            self.chosen, self.labels, self.input,
        )  # fmt: skip
        self._fetched = (data.features, subset)
        self._normalize_input(count)

    def fetch_features(self, features: Array, first: int, count: int) -> None:
        """Bring rows first..first+count-1 of unlabelled data into the input."""
        if self.visits is not None:
            self.visits.begin()
        batch.choose_rows(first, count, len(features), 0, False, self.chosen)
        self._fetched = (features, _ALL_ROWS)
        self.fetch_again(count)

    def fetch_again(self, count: int) -> None:
        """Bring the last fetched features into the input once more."""
        features, subset = self._fetched
        batch.fetch(features, subset, self.chosen, count, self.mean, self.gain, _LIMIT, self.input)
        self._normalize_input(count)

    def _normalize_input(self, count: int) -> None:
        if self.network.normalize_input:
            normalize.normalize_rows(self.input, count, self.network.features, self.length)
