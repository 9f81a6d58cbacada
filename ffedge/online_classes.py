"""Classes on a stream: batches and single samples with labels, and labels nobody foresaw."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from .base_estimator import Estimator
from .checks import (
    NotFitted,
    check_classes,
    check_features,
    check_label,
    check_labels,
    check_new_classes,
    check_same,
)
from .errors import DataError
from .new_classes import with_classes
from .sources import from_arrays
from .units import parse_bytes

Array = np.ndarray[Any, Any]


class OnlineClasses(Estimator):
    """What ``FFClassifier`` does with samples and labels that come bit by bit."""

    classes_: Array

    def _outputs(self, names: Array) -> int:
        return len(names)

    def _labels_seen(self) -> Array:
        return self.classes_

    def _blank(self) -> tuple[Array, tuple[int, ...]]:
        return np.zeros(1, np.int32), tuple(range(len(self.classes_)))

    def _take_names(self, names: Array) -> None:
        self.classes_ = names

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
        self._learn_rows(from_arrays(X, codes, classes=range(len(names))))
        return self

    def learn_one(self, x: Any, y: Any, classes: Iterable[Any] | None = None) -> Self:
        """Learn from one sample: x a mapping of names to numbers, or a sequence of numbers.

        classes: as in ``partial_fit``. A mapping's names are sorted and stay what they were in
        the first call.
        """
        names = self._stream_classes(classes, "learn_one")
        code = check_label(y, names)
        data = self._open_one(x, names)
        data.labels[0] = code
        memory = self._memory
        if memory is not None:
            memory.check(data.features)
        self._learn(data, 0, 1)
        return self

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
