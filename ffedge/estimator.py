"""FFClassifier: the trainer as a scikit-learn classifier that does not need scikit-learn."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from .activations import Activation, activation_of
from .checks import (
    NotFitted,
    check_features,
    check_labels,
    check_same,
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
from .drift import Drift, DriftWatch
from .errors import CheckpointError, ConfigError, DataError
from .fields import Fields
from .model import Model
from .model_file import load_model, save_model
from .network import Network
from .online import SCALER_SAMPLES, Online, stored_as
from .optimizers import Optimizer, named_optimizer
from .predict import score_rows
from .recipe import Recipe
from .rules import Headed, Rule, named_rule
from .shifts import Shift, check_shape, grid_of
from .sources import Dataset, from_arrays
from .trainer import Trainer
from .units import parse_bytes
from .unlabelled import head_recipe, pretrain

Array = np.ndarray[Any, Any]


class FFClassifier(Online):
    """A multi-layer classifier trained by Forward-Forward, layer by layer, inside a byte budget.

    hidden_layer_sizes: widths of the hidden layers, each at least 1.
    rule: "readout", "readout-frozen", "group", "group-mean", "hinton" or another word of
    ``ffedge.rules.NAMED_RULES``, or an object of ``ffedge.rules`` with options. A ``Headed`` one,
    such as "scff", first trains the layers without labels, then a head, ``max_iter`` passes each.
    precision: "float32", or "int8": weights, activations and updates in 8 bits, the same bits
    on every machine; rules readout, group and group-mean.
    activation: None (what the rule prefers: "relu", of "scff" "standout"), "relu", "leaky",
    "triangle", "standout", "student-t", an object of ``ffedge.activations``, or
    a sequence of these, one a layer. Anything but "relu" is float32 only.
    fields: None, or one ``ffedge.fields.Fields`` (or None) a layer: which inputs its units see.
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
    shift: pixels or steps by which ``fit`` moves a sample at most, each way and anew every time,
    see ``ffedge.shifts``. Needs feature_shape, the shape that a row of X was flattened from:
    (height, width), (height, width, channels), or (steps, channels) with a shift such as (1, 0).
    replay: samples kept of what was learned, each class its share, and learned again beside new
    ones by ``partial_fit`` and ``learn_one``: as many as fit into the batch. Their bytes are in
    the plan, one a feature for uint8 data and four else. 0 keeps none.
    on_drift: called by ``partial_fit`` and ``learn_one``, after the update, with a ``Drift`` where
    the samples seem to have changed; what it raises comes through. None does not look, and saves a
    pass. drift_signal: "goodness" (of every layer; asks no labels), "error" or "both".
    shuffle, random_state: order of the samples; None draws a new seed for every ``fit``.
    warm_start: ``fit`` goes on from the weights of the last one if the data have the same shape.

    After ``fit``: ``classes_``, ``n_features_in_``, ``n_iter_``, ``loss_`` (nats), ``plan_``;
    ``drift_``, the last ``Drift`` found or None.

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
        activation: str | Activation | Sequence[str | Activation] | None = None,
        fields: Sequence[Fields | None] | None = None,
        optimizer: str | Optimizer = "auto",
        learning_rate: float | None = None,
        max_iter: int | None = None,
        batch_size: int | str = "auto",
        schedule: str = "sweep",
        scaling: str = "auto",
        max_memory: int | str | None = None,
        shift: Shift = 0,
        feature_shape: Sequence[int] | None = None,
        replay: int = 0,
        on_drift: Callable[[Drift], Any] | None = None,
        drift_signal: str = "goodness",
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rule = rule
        self.precision = precision
        self.activation = activation
        self.fields = fields
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.schedule = schedule
        self.scaling = scaling
        self.max_memory = max_memory
        self.shift = shift
        self.feature_shape = feature_shape
        self.replay = replay
        self.on_drift = on_drift
        self.drift_signal = drift_signal
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state

    _shape: tuple[int, ...]

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
        if self.feature_shape is not None:
            self._shape = check_shape(self.feature_shape, data.width)
            data = replace(data, feature_shape=self._shape)
        recipe = self._recipe(data)
        if recipe.shift:
            grid_of(recipe.shift, data.feature_shape)
        parts = choose_parts(data, recipe.scaling) if self.precision == "int8" else 1
        network = self._network(data.width, len(classes), parts)
        old = getattr(self, "_trainer", None)
        if not (self.warm_start and old is not None and old.network == network):
            if isinstance(network.rule, Headed):
                recipe = self._pretrain(data, network, recipe, classes)
            else:
                self._begin(network, recipe, classes)
                self._trainer.learn_scaling(data)
        else:
            check_same(self.classes_, classes, "last fit", "set warm_start=False to start afresh")
            self._resume(network, old.params, recipe, classes)
        for progress in self._trainer.train(data, tick=float("inf")):
            self.n_iter_ = progress.epoch
            self.loss_ = progress.loss
        memory = self._memory
        if memory is not None:
            memory.offer(data.features, data.labels)
        return self

    def _pretrain(self, data: Dataset, network: Network, recipe: Recipe, classes: Array) -> Recipe:
        """Train the layers without labels, and make ready for the head; its recipe."""
        assert isinstance(network.rule, Headed)
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        model = pretrain(data, network.hidden, network.rule.learned, recipe, budget=budget)
        recipe = head_recipe(recipe, network.rule.head)
        self._resume(network, model.params, recipe, classes)
        return recipe

    def _begin(self, network: Network, recipe: Recipe, classes: Array) -> None:
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        kept = self._kept is not None
        self._trainer = Trainer(network, recipe, budget=budget, checkpoint=kept)
        self.classes_ = classes
        self.plan_ = self._trainer.plan
        if math.prod(getattr(self, "_shape", (0,))) != network.features:
            self._shape = (network.features,)
        self.__dict__.pop("_sample", None)
        self.drift_: Drift | None = None
        self._watch = DriftWatch()

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
            precision=self.precision, input_parts=input_parts, activations=self._activations(),
            fields=self.fields,
        )  # fmt: skip

    def _activations(self) -> Activation | list[Activation]:
        given = self.activation
        if given is None:
            return self._rule().activation
        if isinstance(given, str | Activation):
            return activation_of(given)
        if not isinstance(given, Sequence):
            raise ConfigError(
                f"FFClassifier: expected activation a name, an Activation or a sequence of them, "
                f"got {given!r:.60}"
            )
        return [activation_of(each) for each in given]

    def _recipe(self, data: Dataset) -> Recipe:
        size = self.batch_size
        if size == "auto":
            size = choose_batch(data.n_samples)
        size = whole("batch_size", size)
        epochs = self.max_iter
        if epochs is None:
            epochs = choose_epochs(data.n_samples, size)
        scaling = choose_scaling(data) if self.scaling == "auto" else self.scaling
        size = min(size, data.n_samples)
        return self._recipe_of(size, epochs, scaling, dtype=data.features.dtype)

    def _recipe_of(
        self, size: Any, epochs: int, scaling: str, stream: bool = False, dtype: Any = None
    ) -> Recipe:
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
            shift=0 if stream else self.shift,
            replay=whole("replay", self.replay), replay_dtype=stored_as(dtype),
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
            activation=_shortest([layer.activation for layer in model.network.layers]),
            fields=_or_none([layer.fields for layer in model.network.layers]),
            optimizer=recipe.optimizer,
            batch_size=recipe.batch_size, schedule=recipe.schedule, scaling=recipe.scaling,
            replay=recipe.replay, shuffle=recipe.shuffle, random_state=recipe.seed,
            shift=recipe.shift, feature_shape=model.feature_shape if recipe.shift else None,
        )  # fmt: skip
        self._resume(model.network, model.params, recipe, np.asarray(model.classes))
        self.n_features_in_ = model.network.features
        self.n_iter_, self._shape = epochs, model.feature_shape
        if model.feature_names is not None:
            self.feature_names_in_ = np.asarray(model.feature_names, dtype=object)
        return self


def _shortest(activations: list[Activation]) -> Activation | list[Activation]:
    """One activation where all layers have the same."""
    return activations[0] if len(set(activations)) == 1 else activations


def _or_none(fields: list[Fields | None]) -> list[Fields | None] | None:
    """None where no layer has any."""
    return fields if any(fields) else None
