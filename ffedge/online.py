"""An estimator's life on a stream: batches and single samples, test-then-train, no end in sight."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .buffers import check_stream
from .checks import (
    NotFitted,
    fill_sample,
)
from .drift import Drift, DriftWatch
from .errors import ConfigError
from .network import Network
from .parameters import Parameters
from .plan import Plan
from .recipe import Recipe
from .replay import Replay
from .run_int8 import AnyRun
from .scoring import count_right
from .sources import Dataset
from .stream_checkpoint import StreamCheckpoint
from .trainer import Trainer

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
    """What an estimator does with data that come bit by bit; ``Estimator`` adds the rest."""

    batch_size: int | str
    scaling: str
    max_memory: int | str | None
    plan_: Plan
    on_drift: Callable[[Drift], Any] | None
    drift_signal: str
    drift_: Drift | None
    _watch: DriftWatch
    precision: str
    n_features_in_: int
    n_iter_: int
    feature_names_in_: Array
    _trainer: Trainer
    _sample: Dataset
    #: Names of the mappings that ``learn_one`` got, if it did.
    _columns: tuple[Any, ...] | None = None
    #: The folder that ``partial_fit`` was given, if it was.
    _kept: StreamCheckpoint | None = None

    # Of the classes below

    def _outputs(self, names: Array) -> int:
        """Outputs of the network: classes, or bins."""
        raise NotImplementedError

    def _labels_seen(self) -> Array:
        """What a checkpoint's labels must be."""
        raise NotImplementedError

    def _blank(self) -> tuple[Array, tuple[int, ...]]:
        """Label and classes of a data set of one sample."""
        raise NotImplementedError

    def _begin(self, network: Network, recipe: Recipe, classes: Array) -> None:
        raise NotImplementedError

    def _resume(
        self, network: Network, params: dict[str, Array], recipe: Recipe, classes: Array
    ) -> None:
        raise NotImplementedError

    def _network(self, features: int, classes: int, input_parts: int) -> Network:
        raise NotImplementedError

    def _recipe_of(
        self, size: Any, epochs: int, scaling: str, stream: bool = False, dtype: Any = None,
        samples: int | None = None,
    ) -> Recipe:  # fmt: skip
        raise NotImplementedError

    def _score_rows(self, X: Array) -> Array:
        raise NotImplementedError

    def _probabilities(self, scores: Array) -> Array:
        raise NotImplementedError

    # Learning

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

    def _learn_rows(self, data: Dataset) -> None:
        """One pass over ``data`` in order, batch by batch, kept in the folder if there is one."""
        size = self._trainer.recipe.batch_size
        memory = self._memory
        if memory is not None:
            memory.check(data.features)
            # The other half of a batch is for what was kept.
            size -= size // 2
        for start in range(0, data.n_samples, size):
            self._learn(data, start, min(size, data.n_samples - start))
        if self._kept is not None:
            self._kept.save(self._trainer, self._labels_seen(), self.n_iter_)

    def _open_one(self, x: Any, names: Array) -> Dataset:
        """The data set of sample ``x``, with the stream open for it; its label is to be set."""
        if hasattr(self, "_trainer"):
            data = self._one(x)
            self._open_stream(self.n_features_in_, names, getattr(x, "dtype", None))
            return data
        columns = tuple(sorted(x, key=str)) if isinstance(x, Mapping) else None
        width = len(x) if hasattr(x, "__len__") else 0
        fill_sample(x, columns, np.empty(width, np.float32), type(self).__name__)
        self._columns, self.n_features_in_ = columns, width
        self._open_stream(width, names, getattr(x, "dtype", None))
        return self._one(x)

    def _one(self, x: Any) -> Dataset:
        """A data set of one sample, the same arrays every time."""
        if not hasattr(self, "_sample"):
            features = np.empty((1, self.n_features_in_), np.float32)
            labels, classes = self._blank()
            self._sample = Dataset(
                features, labels, classes, (self.n_features_in_,), "stream", "memory"
            )
        name = type(self).__name__
        fill_sample(x, self._names_of_columns(), self._sample.features[0], name)
        return self._sample

    def _names_of_columns(self) -> Sequence[Any] | None:
        """Column names of the data frame or of the mappings that were learned from, if any."""
        names: Sequence[Any] | None = getattr(self, "feature_names_in_", None)
        return self._columns if names is None else names

    def _open_stream(self, features: int, names: Array, dtype: Any) -> None:
        """Make all layers ready for one batch after the other; from scratch on the first call.

        dtype: of the samples, where replay begins to keep some.
        """
        if self.drift_signal not in ("goodness", "error", "both"):
            raise ConfigError(
                f"{type(self).__name__}: expected drift_signal goodness, error or both, got "
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
            self._begin(self._network(features, self._outputs(names), parts), recipe, names)
            self.n_iter_ = 0
            if self._kept is not None:
                try:
                    self.n_iter_ = self._kept.resume(self._trainer, names) or 0
                except BaseException:
                    del self._trainer
                    self.__dict__.pop("classes_", None)
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
            raise NotFitted.error(type(self).__name__)
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
