"""What a layer wants of the goodness of all classes: one loss per layer, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels import classes, side_channel
from ..ranges import number_in


@dataclass(frozen=True)
class Objective:
    """Base of the objectives. Scores are ``sharpness`` times the goodness, (capacity, C)."""

    sharpness: float = 20.0
    name: ClassVar[str]

    def __post_init__(self) -> None:
        number_in(self, "sharpness", 1e-3, 1e4)

    def errors(self, run: Any, rows: int, scale: float) -> tuple[float, int]:
        """Write ``-scale * d loss / d score`` of ``run.scores`` to ``run.errors``.

        Returns (loss, right): nats summed over the rows, and rows whose label scores largest.
        """
        raise NotImplementedError

    def vote(self, run: Any, rows: int) -> None:
        """Add what ``run.scores`` say of the classes to ``run.total``."""
        raise NotImplementedError


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy of ``softmax(sharpness * goodness)``; votes are log-probabilities.

    sharpness: 0.001 to 10,000; of a layer's width it makes the mean of squares a sum.
    smoothing: share of the target that is spread over all classes, 0 to 0.9.
    """

    sharpness: float = 20.0
    smoothing: float = 0.05
    name: ClassVar[str] = "cross-entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self, "smoothing", 0.0, 0.9)

    def errors(self, run: Any, rows: int, scale: float) -> tuple[float, int]:
        """Target minus probability; see ``kernels.classes.class_errors``."""
        loss, right = classes.class_errors(
            run.scores, rows, run.labels, np.float32(scale), np.float32(self.smoothing), run.errors
        )
        return loss, right

    def vote(self, run: Any, rows: int) -> None:
        """Log-probabilities."""
        classes.add_log_probabilities(run.scores, rows, np.float32(1.0), run.total)


@dataclass(frozen=True)
class Logistic(Objective):
    """The label's score above a threshold, every other below it; votes are the scores themselves.

    ``softplus(theta - s_label) + sum over the others of softplus(s_k - theta) / (C - 1)``: positive
    and negative data of Hinton 2022, section 2, with all wrong labels at once and none drawn.

    sharpness: 0.001 to 10,000. threshold: theta, in units of the scores, 0 to 10,000; the default
    asks for a mean of squares of a half.
    """

    sharpness: float = 50.0
    threshold: float = 25.0
    name: ClassVar[str] = "logistic"

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self, "threshold", 0.0, 1e4)

    def errors(self, run: Any, rows: int, scale: float) -> tuple[float, int]:
        """Each class's own logistic error; see ``kernels.side_channel.logistic_errors``."""
        loss, right = side_channel.logistic_errors(
            run.scores, rows, run.labels, np.float32(scale), np.float32(self.threshold), run.errors
        )
        return loss, right

    def vote(self, run: Any, rows: int) -> None:
        """Goodness."""
        side_channel.add_scores(run.scores, rows, run.total)


#: Objectives by name, for model files.
OBJECTIVES: dict[str, type[Objective]] = {"cross-entropy": CrossEntropy, "logistic": Logistic}
