"""A linear head on layers that have learned without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..activations import Activation
from ..errors import ConfigError
from ..kernels import classes, heads
from ..tensor import PANEL, TensorSpec, panels
from .base import Rule, Work
from .contrast import Contrast
from .scff import SCFF

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Head:
    """Base of the heads: how scores ``sum over layers of h @ M.T`` are learned from labels."""

    name: ClassVar[str]
    #: Factor on the scores before the softmax that makes probabilities of them.
    sharpness: ClassVar[float] = 1.0

    def memory(self, rule: Headed, network: Network) -> dict[str, TensorSpec]:
        """What it keeps from step to step, on the last layer."""
        return {}

    def workspace(self, rule: Headed, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Buffers of one step."""
        return {}

    def begin(self, run: Any) -> None:
        """Start anew, with a stage."""

    def learn(self, rule: Headed, run: Any, count: int) -> None:
        """Learn from the ``count`` fetched samples."""
        raise NotImplementedError

    def finish(
        self, rule: Headed, run: Any, evaluate: Callable[[Any], float], validation: Any | None
    ) -> None:
        """After the last sample; see ``Rule.finish``."""


@dataclass(frozen=True)
class SoftmaxHead(Head):
    """One softmax over the activity of all layers read, by the optimiser of the recipe.

    Two passes: the first adds up the layers' scores, the second goes through the layers again and
    steps each one's part with the error they share. The last layer's activity is still there, so
    where it is read alone, one pass does. No activity outlives its layer.

    smoothing: share of the target probability that is spread over all classes, 0 to 0.9.
    """

    smoothing: float = 0.0
    name: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        if not 0.0 <= self.smoothing <= 0.9:
            raise ConfigError(
                f"SoftmaxHead: expected smoothing in 0..0.9, got {self.smoothing!r:.40}"
            )

    def learn(self, rule: Headed, run: Any, count: int) -> None:
        """Scores of all layers, one error, each layer's own step."""
        rule.add_scores(run, count, run.scores)
        layers = [layer for layer in run.layers[: run.last_active + 1] if "head" in layer.params]
        top = layers[-1]
        scale = np.float32(top.delta_rate())
        loss, right = classes.class_errors(
            run.scores, count, run.labels, scale, np.float32(self.smoothing), run.errors
        )
        top.note(loss, right, count)
        self._step(top, run, count)
        below = [layer for layer in layers[:-1] if layer.active]
        if not below:
            return
        run.fetch_again(count)
        for layer in rule.learned.features(run, count):
            if "head" in layer.params and layer.active:
                self._step(layer, run, count)
            if layer is below[-1]:
                break

    @staticmethod
    def _step(layer: Any, run: Any, count: int) -> None:
        if layer.active:
            layer.step("head", run.errors, count, layer.out)
            layer.updates += 1


#: Tried by a ridge head that is given none, as shares of the mean square of an activity.
STRENGTHS = (0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5)


