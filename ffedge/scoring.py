"""How good a run's scores are: the share of right classes, or how far numbers are off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bins import expected
from .network import Network
from .rules.ordinal import CENTRES
from .run_int8 import AnyRun

Array = np.ndarray[Any, Any]


def count_right(run: AnyRun, count: int) -> int:
    """How many of the scored samples have their label's score largest (ties: lowest class)."""
    return sum(int(run.total[n].argmax() == run.labels[n]) for n in range(count))


@dataclass
class Right:
    """Accuracy, 0..1."""

    samples: int = 0
    right: int = 0

    def add(self, run: AnyRun, count: int) -> None:
        """Take in the samples that ``run`` has just scored."""
        self.samples += count
        self.right += count_right(run, count)

    @property
    def value(self) -> float:
        """Share of right classes."""
        return self.right / self.samples

    def figures(self) -> dict[str, float]:
        """By name, for reports and model files."""
        return {"accuracy": self.value}


@dataclass
class Deviation:
    """Errors of predicted numbers, batch by batch; all sums in float64.

    Spread is kept about a running mean (Chan, Golub and LeVeque 1979), so that targets far from 0
    lose no digits.
    """

    samples: int = 0
    mean: float = 0.0
    spread: float = 0.0
    squares: float = 0.0
    distances: float = 0.0

    def add(self, run: AnyRun, count: int) -> None:
        """Take in the samples that ``run`` has just scored."""
        assert run.targets is not None
        self.add_scores(run, run.total[:count], run.targets[:count])

    def add_scores(self, run: AnyRun, scores: Array, targets: Array) -> None:
        """Scores (n, bins) of ``run`` and the true numbers (n,)."""
        chances = run.network.rule.probabilities(run.network, scores)
        self.take(expected(chances, run.arena[CENTRES]), targets)

    def take(self, values: Array, targets: Array) -> None:
        """Predictions and the true numbers, (n,) each."""
        wide = targets.astype(np.float64)
        errors, count = values - wide, len(wide)
        middle, total = float(wide.mean()), self.samples + count
        self.spread += float(((wide - middle) ** 2).sum())
        self.spread += (middle - self.mean) ** 2 * self.samples * count / total
        self.mean += (middle - self.mean) * count / total
        self.samples = total
        self.squares += float((errors**2).sum())
        self.distances += float(np.abs(errors).sum())

    @property
    def value(self) -> float:
        """R2: 1 less the share of the targets' variance that is left in the errors.

        Of a constant target 1 if all is right, else 0, as in scikit-learn.
        """
        if self.spread == 0.0:
            return float(self.squares == 0.0)
        return 1.0 - self.squares / self.spread

    @property
    def mae(self) -> float:
        """Mean absolute error, in the target's units."""
        return self.distances / self.samples

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the target's units."""
        return math.sqrt(self.squares / self.samples)

    @property
    def std(self) -> float:
        """Standard deviation of the targets: the error of always saying their mean."""
        return math.sqrt(self.spread / self.samples)

    def figures(self) -> dict[str, float]:
        """By name, for reports and model files."""
        return {"r2": self.value, "mae": self.mae, "rmse": self.rmse, "std": self.std}


Score = Right | Deviation


def score_of(network: Network) -> Score:
    """An empty account of what suits the rule's targets."""
    return Deviation() if network.rule.numeric else Right()
