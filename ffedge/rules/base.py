"""What a learning rule is: its parameters, its memory, and what it does with one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ..activations import Activation, ReLU
from ..errors import ConfigError
from ..kernels import classes
from ..tensor import PANEL, TensorSpec, panels

if TYPE_CHECKING:
    from ..network import Network


class Work(NamedTuple):
    """What one sample costs, besides elementwise operations.

    forward, update: passes of the network's own products in training: each takes as many
    multiply-adds as the network has weights. predict: the same in prediction. extra_training,
    extra_prediction: multiply-adds of what a rule has beyond the layers, such as class readouts.
    """

    forward: int
    update: int
    predict: int
    extra_training: int = 0
    extra_prediction: int = 0


@dataclass(frozen=True)
class Rule:
    """Base of the learning rules: frozen descriptions that drive a ``Run``.

    A rule decides what a layer's error is; forward product, update and normalisation are the
    layer's own. ``run`` is duck-typed, see ``ffedge/run.py``.
    """

    name: ClassVar[str]
    #: Activity rows held per sample: 2 where positive and negative data run side by side.
    rows_per_sample: ClassVar[int] = 1
    #: The same where nothing learns.
    rows_per_score: ClassVar[int] = 1
    #: Whether layers may have another activation than the ReLU, whose derivative the kernels of
    #: a rule may have built in.
    any_activation: ClassVar[bool] = False
    #: Whether the targets are numbers, of which ``network.classes`` bins are made, not classes.
    numeric: ClassVar[bool] = False
    #: Whether black boxes may stand between the layers; if not, why, to follow a comma.
    takes_boxes: ClassVar[bool] = True
    #: Whether its layers have a ``local_loss`` that a box in front of them may learn from.
    teaches_boxes: ClassVar[bool] = False
    why_no_boxes: ClassVar[str] = "whose layers take in more than the output of the one below"
    #: The activation of layers for which none is asked.
    activation: ClassVar[Activation] = ReLU()
    #: Whether it learns without labels: the network's one class is then a score.
    unlabelled: ClassVar[bool] = False

    #: Whether each layer scores the classes in one pass (``vote``), so that layers can be left
    #: out of a prediction; see ``ffedge.reading``.
    layers_vote: ClassVar[bool] = False
    #: Why layers cannot learn one after the other, or lie on disk between turns; "": they can.
    no_layerwise: ClassVar[str] = ""
    no_streaming: ClassVar[str] = ""

    @property
    def reads_labels(self) -> bool:
        """Whether a class's score is the goodness of its label in the input."""
        return False

    @property
    def has_heads(self) -> bool:
        """Whether some layers have a softmax head on the activity of a neutral label."""
        return False

    def label_begin(self, network: Network) -> int | None:
        """The first of C inputs of which a label sets its own; None where it is something else."""
        return None

    def vote_cost(self, network: Network, index: int) -> int:
        """Multiply-adds of layer ``index``'s own word on the classes, for one row."""
        return 0

    def vote(self, run: Any, layer: Any, rows: int) -> None:
        """Add the layer's log-probabilities to ``run.total``; where ``layers_vote``."""
        raise TypeError(f"{type(self).__name__} has no votes")

    def label_inputs(self, classes: int) -> int:
        """Inputs that the first layer has beyond the features."""
        return 0

    def fitted(self, shape: tuple[int, ...]) -> Rule:
        """The rule with what it leaves to the data filled in; ``shape``: of one sample."""
        return self

    def inputs(self, width: int) -> int:
        """What the first layer takes in at once of ``width`` inputs: all, or those of one step."""
        return width

    def input_width(self, inputs: int) -> int:
        """The inverse of ``inputs``: the width of what is brought in for one sample."""
        return inputs

    def input_rows(self, rows: int) -> int:
        """Rows of that width, where layers hold ``rows`` rows of activity."""
        return rows

    def fitting_width(self, width: int) -> int:
        """The next width from ``width`` on that a layer without receptive fields may have."""
        return width

    def check(self, network: Network) -> None:
        """Raise ConfigError if the rule cannot train ``network``."""

    def score_exponent(self, network: Network) -> int:
        """e of the unit 2**-e of this rule's int8 scores."""
        raise ConfigError(f"{type(self).__name__}: expected precision float32, got int8")

    def largest_score(self, network: Network) -> int:
        """Bound of the layers' summed int8 scores, which must fit int32."""
        return 0

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """Parameters beyond the layer's own, kept in the model file."""
        return {}

    def shared_params(self, network: Network) -> dict[str, TensorSpec]:
        """Parameters that belong to no layer, kept in the model file under their full names."""
        return {}

    def prepare(self, arena: Any, data: Any) -> None:
        """Learn ``shared_params`` from the training data, before the first stage."""

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raise ConfigError for parameters, from a file, that are impossible together."""

    def learns(self, name: str) -> bool:
        """Whether a layer's parameter ``name`` is trained: others need no optimiser state."""
        return True

    def initialize(self, layer: Any, seed: int) -> None:
        """Give ``params`` their starting values; they come zeroed."""

    def begin(self, run: Any, layer: Any) -> None:
        """Give ``memory`` and lasting workspace their values at the start of a stage."""

    def memory(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """Buffers that live as long as training, beside the optimiser's state."""
        return {}

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Buffers of one step."""
        rows = batch * self.rows_per_sample
        return {
            "scores": TensorSpec((rows, network.classes), "float32"),
            "errors": TensorSpec((panels(network.classes), rows, PANEL), "float32"),
        }

    def work(self, network: Network) -> Work:
        """Passes and multiply-adds per sample, with all layers learning."""
        return Work(1, 1, 1)

    def probability_factor(self, network: Network) -> float:
        """Probabilities are ``softmax(factor * total)``; ``total`` is what ``score_batch`` writes.

        One over the number of layers that vote: their geometric mean.
        """
        return 1.0 / len(network.layers)

    def probabilities(self, network: Network, scores: np.ndarray[Any, Any]) -> Any:
        """float64 (n, classes), rows sum to 1, of ``score_batch``'s scores (n, classes)."""
        factor = self.probability_factor(network)
        if network.precision == "int8":
            factor *= 2.0**-network.score_exponent
        logits = scores.astype(np.float64) * factor
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        return logits / logits.sum(axis=1, keepdims=True)

    def hand_on(self, layer: Any, rows: int) -> None:
        """Turn what a layer's ``forward`` left into the input of the layer above."""
        layer.normalize(rows)

    def train_batch(self, run: Any, count: int) -> None:
        """Train the run's active layers on ``count`` fetched samples."""
        raise TypeError(f"{type(self).__name__} does not train")

    def finish(self, run: Any, evaluate: Callable[[Any], float], validation: Any | None) -> None:
        """After the last step of a stage; ``evaluate(validation)`` is the accuracy, if there are
        validation data.
        """

    def features(self, run: Any, count: int) -> Iterator[Any]:
        """Run the ``count`` fetched samples, without labels; each layer with its activity.

        ``layer.out`` is normalised and ``layer.length`` the sum of squares before.
        """
        x = run.input
        for layer in run.layers[: run.last_active + 1]:
            layer.forward(x, count)
            layer.normalize(count)
            x = layer.out
            yield layer

    def score_batch(self, run: Any, count: int) -> None:
        """Write the ``count`` fetched samples' class scores to ``run.total``."""
        raise TypeError(f"{type(self).__name__} does not score")


def refuse_fields(name: str, network: Network) -> None:
    """ConfigError if a layer has receptive fields, for a rule with weights beside the layer's."""
    for i, layer in enumerate(network.layers):
        if layer.fields is not None:
            raise ConfigError(
                f"{name}: expected layers whose units see all inputs, as those of the weights "
                f"between states do, got receptive fields in layer {i}"
            )


@dataclass(frozen=True)
class ScoreRule(Rule):
    """Rules where a layer itself scores classes or bins: one pass, no negative data."""

    teaches_boxes: ClassVar[bool] = True

    def scores(self, run: Any, layer: Any, rows: int) -> None:
        """Write the layer's class scores to ``run.scores``."""
        raise TypeError(f"{type(self).__name__} has no scores")

    def errors(self, run: Any, rows: int, scale: np.float32) -> tuple[float, int]:
        """Turn ``run.scores`` into ``run.errors``; returns (summed loss in nats, rows right)."""
        raise TypeError(f"{type(self).__name__} has no errors")

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """Turn ``run.errors`` into ``layer.delta``."""
        raise TypeError(f"{type(self).__name__} has no delta")

    def learn(self, run: Any, layer: Any, rows: int) -> None:
        """Update the rule's own parameters from ``run.errors``; after ``delta``."""

    def local_loss(self, run: Any, layer: Any, rows: int) -> float:
        """What the layer's activity costs, in nats, mean of the rows; only workspace changes."""
        self.scores(run, layer, rows)
        loss, _ = self.errors(run, rows, np.float32(1))
        return float(loss) / rows

    def vote_cost(self, network: Network, index: int) -> int:
        """A product with a matrix of one row per class."""
        return network.classes * network.layers[index].out_features

    def vote(self, run: Any, layer: Any, rows: int) -> None:
        """Log-softmax of ``scores``."""
        self.scores(run, layer, rows)
        classes.add_log_probabilities(run.scores, rows, np.float32(1.0), run.total)

    def train_batch(self, run: Any, count: int) -> None:
        """Forward, local error, update, normalise: layer by layer, nothing is looked back at."""
        x = run.first_input
        layers = run.layers[run.first : run.last_active + 1]
        scale = np.float32(layers[0].delta_rate())
        for layer in layers:
            if layer.active and layer.box is not None:
                layer.box.learn(run, layer, x, count)
            layer.forward(x, count)
            if layer.active:
                self.scores(run, layer, count)
                loss, correct = self.errors(run, count, scale)
                layer.note(loss, correct, count)
                self.delta(run, layer, count)
                self.learn(run, layer, count)
                layer.update(x, count)
            if layer is not layers[-1]:
                layer.normalize(count)
                x = layer.out

    def score_batch(self, run: Any, count: int) -> None:
        """Sum of the layers' votes."""
        run.total[:count] = 0.0
        x = run.input
        layers = run.layers[: run.last_active + 1]
        for layer in layers:
            layer.forward(x, count)
            self.vote(run, layer, count)
            if layer is not layers[-1]:
                layer.normalize(count)
                x = layer.out


@dataclass(frozen=True)
class ClassRule(ScoreRule):
    """Score rules whose layers are taught by the cross-entropy of the classes.

    smoothing: share of the target probability that is spread over all classes, 0 to 0.9.
    """

    smoothing: float = 0.05
    layers_vote: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.smoothing <= 0.9:
            raise ConfigError(
                f"{type(self).__name__}: expected smoothing in 0..0.9, got {self.smoothing!r}"
            )

    def errors(self, run: Any, rows: int, scale: np.float32) -> tuple[float, int]:
        """``target - softmax(scores)``; see ``kernels.classes``."""
        smoothing = np.float32(self.smoothing)
        found: tuple[float, int] = classes.class_errors(
            run.scores, rows, run.labels, scale, smoothing, run.errors
        )
        return found
