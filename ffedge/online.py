"""FFClassifier's life on a stream: batches and single samples, test-then-train, no end in sight."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from .buffers import check_stream
from .checks import (
    NotFitted,
    check_classes,
    check_features,
    check_label,
    check_labels,
    check_new_classes,
    check_same,
    fill_sample,
)
from .drift import Drift, DriftWatch
from .errors import ConfigError, DataError
from .network import Network
from .new_classes import with_classes
from .parameters import Parameters
from .plan import Plan
from .recipe import Recipe
from .replay import Replay
from .run_int8 import AnyRun
from .sources import Dataset, from_arrays
from .stream_checkpoint import StreamCheckpoint
from .trainer import Trainer, count_right
from .units import parse_bytes

Array = np.ndarray[Any, Any]

#: A stream's scaler learns from this many samples, then stays as it is.
SCALER_SAMPLES = 1000


def stored_as(dtype: Any) -> str:
    """How replay stores samples of ``dtype``: as bytes if they are some, else as float32."""
    return "uint8" if dtype == np.uint8 else "float32"


def goodness_of(run: AnyRun, count: int) -> tuple[float, ...]:
    """Each layer's mean goodness over the samples that ``run`` has just scored."""
    top = run.layers[run.last_active]
    # All others were measured when they were normalised.
    top.measure(count)
    top.goodness = top.mean_square(count)
    return tuple(layer.goodness for layer in run.layers[: run.last_active + 1])


