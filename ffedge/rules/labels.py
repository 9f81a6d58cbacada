"""How a class enters the network as a part of its input.

A label's length is ``value``, in units of the scaled features (whose root mean square is about
1), or with ``value`` None automatic: each row's own largest magnitude, as in Hinton's program,
where a label pixel is as bright as the brightest of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import labels

if TYPE_CHECKING:
    from ..network import Network


Array = np.ndarray[Any, Any]


def _codes(run: Any, shown: Array | None) -> Array:
    """Kernels take an array also where they do not read it."""
    codes: Array = run.shown if shown is None else shown
    return codes


@dataclass(frozen=True)
class Label:
    """Base of the label encodings. value: 1e-3 to 1e3, or None for automatic."""

    value: float | None = None
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.value is not None and not 1e-3 <= self.value <= 1e3:
            raise ConfigError(
                f"{type(self).__name__}: expected value in 0.001..1000 or None, got "
                f"{self.value!r:.40}"
            )

    def check(self, network: Network) -> None:
        """Raise ConfigError if the label cannot be shown to ``network``."""

    def inputs(self, classes: int) -> int:
        """Inputs that the first layer has beyond the features."""
        return 0

    def begin(self, network: Network) -> int | None:
        """The first of C inputs of which a class sets its own; None if that is not how it is."""
        return None

    def _measure(self, run: Any, first: int, count: int, begin: int, end: int) -> None:
        """Write ``run.label_scales`` of these rows, whose features are not yet touched."""
        if self.value is None:
            labels.largest_scales(run.input, first, count, begin, end, run.label_scales)
        else:
            labels.fixed_scales(np.float32(self.value), first, count, run.label_scales)

    def show(self, run: Any, first: int, count: int, shown: Array | None) -> None:
        """Write labels into rows first..first+count-1 of ``run.input``, whose features are fresh.

        shown: class codes, int32 (at least count,); None for the neutral label.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Append(Label):
    """C inputs behind the features, the class's own one set: no feature is lost.

    The neutral label sets all to 1 / C (Hinton 2022, section 3.3).
    """

    value: float | None = 3.0
    name: ClassVar[str] = "append"

    def inputs(self, classes: int) -> int:
        """One per class."""
        return classes

    def begin(self, network: Network) -> int | None:
        """Behind the features."""
        return network.features

    def show(self, run: Any, first: int, count: int, shown: Array | None) -> None:
        """See ``kernels.labels.embed_label``."""
        features, classes = run.network.features, run.network.classes
        self._measure(run, first, count, 0, features)
        labels.embed_label(
            run.input, first, count, features, classes, _codes(run, shown), run.label_scales,
            shown is None,
        )  # fmt: skip


@dataclass(frozen=True)
class Overwrite(Label):
    """Over the first C features: Hinton 2022, section 3.3, for images with a dark margin."""

    name: ClassVar[str] = "overwrite"

    def check(self, network: Network) -> None:
        """Some feature must be left."""
        if network.features <= network.classes:
            raise ConfigError(
                f"Overwrite: expected more features than the {network.classes} that labels cover, "
                f"got {network.features}; use Append()"
            )

    def begin(self, network: Network) -> int | None:
        """Over the first of them."""
        return 0

    def show(self, run: Any, first: int, count: int, shown: Array | None) -> None:
        """See ``kernels.labels.embed_label``."""
        features, classes = run.network.features, run.network.classes
        self._measure(run, first, count, classes, features)
        labels.embed_label(
            run.input, first, count, 0, classes, _codes(run, shown), run.label_scales,
            shown is None,
        )  # fmt: skip


@dataclass(frozen=True)
class Pattern(Label):
    """A class's fixed random signs, ``+-value``, added to all features: seen at every position.

    After the class-specific waves of Scodellaro and others (arXiv 2312.14924), without a notion of
    space. The neutral label adds nothing. seed: of the signs, 0..2**32-1.
    """

    value: float | None = 0.3
    seed: int = 0
    name: ClassVar[str] = "pattern"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value is None:
            raise ConfigError(
                "Pattern: expected a value, got None; a sample's largest feature is no measure of "
                "what is added to all of them"
            )
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise ConfigError(f"Pattern: expected seed in 0..2**32-1, got {self.seed!r:.40}")

    def show(self, run: Any, first: int, count: int, shown: Array | None) -> None:
        """See ``kernels.labels.add_pattern``."""
        if shown is not None:
            self._measure(run, first, count, 0, 0)
            labels.add_pattern(
                run.input, first, count, run.network.features, self.seed, shown,
                run.label_scales,
            )  # fmt: skip


#: Label encodings by name, for model files.
LABELS: dict[str, type[Label]] = {kind.name: kind for kind in (Append, Overwrite, Pattern)}
