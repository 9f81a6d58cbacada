"""What a read-out is: which layers and labels run, and what a class's score is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..tensor import TensorSpec

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Reading:
    """Base of the read-outs: frozen descriptions that drive a ``Run`` through one prediction.

    Multiply-adds are those of the layers' products and of what is multiplied to hear the layers on
    the classes (readouts, heads); normalisation, goodness and softmax are not counted, zeros that
    a kernel skips are.
    """

    name: ClassVar[str]

    def check(self, network: Network) -> None:
        """Raise ConfigError, with the reason, if ``network`` cannot be read so."""

    def layers_needed(self, network: Network) -> int:
        """How many of the lowest layers run at all."""
        return len(network.layers)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Buffers beyond those of the rule; in the arena their names begin with ``reading.``."""
        return {}

    def score(self, run: Any, count: int) -> int:
        """Write ``run.total[:count]`` of the fetched samples; returns multiply-adds done."""
        raise NotImplementedError

    def probability_factor(self, network: Network) -> float:
        """Probabilities are ``softmax(factor * total)``."""
        return network.rule.probability_factor(network)

    def probabilities(self, run: Any, count: int) -> np.ndarray[Any, Any]:
        """float64 (count, classes), rows sum to 1, of what ``score`` has just written."""
        return softmax(run.network, run.total[:count], self.probability_factor(run.network))

    @property
    def text(self) -> str:
        """As ``named_reading`` takes it."""
        return self.name


@dataclass(frozen=True)
class Everything(Reading):
    """As the rule itself scores: every layer, and every label in a pass of its own.

    Always possible; what all other read-outs are compared with.
    """

    name: ClassVar[str] = "everything"

    def score(self, run: Any, count: int) -> int:
        """See ``Rule.score_batch``."""
        run.score_batch(count)
        return count * full_cost(run.network)


def softmax(network: Network, scores: np.ndarray[Any, Any], factor: Any) -> np.ndarray[Any, Any]:
    """float64 softmax by rows of ``factor * scores``; factor: one number, or a column of them."""
    if network.precision == "int8":
        factor = factor * 2.0**-network.score_exponent
    logits = scores.astype(np.float64) * factor
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    found: np.ndarray[Any, Any] = logits / logits.sum(axis=1, keepdims=True)
    return found


def layer_cost(network: Network, index: int) -> int:
    """Multiply-adds of one row in layer ``index``."""
    layer = network.layers[index]
    return layer.in_features * layer.out_features


def full_cost(network: Network) -> int:
    """Multiply-adds per sample of ``Everything``."""
    layers = range(len(network.layers))
    votes = sum(network.rule.vote_cost(network, i) for i in layers)
    passes = network.rule.work(network).predict
    return passes * sum(layer_cost(network, i) for i in layers) + votes


def check_votes(kind: Any, network: Network) -> None:
    """Refuse rules whose layers do not score the classes."""
    if not network.rule.layers_vote:
        raise ConfigError(
            f"{type(kind).__name__}: expected a rule whose layers each score the classes, such as "
            f"readout or group, got {network.rule.name}; its layers see one label at a time"
        )