class Online(Parameters):
    """What an estimator does with data that come bit by bit; ``FFClassifier`` adds the rest."""

    batch_size: int | str
    scaling: str
    max_memory: int | str | None
    plan_: Plan
    on_drift: Callable[[Drift], Any] | None
    drift_signal: str
    drift_: Drift | None
    _watch: DriftWatch
    precision: str
    classes_: Array
    n_features_in_: int
    n_iter_: int
    feature_names_in_: Array
    _trainer: Trainer
    _sample: Dataset
    #: Names of the mappings that ``learn_one`` got, if it did.
    _columns: tuple[Any, ...] | None = None
    #: The folder that ``partial_fit`` was given, if it was.
    _kept: StreamCheckpoint | None = None

    # FFClassifier's own

    def _begin(self, network: Network, recipe: Recipe, classes: Array) -> None:
        raise NotImplementedError

    def _resume(
        self, network: Network, params: dict[str, Array], recipe: Recipe, classes: Array
    ) -> None:
        raise NotImplementedError

    def _network(self, features: int, classes: int, input_parts: int) -> Network:
        raise NotImplementedError

    def _recipe_of(
        self, size: Any, epochs: int, scaling: str, stream: bool = False, dtype: Any = None
    ) -> Recipe:
        raise NotImplementedError

    def _score_rows(self, X: Array) -> Array:
        raise NotImplementedError

    def _probabilities(self, scores: Array) -> Array:
        raise NotImplementedError

    # Learning

    def partial_fit(
        self, X: Any, y: Any, classes: Iterable[Any] | None = None, *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:  # fmt: skip
        """Train once on the rows of X, in their order, and keep everything learned before.

        classes: all labels there will ever be; needed on the first call. The scaler learns
        from the first 1,000 samples. Raises as ``fit``, and for labels not in ``classes``.

        checkpoint: a folder; what this call learns is kept there when it returns, and a new
        estimator with the same parameters goes on from what it finds there. ``n_iter_`` counts on.
        """
        first = not hasattr(self, "_trainer")
        names = self._stream_classes(classes, "partial_fit")
        X = check_features(self, X, reset=first)
        codes, _ = check_labels(y, len(X), names)
        self._hold(checkpoint)
        self._open_stream(X.shape[1], names, X.dtype)
        data = from_arrays(X, codes, classes=range(len(names)))
        size = self._trainer.recipe.batch_size
        memory = self._memory
        if memory is not None:
            memory.check(X)
            # The other half of a batch is for what was kept.
            size -= size // 2
        for start in range(0, len(X), size):
            self._learn(data, start, min(size, len(X) - start))
        if self._kept is not None:
            self._kept.save(self._trainer, self.classes_, self.n_iter_)
        return self

    def _hold(self, checkpoint: str | os.PathLike[str] | None) -> None:
        """Have the folder of the checkpoints from now on; another than before, or None, lets go."""
        kept = self._kept
        if kept is not None and checkpoint is not None and kept.folder == os.fspath(checkpoint):
            return
        if kept is not None:
            kept.close()
        self._kept = None if checkpoint is None else StreamCheckpoint(checkpoint)

    def __getstate__(self) -> dict[str, Any]:
        """A copy does not have the folder: only one at a time may."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def learn_one(self, x: Any, y: Any, classes: Iterable[Any] | None = None) -> Self:
        """Learn from one sample: x a mapping of names to numbers, or a sequence of numbers.

        classes: as in ``partial_fit``. A mapping's names are sorted and stay what they were in
        the first call.
        """
        names = self._stream_classes(classes, "learn_one")
        code = check_label(y, names)
        if hasattr(self, "_trainer"):
            data = self._one(x)
            self._open_stream(self.n_features_in_, names, getattr(x, "dtype", None))
        else:
            columns = tuple(sorted(x, key=str)) if isinstance(x, Mapping) else None
            width = len(x) if hasattr(x, "__len__") else 0
            fill_sample(x, columns, np.empty(width, np.float32))
            self._columns, self.n_features_in_ = columns, width
            self._open_stream(width, names, getattr(x, "dtype", None))
            data = self._one(x)
        data.labels[0] = code
        memory = self._memory
        if memory is not None:
            memory.check(data.features)
        self._learn(data, 0, 1)
        return self

    def _one(self, x: Any) -> Dataset:
        """A data set of one sample, the same arrays every time."""
        if not hasattr(self, "_sample"):
            features = np.empty((1, self.n_features_in_), np.float32)
            self._sample = Dataset(
                features, np.zeros(1, np.int32), tuple(range(len(self.classes_))),
                (self.n_features_in_,), "stream", "memory",
            )  # fmt: skip
        fill_sample(x, self._names_of_columns(), self._sample.features[0])
        return self._sample

    def _names_of_columns(self) -> Sequence[Any] | None:
        """Column names of the data frame or of the mappings that were learned from, if any."""
        names: Sequence[Any] | None = getattr(self, "feature_names_in_", None)
        return self._columns if names is None else names

    def _stream_classes(self, classes: Iterable[Any] | None, method: str) -> Array:
        """The labels there may be; DataError where they are missing or others than before."""
        known: Array | None = getattr(self, "classes_", None)
        if classes is None:
            if known is not None:
                return known
            raise DataError(
                f"FFClassifier: expected classes on the first call to {method}, got none; "
                "pass all labels that will ever come"
            )
        names = check_classes(classes)
        if known is not None:
            check_same(known, names, "first call", "leave classes out, or fit a new model")
        return names

    def _open_stream(self, features: int, names: Array, dtype: Any) -> None:
        """Make all layers ready for one batch after the other; from scratch on the first call.

        dtype: of the samples, where replay begins to keep some.
        """
        if self.drift_signal not in ("goodness", "error", "both"):
            raise ConfigError(
                "FFClassifier: expected drift_signal goodness, error or both, got "
                f"{self.drift_signal!r}"
            )
        trainer = getattr(self, "_trainer", None)
        if trainer is not None:
            check_stream(trainer.network)
        if trainer is None:
            size = 32 if self.batch_size == "auto" else self.batch_size
            scaling = "standard" if self.scaling == "auto" else self.scaling
            recipe = self._recipe_of(size, 1, scaling, stream=True, dtype=dtype)
            # Whether values below zero will come, nobody knows yet.
            parts = 2 if self.precision == "int8" else 1
            self._begin(self._network(features, len(names), parts), recipe, names)
            self.n_iter_ = 0
            if self._kept is not None:
                try:
                    self.n_iter_ = self._kept.resume(self._trainer, names) or 0
                except BaseException:
                    del self._trainer, self.classes_
                    self._kept.close()
                    self._kept = None
                    raise
        elif trainer.recipe.schedule != "sweep":
            # The plan of "layerwise" has room for one layer's optimiser state only.
            recipe = replace(trainer.recipe, schedule="sweep")
            kept = self._memory
            self._resume(trainer.network, trainer.params, recipe, names)
            if kept is not None and self._memory is not None:
                self._memory.take_over(kept)
        if not all(layer.active for layer in self._trainer.run.layers):
            self._trainer.run.begin_stage(None)

    def _learn(self, data: Dataset, first: int, count: int) -> None:
        trainer = self._trainer
        if trainer.recipe.stream and trainer.scaler.count < SCALER_SAMPLES:
            new = min(count, SCALER_SAMPLES - trainer.scaler.count)
            trainer.adapt_scaling(data, first, new)
        drift = None if self.on_drift is None else self._look(data, first, count)
        for layer in trainer.run.layers:
            # A stream has no epochs: sums over its whole life would lose their digits.
            layer.begin_epoch()
        memory = self._memory
        if memory is None:
            trainer.learn(data, first, count)
        else:
            rows = slice(first, first + count)
            total = memory.select(data.features[rows], data.labels[rows], trainer.run.chosen)
            trainer.learn(memory.data, 0, total)
            memory.keep(count)
        self.n_iter_ += 1
        if drift is not None and self.on_drift is not None:
            self.drift_ = drift
            self.on_drift(drift)

    def _look(self, data: Dataset, first: int, count: int) -> Drift | None:
        """Show these samples to the layers as they are, before they learn from them."""
        run, signal = self._trainer.run, self.drift_signal
        run.fetch(data, first, count)
        run.score_batch(count)
        goodness = goodness_of(run, count) if signal != "error" else ()
        error = 1.0 - count_right(run, count) / count if signal != "goodness" else None
        return self._watch.update(goodness, error)

    def goodness_one(self, x: Any) -> tuple[float, ...]:
        """Each layer's goodness for one sample: its mean square activity, before it is normalised.

        What ``on_drift`` looks at; for a ``DriftWatch`` of one's own where no labels come.
        """
        if not hasattr(self, "_trainer"):
            raise NotFitted.error("FFClassifier")
        run = self._trainer.run
        run.fetch_features(self._one(x).features, 0, 1)
        run.score_batch(1)
        return goodness_of(run, 1)

    @property
    def _memory(self) -> Replay | None:
        """The samples kept for replay, if the trainer's plan has room for any."""
        trainer = self._trainer
        if not trainer.recipe.replay:
            return None
        return Replay(trainer.arena, trainer.network, trainer.recipe)

    def add_classes(self, classes: Iterable[Any]) -> Self:
        """Make room for labels that were not foreseen; every prediction stays what it was.

        classes: labels of the kind of ``classes_``, none of them known yet. ``partial_fit`` and
        ``learn_one`` take them from now on. Only with the rule readout. Weights, readouts,
        optimiser state, scaler and replay memory are carried over; see ``new_classes``.

        Raises BudgetError if the larger plan exceeds ``max_memory``, ConfigError for another
        rule, DataError for labels that are known already or of another kind. The model is as it
        was after any of them.
        """
        if not hasattr(self, "_trainer"):
            raise NotFitted.error("FFClassifier")
        names = check_new_classes(classes, self.classes_)
        places = np.searchsorted(names, self.classes_)
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        self._trainer = with_classes(self._trainer, places, len(names), budget)
        self.classes_, self.plan_ = names, self._trainer.plan
        self.__dict__.pop("_sample", None)
        return self

    def predict_one(self, x: Any) -> Any:
        """The label of one sample; before the first ``learn_one``, None."""
        if not hasattr(self, "_trainer"):
            return None
        return self.classes_[self._score_rows(self._one(x).features)[0].argmax()]

    def predict_proba_one(self, x: Any) -> dict[Any, float]:
        """Label to probability for one sample; empty before the first ``learn_one``."""
        if not hasattr(self, "_trainer"):
            return {}
        scores = self._score_rows(self._one(x).features)
        chances = self._probabilities(scores)[0]
        return dict(zip(self.classes_.tolist(), chances.tolist(), strict=True))
