"""FFAnomalyDetector: learns what is normal, without labels, and says how normal a sample is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np

from .checks import NotFitted, check_features, seed_of, whole, widths_of
from .defaults import choose_batch, choose_epochs, choose_optimizer, choose_scaling
from .errors import CheckpointError, ConfigError
from .model import Model
from .model_file import load_model, save_model
from .optimizers import Optimizer, named_optimizer
from .parameters import Parameters
from .predict import Predictor
from .recipe import Recipe
from .rules import Contrast, Corrupted, Rule, SumOfSquares
from .sources import from_features
from .units import parse_bytes
from .unlabelled import pretrain, set_threshold, threshold_of

Array = np.ndarray[Any, Any]


def default_rule() -> Contrast:
    """Constraints that normal samples keep: activity is low on them and high on broken ones.

    Broken are the same samples with noise, an offset, and values of others in them. A sample's own
    magnitude counts, so that what lies far outside breaks more. See
    ``tools/reproduce_unsupervised.py`` for how it was chosen.
    """
    negatives = Corrupted(shuffled=0.3, noise=0.5, offset=2.0)
    goodness = SumOfSquares(minimise=True)
    return Contrast(goodness, negatives=negatives, label=None, normalize=False)


class FFAnomalyDetector(Parameters):
    """An outlier detector trained by Forward-Forward on normal samples, without labels.

    Layers learn to tell samples from broken ones made of them; the score is their goodness.
    The methods are scikit-learn's for outlier detectors, which it does not need.

    hidden_layer_sizes: widths of the hidden layers, each at least 1. Of several, the first is not
    read: a single one, whose input is not normalised, knows a sample's magnitude best.
    rule: one that learns without labels; None: ``default_rule()``.
    contamination: share of the training samples that lie below the threshold, 0 to 0.5.
    optimizer, learning_rate, max_iter, batch_size, scaling, max_memory, random_state: as in
    ``FFClassifier``; scaling "auto" is "standard" unless most values are 0.

    After ``fit``: ``n_features_in_``, ``offset_`` (the threshold), ``plan_peak_`` (bytes).

    >>> random = np.random.default_rng(0)
    >>> normal = random.normal(size=(500, 4)) @ random.normal(size=(4, 4))
    >>> detector = FFAnomalyDetector(random_state=0).fit(normal)
    >>> detector.predict([[9.0, -9.0, 9.0, -9.0]]).tolist()
    [-1]
    """

    kind: ClassVar[str] = "outlier_detector"

    n_features_in_: int

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128,),
        *,
        rule: Rule | None = None,
        contamination: float = 0.01,
        optimizer: str | Optimizer = "auto",
        learning_rate: float | None = None,
        max_iter: int | None = None,
        batch_size: int | str = "auto",
        scaling: str = "auto",
        max_memory: int | str | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rule = rule
        self.contamination = contamination
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.scaling = scaling
        self.max_memory = max_memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from X (n, features), of which all or nearly all is normal; ``y`` is not looked at.

        Raises DataError, ConfigError and BudgetError as ``FFClassifier.fit``.
        """
        if not 0.0 <= self.contamination <= 0.5:
            raise ConfigError(
                f"FFAnomalyDetector: expected contamination in 0..0.5, got {self.contamination!r}"
            )
        X = check_features(self, X, reset=True)
        data = from_features(X, (X.shape[1],), "arrays")
        size = choose_batch(len(X)) if self.batch_size == "auto" else self.batch_size
        size = min(whole("batch_size", size), len(X))
        epochs = choose_epochs(len(X), size) if self.max_iter is None else self.max_iter
        recipe = Recipe(
            self._optimizer(size), size, whole("max_iter", epochs),
            scaling=choose_scaling(data) if self.scaling == "auto" else self.scaling,
            seed=seed_of(self.random_state),
        )  # fmt: skip
        rule = default_rule() if self.rule is None else self.rule
        budget = None if self.max_memory is None else parse_bytes(self.max_memory)
        model = pretrain(data, widths_of(self.hidden_layer_sizes), rule, recipe, budget=budget)
        self._take(set_threshold(model.copy(), X, self.contamination))
        return self

    def _optimizer(self, batch: int) -> Optimizer:
        rate = None if self.learning_rate is None else float(self.learning_rate)
        if not isinstance(self.optimizer, str):
            return self.optimizer
        if self.optimizer == "auto":
            return choose_optimizer(default_rule(), "float32", self.n_features_in_, batch, rate)
        return named_optimizer(self.optimizer, rate)

    def _take(self, model: Model) -> None:
        self._predictor = Predictor(model, batch=256)
        self.offset_ = cast(float, threshold_of(model))
        self.plan_peak_ = self._predictor.plan.peak

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "_predictor")

    @property
    def model_(self) -> Model:
        """The trained model, for export and saving."""
        if not hasattr(self, "_predictor"):
            raise NotFitted.error("FFAnomalyDetector")
        return self._predictor.model

    def score_samples(self, X: Any) -> Array:
        """How normal each sample is, float32 (n,): the goodness summed over the layers read."""
        if not hasattr(self, "_predictor"):
            raise NotFitted.error("FFAnomalyDetector")
        return self._predictor.scores(check_features(self, X, reset=False))[:, 0]

    def decision_function(self, X: Any) -> Array:
        """``score_samples(X) - offset_``, float32 (n,): below 0 for anomalies."""
        return cast(Array, self.score_samples(X) - np.float32(self.offset_))

    def predict(self, X: Any) -> Array:
        """+1 for normal samples, -1 for anomalies, int64 (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X: Any, y: Any = None) -> Array:
        """``fit(X).predict(X)``"""
        return self.fit(X).predict(X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, with the threshold; ``ffedge predict`` reads it."""
        save_model(self.model_, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FFAnomalyDetector:
        """The detector of a model file that has a threshold. Raises CheckpointError."""
        model = load_model(path)
        if threshold_of(model) is None:
            raise CheckpointError(
                f"{os.fspath(path)}: expected a model that learned without labels, with a "
                f"threshold, got the rule {model.network.rule.name}"
            )
        self = cls(model.network.hidden, rule=model.network.rule)
        self.n_features_in_ = model.network.features
        self._take(model)
        return self
