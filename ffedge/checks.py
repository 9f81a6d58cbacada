"""The estimator's input, checked by scikit-learn where it is loaded and by ffedge where not."""

from __future__ import annotations

import sys
from typing import Any, cast

import numpy as np

from .errors import DataError, FFEdgeError

Array = np.ndarray[Any, Any]


class NotFitted(FFEdgeError, ValueError, AttributeError):
    """A prediction was asked of an estimator that has not been trained."""

    @staticmethod
    def error(name: str) -> Exception:
        """The exception to raise: scikit-learn's own where it is loaded."""
        text = f"{name}: expected a fitted estimator, got a new one; call fit or partial_fit first"
        if "sklearn" in sys.modules:
            from sklearn.exceptions import NotFittedError

            return cast(Exception, NotFittedError(text))
        return NotFitted(text)


def check_features(estimator: Any, X: Any, *, reset: bool) -> Array:
    """X as a finite, C-contiguous number array (n, features) of a dtype the kernels read.

    reset: learn ``n_features_in_`` and column names from X; otherwise compare with them.
    Raises ValueError (DataError where scikit-learn is not loaded).
    """
    if "sklearn" in sys.modules:
        from sklearn.utils.validation import validate_data

        dtypes = [np.float32, np.uint8, np.int8, np.int16]
        return cast(Array, validate_data(estimator, X, dtype=dtypes, order="C", reset=reset))
    names = getattr(X, "columns", None)
    array = np.asarray(X)
    if array.ndim != 2:
        raise DataError(
            f"FFClassifier: expected X of shape (samples, features), got {array.shape}; "
            "reshape a single sample to (1, features)"
        )
    if not reset and array.shape[1] != estimator.n_features_in_:
        raise DataError(
            f"FFClassifier: expected {estimator.n_features_in_} features, got {array.shape[1]}"
        )
    if array.dtype.kind not in "biuf":
        try:
            array = array.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"FFClassifier: expected numbers in X, got {error}") from None
    if array.dtype not in (np.uint8, np.int8, np.int16):
        array = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("FFClassifier: expected finite numbers in X, got NaN or infinity")
    if reset:
        estimator.n_features_in_ = array.shape[1]
        if names is not None:
            estimator.feature_names_in_ = np.asarray(names, dtype=object)
    return np.ascontiguousarray(array)


def check_labels(y: Any, count: int, classes: Array | None = None) -> tuple[Array, Array]:
    """(codes int32 (count,), class labels sorted); ``classes`` restricts what may come.

    Raises ValueError for another length, for continuous values and for unknown labels.
    """
    if y is None:
        raise DataError("FFClassifier: requires y to be passed, but the target y is None")
    if "sklearn" in sys.modules:
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import column_or_1d

        labels = cast(Array, column_or_1d(y, warn=True))
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise DataError("FFClassifier: expected labels in y, got NaN or infinity")
        check_classification_targets(labels)
    else:
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise DataError(f"FFClassifier: expected y of shape (samples,), got {labels.shape}")
        if labels.dtype.kind == "f" and not np.equal(labels, np.round(labels)).all():
            raise DataError("FFClassifier: expected class labels in y, got continuous values")
    if len(labels) != count:
        raise DataError(f"FFClassifier: expected {count} labels, one per row of X, got {len(labels)}")
    found, codes = np.unique(labels, return_inverse=True)
    if classes is None:
        return codes.astype(np.int32), found
    unknown = np.setdiff1d(found, classes)
    if unknown.size:
        raise DataError(
            f"FFClassifier: expected labels among {list(classes)[:10]}, got {list(unknown)[:5]}"
        )
    return np.searchsorted(classes, found).astype(np.int32)[codes], classes


def seed_of(random_state: Any) -> int:
    """A seed from an int, None (fresh), or a NumPy RandomState or Generator (drawn from it)."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if hasattr(random_state, "randint"):
        return int(random_state.randint(2**31 - 1))
    if hasattr(random_state, "integers"):
        return int(random_state.integers(2**32))
    return int(random_state) % 2**32
