"""Regression: a layer's scores compete for ordered bins, and a number is the bins' mean.

After Forward-Forward Regression (arXiv 2606.03927): neurons in ordinal groups, soft ordinal
targets by the distance to a continuous target, an expected value read out. Its equations are not
public; those here are ffedge's own, see ``kernels.ordinal`` and ``bins``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..bins import SPACINGS, Even, Spacing, check_centres, looked_at, place
from ..errors import ConfigError
from ..kernels import ordinal
from ..tensor import TensorSpec
from .base import ClassRule, ScoreRule, Work
from .group import Group
from .readout import Readout

if TYPE_CHECKING:
    from ..network import Network

Array = np.ndarray[Any, Any]

#: The parameter that holds the bins' centres, in the target's units.
CENTRES = "target.centres"


@dataclass(frozen=True)
class Ordinal(ScoreRule):
    """Bins of a number as classes, with soft targets; ``network.classes`` is the number of bins.

    scorer: ``Readout()``, a readout row for each bin, or ``Group()``, a group of units for each;
    without smoothing, which soft targets replace.
    width: w of the targets ``exp(-(y - c_k)**2 / (2 w**2))``, or ``exp(-|y - c_k| / w)`` with
    gaussian False, in bins: mean distances of centres, above 0 to 100.
    spacing: where the centres lie, ``bins.Even()`` or ``bins.Quantiles()`` of the training targets.
    average: the layers' probabilities are averaged; False: multiplied (their log-probabilities
    summed).

    The prediction is the mean of the centres under the layers' combined probabilities. float32
    only: the int8 kernels make their errors from class codes inside one fused step.
    """

    scorer: ClassRule = field(default_factory=lambda: Readout(smoothing=0.0))
    width: float = 1.0
    gaussian: bool = True
    spacing: Spacing = field(default_factory=Even)
    average: bool = True
    name: ClassVar[str] = "ordinal"
    numeric: ClassVar[bool] = True
    any_activation: ClassVar[bool] = True
    parts: ClassVar[dict[str, Any]] = {
        "scorer": {"group": Group, "readout": Readout},
        "spacing": SPACINGS,
    }

    def __post_init__(self) -> None:
        if not isinstance(self.scorer, Group | Readout):
            raise ConfigError(
                f"Ordinal: expected scorer Readout(smoothing=0.0) or Group(smoothing=0.0), got "
                f"{self.scorer!r:.80}"
            )
        if self.scorer.smoothing != 0.0:
            raise ConfigError(
                f"Ordinal: expected a scorer with smoothing=0.0, since targets are soft already, "
                f"got {self.scorer.smoothing!r}"
            )
        if not 0.0 < self.width <= 100.0:
            raise ConfigError(f"Ordinal: expected width above 0 to 100, got {self.width!r:.40}")
        for name in ("gaussian", "average"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(
                    f"Ordinal: expected {name} True or False, got {getattr(self, name)!r:.40}"
                )
        if not isinstance(self.spacing, Spacing):
            raise ConfigError(
                f"Ordinal: expected spacing Even() or Quantiles(), got {self.spacing!r:.80}"
            )

    def check(self, network: Network) -> None:
        """float32 only, and what the scorer refuses."""
        if network.precision != "float32":
            raise ConfigError(
                f"Ordinal: expected precision float32, got {network.precision}: its kernels make "
                "errors from class codes, and a soft target needs the number itself"
            )
        self.scorer.check(network)

    def shared_params(self, network: Network) -> dict[str, TensorSpec]:
        """The bins' centres."""
        return {CENTRES: TensorSpec((network.classes,), "float32")}

    def prepare(self, arena: Any, data: Any) -> None:
        """Place the centres by the training targets; DataError as ``bins.place``."""
        centres = arena[CENTRES]
        centres[:] = place(self.spacing, looked_at(data.labels, data.rows), len(centres))

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Centres ascend."""
        check_centres(params, CENTRES)

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """The scorer's."""
        return self.scorer.params(network, index)

    def initialize(self, layer: Any, seed: int) -> None:
        """The scorer's."""
        self.scorer.initialize(layer, seed)

    def begin(self, run: Any, layer: Any) -> None:
        """The scorer's."""
        self.scorer.begin(run, layer)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The scorer's buffers, and the numbers of the batch in hand."""
        targets = {"targets": TensorSpec((batch,), "float32")}
        return self.scorer.workspace(network, batch) | targets

    def scores(self, run: Any, layer: Any, rows: int) -> None:
        """Scores of the bins."""
        self.scorer.scores(run, layer, rows)

    def errors(self, run: Any, rows: int, scale: np.float32) -> tuple[float, int]:
        """Soft targets less probabilities; see ``kernels.ordinal``."""
        centres = run.arena[CENTRES]
        found: tuple[float, int] = ordinal.soft_errors(
            run.scores, rows, run.targets, centres, np.float32(self.width), self.gaussian, scale,
            run.errors,
        )  # fmt: skip
        return found

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """The scorer's."""
        self.scorer.delta(run, layer, rows)

    def learn(self, run: Any, layer: Any, rows: int) -> None:
        """The scorer's."""
        self.scorer.learn(run, layer, rows)

    def vote_cost(self, network: Network, index: int) -> int:
        """The scorer's."""
        return self.scorer.vote_cost(network, index)

    def work(self, network: Network) -> Work:
        """The scorer's."""
        return self.scorer.work(network)

    def fitting_width(self, width: int) -> int:
        """The scorer's."""
        return self.scorer.fitting_width(width)

    def vote(self, run: Any, layer: Any, rows: int) -> None:
        """Add the layer's probabilities, or their logarithms, to ``run.total``."""
        if not self.average:
            super().vote(run, layer, rows)
            return
        self.scores(run, layer, rows)
        ordinal.add_probabilities(run.scores, rows, run.total)

    def probabilities(self, network: Network, scores: Array) -> Array:
        """float64 (n, bins), rows sum to 1, of ``score_batch``'s scores (n, bins)."""
        if not self.average:
            chances: Array = super().probabilities(network, scores)
            return chances
        wide = scores.astype(np.float64)
        shares: Array = wide / wide.sum(axis=1, keepdims=True)
        return shares