@dataclass(frozen=True)
class RidgeHead(Head):
    """``M = (A.T A + s I)**-1 A.T T`` with activities A and one-hot targets T, in one pass.

    The sums are kept in float32, (units, units) and (units, classes), the factor in float64: 12
    bytes for each pair of units, all of it in the plan. strength: s as a share of the mean of
    A.T A's diagonal, 1e-6 to 1000; None takes the best of ``STRENGTHS`` on validation data, and
    without such data 0.003. Its scores are no logits: probabilities are a softmax of ten times
    the score, and not calibrated.
    """

    strength: float | None = None
    name: ClassVar[str] = "ridge"
    sharpness: ClassVar[float] = 10.0

    def __post_init__(self) -> None:
        if self.strength is not None and not 1e-6 <= self.strength <= 1e3:
            raise ConfigError(
                f"RidgeHead: expected strength in 1e-06..1000 or None, got {self.strength!r:.40}"
            )

    def memory(self, rule: Headed, network: Network) -> dict[str, TensorSpec]:
        """gram, class_sums, factor and column, of all units read, in whole panels."""
        count = rule.panels_read(network)
        units = count * PANEL
        return {
            "gram": TensorSpec((count, units, PANEL), "float32"),
            "class_sums": TensorSpec((count, network.classes, PANEL), "float32"),
            "solution": TensorSpec((count, network.classes, PANEL), "float32"),
            "factor": TensorSpec((units, units), "float64"),
            "column": TensorSpec((units,), "float64"),
        }

    def workspace(self, rule: Headed, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The activity of all units read, side by side."""
        count = rule.panels_read(network)
        return {
            "read": TensorSpec((count, batch, PANEL), "float32"),
            "read_index": TensorSpec((count * PANEL,), "int32"),
            "read_offset": TensorSpec((count * PANEL,), "int64"),
        }

    def begin(self, run: Any) -> None:
        """Sums of nothing."""
        memory = run.layers[-1].memory
        memory["gram"][:] = 0.0
        memory["class_sums"][:] = 0.0

    def learn(self, rule: Headed, run: Any, count: int) -> None:
        """Add the batch to the sums."""
        top = run.layers[-1]
        if not top.active:
            return
        at = 0
        for layer in rule.learned.features(run, count):
            if "head" in layer.params:
                run.read[at : at + len(layer.out), :count] = layer.out[:, :count]
                at += len(layer.out)
        heads.add_products(run.read, count, run.read_index, run.read_offset, top.memory["gram"])
        heads.add_class_sums(run.read, count, run.labels, top.memory["class_sums"])
        top.note(0.0, 0.0, count)

    def finish(
        self, rule: Headed, run: Any, evaluate: Callable[[Any], float], validation: Any | None
    ) -> None:
        """Solve, with the strength that does best."""
        if not run.layers[-1].active:
            return
        if self.strength is not None or validation is None:
            self._solve(run, self.strength or 0.003)
            return
        best, chosen = -1.0, STRENGTHS[0]
        for strength in STRENGTHS:
            self._solve(run, strength)
            found = evaluate(validation)
            if found > best:
                best, chosen = found, strength
        self._solve(run, chosen)

    def _solve(self, run: Any, strength: float) -> None:
        """Write every layer's part of M for that strength, or a larger one that can be had."""
        memory = run.layers[-1].memory
        gram, factor, solution = memory["gram"], memory["factor"], memory["solution"]
        size = heads.mean_diagonal(gram) or 1.0
        while not heads.factorize(gram, strength * size, factor):
            strength *= 10.0
        heads.solve(factor, memory["class_sums"], memory["column"], solution)
        read = [layer for layer in run.layers if "head" in layer.params]
        ends = [0]
        for layer in read:
            ends.append(ends[-1] + len(layer.params["head"]))
        for layer, (first, last) in zip(read, pairwise(ends), strict=True):
            layer.params["head"][:] = solution[first:last]


#: Heads by name, for model files and the command line.
HEADS: dict[str, type[Head]] = {kind.name: kind for kind in (SoftmaxHead, RidgeHead)}


@dataclass(frozen=True)
class Headed(Rule):
    """Layers as ``learned`` left them, and a linear head that reads their normalised activity.

    learned: the rule by which the layers have learned without labels; training no longer changes
    them. head: how the head learns. first: the lowest layer that is read; None: the second, or
    the first if it is alone (Hinton 2022, section 3.2: reading the first does harm).
    """

    learned: Rule = field(default_factory=SCFF)
    head: Head = field(default_factory=SoftmaxHead)
    first: int | None = None
    name: ClassVar[str] = "headed"
    any_activation: ClassVar[bool] = True
    parts: ClassVar[dict[str, Any]] = {
        "learned": {"scff": SCFF, "contrast": Contrast}, "head": HEADS,
    }  # fmt: skip

    def __post_init__(self) -> None:
        if not isinstance(self.learned, Rule) or not self.learned.unlabelled:
            raise ConfigError(
                f"Headed: expected a rule that learns without labels, got {self.learned!r:.60}"
            )
        if not isinstance(self.head, Head):
            raise ConfigError(f"Headed: expected a head, got {self.head!r:.60}")
        if self.first is not None and (type(self.first) is not int or self.first < 0):
            raise ConfigError(f"Headed: expected first as a layer from 0, got {self.first!r:.40}")

    @property
    def activation(self) -> Activation:  # type: ignore[override]
        """That of the rule below."""
        return self.learned.activation

    @property
    def no_layerwise(self) -> str:  # type: ignore[override]
        """The head's errors are those of all layers together."""
        return "whose head reads all layers at once"

    def fitted(self, shape: tuple[int, ...]) -> Headed:
        """As of the rule below."""
        return type(self)(self.learned.fitted(shape), self.head, self.first)

    def check(self, network: Network) -> None:
        """What the layers' rule asks of them."""
        if network.precision == "int8":
            raise ConfigError(
                f"Headed: expected precision float32, got int8, in which no layer learns by "
                f"{self.learned.name}"
            )
        self.learned.check(network)
        if self.first is not None and self.first >= len(network.layers):
            raise ConfigError(
                f"Headed: expected first below the {len(network.layers)} layers, got {self.first}"
            )

    def reads(self, network: Network, index: int) -> bool:
        """Whether the head reads layer ``index``."""
        lowest = min(1, len(network.layers) - 1) if self.first is None else self.first
        return index >= lowest

    def panels_read(self, network: Network) -> int:
        """Panels of all layers read."""
        widths = enumerate(network.hidden)
        return sum(panels(width) for i, width in widths if self.reads(network, i))

    def work(self, network: Network) -> Work:
        """Of the head's training; a softmax head on several layers takes a second pass."""
        read = [width for i, width in enumerate(network.hidden) if self.reads(network, i)]
        once = network.classes * sum(read)
        if isinstance(self.head, RidgeHead):
            return Work(1, 0, 1, sum(read) ** 2 + sum(read), once)
        return Work(1 if len(read) == 1 else 2, 0, 1, 2 * once, once)

    def probability_factor(self, network: Network) -> float:
        """The head's own."""
        return self.head.sharpness

    def learns(self, name: str) -> bool:
        """The head alone."""
        return name == "head"

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """What the layers' rule has, and head (panels, C, 16) float32 where it reads."""
        own = self.learned.params(network, index)
        if not self.reads(network, index):
            return own
        width = panels(network.layers[index].out_features)
        return own | {"head": TensorSpec((width, network.classes, PANEL), "float32")}

    def memory(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """The head's, on the last layer."""
        return self.head.memory(self, network) if index == len(network.layers) - 1 else {}

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's, and what a pass through the layers and the head need."""
        own = self.learned.workspace(network, batch) | super().workspace(network, batch)
        return own | self.head.workspace(self, network, batch)

    def begin(self, run: Any, layer: Any) -> None:
        """The head starts anew with a stage in which the last layer learns."""
        if layer.index == len(run.layers) - 1 and layer.active:
            self.head.begin(run)

    def add_scores(self, run: Any, count: int, scores: Any) -> None:
        """``scores[:count]`` = what the head says, in one pass."""
        scores[:count] = 0.0
        for layer in self.learned.features(run, count):
            if "head" in layer.params:
                heads.add_scores(layer.out, count, layer.params["head"], scores)

    def train_batch(self, run: Any, count: int) -> None:
        """The layers stay as they are."""
        self.head.learn(self, run, count)

    def finish(self, run: Any, evaluate: Callable[[Any], float], validation: Any | None) -> None:
        """As the head does."""
        self.head.finish(self, run, evaluate, validation)

    def score_batch(self, run: Any, count: int) -> None:
        """The head's scores."""
        self.add_scores(run, count, run.total)
