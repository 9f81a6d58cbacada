"""Prediction in batches, inside its own small plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .arena import Arena
from .buffers import model_needs, plan_prediction
from .errors import DataError
from .model import Model
from .network import Network
from .reading import Reading, default_reading, full_cost
from .run_int8 import AnyRun, make_run
from .sources import Dataset
from .sources.residency import Residency

Array = np.ndarray[Any, Any]


class Predictor:
    """Scores samples with ``model``; copies its parameters into an arena once.

    batch: samples at a time. budget: bytes; BudgetError if the plan does not fit. reading: how
    the network is read out; None: as the model says, or all of it. Layers that the read-out
    never runs are left out of the arena.

    multiply_adds, samples: what has been done so far, see ``reading.Reading``.
    """

    def __init__(
        self, model: Model, *, batch: int = 64, budget: int | None = None,
        reading: Reading | None = None,
    ) -> None:  # fmt: skip
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
        full = self.samples * full_cost(self.model.network)
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

    def codes(self, features: Array) -> Array:
        """Class codes, int64 (n,): the largest score; ties go to the lowest class."""
        codes: Array = self.scores(features).argmax(axis=1)
        return codes

    def labels(self, features: Array) -> Array:
        """Class names, (n,): int64 or str."""
        names: Array = np.asarray(self.model.classes)[self.codes(features)]
        return names

    def batches(self, data: Dataset) -> Iterator[tuple[Array, Array]]:
        """Scores and true codes of a data set, a batch at a time: views, valid until the next."""
        check_width(self.model.network, data.features)
        residency = Residency(data.features)
        for first in range(0, data.n_samples, self.batch):
            count = min(self.batch, data.n_samples - first)
            self.run.fetch(data, first, count)
            residency.read_rows(count)
            self._score(count)
            yield self.run.total[:count], self.run.labels[:count]


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
