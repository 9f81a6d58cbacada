"""FFClassifier: the trainer as a scikit-learn classifier that does not need scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from .activations import Activation
from .boxes import Box
from .checks import check_features, check_labels, check_same
from .defaults import choose_parts
from .drift import Drift
from .errors import DataError
from .fields import Fields
from .model import Classes, Model
from .network import Network
from .online_classes import OnlineClasses
from .optimizers import Optimizer
from .recipe import Recipe
from .rules import Headed, Rule
from .shifts import Shift, check_shape, grid_of
from .sources import Dataset, from_arrays
from .units import parse_bytes
from .unlabelled import head_recipe, pretrain

Array = np.ndarray[Any, Any]


class FFClassifier(OnlineClasses):
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
    boxes: black boxes by the number of the layer that each stands in front of, such as
    {1: BlackBox(function)}; see ``ffedge.boxes``. None: none.
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
        boxes: Mapping[int, Box] | None = None,
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
        self.boxes = boxes
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
        self._fit(data, self._network(data.width, len(classes), parts), recipe, classes)
        memory = self._memory
        if memory is not None:
            memory.offer(data.features, data.labels)
        return self

    def _start(self, data: Dataset, network: Network, recipe: Recipe, names: Array) -> None:
        """Of a headed rule, train the layers without labels first."""
        if not isinstance(network.rule, Headed):
            super()._start(data, network, recipe, names)
            return
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        model = pretrain(data, network.hidden, network.rule.learned, recipe, budget=budget)
        recipe = head_recipe(recipe, network.rule.head)
        self._resume(network, model.params, recipe, names)

    # Prediction

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

    def _check_same_names(self, names: Array) -> None:
        check_same(self.classes_, names, "last fit", "set warm_start=False to start afresh")

    def _model_classes(self) -> Classes:
        kind = self.classes_.dtype.kind
        return cast(Classes, tuple(int(c) if kind in "iufb" else str(c) for c in self.classes_))

    @classmethod
    def _of_model(cls, model: Model, recipe: Recipe) -> FFClassifier:
        return cls(
            model.network.hidden, rule=model.network.rule, precision=model.precision,
            activation=_shortest([layer.activation for layer in model.network.layers]),
            fields=_or_none([layer.fields for layer in model.network.layers]),
            optimizer=recipe.optimizer,
            boxes={slot.index: slot.box for slot in model.network.boxes} or None,
            batch_size=recipe.batch_size, schedule=recipe.schedule, scaling=recipe.scaling,
            replay=recipe.replay, shuffle=recipe.shuffle, random_state=recipe.seed,
            shift=recipe.shift, feature_shape=model.feature_shape if recipe.shift else None,
        )  # fmt: skip


def _shortest(activations: list[Activation]) -> Activation | list[Activation]:
    """One activation where all layers have the same."""
    return activations[0] if len(set(activations)) == 1 else activations


def _or_none(fields: list[Fields | None]) -> list[Fields | None] | None:
    """None where no layer has any."""
    return fields if any(fields) else None
