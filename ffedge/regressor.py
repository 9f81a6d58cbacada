"""FFRegressor: numbers learned by Forward-Forward, as a scikit-learn regressor without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from . import bins as binning
from .base_estimator import Estimator
from .checks import check_features, check_targets, whole
from .defaults import BINS
from .drift import Drift
from .errors import ConfigError, DataError
from .fields import Fields
from .model import Classes, Model
from .optimizers import Optimizer
from .recipe import Recipe
from .rules import Rule
from .rules.ordinal import CENTRES
from .scoring import Deviation
from .shifts import Shift
from .sources import from_arrays

Array = np.ndarray[Any, Any]

_NO_NAMES = np.empty(0, np.int64)


class FFRegressor(Estimator):
    """A multi-layer regressor trained by Forward-Forward, layer by layer, inside a byte budget.

    Targets become ``bins`` ordered bins, layers learn their soft distribution, and the prediction
    is the bins' mean under it: a number, and how sure it is. See ``rules.Ordinal``.

    hidden_layer_sizes: widths of the hidden layers, each at least 1.
    rule: "ordinal", "ordinal-group", or an ``Ordinal`` with options.
    bins: how many; at least 2 and more than the spacing's margins take.
    target_range: (low, high) of the targets, if they are known; the bins lie there, and predictions
    cannot leave it by more than the spacing's margin. None takes the range of the data of ``fit``,
    or of the first call of ``partial_fit``: the bins stay where that put them, and targets beyond
    count as the outermost. ``learn_one`` needs it.
    optimizer, learning_rate, max_iter, batch_size, schedule, scaling, max_memory, on_drift,
    shuffle, warm_start, random_state: as in ``FFClassifier``. float32 only.

    After ``fit``: ``n_features_in_``, ``n_iter_``, ``loss_`` (nats, above the least possible),
    ``plan_``; ``drift_``, the last ``Drift`` found or None; ``bin_centres_``.

    >>> X = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
    >>> model = FFRegressor((32, 32), max_iter=150, random_state=0).fit(X, 10 + 5 * X[:, 0] ** 2)
    >>> model.score(X, 10 + 5 * X[:, 0] ** 2) > 0.9
    True
    """

    #: What ``Estimator`` asks for and a regression does not have.
    precision: str = "float32"
    replay: int = 0
    shift: Shift = 0
    activation: str = "relu"
    fields: Sequence[Fields | None] | None = None
    drift_signal: str = "goodness"
    _numeric: ClassVar[bool] = True

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (500, 500),
        *,
        rule: str | Rule = "ordinal",
        bins: int = BINS,
        target_range: tuple[float, float] | None = None,
        optimizer: str | Optimizer = "auto",
        learning_rate: float | None = None,
        max_iter: int | None = None,
        batch_size: int | str = "auto",
        schedule: str = "sweep",
        scaling: str = "auto",
        max_memory: int | str | None = None,
        on_drift: Callable[[Drift], Any] | None = None,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rule = rule
        self.bins = bins
        self.target_range = target_range
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.schedule = schedule
        self.scaling = scaling
        self.max_memory = max_memory
        self.on_drift = on_drift
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state

    # Training

    def fit(self, X: Any, y: Any) -> FFRegressor:
        """Train from scratch on X (n, features) and y (n,), finite numbers.

        Raises DataError for data that cannot be used, ConfigError for parameters that cannot,
        BudgetError if the plan exceeds ``max_memory``. An interrupt leaves the last good state.
        With ``warm_start`` the bins stay where the first ``fit`` put them.
        """
        X = check_features(self, X, reset=True)
        self._columns = None
        data = from_arrays(X, check_targets(y, len(X), "FFRegressor"), numeric=True)
        network = self._network(data.width, self._outputs(_NO_NAMES), 1)
        self._fit(data, network, self._recipe(data), _NO_NAMES)
        return self

    def partial_fit(
        self, X: Any, y: Any, *, checkpoint: str | os.PathLike[str] | None = None
    ) -> Self:
        """Train once on the rows of X, in their order, and keep everything learned before.

        The first call places the bins, by ``target_range`` or by its y, and there they stay; the
        scaler learns from the first 1,000 samples. checkpoint: as in ``FFClassifier``.
        """
        first = not hasattr(self, "_trainer")
        X = check_features(self, X, reset=first)
        targets = check_targets(y, len(X), "FFRegressor")
        data = from_arrays(X, targets, numeric=True)
        if first and self.target_range is None and targets.min() == targets.max():
            raise DataError(
                "FFRegressor: expected different targets in the first call of partial_fit, which "
                f"places the bins, got {targets[0]:g} only; give target_range"
            )
        self._hold(checkpoint)
        self._open_stream(X.shape[1], _NO_NAMES, X.dtype)
        if first and self.n_iter_ == 0:
            # Not in a state that was found in the folder.
            self._trainer.network.rule.prepare(self._trainer.arena, data)
            self._place_bins()
        self._learn_rows(data)
        return self

    def learn_one(self, x: Any, y: Any) -> Self:
        """Learn from one sample: x a mapping of names to numbers, or a sequence of numbers.

        ``target_range`` must be given unless the estimator has learned before. A mapping's names
        are sorted and stay what they were in the first call.
        """
        if np.ndim(y) != 0:
            raise DataError(f"FFRegressor: expected one number as target, got {y!r:.80}")
        target = check_targets([y], 1, "FFRegressor")[0]
        first = not hasattr(self, "_trainer")
        if first and self.target_range is None:
            raise ConfigError(
                "FFRegressor: expected target_range before the first learn_one, got None; one "
                "target does not say where the bins should lie"
            )
        data = self._open_one(x, _NO_NAMES)
        if first:
            self._place_bins()
        data.labels[0] = target
        self._learn(data, 0, 1)
        return self

    def _place_bins(self) -> None:
        """Put the bins where ``target_range`` says, if it says anything."""
        if self.target_range is None:
            return
        rule: Any = self._trainer.network.rule
        centres = self._trainer.arena[CENTRES]
        centres[:] = binning.place(rule.spacing, self._checked_range(), len(centres))

    def _checked_range(self) -> Array:
        """``target_range`` as float64 (2,)."""
        try:
            low, high = (float(end) for end in self.target_range or ())
        except (TypeError, ValueError):
            low = high = 0.0
        if not (np.isfinite([low, high]).all() and low < high):
            raise ConfigError(
                "FFRegressor: expected target_range as (low, high) with low < high, got "
                f"{self.target_range!r:.80}"
            )
        return np.array([low, high])

    # Of ``Online`` and ``Estimator``

    def _begin(self, network: Any, recipe: Recipe, names: Array) -> None:
        if self.target_range is not None:
            self._checked_range()
        super()._begin(network, recipe, names)

    def _learned_scaling(self) -> None:
        self._place_bins()

    def _outputs(self, names: Array) -> int:
        return whole("bins", self.bins, "FFRegressor")

    def _labels_seen(self) -> Array:
        return _NO_NAMES

    def _blank(self) -> tuple[Array, tuple[int, ...]]:
        return np.zeros(1, np.float32), ()

    def _take_names(self, names: Array) -> None:
        """A regression has none."""

    def _model_classes(self) -> Classes:
        return ()

    @classmethod
    def _of_model(cls, model: Model, recipe: Recipe) -> FFRegressor:
        return cls(
            model.network.hidden, rule=model.network.rule, bins=model.network.classes,
            optimizer=recipe.optimizer,
            batch_size=recipe.batch_size, schedule=recipe.schedule, scaling=recipe.scaling,
            shuffle=recipe.shuffle, random_state=recipe.seed,
        )  # fmt: skip

    # Prediction

    @property
    def bin_centres_(self) -> Array:
        """Bin centres float32 (bins,), in the targets' units."""
        found: Array = self.model_.params[CENTRES].copy()
        return found

    def _chances(self, X: Any) -> Array:
        return self._probabilities(self._scores(X))

    def predict(self, X: Any) -> Array:
        """Numbers float64 (n,) of X (n, features): the mean of the bins."""
        return binning.expected(self._chances(X), self._trainer.arena[CENTRES])

    def predict_std(self, X: Any) -> Array:
        """Standard deviation float64 (n,) of the bins: how sure each prediction is."""
        return binning.deviation(self._chances(X), self._trainer.arena[CENTRES])

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """float64 (n, 2), low and high: between them lies ``coverage`` of the bins' probability.

        The probability is the model's own opinion, widened by the soft targets; how many targets
        fall inside is to be measured on data it has not seen.
        """
        binning.check_share(coverage)
        return binning.interval(self._chances(X), self._trainer.arena[CENTRES], coverage)

    def predict_one(self, x: Any) -> float | None:
        """The number of one sample; before the first ``learn_one``, None."""
        if not hasattr(self, "_trainer"):
            return None
        chances = self._probabilities(self._score_rows(self._one(x).features))
        return float(binning.expected(chances, self._trainer.arena[CENTRES])[0])

    def score(self, X: Any, y: Any) -> float:
        """R2 on X and y: 1 less the share of the variance of y that is left in the errors."""
        predicted = self.predict(X)
        found = Deviation()
        found.take(predicted, check_targets(y, len(predicted), "FFRegressor"))
        return found.value
