"""Read-outs that leave layers out, for rules where each layer scores the classes in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..tensor import PANEL, TensorSpec, panels
from .base import Reading, check_votes, layer_cost, softmax

if TYPE_CHECKING:
    from ..network import Network

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Interval(Reading):
    """Layers ``first`` to ``last`` vote, 0 is the lowest; those above ``last`` never run.

    The shallow-to-deep interval of DeeperForward (Sun and others 2025), which chooses it on
    validation data as ``fit_interval`` does. The score is the sum of these layers'
    log-probabilities (int8: of their scores).
    """

    first: int
    last: int
    name: ClassVar[str] = "interval"

    def __post_init__(self) -> None:
        ends = (self.first, self.last)
        if any(type(end) is not int for end in ends) or not 0 <= self.first <= self.last:
            raise ConfigError(
                f"Interval: expected 0 <= first <= last, got {self.first!r:.40} and "
                f"{self.last!r:.40}"
            )

    def check(self, network: Network) -> None:
        """Layers that vote, and so many of them."""
        check_votes(self, network)
        if self.last >= len(network.layers):
            raise ConfigError(
                f"Interval: expected a last layer of at most {len(network.layers) - 1} in a "
                f"network of {len(network.layers)} layers, counted from 0, got {self.last}"
            )

    def layers_needed(self, network: Network) -> int:
        """Up to ``last``."""
        return self.last + 1

    def score(self, run: Any, count: int) -> int:
        """Sum of the votes of layers first..last."""
        run.total[:count] = 0
        x, done = run.input, 0
        for layer in run.layers[: self.last + 1]:
            layer.forward(x, count)
            done += layer_cost(run.network, layer.index)
            if layer.index >= self.first:
                layer.vote(count)
                done += run.network.rule.vote_cost(run.network, layer.index)
            if layer.index < self.last:
                run.network.rule.hand_on(layer, count)
                x = layer.out
        return count * done

    def probability_factor(self, network: Network) -> float:
        """One over the layers that vote: their geometric mean."""
        votes = self.last - self.first + 1
        return network.rule.probability_factor(network) * len(network.layers) / votes

    @property
    def text(self) -> str:
        """``interval:FIRST-LAST``"""
        return f"{self.name}:{self.first}-{self.last}"


@dataclass(frozen=True)
class EarlyExit(Reading):
    """A sample leaves after the first layer that is sure of it; the others go on without it.

    margins: for every layer but the last, by how much the best class has to lead the second, in
    nats of the summed votes so far, for a sample to leave there; None: nobody does.
    ``fit_early_exit`` sets them on training data. The score is the sum of the votes of the layers
    that ran.

    After Aminifar and others 2024 (LightFF, arXiv 2404.05241), whose published code compares the
    score of the sample's true class; here no label enters, and the margin is between classes.
    """

    margins: tuple[float | None, ...]
    name: ClassVar[str] = "early-exit"

    def __post_init__(self) -> None:
        if not isinstance(self.margins, tuple) or not self.margins:
            raise ConfigError(f"EarlyExit: expected a tuple of margins, got {self.margins!r:.40}")
        for margin in self.margins:
            number = isinstance(margin, int | float) and not isinstance(margin, bool)
            if margin is not None and not (number and 0.0 <= margin < math.inf):
                raise ConfigError(
                    f"EarlyExit: expected margins of 0 or more, or None, got {margin!r:.40}"
                )

    def check(self, network: Network) -> None:
        """Layers that vote, and a margin for each but the last."""
        check_votes(self, network)
        depth = len(network.layers)
        if depth < 2:
            raise ConfigError(
                "EarlyExit: expected at least two layers, got one; there is nothing to leave out"
            )
        if len(self.margins) != depth - 1:
            raise ConfigError(
                f"EarlyExit: expected {depth - 1} margins, one for each of {depth} layers but the "
                f"last, got {len(self.margins)}"
            )

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Finished scores, room to look at margins and to move rows, and each sample's depth."""
        scores = TensorSpec((batch, network.classes), _score_type(network))
        moved = TensorSpec((batch, PANEL), "float32")
        if network.precision == "int8":
            widest = max(panels(width) for width in network.hidden)
            moved = TensorSpec((batch, widest * PANEL), "uint8")
        return {
            "answers": scores,
            "ranked": scores,
            "moved": moved,
            "who": TensorSpec((batch,), "int64"),
            "depth": TensorSpec((batch,), "int32"),
        }

    def score(self, run: Any, count: int) -> int:
        """Layer by layer, with the samples that are left."""
        answers, who, depth = (run.arena[f"reading.{n}"] for n in ("answers", "who", "depth"))
        total, network, unit = run.total, run.network, score_unit(run.network)
        total[:count] = 0
        who[:count] = np.arange(count)
        x, done, left = run.input, 0, count
        for layer, margin in zip(run.layers, (*self.margins, None), strict=True):
            layer.forward(x, left)
            layer.vote(left)
            cost = layer_cost(network, layer.index) + network.rule.vote_cost(network, layer.index)
            done += left * cost
            depth[who[:left]] = layer.index + 1
            if layer is run.layers[-1]:
                break
            if margin is not None:
                goes = leads(total[:left], run.arena["reading.ranked"]) > margin * unit
                answers[who[:left][goes]] = total[:left][goes]
                stay = np.flatnonzero(~goes)
                if len(stay) < left:
                    left = len(stay)
                    if left == 0:
                        break
                    who[:left], total[:left] = who[stay], total[stay]
                    keep_rows(layer.out, stay, run.arena["reading.moved"])
            run.network.rule.hand_on(layer, left)
            x = layer.out
        answers[who[:left]] = total[:left]
        total[:count] = answers[:count]
        return done

    def probabilities(self, run: Any, count: int) -> Array:
        """Geometric mean of the layers that ran for the sample."""
        layers = run.arena["reading.depth"][:count, None]
        factor = run.network.rule.probability_factor(run.network) * len(run.layers)
        return softmax(run.network, run.total[:count], factor / layers)

    @property
    def text(self) -> str:
        """``early-exit:MARGIN,MARGIN,...`` with ``-`` for None."""
        words = ("-" if margin is None else f"{margin:.6g}" for margin in self.margins)
        return f"{self.name}:{','.join(words)}"


def _score_type(network: Network) -> str:
    return "int32" if network.precision == "int8" else "float32"


def score_unit(network: Network) -> float:
    """Units of ``run.total`` in a nat."""
    return 2.0**network.score_exponent if network.precision == "int8" else 1.0


def leads(total: Array, ranked: Array) -> Array:
    """By how much the best of each row's scores leads the second, (rows,).

    total: (rows, C). ranked: (at least rows, C), workspace of the same dtype.
    """
    rows, classes = total.shape
    ranked[:rows] = total
    ranked[:rows].partition(classes - 2, axis=1)
    best, second = ranked[:rows, -1], ranked[:rows, -2]
    # Two int32 scores can lie further apart than int32 reaches.
    wide = np.int64 if total.dtype.kind == "i" else total.dtype
    found: Array = np.subtract(best, second, dtype=wide)
    return found


def keep_rows(out: Array, stay: Array, moved: Array) -> None:
    """Move rows ``stay`` (ascending) of an activity to the front.

    out: float32 (panels, capacity, 16) or uint8 (capacity, units). moved: workspace of a panel's
    or of all rows.
    """
    rows = len(stay)
    for panel in out if out.ndim == 3 else (out,):
        spare = moved[:rows, : panel.shape[1]]
        np.take(panel, stay, axis=0, out=spare, mode="clip")
        panel[:rows] = spare
