"""Sequences: layers with a fast memory of their own past states, taught locally at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import classes, dense, normalize, random, readout, recurrent
from ..layers import activity
from ..ranges import number_in
from ..tensor import PANEL, TensorSpec, panels
from .base import Rule, Work, refuse_fields

if TYPE_CHECKING:
    from ..network import Network

#: Most steps of a sequence, and most turns of the inner loop.
MAX_STEPS, MAX_TURNS = 4096, 8


@dataclass(frozen=True)
class FastWeights(Rule):
    """A sequence in ``steps`` equal parts; each layer remembers its own states of this sequence.

    With x_t what the layer below says at step t (first the features of that part), n(h) = h / rms
    and h_0 nothing:

        z_t = x_t W + n(h_{t-1}) R + b;   h = relu(z_t);   then ``turns`` times
        h = relu(z_t + rate * sum over s < t of decay**(t - 1 - s) * n(h_s) (n(h_s) . n(h)) / width)

    The sum is ``A n(h)`` with the fast weights ``A <- decay * A + rate * n(h) n(h)^T`` of Ba et al.
    2016 (arXiv 1610.06258, equations 2 to 4), which are never stored: attention over past states.
    ``R`` (parameter ``recurrent``) is the slow weight from the layer's own last state.

    At every step every layer learns by the cross-entropy of softmax(h M), its own readout
    (Mono-Forward, arXiv 2501.09238), smoothed as in ``Readout``. What comes from the layer's past
    and from the layer below is a constant there: nothing is propagated back, through layers or
    through time. The weights stand still during a sequence and take the mean over its steps. A
    class's score is its log-probability summed over the layers, averaged over the steps from
    ``first_vote * steps`` on.

    steps: 1 to 4096, must divide the number of features; ``fitted`` takes them from the data's
    first axis, as the word "fast-weights" does. turns: 0 (no fast weights) to 8. rate: 0
    to 10. decay: 0 to 1. first_vote: 0 to 0.99 of the sequence. smoothing: 0 to 0.9.
    """

    steps: int = 1
    turns: int = 1
    rate: float = 0.1
    decay: float = 0.9
    first_vote: float = 0.5
    smoothing: float = 0.05
    name: ClassVar[str] = "fast-weights"
    takes_boxes: ClassVar[bool] = False
    why_no_boxes: ClassVar[str] = "whose layers take in a sample step by step"
    no_streaming: ClassVar[str] = "whose recurrent products want a layer whole at every step"

    def __post_init__(self) -> None:
        for field, low, high in (("steps", 1, MAX_STEPS), ("turns", 0, MAX_TURNS)):
            value = getattr(self, field)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(
                    f"FastWeights: expected {field} a whole number in {low}..{high}, got "
                    f"{value!r:.40}"
                )
        for field, most in (("rate", 10.0), ("decay", 1.0), ("first_vote", 0.99),
                            ("smoothing", 0.9)):  # fmt: skip
            number_in(self, field, 0.0, most)

    @property
    def rows_per_sample(self) -> int:  # type: ignore[override]
        """A row of activity for every step."""
        return self.steps

    @property
    def rows_per_score(self) -> int:  # type: ignore[override]
        """As in training."""
        return self.steps

    def input_rows(self, rows: int) -> int:
        """A sequence comes in as one row."""
        return rows // self.steps

    def fitted(self, shape: tuple[int, ...]) -> FastWeights:
        """As many steps as the first of several axes, (steps, channels), if steps is 1."""
        several = len(shape) > 1 and self.steps == 1 and shape[0] <= MAX_STEPS
        return replace(self, steps=shape[0]) if several else self

    def inputs(self, width: int) -> int:
        """The features of one step."""
        if width % self.steps:
            raise ConfigError(
                f"FastWeights: expected steps to divide the {width:,} features, got {self.steps}; "
                "choose steps so that every step has as many"
            )
        return width // self.steps

    def input_width(self, inputs: int) -> int:
        """All steps."""
        return inputs * self.steps

    def check(self, network: Network) -> None:
        """Its states need more range than 8 bits."""
        if network.precision == "int8":
            raise ConfigError(
                "FastWeights: expected precision float32, got int8, whose bytes cannot hold "
                "products of states that are normalised at every step; the rules readout and "
                "group train in int8"
            )
        refuse_fields(self.name, network)

    def work(self, network: Network) -> Work:
        """Every weight meets every step; own past states are met ``turns`` times."""
        own, t = network.hidden, self.steps
        slow, readouts = sum(n * n for n in own), network.classes * sum(own)
        memory = self.turns * (t - 1) * sum(own)
        once = slow + readouts + memory
        return Work(t, t, t, t * (once + slow + 2 * readouts), t * once)

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """recurrent (panels, own width, 16) and readout (panels, C, 16), float32."""
        width = network.layers[index].out_features
        return {
            "recurrent": TensorSpec((panels(width), width, PANEL), "float32"),
            "readout": TensorSpec((panels(width), network.classes, PANEL), "float32"),
        }

    def initialize(self, layer: Any, seed: int) -> None:
        """Both at N(0, 1 / width), like a weight of that fan-in."""
        scale = np.float32(1.0 / math.sqrt(layer.width))
        for offset, name in enumerate(("readout", "recurrent")):
            own = (seed + 0x9E3779B9 * offset) % 2**32
            random.fill_normal(own, layer.width, scale, 0, layer.params[name])

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The sequence step by step, every layer's past states in turn, and one step in hand."""
        rows, widest = batch * self.steps, max(network.hidden)
        return super().workspace(network, batch) | {
            "sequence": activity((network.layers[0].in_features,), rows),
            "past": activity((widest,), rows),
            "now": activity((widest,), batch),
            "sums": activity((widest,), batch),
            "again": activity((widest,), batch),
            "step_labels": TensorSpec((rows,), "int32"),
        }

    def _run_layer(self, run: Any, layer: Any, x: Any, count: int) -> None:
        """Activity of all steps in ``layer.out``; the normalised states before them in ``past``."""
        rows, count_of = self.steps * count, panels(layer.width)
        # Block t of the past is the state before step t; none before the first.
        past = run.past[:count_of]
        now, sums, again = run.now[:count_of], run.sums[:count_of], run.again[:count_of]
        recurrent.spread_bias(layer.bias, rows, layer.out)
        dense.add_product(x, rows, layer.weight, run.index, run.offset, layer.out)
        slow = layer.params["recurrent"]
        rate, decay = np.float32(self.rate), np.float32(self.decay)
        past[:, :count] = 0.0
        for t in range(self.steps):
            recurrent.take_rows(layer.out, t * count, count, sums)
            if t > 0:
                # ``now`` still holds the last state.
                recurrent.keep_rows(now, count, past, t * count)
                dense.add_product(now, count, slow, run.index, run.offset, sums)
            self._rectify(run, layer, sums, count, again, now)
            for _ in range(self.turns if t > 0 and self.rate > 0.0 else 0):
                recurrent.take_rows(sums, 0, count, again)
                recurrent.recall(past, t + 1, count, layer.width, rate, decay, now, again)
                self._rectify(run, layer, again, count, again, now)
            recurrent.keep_rows(again, count, layer.out, t * count)

    @staticmethod
    def _rectify(run: Any, layer: Any, sums: Any, count: int, out: Any, passed: Any) -> None:
        """``out = relu(sums)``, and normalised to ``passed``."""
        recurrent.rectify(sums, count, out)
        normalize.sum_of_squares(out, count, run.length)
        normalize.scale_rows(out, count, layer.width, run.length, passed)

    def train_batch(self, run: Any, count: int) -> None:
        """Layer by layer over the whole sequence; nothing is looked back at."""
        rows = self.steps * count
        layers = run.layers[: run.last_active + 1]
        recurrent.take_steps(run.input, count, self.steps, layers[0].inputs, run.sequence)
        recurrent.spread_labels(run.labels, count, self.steps, run.step_labels)
        scale = np.float32(layers[0].delta_rate() / self.steps)
        x = run.sequence
        for layer in layers:
            self._run_layer(run, layer, x, count)
            if layer.active:
                readout.readout_scores(layer.out, rows, layer.params["readout"], run.scores)
                loss, right = classes.class_errors(
                    run.scores, rows, run.step_labels, scale, np.float32(self.smoothing),
                    run.errors,
                )  # fmt: skip
                layer.note(loss / self.steps, right / self.steps, count)
                readout.readout_delta(
                    layer.out, rows, run.errors, layer.params["readout"], run.index, run.offset,
                    layer.delta,
                )  # fmt: skip
                layer.step("readout", run.errors, rows, layer.out)
                layer.step("recurrent", run.past[: panels(layer.width)], rows, layer.delta)
                layer.update(x, rows)
            if layer is not layers[-1]:
                layer.normalize(rows)
                x = layer.out

    def score_batch(self, run: Any, count: int) -> None:
        """The layers' log-probabilities, averaged over the steps that vote."""
        rows, first = self.steps * count, int(self.first_vote * self.steps)
        share = np.float32(1.0 / (self.steps - first))
        layers = run.layers[: run.last_active + 1]
        recurrent.take_steps(run.input, count, self.steps, layers[0].inputs, run.sequence)
        run.total[:count] = 0.0
        x = run.sequence
        for layer in layers:
            self._run_layer(run, layer, x, count)
            readout.readout_scores(layer.out, rows, layer.params["readout"], run.scores)
            recurrent.add_votes(run.scores, count, first, self.steps, share, run.total)
            if layer is not layers[-1]:
                layer.normalize(rows)
                x = layer.out
