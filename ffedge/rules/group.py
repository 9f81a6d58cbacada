"""Class-group goodness: a layer's units are divided among the classes, which compete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import group
from ..kernels.int8.group import SCORE_EXP
from ..layers import OUTPUT_EXP
from ..tensor import TensorSpec
from .base import ClassRule

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Group(ClassRule):
    """Softmax over the goodness of class groups; no readout, no negative data, 0 extra bytes.

    squared: goodness is the mean of squares (CwC, Papachristodoulou et al. 2024,
    arXiv 2312.12668) or, if False, the mean (DeeperForward, Sun et al. 2025).
    sharpness: factor on the goodness before the softmax, above 0 to 1000; by default 1 for
    squares and 5 for the mean, whose range is narrower.

    Every hidden layer needs at least as many units as there are classes.
    """

    squared: bool = True
    sharpness: float | None = None
    name: ClassVar[str] = "group"
    any_activation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.squared, bool):
            raise ConfigError(f"Group: expected squared True or False, got {self.squared!r:.40}")
        if self.sharpness is not None and not 0.0 < self.sharpness <= 1000.0:
            raise ConfigError(f"Group: expected sharpness above 0 to 1000, got {self.sharpness!r}")

    @property
    def factor(self) -> np.float32:
        """The sharpness in force."""
        default = 1.0 if self.squared else 5.0
        return np.float32(default if self.sharpness is None else self.sharpness)

    def check(self, network: Network) -> None:
        """Every class needs a unit in every layer."""
        for i, layer in enumerate(network.layers):
            if layer.out_features < network.classes:
                raise ConfigError(
                    f"Group: expected at least {network.classes} units (one per class) in layer "
                    f"{i}, got {layer.out_features}; widen the layer or use the readout rule"
                )

    def score_exponent(self, network: Network) -> int:
        """That of the kernel's scores."""
        return SCORE_EXP

    def largest_score(self, network: Network) -> int:
        """All activities at 127: their mean is that of one unit, whatever the group's size."""
        most = 127.0 / 2**OUTPUT_EXP
        value = float(self.factor) * (most * most if self.squared else most)
        return len(network.layers) * (int(value * 2**SCORE_EXP) + 1)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's buffers, and the first unit of each group for every width of a layer."""
        buffers = super().workspace(network, batch)
        for width in network.hidden:
            buffers[f"groups{width}"] = TensorSpec((network.classes + 1,), "int32")
        return buffers

    @staticmethod
    def starts(width: int, classes: int) -> list[int]:
        """First unit of each class's group, then the width: group k starts at ceil(k * N / C)."""
        return [-(-k * width // classes) for k in range(classes + 1)]

    def begin(self, run: Any, layer: Any) -> None:
        """Divide the layer's units among the classes."""
        starts = run.arena[f"groups{layer.width}"]
        starts[:] = self.starts(layer.width, len(starts) - 1)

    def vote_cost(self, network: Network, index: int) -> int:
        """A goodness, no product."""
        return 0

    def scores(self, run: Any, layer: Any, rows: int) -> None:
        """Goodness of each class group; see ``kernels.group``."""
        starts = run.arena[f"groups{layer.width}"]
        group.group_scores(layer.out, rows, starts, self.squared, self.factor, run.scores)

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """The goodness's derivative times its class's error, through the activation's own."""
        starts = run.arena[f"groups{layer.width}"]
        rectifies = layer.activation.rectifies
        if self.squared or rectifies:
            group.group_delta(
                layer.out, rows, starts, self.squared, self.factor, run.errors, layer.delta
            )
        else:
            group.open_delta(rows, starts, self.factor, run.errors, layer.delta)
        if not rectifies:
            layer.gate(rows)
