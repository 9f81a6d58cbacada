"""FFClassifier: the trainer as a scikit-learn classifier that does not need scikit-learn."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from .checks import NotFitted, check_features, check_labels, seed_of
from .defaults import choose_batch, choose_epochs, choose_scaling
from .errors import ConfigError, DataError
from .model import Model
from .model_file import load_model, save_model
from .network import Network
from .optimizers import Optimizer, named_optimizer
from .predict import score_rows
from .recipe import Recipe
from .rules import Rule, named_rule
from .sources import Dataset, from_arrays
from .trainer import Trainer
from .units import parse_bytes

Array = np.ndarray[Any, Any]

#: A stream's scaler learns from this many samples, then stays as it is.
SCALER_SAMPLES = 1000


class FFClassifier:
    """A multi-layer classifier trained by Forward-Forward, layer by layer, inside a byte budget.

    hidden_layer_sizes: widths of the hidden layers, each at least 1.
    rule: "readout", "readout-frozen", "group", "group-mean", "hinton", or an object of
    ``ffedge.rules`` with options.
    precision: "float32".
    optimizer: "adam", "momentum", "sgd", or one of ``ffedge.optimizers`` with options.
    learning_rate: None takes the optimiser's own default.
    max_iter: passes over the data in ``fit``; None takes enough for about 5,000 updates, at
    least 10 and at most 200.
    batch_size: samples per update; "auto" takes 64, less for small sets.
    schedule: "sweep" (all layers learn from every batch) or "layerwise".
    scaling: "auto", "standard", "global" or "none"; see ``ffedge.scaling``.
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
    (True, 218624)
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (500, 500),
        *,
        rule: str | Rule = "readout",
        precision: str = "float32",
        optimizer: str | Optimizer = "adam",
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

    # scikit-learn's protocol, without its base class

    @classmethod
    def _names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> FFClassifier:
        """Change constructor parameters; ConfigError for a name that there is not."""
        for name, value in params.items():
            if name not in self._names():
                raise ConfigError(
                    f"FFClassifier: expected one of {', '.join(self._names())}, got {name!r}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        signature = inspect.signature(type(self)).parameters
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name in signature
            if repr(getattr(self, name)) != repr(signature[name].default)
        )
        return f"FFClassifier({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know of an estimator; called by scikit-learn only."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(sparse=False, allow_nan=False),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether predictions are possible."""
        return hasattr(self, "_trainer")

    # Training

    def fit(self, X: Any, y: Any) -> FFClassifier:
        """Train from scratch on X (n, features) and y (n,); numbers, whole numbers or texts.

        Raises DataError for data that cannot be used, ConfigError for parameters that cannot,
        BudgetError if the plan exceeds ``max_memory``. An interrupt leaves the last good state.
        """
        X = check_features(self, X, reset=True)
        codes, classes = check_labels(y, len(X))
        if len(classes) < 2:
            raise DataError(
                f"FFClassifier: expected at least 2 classes in y, got one class: {classes[0]!r}"
            )
        data = from_arrays(X, codes, classes=range(len(classes)))
        network = self._network(data.width, len(classes))
        recipe = self._recipe(data)
        old = getattr(self, "_trainer", None)
        if not (self.warm_start and old is not None and old.network == network):
            self._begin(network, recipe, classes)
            self._trainer.learn_scaling(data)
        elif old.recipe != recipe:
            self._resume(Model(network, old.params, tuple(range(len(classes))), (data.width,)),
                         recipe, classes)  # fmt: skip
        self._shape = data.feature_shape
        progress = None
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
        if first and classes is None:
            raise DataError(
                "FFClassifier: expected classes on the first call to partial_fit, got none; "
                "pass all labels that will ever come"
            )
        X = check_features(self, X, reset=first)
        if first:
            self._begin_stream(X.shape[1], classes)
        elif classes is not None and not np.array_equal(np.unique(list(classes)), self.classes_):
            raise DataError(
                f"FFClassifier: expected the classes of the first call, {self.classes_!r}, got "
                f"{classes!r}; leave classes out, or fit a new model"
            )
        codes, _ = check_labels(y, len(X), self.classes_)
        data = from_arrays(X, codes, classes=range(len(self.classes_)))
        size = self._trainer.recipe.batch_size
        for start in range(0, len(X), size):
            self._learn(data, start, min(size, len(X) - start))
        return self

    def learn_one(
        self, x: Any, y: Any, classes: Iterable[Any] | None = None
    ) -> FFClassifier:
        """Learn from one sample: x a mapping of names to numbers, or a sequence of numbers.

        classes: as in ``partial_fit``. A mapping's names are sorted and stay what they were in
        the first call.
        """
        first = not hasattr(self, "_trainer")
        if first:
            if classes is None:
                raise DataError(
                    "FFClassifier: expected classes on the first call to learn_one, got none; "
                    "pass all labels that will ever come"
                )
            self._columns = tuple(sorted(x)) if isinstance(x, Mapping) else None
            self.n_features_in_ = len(x)
            self._begin_stream(len(x), classes)
        data = self._one(x)
        code = np.flatnonzero(self.classes_ == y)
        if len(code) != 1:
            raise DataError(
                f"FFClassifier: expected a label among {list(self.classes_)[:10]}, got {y!r}"
            )
        data.labels[0] = code[0]
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
        columns = getattr(self, "_columns", None)
        try:
            if isinstance(x, Mapping):
                names = columns or getattr(self, "feature_names_in_", ())
                if len(x) != len(names):
                    raise KeyError(f"{len(x)} values")
                self._sample.features[0] = [x[name] for name in names]
            else:
                if len(x) != self.n_features_in_:
                    raise KeyError(f"{len(x)} values")
                self._sample.features[0] = x
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"FFClassifier: expected {self.n_features_in_} numbers"
                f"{' named ' + ', '.join(map(str, columns[:8])) if columns else ''}, got {error}"
            ) from None
        if not np.isfinite(self._sample.features).all():
            raise DataError("FFClassifier: expected finite numbers, got NaN or infinity in x")
        return self._sample

    def _begin_stream(self, features: int, classes: Iterable[Any] | None) -> None:
        names = np.unique(list(cast(Iterable[Any], classes)))
        if len(names) < 2:
            raise DataError(f"FFClassifier: expected at least 2 classes, got one class: {names!r}")
        size = 32 if self.batch_size == "auto" else cast(int, self.batch_size)
        scaling = "standard" if self.scaling == "auto" else self.scaling
        recipe = self._recipe_of(size, 1, scaling, stream=True)
        self._begin(self._network(features, len(names)), recipe, names)
        self._trainer.run.begin_stage(None)
        self._shape: tuple[int, ...] = (features,)
        self.n_iter_ = 0

    def _learn(self, data: Dataset, first: int, count: int) -> None:
        trainer = self._trainer
        if trainer.recipe.stream and trainer.scaler.count < SCALER_SAMPLES:
            trainer.adapt_scaling(data, first, count)
        elif not trainer.run.layers[-1].active:
            trainer.run.begin_stage(None)
        trainer.learn(data, first, count)
        self.n_iter_ = getattr(self, "n_iter_", 0) + 1

    def _begin(self, network: Network, recipe: Recipe, classes: Array) -> None:
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        self._trainer = Trainer(network, recipe, budget=budget)
        self._trainer.run.samples_seen = 0
        self.classes_ = classes
        self.plan_ = self._trainer.plan
        self.__dict__.pop("_sample", None)

    def _resume(self, model: Model, recipe: Recipe, classes: Array) -> None:
        params = {name: array.copy() for name, array in model.params.items()}
        self._begin(model.network, recipe, classes)
        for name, array in params.items():
            self._trainer.arena[name][...] = array

    def _network(self, features: int, classes: int) -> Network:
        if self.precision != "float32":
            raise ConfigError(f"FFClassifier: expected precision 'float32', got {self.precision!r}")
        rule = named_rule(self.rule) if isinstance(self.rule, str) else self.rule
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or not len(sizes):
            raise ConfigError(
                "FFClassifier: expected hidden_layer_sizes as whole numbers such as (500, 500), "
                f"got {self.hidden_layer_sizes!r}"
            )
        return Network.dense(features, [int(size) for size in sizes], classes, rule)

    def _recipe(self, data: Dataset) -> Recipe:
        size = choose_batch(data.n_samples) if self.batch_size == "auto" else self.batch_size
        if not isinstance(size, int | np.integer):
            raise ConfigError(f"FFClassifier: expected batch_size a number or 'auto', got {size!r}")
        epochs = self.max_iter
        if epochs is None:
            epochs = choose_epochs(data.n_samples, int(size))
        scaling = choose_scaling(data) if self.scaling == "auto" else self.scaling
        return self._recipe_of(min(int(size), data.n_samples), epochs, scaling)

    def _recipe_of(self, size: int, epochs: int, scaling: str, stream: bool = False) -> Recipe:
        optimizer = self.optimizer
        if isinstance(optimizer, str):
            optimizer = named_optimizer(optimizer, self.learning_rate)
        return Recipe(
            optimizer=optimizer, batch_size=size, epochs=int(epochs), schedule=self.schedule,
            scaling=scaling, shuffle=bool(self.shuffle), stream=stream,
            seed=seed_of(self.random_state),
        )  # fmt: skip

    # Prediction

    def _scores(self, X: Any) -> Array:
        if not hasattr(self, "_trainer"):
            raise NotFitted.error("FFClassifier")
        X = check_features(self, X, reset=False)
        return self._score_rows(X)

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
        names = getattr(self, "feature_names_in_", getattr(self, "_columns", None))
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
        recipe = Recipe.parse(model.training.get("recipe", Recipe().describe()))
        self = cls(
            model.network.hidden, rule=model.network.rule, optimizer=recipe.optimizer,
            batch_size=recipe.batch_size, schedule=recipe.schedule, scaling=recipe.scaling,
            shuffle=recipe.shuffle, random_state=recipe.seed,
        )  # fmt: skip
        self._resume(model, recipe, np.asarray(model.classes))
        self._trainer.scaler.count = SCALER_SAMPLES
        self._shape = model.feature_shape
        self.n_features_in_ = model.network.features
        self.n_iter_ = int(model.training.get("epochs", 0))
        if model.feature_names is not None:
            self.feature_names_in_ = np.asarray(model.feature_names, dtype=object)
        return self
