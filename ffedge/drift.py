"""A drift signal without labels: goodness tells when samples are no longer what they were.

Goodness, the mean square activity that a sample calls forth in a layer, falls or rises when a
sensor ages, is mounted the wrong way round or sees something else. Its logarithm is compared with
its own past by the test of Page (1954, "Continuous inspection schemes") and Hinkley (1971,
"Inference about the change-point from cumulative sum tests"), as streams use it (Gama et al. 2014,
"A survey on concept drift adaptation", section 3.2), on both sides. Past means an exponentially
fading mean and deviation: learning itself moves goodness, but slowly.

The defaults were chosen on validation streams, for no false alarm in 108,000 samples; on others
they gave 4 in 180,000: docs/results.md, "Drift". ``tools/drift.py`` makes the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError, DataError

#: Where deviations are cut off: one broken sample is no drift.
CLIP = 4.0

#: Below this a goodness counts as this: a silent layer has no logarithm.
_SILENT = 1e-6


class PageHinkley:
    """Watches one number a step for a lasting change of its mean; eight numbers of memory.

    memory: steps over which the past fades, at least 2. tolerance: change, in standard deviations,
    that is let pass. threshold: sum of deviations beyond it that raises the alarm. warm_up: steps
    before the first alarm, and after each until the next. falls: whether a fall counts too.
    """

    def __init__(
        self, *, memory: int = 2000, tolerance: float = 0.75, threshold: float = 20.0,
        warm_up: int = 1000, falls: bool = True,
    ) -> None:  # fmt: skip
        limits = {"memory": (memory, 2), "tolerance": (tolerance, 0), "threshold": (threshold, 0),
                  "warm_up": (warm_up, 2)}  # fmt: skip
        for name, (value, least) in limits.items():
            if not (isinstance(value, int | float) and least <= value < math.inf):
                raise ConfigError(f"PageHinkley: expected {name} from {least} on, got {value!r}")
        self.memory, self.tolerance, self.threshold = memory, tolerance, threshold
        self.warm_up, self.falls = warm_up, falls
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self.mean = self._variance = 0.0
        self.rise = self.fall = 0.0
        self._steps = 0

    def update(self, value: float) -> bool:
        """Take in a number; True where it raises the alarm. The past is forgotten then.

        Raises DataError for NaN and infinity.
        """
        if not math.isfinite(value):
            raise DataError(f"PageHinkley: expected a finite number, got {value!r}")
        # Until the memory is full, a step counts twice its share: the beginning soon is forgotten.
        rate = max(1.0 / self.memory, 2.0 / (self._steps + 2.0))
        away = value - self.mean
        if self._steps >= self.warm_up:
            scaled = away / max(math.sqrt(self._variance), 1e-9)
            scaled = min(max(scaled, -CLIP), CLIP)
            self.rise = max(0.0, self.rise + scaled - self.tolerance)
            self.fall = max(0.0, self.fall - scaled - self.tolerance) if self.falls else 0.0
            if max(self.rise, self.fall) > self.threshold:
                self.reset()
                return True
        if self._steps < max(self.warm_up, 2 * self.memory):
            self._steps += 1
        self.mean += rate * away
        self._variance = (1.0 - rate) * (self._variance + rate * away * away)
        return False


@dataclass(frozen=True, slots=True)
class Drift:
    """What a detector has to say.

    step: number of the update, from 1, at which it did. signal: "layer 0" for that layer's
    goodness, or "error". rises: whether it went up. before: the past mean, as log2 of the goodness
    or as a share of errors. now: the value that raised the alarm.
    """

    step: int
    signal: str
    rises: bool
    before: float
    now: float


class DriftWatch:
    """One ``PageHinkley`` for each layer's goodness, and one for the error if it is given.

    options: those of ``PageHinkley``.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._layers: list[PageHinkley] = []
        self._error = PageHinkley(**options | {"falls": False})
        self.steps = 0

    def update(self, goodness: Sequence[float] = (), error: float | None = None) -> Drift | None:
        """Take in each layer's goodness, at least 0, and perhaps the error, 0..1, of one step.

        Returns what was found, the lowest layer first, or None. Afterwards all begin anew.
        """
        while len(self._layers) < len(goodness):
            self._layers.append(PageHinkley(**self._options))
        self.steps += 1
        found: Drift | None = None
        for index, value in enumerate(goodness):
            level = math.log2(max(value, _SILENT))
            found = found or self._look(self._layers[index], f"layer {index}", level)
        if error is not None:
            found = found or self._look(self._error, "error", error)
        if found is not None:
            for detector in (*self._layers, self._error):
                detector.reset()
        return found

    def _look(self, detector: PageHinkley, signal: str, value: float) -> Drift | None:
        before = detector.mean
        if not detector.update(value):
            return None
        return Drift(self.steps, signal, value > before, before, value)
