"""Where negative data come from: rows that a layer learns to tell from the positive ones.

Negatives are wrong labels on a sample's own features, or other features without any label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..errors import ConfigError
from ..kernels import labels
from ..tensor import TensorSpec

if TYPE_CHECKING:
    from ..network import Network
    from .contrast import Contrast


#: Sets the random numbers of wrong labels apart from those of the starting weights.
LABEL_STREAM = 0x5BD1E995


@dataclass(frozen=True)
class Negatives:
    """Base of the sources of negative data."""

    name: ClassVar[str]
    #: True: ``choose`` draws wrong labels. False: ``make`` writes other features, and no label
    #: enters the network.
    makes_labels: ClassVar[bool] = False
    #: Whether row r's negative is made from row r's own sample.
    paired: ClassVar[bool] = False
    #: Whether layers need softmax heads, trained on the neutral label, to propose wrong ones.
    needs_heads: ClassVar[bool] = False
    #: Why layers cannot learn one after the other; "": they can.
    no_layerwise: ClassVar[str] = ""

    def check(self, network: Network) -> None:
        """Raise ConfigError if it cannot be made for ``network``."""

    def fitted(self, shape: tuple[int, ...]) -> Self:
        """For samples of that shape, if it matters where a feature lies."""
        return self

    def passes(self, network: Network) -> int:
        """Forward passes per sample that finding the negatives takes."""
        return 0

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """What it learns and the model file keeps."""
        return {}

    def memory(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """What it keeps from step to step of a training."""
        return {}

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """Buffers of one step."""
        return {}

    def begin(self, run: Any, layer: Any) -> None:
        """Give ``memory`` its values at the start of a stage."""

    def choose(self, run: Any, rule: Contrast, count: int) -> None:
        """Write wrong labels of the ``count`` fetched samples to ``run.shown``."""
        raise NotImplementedError

    def make(self, run: Any, count: int) -> None:
        """Fill rows count..2*count-1 of ``run.input`` from rows 0..count-1, scaled features."""
        raise NotImplementedError


@dataclass(frozen=True)
class WrongLabel(Negatives):
    """The sample with any other class, all equally likely: the cheapest, no pass of its own."""

    name: ClassVar[str] = "wrong-label"
    makes_labels: ClassVar[bool] = True
    paired: ClassVar[bool] = True

    def choose(self, run: Any, rule: Contrast, count: int) -> None:
        """See ``kernels.labels.evenly_wrong``."""
        labels.evenly_wrong(
            count, run.network.classes, run.labels, run.seed ^ LABEL_STREAM, run.samples_seen,
            run.shown,
        )  # fmt: skip


@dataclass(frozen=True)
class HardLabel(WrongLabel):
    """A wrong class as likely as the network's own heads find it (Hinton 2022, section 3.3).

    One pass more, with the neutral label, in which the heads learn too.
    """

    name: ClassVar[str] = "hard-label"
    needs_heads: ClassVar[bool] = True

    def passes(self, network: Network) -> int:
        """The neutral one."""
        return 1

    def choose(self, run: Any, rule: Contrast, count: int) -> None:
        """See ``kernels.labels.wrong_labels``."""
        rule.propose(run, count)
        labels.wrong_labels(
            run.total, count, run.labels, run.seed ^ LABEL_STREAM, run.samples_seen, run.shown
        )
        run.fetch_again(count)


@dataclass(frozen=True)
class LikelyLabel(WrongLabel):
    """A wrong class as likely as the square root of its goodness: C passes more, no heads.

    After dah33 (explore_forward_forward), where it made small networks accurate.
    """

    name: ClassVar[str] = "likely-label"

    def check(self, network: Network) -> None:
        """A root needs a goodness of 0 or more."""
        goodness = network.rule.goodness  # type: ignore[attr-defined]
        if goodness.minimise:
            raise ConfigError(
                "LikelyLabel: expected a goodness that is maximised, whose root can be taken, got "
                "minimise=True; use HardLabel()"
            )
        if not goodness.nonnegative:
            raise ConfigError(
                "LikelyLabel: expected a goodness that is never below 0, whose root can be taken, "
                f"got {goodness.name}; use HardLabel()"
            )

    def passes(self, network: Network) -> int:
        """One per class."""
        return network.classes

    def choose(self, run: Any, rule: Contrast, count: int) -> None:
        """Goodness of all labels, then ``kernels.labels.wrong_labels`` by half its logarithm."""
        rule.score_batch(run, count)
        labels.half_logs(run.total, count)
        labels.wrong_labels(
            run.total, count, run.labels, run.seed ^ LABEL_STREAM, run.samples_seen, run.shown
        )
        run.fetch_again(count)


#: Sources of negative data by name, for model files.
NEGATIVES: dict[str, type[Negatives]] = {
    kind.name: kind for kind in (WrongLabel, HardLabel, LikelyLabel)
}
