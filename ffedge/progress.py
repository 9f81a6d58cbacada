"""Where a training run stands, and how long it has to go."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run stands.

    epoch: passes completed, of ``epochs`` in all stages together. layer: in training
    (layerwise), else None. done: share of the whole run, 0..1. loss (nats) and accuracy of the
    last trained layer's own decisions since the epoch began; goodness: mean square activity of
    each trained layer in the last batch; validation: accuracy, at an epoch's end, else None.
    changed: share of the weights that an int8 update changed, on average since the epoch began;
    0 says that the rate is too small to do anything; None in float32. numeric: a regression, whose
    accuracy is the share of samples whose likeliest bin is the nearest, and validation is R2.
    """

    epoch: int
    epochs: int
    layer: int | None
    done: float
    loss: float
    accuracy: float
    goodness: tuple[float, ...]
    validation: float | None
    changed: float | None
    epoch_ended: bool
    seconds: float
    seconds_left: float
    numeric: bool = False


class Clock:
    """Time spent, and an estimate of the time left that leaves out the first step.

    The first step may compile kernels, which takes longer than many an epoch.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._started = time.perf_counter() - before
        self._first: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def step(self, done: float) -> None:
        """A step has ended, with share ``done`` of the run behind it."""
        if self._first is None:
            self._first = (self.seconds, done)

    def left(self, done: float) -> float:
        """Seconds, from the pace since the first step."""
        seconds, first = self._first or (0.0, 0.0)
        pace = (self.seconds - seconds) / (done - first) if done > first else self.seconds / done
        return pace * (1.0 - done)
