"""Test-then-train: every sample is first predicted, then learned from (Dawid 1984).

The measure of a model that lives on a stream, as River's ``progressive_val_score`` has it. Next to
the accuracy since the start there are two that forget: over the last ``window`` samples, and
fading, in which a sample counts ``fading`` times as much as the next one (Gama, Sebastião and
Rodrigues 2013, "On evaluating stream learning algorithms"). Cohen's kappa is 0 for a model that
knows no more than how frequent the classes are. Memory: ``window`` bytes and two numbers a class.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import ConfigError, DataError
from .sources import Dataset


class Learner(Protocol):
    """A model for streams, as River and ``FFClassifier`` have them."""

    def predict_one(self, x: Any) -> Any:
        """The label of one sample, or None while there is no saying."""

    def learn_one(self, x: Any, y: Any) -> Any:
        """Learn from one sample."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a model has done so far.

    samples: learned from. predicted: of them, those that there was a prediction for; a model
    says None before it has learned anything, which counts neither way. accuracy, recent, fading:
    0..1 since the start, over the window, and fading; NaN while nothing has been predicted.
    kappa: Cohen's, at most 1. seconds: spent in ``predict_one`` and ``learn_one``.
    """

    samples: int
    predicted: int
    accuracy: float
    recent: float
    fading: float
    kappa: float
    seconds: float


class Score:
    """The figures of a report, a sample at a time."""

    def __init__(self, window: int = 1000, fading: float = 0.999) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise ConfigError(
                f"prequential: expected window a whole number from 1 on, got {window!r}"
            )
        if not 0.0 < fading <= 1.0:
            raise ConfigError(f"prequential: expected fading above 0 to 1, got {fading!r}")
        self._window, self._fading = bytearray(window), fading
        self._recent = self._right = self.predicted = 0
        self._faded = self._weight = 0.0
        #: How often each label came, and was predicted; and how often both.
        self._true: dict[Hashable, int] = {}
        self._said: dict[Hashable, int] = {}

    def add(self, predicted: Any, label: Any) -> None:
        """Take in one prediction and the label that came."""
        right = bool(predicted == label)
        place = self.predicted % len(self._window)
        self._recent += right - self._window[place]
        self._window[place] = right
        self.predicted += 1
        self._right += right
        self._faded = self._fading * self._faded + right
        self._weight = self._fading * self._weight + 1.0
        self._true[label] = self._true.get(label, 0) + 1
        self._said[predicted] = self._said.get(predicted, 0) + 1

    def report(self, samples: int, seconds: float) -> Report:
        """The figures now."""
        count = self.predicted
        if count == 0:
            return Report(samples, 0, *(math.nan,) * 4, seconds)
        accuracy = self._right / count
        chance = sum(n * self._said.get(label, 0) for label, n in self._true.items()) / count**2
        # Where only one label came and was said, chance explains everything.
        kappa = (accuracy - chance) / (1.0 - chance) if chance < 1.0 else 0.0
        return Report(
            samples, count, accuracy, self._recent / min(count, len(self._window)),
            self._faded / self._weight, kappa, seconds,
        )  # fmt: skip


def prequential(
    model: Learner, stream: Dataset | Iterable[tuple[Any, Any]], *, every: int = 1000,
    window: int = 1000, fading: float = 0.999, classes: Iterable[Any] | None = None,
) -> Iterator[Report]:  # fmt: skip
    """Run ``model`` over ``stream``; report every ``every`` samples and at the end.

    stream: pairs (x, y), in the order of time; or a Dataset, whose samples come in their order,
    as mappings of column names to numbers where it has names, else as rows. window, fading: see the
    module. classes: all labels that will come, for the first ``learn_one`` of a model that asks
    for them, as a new FFClassifier does; a Dataset knows its own.

    Raises ConfigError for parameters that cannot be, DataError for a stream without samples, and
    what the model raises.

    >>> from ffedge import FFClassifier, load
    >>> train, _ = load("digits")
    >>> model = FFClassifier((64,), batch_size=1, random_state=0)
    >>> [report.samples for report in prequential(model, train, every=500)]
    [500, 1000, 1438]
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ConfigError(f"prequential: expected every a whole number from 1 on, got {every!r}")
    if isinstance(stream, Dataset):
        pairs: Iterable[tuple[Any, Any]] = samples_of(stream)
        classes = stream.classes if classes is None else classes
    else:
        pairs = stream
    first = {}
    if classes is not None and not hasattr(model, "classes_") and _asks_for_classes(model):
        first = {"classes": list(classes)}
    return _run(model, pairs, every, Score(window, fading), first)


def _asks_for_classes(model: Learner) -> bool:
    try:
        return "classes" in inspect.signature(model.learn_one).parameters
    except ValueError:  # a method written in C that does not say
        return False


def _run(
    model: Learner, pairs: Iterable[tuple[Any, Any]], every: int, score: Score,
    first: dict[str, Any],
) -> Iterator[Report]:  # fmt: skip
    samples, seconds = 0, 0.0
    for x, y in pairs:
        started = time.perf_counter()
        predicted = model.predict_one(x)
        model.learn_one(x, y, **first)
        seconds += time.perf_counter() - started
        first = {}
        samples += 1
        if predicted is not None:
            score.add(predicted, y)
        if samples % every == 0:
            yield score.report(samples, seconds)
    if samples == 0:
        raise DataError("prequential: expected a stream of samples, got an empty one")
    if samples % every:
        yield score.report(samples, seconds)


def samples_of(data: Dataset) -> Iterator[tuple[Any, Any]]:
    """(x, label) of every sample of a data set, in order.

    x: a mapping of column names to numbers where the data set has names, else its row.
    """
    names = data.feature_names
    for n in range(data.n_samples):
        row = n if data.rows is None else data.rows[n]
        x = data.features[row]
        label = data.classes[int(data.labels[row])]
        yield (x if names is None else dict(zip(names, x.tolist(), strict=True))), label
