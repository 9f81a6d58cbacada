"""What the estimators share: from parameters to a trainer, scores, and model files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np

from .activations import Activation, activation_of
from .boxes import Box
from .checks import NotFitted, check_features, seed_of, whole, widths_of
from .defaults import choose_batch, choose_epochs, choose_optimizer, choose_scaling
from .drift import Drift, DriftWatch
from .errors import CheckpointError, ConfigError
from .fields import Fields
from .model import Classes, Model
from .model_file import load_model, save_model
from .network import Network
from .online import SCALER_SAMPLES, Online, stored_as
from .optimizers import Optimizer, named_optimizer
from .predict import score_rows
from .recipe import Recipe
from .rules import NAMED_RULES, NUMBER_RULES, Rule, named_rule
from .shifts import Shift
from .sources import Dataset
from .trainer import Trainer
from .units import parse_bytes

Array = np.ndarray[Any, Any]


class Estimator(Online):
    """Base of ``FFClassifier`` and ``FFRegressor``: all that does not ask what a label is."""

    hidden_layer_sizes: Sequence[int]
    rule: str | Rule
    activation: str | Activation | Sequence[str | Activation] | None
    fields: Sequence[Fields | None] | None
    boxes: Mapping[int, Box] | None = None
    shift: Shift
    optimizer: str | Optimizer
    learning_rate: float | None
    max_iter: int | None
    schedule: str
    replay: int
    shuffle: bool
    warm_start: bool
    random_state: Any
    _shape: tuple[int, ...]

    # Of the classes below

    def _take_names(self, names: Array) -> None:
        """Keep the labels that there are; a regression has none."""
        raise NotImplementedError

    def _model_classes(self) -> Classes:
        """The labels as a model has them."""
        raise NotImplementedError

    @classmethod
    def _of_model(cls, model: Model, recipe: Recipe) -> Self:
        """A new estimator with the parameters of a model file."""
        raise NotImplementedError

    # Training

    def _begin(self, network: Network, recipe: Recipe, names: Array) -> None:
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        kept = self._kept is not None
        self._trainer = Trainer(network, recipe, budget=budget, checkpoint=kept)
        self._take_names(names)
        self.plan_ = self._trainer.plan
        if math.prod(getattr(self, "_shape", (0,))) != network.features:
            self._shape = (network.features,)
        self.__dict__.pop("_sample", None)
        self.drift_: Drift | None = None
        self._watch = DriftWatch()

    def _resume(
        self, network: Network, params: dict[str, Array], recipe: Recipe, names: Array
    ) -> None:
        """``_begin``, with these parameters and the scaler that is among them."""
        self._begin(network, recipe, names)
        for name, array in params.items():
            self._trainer.arena[name][...] = array
        self._trainer.scaler.count = SCALER_SAMPLES

    def _fit(self, data: Dataset, network: Network, recipe: Recipe, names: Array) -> None:
        """Train from scratch, or go on if ``warm_start`` and the network is the last one's."""
        old = getattr(self, "_trainer", None)
        if not (self.warm_start and old is not None and old.network == network):
            self._start(data, network, recipe, names)
        else:
            self._check_same_names(names)
            self._resume(network, old.params, recipe, names)
        for progress in self._trainer.train(data, tick=float("inf")):
            self.n_iter_ = progress.epoch
            self.loss_ = progress.loss

    def _start(self, data: Dataset, network: Network, recipe: Recipe, names: Array) -> None:
        """Make the trainer and all it needs before its first update."""
        self._begin(network, recipe, names)
        self._trainer.learn_scaling(data)
        self._learned_scaling()

    def _learned_scaling(self) -> None:
        """Called once the scaler has learned, before the first update."""

    def _check_same_names(self, names: Array) -> None:
        """Raise DataError unless the labels are those of the last fit."""

    def _rule(self) -> Rule:
        name, rule = type(self).__name__, self.rule
        if isinstance(rule, str):
            rule = named_rule(rule, NUMBER_RULES if self._numeric else NAMED_RULES)
        if not isinstance(rule, Rule):
            raise ConfigError(f"{name}: expected rule a name or a Rule, got {rule!r}")
        if rule.numeric != self._numeric:
            wanted, other = "classes", "numbers: use FFRegressor"
            if self._numeric:
                wanted, other = "numbers", "classes: use FFClassifier"
            raise ConfigError(
                f"{name}: expected a rule that predicts {wanted}, got {rule.name}, which "
                f"predicts {other}"
            )
        return rule

    def _network(self, features: int, outputs: int, input_parts: int) -> Network:
        hidden = widths_of(self.hidden_layer_sizes, type(self).__name__)
        return Network.dense(
            features, hidden, outputs, self._rule(),
            precision=self.precision, input_parts=input_parts, activations=self._activations(),
            fields=self.fields, boxes=self.boxes,
        )  # fmt: skip

    def _activations(self) -> Activation | list[Activation]:
        given = self.activation
        if given is None:
            return self._rule().activation
        if isinstance(given, str | Activation):
            return activation_of(given)
        if not isinstance(given, Sequence):
            raise ConfigError(
                f"{type(self).__name__}: expected activation a name, an Activation or a sequence "
                f"of them, got {given!r:.60}"
            )
        return [activation_of(each) for each in given]

    def _recipe(self, data: Dataset) -> Recipe:
        name = type(self).__name__
        size = self.batch_size
        if size == "auto":
            size = choose_batch(data.n_samples)
        size = whole("batch_size", size, name)
        epochs = self.max_iter
        if epochs is None:
            epochs = choose_epochs(data.n_samples, size)
        scaling = choose_scaling(data) if self.scaling == "auto" else self.scaling
        size = min(size, data.n_samples)
        dtype, samples = data.features.dtype, data.n_samples
        return self._recipe_of(size, epochs, scaling, dtype=dtype, samples=samples)

    def _recipe_of(
        self, size: Any, epochs: int, scaling: str, stream: bool = False, dtype: Any = None,
        samples: int | None = None,
    ) -> Recipe:  # fmt: skip
        name = type(self).__name__
        optimizer, rate, size = self.optimizer, self.learning_rate, whole("batch_size", size, name)
        if rate is not None and not isinstance(rate, int | float | np.number):
            raise ConfigError(f"{name}: expected learning_rate a number, got {rate!r}")
        if isinstance(optimizer, str):
            rate = None if rate is None else float(rate)
            if optimizer == "auto":
                features = self.n_features_in_
                optimizer = choose_optimizer(
                    self._rule(), self.precision, features, size, rate, samples
                )
            else:
                optimizer = named_optimizer(optimizer, rate)
        elif rate is not None:
            raise ConfigError(
                f"{name}: expected the rate inside the optimizer {optimizer!r}, got "
                f"learning_rate={rate!r} as well; leave one of them out"
            )
        return Recipe(
            optimizer=optimizer, batch_size=size,
            epochs=whole("max_iter", epochs, name), schedule="sweep" if stream else self.schedule,
            scaling=scaling, shuffle=bool(self.shuffle), stream=stream,
            shift=0 if stream else self.shift,
            replay=whole("replay", self.replay, name), replay_dtype=stored_as(dtype),
            seed=seed_of(self.random_state, name),
        )  # fmt: skip

    # Prediction

    def _scores(self, X: Any) -> Array:
        if not hasattr(self, "_trainer"):
            raise NotFitted.error(type(self).__name__)
        return self._score_rows(check_features(self, X, reset=False))

    def _score_rows(self, X: Array) -> Array:
        trainer = self._trainer
        return score_rows(trainer.run, X, trainer.recipe.batch_size)

    def _probabilities(self, scores: Array) -> Array:
        network = self._trainer.network
        return cast(Array, network.rule.probabilities(network, scores))

    # Files

    @property
    def model_(self) -> Model:
        """The trained model, as views of the estimator's memory; for export and saving."""
        if not hasattr(self, "_trainer"):
            raise NotFitted.error(type(self).__name__)
        names = self._names_of_columns()
        return Model(
            self._trainer.network, self._trainer.params, self._model_classes(), self._shape,
            None if names is None else tuple(map(str, names)),
            {"recipe": self._trainer.recipe.describe(), "epochs": self.n_iter_},
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file; see ``ffedge.model_file``."""
        save_model(self.model_, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str],
        boxes: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Self:  # fmt: skip
        """The estimator of a model file: predicts, and ``partial_fit`` goes on from it.

        boxes: the functions of its black boxes by title, which no file holds. Optimiser state is
        not in the file either and starts afresh. Raises CheckpointError, and ConfigError for a
        function that is missing.
        """
        model = load_model(path)
        model = replace(model, network=model.network.with_functions(boxes or {}))
        if model.network.rule.numeric != cls._numeric:
            kinds = ("a classifier", "a regression")
            raise CheckpointError(
                f"{os.fspath(path)}: expected {kinds[cls._numeric]} for {cls.__name__}, got "
                f"{kinds[not cls._numeric]} of the rule {model.network.rule.name}; use "
                f"{('FFRegressor', 'FFClassifier')[cls._numeric]}"
            )
        try:
            recipe = Recipe.parse(model.training.get("recipe", Recipe().describe()))
            epochs = whole("epochs", model.training.get("epochs", 0), cls.__name__)
        except ConfigError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from None
        self = cls._of_model(model, recipe)
        self._resume(model.network, model.params, recipe, np.asarray(model.classes))
        self.n_features_in_ = model.network.features
        self.n_iter_, self._shape = epochs, model.feature_shape
        if model.feature_names is not None:
            self.feature_names_in_ = np.asarray(model.feature_names, dtype=object)
        return self
