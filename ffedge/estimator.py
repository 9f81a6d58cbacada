"""FFClassifier: the trainer as a scikit-learn classifier that does not need scikit-learn."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from .checks import (
    NotFitted,
    check_classes,
    check_features,
    check_label,
    check_labels,
    check_same,
    fill_sample,
    seed_of,
    whole,
    widths_of,
)
from .defaults import (
    choose_batch,
    choose_epochs,
    choose_optimizer,
    choose_parts,
    choose_scaling,
)
from .errors import CheckpointError, ConfigError, DataError
from .model import Model
from .model_file import load_model, save_model
from .network import Network
from .optimizers import Optimizer, named_optimizer
from .parameters import Parameters
from .predict import score_rows
from .recipe import Recipe
from .rules import Rule, named_rule
from .sources import Dataset, from_arrays
from .trainer import Trainer
from .units import parse_bytes

Array = np.ndarray[Any, Any]

#: A stream's scaler learns from this many samples, then stays as it is.
SCALER_SAMPLES = 1000


class FFClassifier(Parameters):
    """A multi-layer classifier trained by Forward-Forward, layer by layer, inside a byte budget.

    hidden_layer_sizes: widths of the hidden layers, each at least 1.
    rule: "readout", "readout-frozen", "group", "group-mean", "hinton", or an object of
    ``ffedge.rules`` with options.
    precision: "float32", or "int8": weights, activations and updates in 8 bits, the same bits
    on every machine; rules readout, group and group-mean.
    optimizer: "auto" (Adam; in int8 SGD, the only one there), "adam", "momentum", "sgd", or one
    of ``ffedge.optimizers`` with options.
    learning_rate: None takes the optimiser's own default.
    max_iter: passes over the data in ``fit``; None takes enough for about 5,000 updates, at
    least 10 and at most 200.
    batch_size: samples per update; "auto" takes 64, less for small sets.
    schedule: "sweep" (all layers learn from every batch) or "layerwise".
    scaling: "auto", "standard", "global", "shifted" or "none"; see ``ffedge.scaling``.
    max_memory: budget for all training buffers, in bytes or as "512KiB"; BudgetError beforehand
    if the plan does not fit.
    shuffle, random_state: order of the samples; None draws a new seed for every ``fit``.
    warm_start: ``fit`` goes on from the weights of the last one if the data have the same shape.

    After ``fit``: ``classes_``, ``n_features_in_``, ``n_iter_``, ``loss_`` (nats), ``plan_``.

    >>> from ffedge.sources import load
    >>> train, test = load("digits")
    >>> model = FFClassifier((64, 64), max_iter=5, random_state=0)
    >>> model = model.fit(train.features, train.labels)
    >>> bool(model.score(test.features, test.labels) > 0.9), model.plan_.peak
    (True, 181504)
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (500, 500),
        *,
        rule: str | Rule = "readout",
        precision: str = "float32",
        optimizer: str | Optimizer = "auto",
        learning_rate: float | None = None,
        max_iter: int | None = None,
        batch_size: int | str = "auto",
        schedule: str = "sweep",
        scaling: str = "auto",
        max_memory: int | str | None = None,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rule = rule
        self.precision = precision
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.schedule = schedule
        self.scaling = scaling
        self.max_memory = max_memory
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state

    n_features_in_: int
    feature_names_in_: Array
    #: Names of the mappings that ``learn_one`` got, if it did.
    _columns: tuple[Any, ...] | None = None

    # Training

    def fit(self, X: Any, y: Any) -> FFClassifier:
        """Train from scratch on X (n, features) and y (n,); numbers, whole numbers or texts.

        Raises DataError for data that cannot be used, ConfigError for parameters that cannot,
        BudgetError if the plan exceeds ``max_memory``. An interrupt leaves the last good state.
        """
        X = check_features(self, X, reset=True)
        self._columns = None
        codes, classes = check_labels(y, len(X))
        data = from_arrays(X, codes, classes=range(len(classes)))
        recipe = self._recipe(data)
        parts = choose_parts(data, recipe.scaling) if self.precision == "int8" else 1
        network = self._network(data.width, len(classes), parts)
        old = getattr(self, "_trainer", None)
        if not (self.warm_start and old is not None and old.network == network):
            self._begin(network, recipe, classes)
            self._trainer.learn_scaling(data)
        else:
            check_same(self.classes_, classes, "last fit", "set warm_start=False to start afresh")
            self._resume(network, old.params, recipe, classes)
        for progress in self._trainer.train(data, tick=float("inf")):
            self.n_iter_ = progress.epoch
            self.loss_ = progress.loss
        return self

    def partial_fit(self, X: Any, y: Any, classes: Iterable[Any] | None = None) -> FFClassifier:
        """Train once on the rows of X, in their order, and keep everything learned before.

        classes: all labels there will ever be; needed on the first call. The scaler learns
        from the first 1,000 samples. Raises as ``fit``, and for labels not in ``classes``.
        """
        first = not hasattr(self, "_trainer")
        names = self._stream_classes(classes, "partial_fit")
        X = check_features(self, X, reset=first)
        codes, _ = check_labels(y, len(X), names)
        self._open_stream(X.shape[1], names)
        data = from_arrays(X, codes, classes=range(len(names)))
        size = self._trainer.recipe.batch_size
        for start in range(0, len(X), size):
            self._learn(data, start, min(size, len(X) - start))
        return self

    def learn_one(self, x: Any, y: Any, classes: Iterable[Any] | None = None) -> FFClassifier:
        """Learn from one sample: x a mapping of names to numbers, or a sequence of numbers.

        classes: as in ``partial_fit``. A mapping's names are sorted and stay what they were in
        the first call.
        """
        names = self._stream_classes(classes, "learn_one")
        code = check_label(y, names)
        if hasattr(self, "_trainer"):
            data = self._one(x)
            self._open_stream(self.n_features_in_, names)
        else:
            columns = tuple(sorted(x, key=str)) if isinstance(x, Mapping) else None
            width = len(x) if hasattr(x, "__len__") else 0
            fill_sample(x, columns, np.empty(width, np.float32))
            self._columns, self.n_features_in_ = columns, width
            self._open_stream(width, names)
            data = self._one(x)
        data.labels[0] = code
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

    def _open_stream(self, features: int, names: Array) -> None:
        """Make all layers ready for one batch after the other; from scratch on the first call."""
        trainer = getattr(self, "_trainer", None)
        if trainer is None:
            size = 32 if self.batch_size == "auto" else self.batch_size
            scaling = "standard" if self.scaling == "auto" else self.scaling
            recipe = self._recipe_of(size, 1, scaling, stream=True)
            # Whether values below zero will come, nobody knows yet.
            parts = 2 if self.precision == "int8" else 1
            self._begin(self._network(features, len(names), parts), recipe, names)
            self.n_iter_ = 0
        elif trainer.recipe.schedule != "sweep":
            # The plan of "layerwise" has room for one layer's optimiser state only.
            recipe = replace(trainer.recipe, schedule="sweep")
            self._resume(trainer.network, trainer.params, recipe, names)
        if not all(layer.active for layer in self._trainer.run.layers):
            self._trainer.run.begin_stage(None)

    def _learn(self, data: Dataset, first: int, count: int) -> None:
        trainer = self._trainer
        if trainer.recipe.stream and trainer.scaler.count < SCALER_SAMPLES:
            new = min(count, SCALER_SAMPLES - trainer.scaler.count)
            trainer.adapt_scaling(data, first, new)
        trainer.learn(data, first, count)
        self.n_iter_ += 1

    def _begin(self, network: Network, recipe: Recipe, classes: Array) -> None:
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        self._trainer = Trainer(network, recipe, budget=budget)
        self.classes_ = classes
        self.plan_ = self._trainer.plan
        if math.prod(getattr(self, "_shape", ())) != network.features:
            self._shape: tuple[int, ...] = (network.features,)
        self.__dict__.pop("_sample", None)

    def _resume(
        self, network: Network, params: dict[str, Array], recipe: Recipe, classes: Array
    ) -> None:
        """``_begin``, with these parameters and the scaler that is among them."""
        self._begin(network, recipe, classes)
        for name, array in params.items():
            self._trainer.arena[name][...] = array
        self._trainer.scaler.count = SCALER_SAMPLES

    def _rule(self) -> Rule:
        rule = named_rule(self.rule) if isinstance(self.rule, str) else self.rule
        if not isinstance(rule, Rule):
            raise ConfigError(f"FFClassifier: expected rule a name or a Rule, got {rule!r}")
        return rule

    def _network(self, features: int, classes: int, input_parts: int) -> Network:
        return Network.dense(
            features, widths_of(self.hidden_layer_sizes), classes, self._rule(),
            precision=self.precision, input_parts=input_parts,
        )  # fmt: skip

    def _recipe(self, data: Dataset) -> Recipe:
        size = self.batch_size
        if size == "auto":
            size = choose_batch(data.n_samples)
        size = whole("batch_size", size)
        epochs = self.max_iter
        if epochs is None:
            epochs = choose_epochs(data.n_samples, size)
        scaling = choose_scaling(data) if self.scaling == "auto" else self.scaling
        return self._recipe_of(min(size, data.n_samples), epochs, scaling)

    def _recipe_of(self, size: Any, epochs: int, scaling: str, stream: bool = False) -> Recipe:
        optimizer, rate, size = self.optimizer, self.learning_rate, whole("batch_size", size)
        if rate is not None and not isinstance(rate, int | float | np.number):
            raise ConfigError(f"FFClassifier: expected learning_rate a number, got {rate!r}")
        if isinstance(optimizer, str):
            rate = None if rate is None else float(rate)
            if optimizer == "auto":
                features = self.n_features_in_
                optimizer = choose_optimizer(self._rule(), self.precision, features, size, rate)
            else:
                optimizer = named_optimizer(optimizer, rate)
        elif rate is not None:
            raise ConfigError(
                f"FFClassifier: expected the rate inside the optimizer {optimizer!r}, got "
                f"learning_rate={rate!r} as well; leave one of them out"
            )
        return Recipe(
            optimizer=optimizer, batch_size=size,
            epochs=whole("max_iter", epochs), schedule="sweep" if stream else self.schedule,
            scaling=scaling, shuffle=bool(self.shuffle), stream=stream,
            seed=seed_of(self.random_state),
        )  # fmt: skip

    # Prediction

    def _scores(self, X: Any) -> Array:
        if not hasattr(self, "_trainer"):
            raise NotFitted.error("FFClassifier")
        return self._score_rows(check_features(self, X, reset=False))

    def _score_rows(self, X: Array) -> Array:
        trainer = self._trainer
        return score_rows(trainer.run, X, trainer.recipe.batch_size)

    def _probabilities(self, scores: Array) -> Array:
        network = self._trainer.network
        return cast(Array, network.rule.probabilities(network, scores))

    def predict(self, X: Any) -> Array:
        """Labels (n,) of X (n, features): the class with the largest score."""
        codes = self._scores(X).argmax(axis=1)
        return cast(Array, self.classes_[codes])

    def predict_proba(self, X: Any) -> Array:
        """Probabilities float64 (n, classes), columns in the order of ``classes_``."""
        return self._probabilities(self._scores(X))

    def decision_function(self, X: Any) -> Array:
        """Scores float32 (n, classes); for two classes (n,), positive for the second one."""
        scores = self._scores(X)
        return cast(Array, scores[:, 1] - scores[:, 0]) if scores.shape[1] == 2 else scores

    def score(self, X: Any, y: Any) -> float:
        """Accuracy on X and y, 0..1."""
        labels = np.asarray(y).reshape(-1)
        predicted = self.predict(X)
        if len(labels) != len(predicted):
            raise DataError(f"score: expected {len(predicted)} labels, got {len(labels)}")
        return float(np.mean(predicted == labels))

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

    # Files

    @property
    def model_(self) -> Model:
        """The trained model, as views of the estimator's memory; for export and saving."""
        if not hasattr(self, "_trainer"):
            raise NotFitted.error("FFClassifier")
        kind = self.classes_.dtype.kind
        classes = tuple(int(c) if kind in "iufb" else str(c) for c in self.classes_)
        names = self._names_of_columns()
        return Model(
            self._trainer.network, self._trainer.params, cast(Any, classes), self._shape,
            None if names is None else tuple(map(str, names)),
            {"recipe": self._trainer.recipe.describe(), "epochs": self.n_iter_},
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file; see ``ffedge.model_file``."""
        save_model(self.model_, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FFClassifier:
        """The estimator of a model file: predicts, and ``partial_fit`` goes on from it.

        Optimiser state is not in the file and starts afresh. Raises CheckpointError.
        """
        model = load_model(path)
        try:
            recipe = Recipe.parse(model.training.get("recipe", Recipe().describe()))
            epochs = whole("epochs", model.training.get("epochs", 0))
        except ConfigError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from None
        self = cls(
            model.network.hidden, rule=model.network.rule, precision=model.precision,
            optimizer=recipe.optimizer,
            batch_size=recipe.batch_size, schedule=recipe.schedule, scaling=recipe.scaling,
            shuffle=recipe.shuffle, random_state=recipe.seed,
        )  # fmt: skip
        self._resume(model.network, model.params, recipe, np.asarray(model.classes))
        self.n_features_in_ = model.network.features
        self.n_iter_, self._shape = epochs, model.feature_shape
        if model.feature_names is not None:
            self.feature_names_in_ = np.asarray(model.feature_names, dtype=object)
        return self
