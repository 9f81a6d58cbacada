"""One int8 layer bound to the arena: its forward product, scores and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arena import Arena
from .kernels import random
from .kernels.int8 import dense, group, normalize, readout, start, step, stream
from .kernels.int8.classes import class_errors
from .kernels.int8.input import INPUT_EXP
from .layers import OUTPUT_EXP, readout_exponent, weight_exponent
from .rules import Group, Readout
from .run import bound_params
from .scales_int8 import layer_seed, rate_of, scales_of, smallest_group
from .streamer import Streamer
from .streaming import bounds
from .tensor import PANEL

if TYPE_CHECKING:
    from .run_int8 import Int8Run

Array = np.ndarray[Any, Any]

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
        self.bind()
        rule = network.rule
        assert isinstance(rule, Readout | Group)
        self._rule = rule
        self._smoothing = np.int32(round(rule.smoothing * 2**15))
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

    def bind(self, suffix: str = "") -> None:
        """Take the parameters from the buffers of that suffix; see ``StreamedLayer``."""
        self.params = bound_params(self._run.arena, self._run.network, self.index, suffix)
        self.weight, self.bias = self.params["weight"], self.params["bias"]

    def initialize(self, seed: int) -> None:
        """Random starting parameters: the float32 ones, rounded."""
        self._fill_weights(seed)
        # The half of the forward rounding lives in the bias.
        self.bias[:] = 1 << (int(self.shift) - 1)
        if "readout" in self.params:
            scale = np.float32((1.0 / self.width) ** 0.5 * 2.0 ** readout_exponent(self.width))
            start.fill_readout(seed + 1, self.width, scale, self.params["readout"])

    def _fill_weights(self, seed: int) -> None:
        start.fill_weights(seed, self.inputs, self.width, self._scale(), 0, self.weight)

    def _scale(self) -> np.float32:
        exponent = weight_exponent(self.inputs)
        return np.float32((1.0 / self.inputs) ** 0.5) * np.float32(2.0**exponent)

    def begin_epoch(self) -> None:
        """Start the account of losses, decisions and changed weights anew."""
        self.loss, self.right, self.seen = 0.0, 0.0, 0
        self.changed, self.offered = 0, 0

    def forward(self, x: Array, rows: int) -> None:
        """``out = clip((x @ weight + bias) >> shift, 0, 127)``."""
        self._enter()
        listed = self.lane.listed
        dense.forward(x, rows, self.weight, self.bias, self.shift, listed, self.out)

    def _enter(self) -> None:
        if self._run.visits is not None:
            self._run.visits.enter(self.index)

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

    def _groups(self, name: str) -> Array:
        """``groups``, ``factors`` or ``shares`` of a layer of this width."""
        return self._run.arena[f"{name}{self.width}"]

    def score(self, rows: int) -> None:
        """Write the class scores of the activity to the lane."""
        rule, scores = self._rule, self.lane.scores
        if isinstance(rule, Group):
            starts, factors = self._groups("groups"), self._groups("factors")
            group.group_scores(self.out, rows, starts, rule.squared, factors, scores)
        else:
            readout.readout_scores(self.out, rows, self.params["readout"], scores)

    def vote(self, rows: int) -> None:
        """Add the class scores to ``run.total``, in the network's unit."""
        self.score(rows)
        step.add_scores(self.lane.scores, rows, self.scales.vote, self._run.total)

    def step(self, x: Array, labels: Array, count: int, rate: float, *, hand_on: bool) -> None:
        """Updates by ``count`` samples, batch by batch.

        rate: the learning rate over the batch size. hand_on: normalise the activity afterwards.
        """
        recipe = self._run.recipe
        assert recipe is not None
        self._enter()
        missed, right, changed, squares = self._steps(
            x, labels, count, recipe.batch_size, rate, self.gain if hand_on else _NO_GAIN
        )
        steps = -(-count // recipe.batch_size)
        self.updates = (self.updates + steps) % 2**32
        self.loss += missed / 2**15
        self.right += right
        self.seen += count
        self.changed += changed
        self.offered += steps * self.inputs * self.width
        if hand_on:
            self.note(squares, count)

    def _steps(
        self, x: Array, labels: Array, count: int, batch: int, rate: float, gain: np.float32
    ) -> tuple[int, int, int, int]:
        """All steps in one call; see ``kernels.int8.step``."""
        xt, delta, row, sums, input_words, unit_words = self.scratch
        lane, rule, scales = self.lane, self._rule, self.scales
        mantissa, exponent = rate_of(rule, rate, self.smallest_group)
        if isinstance(rule, Readout):
            return step.readout_steps(  # type: ignore[no-any-return]
                x, count, batch, self.inputs, labels, self.weight, self.bias,
                self.params["readout"], self.shift, scales.score, self._smoothing,
                mantissa, exponent + scales.delta, exponent + scales.readout, self.seed,
                self.updates, gain,
                self.out, lane.length, lane.scores, lane.errors, xt, delta, row, sums,
                lane.listed, input_words, unit_words,
            )  # fmt: skip
        return step.group_steps(  # type: ignore[no-any-return]
            x, count, batch, self.inputs, labels, self.weight, self.bias, self.shift,
            scales.score, self._smoothing, mantissa, exponent + scales.delta, self.seed,
            self.updates, gain, self._groups("groups"), rule.squared,
            self._groups("factors"), self._groups("shares"), self.out,
            lane.length, lane.scores, lane.errors, xt, delta, row, lane.listed,
            input_words, unit_words,
        )  # fmt: skip


class SlicedInt8Layer(Int8Layer):
    """A layer whose weight is never whole in memory: its units take turns, a slice at a time.

    The same bits as of a whole layer: the random numbers depend on a unit's number, and nothing
    that one slice learns is read by another within a step.
    """

    def __init__(self, run: Int8Run, index: int, lane: Lane, streamer: Streamer) -> None:
        super().__init__(run, index, lane)
        self._streamer = streamer
        #: The activity of a slice; its units stand side by side in it, unlike in ``out``.
        self._part = run.arena[f"layer{index}.slice"]
        #: First and last panel of each slice.
        self._slices = bounds(self.out.shape[1] // PANEL, len(self.weight))

    def _fill_weights(self, seed: int) -> None:
        for number, (first, last) in enumerate(self._slices):
            window = self.weight[: last - first]
            start.fill_weights(seed, self.inputs, self.width, self._scale(), first, window)
            self._streamer.made_slice(self.index, number)

    def forward(self, x: Array, rows: int) -> None:
        """As of a whole layer, slice by slice."""
        self._enter()
        self._forward(x, rows, self.out)

    def _forward(self, x: Array, rows: int, out: Array) -> None:
        size = self._part.shape[1]
        for number, (first, last) in enumerate(self._slices):
            self._streamer.bring(number)
            window, bias = self.weight[: last - first], self.bias[first * PANEL :]
            # The last slice may be narrower, and rows of activity lie one behind the other.
            part = self._part.reshape(-1)[: len(self._part) * (last - first) * PANEL]
            part = part.reshape(len(self._part), -1)
            dense.forward(x, rows, window, bias, self.shift, self.lane.listed, part)
            at = first * size // len(self.weight)
            out[:rows, at : at + part.shape[1]] = part[:rows]

    def _steps(
        self, x: Array, labels: Array, count: int, batch: int, rate: float, gain: np.float32
    ) -> tuple[int, int, int, int]:
        """``kernels.int8.step``, with every weight brought in twice a step."""
        missed = right = changed = squares = 0
        for first in range(0, count, batch):
            last = min(first + batch, count)
            rows, y = last - first, self.out[first:last]
            seed = random.bits(self.seed, (self.updates + first // batch + 1) % 2**32)
            self._forward(x[first:last], rows, y)
            found = self._errors(rows, labels[first:last], y, rate, seed)
            changed += self._apply(x[first:last], rows, found[2], seed)
            missed, right = missed + found[0], right + found[1]
            if gain > _NO_GAIN:
                squares += normalize.normalize_rows(y, rows, gain, self.lane.length)
        return missed, right, changed, squares

    def _errors(
        self, rows: int, labels: Array, y: Array, rate: float, seed: int
    ) -> tuple[int, int, int]:
        """Scores, errors and deltas; returns missed, right, and the shift of the update."""
        _, delta, row, sums, _, unit_words = self.scratch
        lane, rule, scales = self.lane, self._rule, self.scales
        scores, errors = lane.scores, lane.errors
        mantissa, exponent = rate_of(rule, rate, self.smallest_group)
        samples = random.bits(seed, step.SAMPLES)
        if isinstance(rule, Readout):
            matrix = self.params["readout"]
            readout.readout_scores(y, rows, matrix, scores)
        else:
            starts = self._groups("groups")
            group.group_scores(y, rows, starts, rule.squared, self._groups("factors"), scores)
        missed, right = class_errors(scores, rows, labels, scales.score, self._smoothing, errors)
        dense.fill_words(random.bits(seed, step.UNITS), unit_words)
        if isinstance(rule, Readout):
            shift = readout.readout_delta(
                y, rows, errors, matrix, mantissa, exponent + scales.delta, samples, unit_words,
                row, delta,
            )  # fmt: skip
            readout.update_readout(
                y, rows, errors, mantissa, exponent + scales.readout,
                random.bits(seed, step.CLASSES), unit_words, sums, matrix,
            )  # fmt: skip
        else:
            shift = group.group_delta(
                y, rows, errors, starts, rule.squared, self._groups("shares"), mantissa,
                exponent + scales.delta, samples, unit_words, row, delta,
            )  # fmt: skip
        return missed, right, shift

    def _apply(self, x: Array, rows: int, shift: int, seed: int) -> int:
        """Round the product into the slices, from the last on: it is still there."""
        xt, delta, row, _, input_words, unit_words = self.scratch
        if shift == 0:
            return 0
        changed = 0
        if rows > 1:
            dense.fill_words(random.bits(seed, step.INPUTS), input_words)
            dense.interleave(x, rows, self.inputs, xt)
        for number in range(len(self._slices) - 1, -1, -1):
            first, last = self._slices[number]
            self._streamer.bring(number, change=True)
            window = self.weight[: last - first]
            words = unit_words[first * PANEL : last * PANEL]
            if rows == 1:
                # It changes the words as it goes.
                dense.fill_words(random.bits(seed, step.INPUTS), input_words)
                part = row[first * PANEL : last * PANEL]
                changed += stream.update_one(
                    x, part, shift, input_words, words, self.lane.listed, window
                )
            else:
                changed += dense.update(
                    xt, rows, delta[first:last], shift, input_words, words, window
                )
        if rows > 1:
            dense.sum_deltas(delta, rows, row)
        bias_word = random.bits(seed, step.BIASES)
        dense.update_bias(row, shift, 2 * INPUT_EXP, bias_word, unit_words, self.bias)
        return changed
