"""A label side-channel: every class's goodness from one product, against all other classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..activations import Activation
from ..errors import ConfigError
from ..kernels import activations, random, side_channel
from ..tensor import PANEL, TensorSpec, panels
from .base import Rule, Work
from .class_step import gradient_of, gradient_specs, step
from .objectives import OBJECTIVES, CrossEntropy, Objective

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class _Sums(Activation):
    """A layer puts out its sums: the rule has more to add before anything is rectified."""

    name: ClassVar[str] = "sums"

    def apply(self, out: Any, rows: int, width: int, sums: Any) -> None:
        """As they are."""


@dataclass(frozen=True)
class SideChannel(Rule):
    """Labels enter every layer by weights of their own: ``y_k = relu(x @ W + b + u_k)``.

    The side-channel of FFCL (arXiv 2405.12443). Its consequence is used in full: ``x @ W`` is
    computed once, every class costs n additions, and so a layer sees the goodness of the true
    label and of *all* wrong ones, n being its width:

        g_k = mean of y_k**2          delta = sum over k of e_k (2 / n) y_k
        W += x.T @ delta              u_k += sum over samples of e_k (2 / n) y_k

    e_k is the objective's downhill error. One pass in training and prediction. What is passed on
    knows no label: ``relu(x @ W + b)`` without its length. Extra memory: C x n float32 per layer,
    and once as much for the step; nothing grows by classes times batch but the scores.

    objective: ``CrossEntropy`` or ``Logistic``. spread: standard deviation of the label weights at
    the start, 0 to 10 (sums have about 1).
    """

    objective: Objective = field(default_factory=CrossEntropy)
    spread: float = 1.0
    name: ClassVar[str] = "side-channel"
    layers_vote: ClassVar[bool] = True
    parts: ClassVar[dict[str, Any]] = {"objective": OBJECTIVES}

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise ConfigError(
                "SideChannel: expected objective CrossEntropy(...) or Logistic(...), got "
                f"{self.objective!r:.60}"
            )
        spread = self.spread
        if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0 <= spread <= 10:
            raise ConfigError(f"SideChannel: expected spread in 0..10, got {spread!r:.40}")

    def check(self, network: Network) -> None:
        """Sums are not kept in int8, where a layer rectifies and rounds as it adds."""
        if network.precision == "int8":
            raise ConfigError(
                "SideChannel: expected precision float32, got int8, whose layers round and rectify "
                "their sums before a label could be added; use readout or group"
            )

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """labels (panels, C, 16) float32: u."""
        width = network.layers[index].out_features
        return {"labels": TensorSpec((panels(width), network.classes, PANEL), "float32")}

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's buffers and the gradient of the label weights."""
        return super().workspace(network, batch) | gradient_specs(network)

    def work(self, network: Network) -> Work:
        """Squares, delta and gradient of every class; squares alone in prediction."""
        products = network.classes * sum(network.hidden)
        return Work(1, 1, 1, 3 * products, products)

    def initialize(self, layer: Any, seed: int) -> None:
        """u starts at N(0, spread**2)."""
        spread = np.float32(self.spread)
        random.fill_normal(seed, layer.width, spread, 0, layer.params["labels"])

    def begin(self, run: Any, layer: Any) -> None:
        """Let the layer put out its sums."""
        layer.activation = _Sums()

    def hand_on(self, layer: Any, rows: int) -> None:
        """Rectify the sums without any label, and remove their length."""
        self._rectify(layer, rows)
        layer.normalize(rows)

    @staticmethod
    def _rectify(layer: Any, rows: int) -> None:
        activations.leaky(layer.out, rows, np.float32(0))

    def _score(self, run: Any, layer: Any, rows: int) -> None:
        side_channel.side_scores(
            layer.out, rows, layer.width, layer.params["labels"],
            np.float32(self.objective.sharpness), run.scores,
        )  # fmt: skip

    def vote_cost(self, network: Network, index: int) -> int:
        """A square for every class and unit."""
        return network.classes * network.layers[index].out_features

    def vote(self, run: Any, layer: Any, rows: int) -> None:
        """Every class's goodness, as the objective sees it; of sums that are not yet rectified."""
        self._score(run, layer, rows)
        self.objective.vote(run, rows)

    def train_batch(self, run: Any, count: int) -> None:
        """Every class's goodness, its error, one update: layer by layer."""
        x = run.first_input
        layers = run.layers[run.first : run.last_active + 1]
        for layer in layers:
            layer.forward(x, count)
            if layer.active:
                self._score(run, layer, count)
                layer.note(*self.objective.errors(run, count, layers[0].delta_rate()), count)
                gradient = gradient_of(run, layer)
                side_channel.side_delta(
                    layer.out, count, layer.width, layer.params["labels"],
                    np.float32(self.objective.sharpness), run.errors, layer.delta, gradient,
                )  # fmt: skip
                step(run, layer, "labels", gradient)
                layer.update(x, count)
            if layer is layers[-1]:
                self._rectify(layer, count)
            else:
                self.hand_on(layer, count)
                x = layer.out

    def score_batch(self, run: Any, count: int) -> None:
        """Sum of the layers' votes; one pass."""
        run.total[:count] = 0.0
        x = run.input
        layers = run.layers[: run.last_active + 1]
        for layer in layers:
            layer.forward(x, count)
            self.vote(run, layer, count)
            if layer is layers[-1]:
                self._rectify(layer, count)
            else:
                self.hand_on(layer, count)
                x = layer.out
