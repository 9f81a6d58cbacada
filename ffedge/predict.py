"""Prediction in batches, inside its own small plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from . import bins
from .arena import Arena
from .buffers import model_needs, plan_prediction
from .errors import ConfigError, DataError
from .model import Model
from .network import Network
from .reading import Reading, default_reading
from .rules.ordinal import CENTRES
from .run_int8 import AnyRun, make_run
from .sources import Dataset
from .sources.residency import Residency

Array = np.ndarray[Any, Any]


class Predictor:
    """Scores samples with ``model``; copies its parameters into an arena once.

    batch: samples at a time. budget: bytes; BudgetError if the plan does not fit. reading: how
    the network is read out; None: as the model says, or all of it. Layers that the read-out
    never runs are left out of the arena.

    boxes: functions for black boxes that came without, by title: no model file holds them.
    multiply_adds, samples: what has been done so far, see ``reading.Reading``.
    """

    def __init__(
        self, model: Model, *, batch: int = 64, budget: int | None = None,
        reading: Reading | None = None, boxes: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:  # fmt: skip
        if model.network.boxes:
            model = replace(model, network=model.network.with_functions(boxes or {}))
        self.model, self.batch = model, batch
        self.reading = reading or model.reading or default_reading(model.network)
        served = replace(model, reading=self.reading).trimmed()
        self.plan = plan_prediction(served.network, batch, budget, self.reading)
        self.arena = Arena(self.plan)
        for need in model_needs(served.network):
            self.arena[need.name][...] = served.params[need.name]
        self.run = make_run(served.network, self.arena)
        self.multiply_adds, self.samples = 0, 0

    def _score(self, count: int) -> None:
        self.multiply_adds += self.reading.score(self.run, count)
        self.samples += count

    @property
    def share(self) -> float:
        """Multiply-adds done so far as a share of those of ``Everything``; 1 before the first."""
        full = self.samples * self.model.network.prediction_work
        return self.multiply_adds / full if full else 1.0

    def scores(self, features: Array) -> Array:
        """Class scores, float32 (n, classes): goodness, or summed log-probabilities.

        features: (n, width) C-contiguous, uint8, int8, int16 or float32, raw units.
        Raises DataError for another width.
        """
        return score_rows(self.run, features, self.batch, self._score)

    def probabilities(self, features: Array) -> Array:
        """float64 (n, classes), rows sum to 1; see ``Reading.probabilities``."""
        network = self.model.network
        check_width(network, features)
        out = np.empty((len(features), network.classes))
        for first, count in _batches(self.run, features, self.batch):
            self._score(count)
            out[first : first + count] = self.reading.probabilities(self.run, count)
        return out

    @property
    def centres(self) -> Array:
        """Bin centres float32 (bins,) of a regression; ConfigError for a classifier."""
        network = self.model.network
        if not network.rule.numeric:
            raise ConfigError(
                f"predict: expected a model that predicts numbers, got the rule "
                f"{network.rule.name}, which predicts labels"
            )
        found: Array = self.model.params[CENTRES]
        return found

    def values(self, features: Array) -> Array:
        """Numbers float64 (n,) of a regression: the mean of the bins' centres."""
        return self.values_of(self.probabilities(features))

    def values_of(self, chances: Array) -> Array:
        """Numbers float64 (n,) of probabilities (n, bins)."""
        return bins.expected(chances, self.centres)

    def deviations(self, features: Array) -> Array:
        """Standard deviation float64 (n,) of a regression's bins: how sure a value is."""
        return bins.deviation(self.probabilities(features), self.centres)

    def interval(self, features: Array, coverage: float = 0.9) -> Array:
        """float64 (n, 2): between them lies ``coverage`` of the bins' probability."""
        self.check_interval(coverage)
        return self.interval_of(self.probabilities(features), coverage)

    def interval_of(self, chances: Array, coverage: float) -> Array:
        """Ends of the intervals float64 (n, 2) of probabilities (n, bins)."""
        return bins.interval(chances, self.centres, coverage)

    def check_interval(self, coverage: float) -> None:
        """Raise ConfigError for a classifier, and for a coverage that is no share."""
        bins.check_share(coverage)
        _ = self.centres

    def codes(self, features: Array) -> Array:
        """Class codes, int64 (n,): the largest score; ties go to the lowest class."""
        codes: Array = self.scores(features).argmax(axis=1)
        return codes

    def labels(self, features: Array) -> Array:
        """Class names, (n,): int64 or str."""
        names: Array = np.asarray(self.model.classes)[self.codes(features)]
        return names

    def batches(self, data: Dataset) -> Iterator[tuple[Array, Array]]:
        """Scores and true codes of a data set, a batch at a time: views, valid until the next.

        Of a regression the true numbers, float32, in place of codes.
        """
        check_width(self.model.network, data.features)
        residency = Residency(data.features)
        for first in range(0, data.n_samples, self.batch):
            count = min(self.batch, data.n_samples - first)
            self.run.fetch(data, first, count)
            residency.read_rows(count)
            self._score(count)
            targets = self.run.labels if self.run.targets is None else self.run.targets
            yield self.run.total[:count], targets[:count]


def check_width(network: Network, features: Array) -> None:
    """Raise DataError unless ``features`` is (n, features of the network)."""
    if features.ndim != 2 or features.shape[1] != network.features:
        raise DataError(
            f"predict: expected samples of {network.features:,} features, got an array of shape "
            f"{features.shape}; use data with the columns that the model was trained on"
        )


def score_rows(
    run: AnyRun, features: Array, batch: int, score: Callable[[int], Any] | None = None
) -> Array:
    """Class scores, float32 (n, classes), of raw rows, ``batch`` of them at a time in ``run``.

    score: writes ``run.total``; by default ``run.score_batch``.
    """
    check_width(run.network, features)
    out = np.empty((len(features), run.network.classes), run.total.dtype)
    for first, count in _batches(run, features, batch):
        (score or run.score_batch)(count)
        out[first : first + count] = run.total[:count]
    return out


def _batches(run: AnyRun, features: Array, batch: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of each batch, fetched."""
    residency = Residency(features)
    for first in range(0, len(features), batch):
        count = min(batch, len(features) - first)
        run.fetch_features(features, first, count)
        residency.read_rows(count)
        yield first, count
    residency.give_back()
