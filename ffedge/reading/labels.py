"""Read-outs of rules with a label in the input: one pass per class, one pass, or a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import classes as class_kernels
from ..tensor import TensorSpec
from .base import Reading, layer_cost
from .sharing import first_layer, share, shared_needs

if TYPE_CHECKING:
    from ..network import Network

Array = np.ndarray[Any, Any]


def _check_labels(kind: Reading, network: Network) -> None:
    if not network.rule.reads_labels:
        raise ConfigError(
            f"{type(kind).__name__}: expected a rule with the label in the input, such as hinton, "
            f"got {network.rule.name}; its layers score the classes without a label, in one pass"
            if network.rule.layers_vote
            else f"{type(kind).__name__}: expected a rule with the label in the input, such as "
            f"hinton, got {network.rule.name}, into which no label enters"
        )


def _check_heads(kind: Reading, network: Network) -> None:
    _check_labels(kind, network)
    if not network.rule.has_heads:
        raise ConfigError(
            f"{type(kind).__name__}: expected a rule that trains softmax heads on the neutral "
            "label, such as hinton with its hard labels, got one without; read it by PerLabel()"
        )


@dataclass(frozen=True)
class PerLabel(Reading):
    """Goodness of every label, summed over the layers that vote: one pass per class.

    Hinton 2022 (arXiv 2212.13345), section 3.3. The label enters the first layer only; where it is
    one of C inputs, the first layer's product with the data is computed once for all labels.
    """

    name: ClassVar[str] = "per-label"

    def check(self, network: Network) -> None:
        """A label in the input."""
        _check_labels(self, network)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Of the shared product."""
        return shared_needs(network, batch)

    def score(self, run: Any, count: int) -> int:
        """One pass per class from the second layer on."""
        done = share(run, count)
        run.total[:count] = 0.0
        for label in range(run.network.classes):
            done += _goodness_pass(run, count, label, label, run.total, again=label > 0)
        return done


@dataclass(frozen=True)
class OnePass(Reading):
    """Softmax heads on the activity that the neutral label gives: one pass, C classes.

    Hinton 2022, section 3.3: quick and less accurate than a pass for each label. The score is the
    mean of the heads' log-probabilities.
    """

    name: ClassVar[str] = "one-pass"

    def check(self, network: Network) -> None:
        """Heads."""
        _check_heads(self, network)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """As of one label of ``PerLabel``."""
        return shared_needs(network, batch)

    def score(self, run: Any, count: int) -> int:
        """One pass."""
        return share(run, count) + _head_pass(run, count)

    def probability_factor(self, network: Network) -> float:
        """They are means already."""
        return 1.0


@dataclass(frozen=True)
class Shortlist(Reading):
    """The ``most`` likeliest classes of ``OnePass``, ranked by the goodness of these labels.

    Hinton 2022, caption of table 1, suggests it. most: 2 to the number of classes. A class on the
    list scores as in ``PerLabel``; the others keep, below the last on the list, the distance that
    the heads give them, so that their order is the heads' and none of them can win.
    """

    most: int
    name: ClassVar[str] = "shortlist"

    def __post_init__(self) -> None:
        if type(self.most) is not int or self.most < 2:
            raise ConfigError(
                f"Shortlist: expected at least 2 classes to choose among, got {self.most!r:.40}; "
                "one of them is OnePass()"
            )

    def check(self, network: Network) -> None:
        """Heads, and as many classes."""
        _check_heads(self, network)
        if self.most > network.classes:
            raise ConfigError(
                f"Shortlist: expected at most the network's {network.classes} classes, got "
                f"{self.most}"
            )

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Of the shared product, and the list with its goodness."""
        return shared_needs(network, batch) | {
            "list": TensorSpec((batch, self.most), "int32"),
            "listed": TensorSpec((batch, self.most), "float32"),
        }

    def score(self, run: Any, count: int) -> int:
        """One pass with the neutral label, then one for each place on the list."""
        chosen, found = run.arena["reading.list"][:count], run.arena["reading.listed"]
        total = run.total[:count]
        done = share(run, count) + _head_pass(run, count)
        # Ties go to the lower class, as everywhere.
        chosen[:] = np.argsort(-total, axis=1, kind="stable")[:, : self.most]
        found[:count] = 0.0
        for place in range(self.most):
            done += _goodness_pass(run, count, chosen[:, place], place, found, again=True)
        goodness = found[:count]
        floor = np.take_along_axis(total, chosen[:, -1:], axis=1)
        factor = np.float32(run.network.rule.probability_factor(run.network))
        total -= floor
        total /= factor
        total += goodness.min(axis=1, keepdims=True)
        np.put_along_axis(total, chosen, goodness, axis=1)
        return done

    @property
    def text(self) -> str:
        """``shortlist:MOST``"""
        return f"{self.name}:{self.most}"


def _goodness_pass(
    run: Any, count: int, shown: Array | int, column: int, total: Array, *, again: bool
) -> int:
    """Add the goodness of labels ``shown`` to a column of ``total``; multiply-adds.

    again: the input has been used up by an earlier pass.
    """
    rule, network = run.network.rule, run.network
    done = first_layer(run, count, shown, again=again)
    for layer in run.layers:
        if layer.index > 0:
            layer.forward(run.layers[layer.index - 1].out, count)
            done += count * layer_cost(network, layer.index)
        rule.collect(run, layer, count, column, total)
        if layer is not run.layers[-1]:
            layer.rescale(count)
    return done


def _head_pass(run: Any, count: int) -> int:
    """Write the heads' mean log-probabilities to ``run.total``; multiply-adds."""
    network = run.network
    done = first_layer(run, count, None, again=False)
    heads = [layer.index for layer in run.layers if "head" in layer.params]
    factor = np.float32(1.0 / len(heads))
    run.total[:count] = 0.0
    for layer in run.layers:
        if layer.index > 0:
            layer.forward(run.layers[layer.index - 1].out, count)
            done += count * layer_cost(network, layer.index)
        network.rule.measure(run, layer, count)
        layer.rescale(count)
        if layer.index in heads:
            network.rule.head_scores(run, layer, count)
            class_kernels.add_log_probabilities(run.scores, count, factor, run.total)
            done += count * network.classes * layer.width
    return done
