"""Prediction in batches, inside its own small plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .arena import Arena
from .buffers import plan_prediction
from .errors import DataError
from .model import Model
from .network import Network
from .run_int8 import AnyRun, make_run
from .sources import Dataset
from .sources.residency import Residency

Array = np.ndarray[Any, Any]


class Predictor:
    """Scores samples with ``model``; copies its parameters into an arena once.

    batch: samples at a time. budget: bytes; BudgetError if the plan does not fit.
    boxes: functions for black boxes that came without, by title: no model file holds them.
    """

    def __init__(
        self, model: Model, *, batch: int = 64, budget: int | None = None,
        boxes: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:  # fmt: skip
        if model.network.boxes:
            model = replace(model, network=model.network.with_functions(boxes or {}))
        self.model, self.batch = model, batch
        self.plan = plan_prediction(model.network, batch, budget)
        self.arena = Arena(self.plan)
        for name, array in model.params.items():
            self.arena[name][...] = array
        self.run = make_run(model.network, self.arena)

    def scores(self, features: Array) -> Array:
        """Class scores, float32 (n, classes): goodness, or summed log-probabilities.

        features: (n, width) C-contiguous, uint8, int8, int16 or float32, raw units.
        Raises DataError for another width.
        """
        return score_rows(self.run, features, self.batch)

    def probabilities(self, features: Array) -> Array:
        """float64 (n, classes), rows sum to 1; see ``Rule.probabilities``."""
        network = self.model.network
        chances: Array = network.rule.probabilities(network, self.scores(features))
        return chances

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
            self.run.score_batch(count)
            yield self.run.total[:count], self.run.labels[:count]


def check_width(network: Network, features: Array) -> None:
    """Raise DataError unless ``features`` is (n, features of the network)."""
    if features.ndim != 2 or features.shape[1] != network.features:
        raise DataError(
            f"predict: expected samples of {network.features:,} features, got an array of shape "
            f"{features.shape}; use data with the columns that the model was trained on"
        )


def score_rows(run: AnyRun, features: Array, batch: int) -> Array:
    """Class scores, float32 (n, classes), of raw rows, ``batch`` of them at a time in ``run``."""
    check_width(run.network, features)
    out = np.empty((len(features), run.network.classes), run.total.dtype)
    residency = Residency(features)
    for first in range(0, len(features), batch):
        count = min(batch, len(features) - first)
        run.fetch_features(features, first, count)
        residency.read_rows(count)
        run.score_batch(count)
        out[first : first + count] = run.total[:count]
    residency.give_back()
    return out
