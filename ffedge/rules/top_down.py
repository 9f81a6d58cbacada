"""Recurrent Forward-Forward: a still image as a video, layers driven from below and above."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import classes, dense, labels, normalize, peers, random, readout, recurrent
from ..kernels import goodness as kernels
from ..layers import activity
from ..ranges import number_in
from ..tensor import PANEL, TensorSpec, panels
from .base import Rule, Work, refuse_fields
from .contrast import MEAN_RATE
from .goodness import Goodness, MeanOfSquares, SumOfSquares
from .losses import LOSSES, Loss, Threshold
from .negatives import LABEL_STREAM

if TYPE_CHECKING:
    from ..network import Network


#: Kinds of goodness whose length is the root mean square that states are divided by.
SQUARES: dict[str, type[Goodness]] = {kind.name: kind for kind in (SumOfSquares, MeanOfSquares)}


@dataclass(frozen=True)
class TopDown(Rule):
    """Recurrent Forward-Forward with top-down connections; Hinton 2022, section 3.4.

    Layer l has a weight ``W`` from the layer below, ``D`` (parameter ``down``) from the layer
    above and a bias. With n(x) = x / rms(x) per sample, the data normalised the same way as the
    input below the first layer, and the one-hot label (sqrt(classes) for the class, so that its
    rms is 1 too) above the last, the steps t = 1..steps are synchronous:

        h_l(t) = relu(n(x_{l-1}(t-1)) W_l + n(x_{l+1}(t-1)) D_l + b_l)
        x_l(t) = (1 - share) x_l(t-1) + share h_l(t)

    x_l(0) is a bottom-up pass without D. At every step every layer learns by the threshold loss
    of its own goodness ``sum(h_l(t)**2)`` against its width: above it with the true label, below
    it with a wrong one. x(t-1) is a constant there: nothing is propagated back, through layers
    or through time. Wrong labels are drawn from the net's own prediction, by softmax heads on
    n(x_l(0)) of every layer but the first. A class's score is its goodness, summed over the
    layers, averaged over the steps ``first_read..last_read``.

    The weights stand still while a batch settles and take the mean of its steps' gradients then.
    So the product with the data is computed once, and its gradient is one product with the sum of
    the errors. The paper leaves open how often weights change. Damping is on the states before
    normalisation.

    steps: 1 to 64 in training. share: of the new activity in the state, above 0 to 1.
    first_read, last_read: 1 <= first_read <= last_read <= steps; prediction ends there.
    peer: strength of peer normalisation, 0 to 1. head_gain: how much faster the heads learn,
    0.001 to 1000.
    """

    goodness: Goodness = field(default_factory=SumOfSquares)
    loss: Loss = field(default_factory=Threshold)
    steps: int = 8
    share: float = 0.7
    first_read: int = 3
    last_read: int = 5
    peer: float = 0.03
    head_gain: float = 20.0
    name: ClassVar[str] = "top-down"
    takes_boxes: ClassVar[bool] = False
    why_no_boxes: ClassVar[str] = "whose layers also take in the one above"
    rows_per_sample: ClassVar[int] = 2
    no_layerwise: ClassVar[str] = "whose layers drive each other at every step"
    no_streaming: ClassVar[str] = "which needs them all at every step"
    parts: ClassVar[dict[str, Any]] = {"goodness": SQUARES, "loss": LOSSES}

    def __post_init__(self) -> None:
        if type(self.goodness) not in SQUARES.values() or self.goodness.minimise:
            raise ConfigError(
                "TopDown: expected SumOfSquares() or MeanOfSquares(), maximised, whose length is "
                f"what states are divided by, got {self.goodness!r:.60}"
            )
        if not isinstance(self.loss, Loss):
            raise ConfigError(
                f"TopDown: expected a loss such as Threshold(), got {self.loss!r:.60}"
            )
        for name in ("steps", "first_read", "last_read"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 64:
                raise ConfigError(f"TopDown: expected {name} in 1..64, got {value!r:.40}")
        if not self.first_read <= self.last_read <= self.steps:
            raise ConfigError(
                "TopDown: expected first_read <= last_read <= steps, got "
                f"{self.first_read}, {self.last_read}, {self.steps}"
            )
        for name, low, high in (("share", 1e-3, 1.0), ("peer", 0.0, 1.0),
                                 ("head_gain", 1e-3, 1e3)):  # fmt: skip
            number_in(self, name, low, high)

    def check(self, network: Network) -> None:
        """Its goodness against a threshold needs more range than 8 bits."""
        if network.precision == "int8":
            raise ConfigError(
                "TopDown: expected precision float32, got int8, whose bytes cannot hold states "
                "that are damped and goodness that is compared with a threshold; the rules "
                "readout and group train in int8"
            )
        refuse_fields(self.name, network)

    @staticmethod
    def _has_head(network: Network, index: int) -> bool:
        """All layers but the first are read out; the first only if it is alone."""
        return index > 0 or len(network.layers) == 1

    def probability_factor(self, network: Network) -> float:
        """The loss's sharpness over the number of layers, whose goodness is summed."""
        return self.loss.sharpness / len(network.layers)

    def work(self, network: Network) -> Work:
        """A bottom-up pass, and ``steps`` passes of two rows through all that moves in them."""
        hidden, c = network.hidden, network.classes
        upper = sum(a * b for a, b in pairwise(hidden))
        down, top = upper, c * hidden[-1]
        rows = 2 * self.steps
        # The first layer's weight meets a sample once, the top's label weight both labels once.
        update = (rows - 1) * upper + rows * down + 2 * top
        heads = 2 * c * sum(n for i, n in enumerate(hidden) if self._has_head(network, i))
        forward = upper + down + top
        return Work(1, 1, 1, rows * forward + update + heads, c * self.last_read * forward)

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """down (panels, units above or C, 16); head (panels, C, 16) on all but the first."""
        layers = network.layers
        top = index == len(layers) - 1
        above = network.classes if top else layers[index + 1].out_features
        count = panels(layers[index].out_features)
        own = {"down": TensorSpec((count, above, PANEL), "float32")}
        if self._has_head(network, index):
            own["head"] = TensorSpec((count, network.classes, PANEL), "float32")
        return own

    def initialize(self, layer: Any, seed: int) -> None:
        """``down`` as random as ``weight``: sums of either have variance 1."""
        down = layer.params["down"]
        scale = np.float32((1.0 / down.shape[1]) ** 0.5)
        random.fill_normal(seed, layer.width, scale, 0, down)

    def memory(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """means (panels, 1, 16) float32: running mean activity for peer normalisation."""
        width = network.layers[index].out_features
        return {"means": TensorSpec((panels(width), 1, PANEL), "float32")} if self.peer else {}

    def begin(self, run: Any, layer: Any) -> None:
        """Running means start at 0.5, as in the author's program."""
        if layer.active and self.peer:
            layer.memory["means"][:] = 0.5

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The states of all layers, raw and normalised, and what is computed once for all steps.

        Rows: batch with the true label, batch with the wrong one. Prediction, one label at a
        time, keeps the bottom-up states in the second half.
        """
        kept = 2 * batch * self.steps
        own = {
            f"{kind}{i}": activity(layer.output_shape, rows)
            for i, layer in enumerate(network.layers)
            for kind, rows in (("state", 2 * batch), ("passed", 2 * batch), ("asked", 2 * batch),
                               ("inputs", kept), ("deltas", kept))
        }  # fmt: skip
        return super().workspace(network, batch) | own | {
            # The input's own bytes serve other layers before the first one learns.
            "data": activity((network.features,), batch),
            "drive": activity(network.layers[0].output_shape, batch),
            "above": activity((network.classes,), 2 * batch),
            "always": TensorSpec((1, 2 * batch, PANEL), "float32"),
            "shown": TensorSpec((batch,), "int32"),
            "label_scales": TensorSpec((2 * batch,), "float32"),
            "goodness": TensorSpec((2 * batch, 1), "float32"),
            "slopes": TensorSpec((2 * batch, 1), "float32"),
        }  # fmt: skip

    @staticmethod
    def _show(run: Any, first: int, rows: int, codes: Any) -> None:
        """Write the labels ``codes[:rows]`` into rows first.. of what lies above the top."""
        value = np.float32(run.network.classes**0.5)
        labels.fixed_scales(value, first, rows, run.label_scales)
        labels.embed_label(
            run.above, first, rows, 0, run.network.classes, codes, run.label_scales, False
        )

    def _bottom_up(self, run: Any, count: int) -> None:
        """States of ``count`` samples from the data alone; ``drive`` = data @ W + b."""
        normalize.normalize_rows(run.input, count, run.network.features, run.length)
        recurrent.keep_rows(run.input, count, run.data, 0)
        x = run.data
        for layer in run.layers:
            sums = run.drive if layer.index == 0 else layer.out
            recurrent.spread_bias(layer.bias, count, sums)
            dense.add_product(x, count, layer.weight, run.index, run.offset, sums)
            if layer.index == 0:
                recurrent.spread_rows(sums, count, count, layer.out)
            state, passed = self._states(run, layer.index)
            recurrent.settle(layer.out, count, np.float32(1), state)
            self._pass_on(run, layer, count, state, passed)
            x = passed

    @staticmethod
    def _states(run: Any, index: int) -> tuple[Any, Any]:
        return getattr(run, f"state{index}"), getattr(run, f"passed{index}")

    @staticmethod
    def _pass_on(run: Any, layer: Any, rows: int, state: Any, passed: Any) -> None:
        normalize.sum_of_squares(state, rows, run.length)
        normalize.scale_rows(state, rows, layer.width, run.length, passed)

    def _drive(self, run: Any, layer: Any, count: int, rows: int) -> None:
        """Sums of one layer from its neighbours' last states, in ``out``."""
        index = layer.index
        above = run.above if layer is run.layers[-1] else self._states(run, index + 1)[1]
        if index == 0:
            recurrent.spread_rows(run.drive, count, rows, layer.out)
        else:
            below = self._states(run, index - 1)[1]
            recurrent.spread_bias(layer.bias, rows, layer.out)
            dense.add_product(below, rows, layer.weight, run.index, run.offset, layer.out)
        dense.add_product(above, rows, layer.params["down"], run.index, run.offset, layer.out)

    def train_batch(self, run: Any, count: int) -> None:
        """A bottom-up pass proposes wrong labels; then all layers step and learn, together."""
        self._bottom_up(run, count)
        self._propose(run, count)
        labels.wrong_labels(
            run.total, count, run.labels, run.seed ^ LABEL_STREAM, run.samples_seen, run.shown
        )
        self._show(run, 0, count, run.labels)
        self._show(run, count, count, run.shown)
        for layer in run.layers:
            for rows in self._states(run, layer.index):
                recurrent.move_rows(rows, 0, count, count)
        rows = 2 * count
        for step in range(self.steps):
            for layer in run.layers:
                state, passed = self._states(run, layer.index)
                inputs, deltas = self._kept(run, layer.index)
                recurrent.keep_rows(passed, rows, inputs, step * rows)
                self._drive(run, layer, count, rows)
                recurrent.settle(layer.out, rows, np.float32(self.share), state)
                self._judge(run, layer, count, step)
                recurrent.add_rows(layer.delta, rows, step == 0, self._asked(run, layer.index))
                recurrent.keep_rows(layer.delta, rows, deltas, step * rows)
            for layer in run.layers:
                self._pass_on(run, layer, rows, *self._states(run, layer.index))
        for layer in run.layers:
            self._learn(run, layer, count)

    @staticmethod
    def _kept(run: Any, index: int) -> tuple[Any, Any]:
        return getattr(run, f"inputs{index}"), getattr(run, f"deltas{index}")

    @staticmethod
    def _asked(run: Any, index: int) -> Any:
        return getattr(run, f"asked{index}")

    def _judge(self, run: Any, layer: Any, count: int, step: int) -> None:
        """``layer.delta`` of one step, from the goodness of its new activity."""
        rows, scale = 2 * count, np.float32(layer.delta_rate() / self.steps)
        self.goodness.measure(run, layer, rows)
        layer.goodness = layer.mean_square(rows)
        threshold = self.goodness.threshold(layer.width)
        loss, right = self.loss.slopes(run, count, 1, threshold, scale)
        if step == self.last_read - 1:
            layer.note(loss, right, count)
        self.goodness.delta(run, layer, rows)
        if self.peer:
            means = layer.memory["means"]
            peers.track_means(layer.out, count, MEAN_RATE, means)
            pull = np.float32(self.peer) * scale
            peers.add_peers(count, layer.width, means, pull, layer.delta)

    def _learn(self, run: Any, layer: Any, count: int) -> None:
        """One update of a layer from all steps of a batch."""
        rows, index = 2 * count, layer.index
        deltas, asked = self._kept(run, index)[1], self._asked(run, index)
        run.always[0, :rows, 0] = 1.0
        layer.step("bias", run.always, rows, asked)
        if layer is run.layers[-1]:
            layer.step("down", run.above, rows, asked)
        else:
            above = self._kept(run, index + 1)[0]
            layer.step("down", above, self.steps * rows, deltas)
        if index > 0:
            below = self._kept(run, index - 1)[0]
            layer.step("weight", below, self.steps * rows, deltas)
        else:
            recurrent.fold_rows(asked, count)
            layer.step("weight", run.data, count, asked)
        layer.updates += 1

    def _propose(self, run: Any, count: int) -> None:
        """Fill ``run.total`` with the heads' averaged log-probabilities; heads learn."""
        run.total[:count] = 0.0
        read = [layer for layer in run.layers if "head" in layer.params]
        share = np.float32(1.0 / len(read))
        for layer in read:
            x = self._states(run, layer.index)[1]
            readout.readout_scores(x, count, layer.params["head"], run.scores)
            classes.add_log_probabilities(run.scores, count, share, run.total)
            scale = np.float32(self.head_gain * layer.delta_rate())
            classes.class_errors(run.scores, count, run.labels, scale, np.float32(0), run.errors)
            layer.step("head", run.errors, count, x)

    def score_batch(self, run: Any, count: int) -> None:
        """Goodness of every label: a bottom-up pass, then ``last_read`` steps per label."""
        self._bottom_up(run, count)
        half = len(run.shown)
        share = np.float32(1.0 / (self.last_read - self.first_read + 1))
        run.total[:count] = 0.0
        for layer in run.layers:
            for rows in self._states(run, layer.index):
                recurrent.move_rows(rows, 0, count, half)
        for label in range(run.network.classes):
            run.shown[:count] = label
            self._show(run, 0, count, run.shown)
            for step in range(1, self.last_read + 1):
                for layer in run.layers:
                    self._drive(run, layer, count, count)
                    state, _ = self._states(run, layer.index)
                    recurrent.settle(layer.out, count, np.float32(self.share), state)
                    if step >= self.first_read:
                        self.goodness.measure(run, layer, count)
                        kernels.add_goodness(run.goodness, count, 1, label, run.total)
                for layer in run.layers:
                    self._pass_on(run, layer, count, *self._states(run, layer.index))
            for layer in run.layers:
                for rows in self._states(run, layer.index):
                    recurrent.move_rows(rows, half, count, 0)
        run.total[:count] *= share
