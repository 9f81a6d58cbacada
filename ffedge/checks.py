"""The estimator's input, checked by scikit-learn where it is loaded and by ffedge where not."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from .errors import ConfigError, DataError, FFEdgeError

Array = np.ndarray[Any, Any]


class NotFitted(FFEdgeError, ValueError, AttributeError):  # noqa: N818
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
    name = type(estimator).__name__
    if "sklearn" in sys.modules:
        from sklearn.utils.validation import validate_data

        dtypes = [np.float32, np.uint8, np.int8, np.int16]
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            return cast(Array, validate_data(estimator, X, dtype=dtypes, order="C", reset=reset))
    names = getattr(X, "columns", None)
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise DataError(f"{name}: expected rows of equal length, got {error}") from None
    if array.ndim != 2:
        raise DataError(
            f"{name}: expected X of shape (samples, features), got {array.shape}; "
            "reshape a single sample to (1, features)"
        )
    if 0 in array.shape:
        raise DataError(
            f"{name}: expected at least 1 sample and 1 feature, got X of shape {array.shape}"
        )
    if not reset and array.shape[1] != estimator.n_features_in_:
        raise DataError(
            f"{name}: expected {estimator.n_features_in_} features, got {array.shape[1]}"
        )
    known = getattr(estimator, "feature_names_in_", None)
    if not reset and names is not None and known is not None and list(names) != list(known):
        raise DataError(
            f"{name}: expected columns {list(known)[:8]} in this order, got {list(names)[:8]}"
        )
    if array.dtype.kind == "c":
        raise DataError(f"{name}: expected real numbers in X, got complex ones")
    if array.dtype not in (np.uint8, np.int8, np.int16):
        try:
            with np.errstate(over="ignore"):  # what overflows is refused below
                array = array.astype(np.float32, copy=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: expected numbers in X, got {error}") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name}: expected finite numbers in X, got NaN or infinity")
    if reset:
        estimator.n_features_in_ = array.shape[1]
        estimator.__dict__.pop("feature_names_in_", None)
        if names is not None and all(isinstance(column, str) for column in names):
            estimator.feature_names_in_ = np.asarray(names, dtype=object)
    return np.ascontiguousarray(array)


def check_labels(y: Any, count: int, classes: Array | None = None) -> tuple[Array, Array]:
    """(codes int32 (count,), class labels sorted); ``classes`` restricts what may come.

    Raises ValueError for another length, for continuous values and for unknown labels.
    """
    if y is None:
        # scikit-learn's checks look for the second half of these words.
        raise DataError(
            "FFClassifier: expected labels, got none; it requires y to be passed, but the target "
            "y is None"
        )
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
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise DataError("FFClassifier: expected labels in y, got NaN or infinity")
        if labels.dtype.kind == "f" and not np.equal(labels, np.round(labels)).all():
            raise DataError("FFClassifier: expected class labels in y, got continuous values")
    if len(labels) != count:
        raise DataError(
            f"FFClassifier: expected {count} labels, one per row of X, got {len(labels)}"
        )
    found, codes = _unique(labels)
    if classes is None:
        if len(found) < 2:
            raise DataError(
                f"FFClassifier: expected at least 2 classes in y, got one class: {found.tolist()}"
            )
        return codes.astype(np.int32), found
    # By way of Python's own equality, in which 1 is not "1".
    places = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in found.tolist() if label not in places]
    if unknown:
        raise DataError(
            f"FFClassifier: expected labels among {classes.tolist()[:10]}, got {unknown[:5]}; "
            "add_classes makes room for new ones"
        )
    return np.array([places[label] for label in found.tolist()], np.int32)[codes], classes


def check_targets(y: Any, count: int, where: str) -> Array:
    """Finite numbers float64 (count,) to be predicted; ValueError for anything else."""
    if y is None:
        # scikit-learn's checks look for the second half of these words.
        raise DataError(
            f"{where}: expected targets, got none; it requires y to be passed, but the target y "
            "is None"
        )
    if "sklearn" in sys.modules:
        from sklearn.utils.validation import column_or_1d

        y = column_or_1d(y, warn=True)
    targets = np.asarray(y)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1:
        raise DataError(f"{where}: expected y of shape (samples,), got {targets.shape}")
    if targets.dtype.kind not in "biufO":
        raise DataError(f"{where}: expected real numbers in y, got {targets.dtype}")
    try:
        targets = targets.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected numbers in y, got {error}") from None
    with np.errstate(over="ignore"):  # what overflows is refused
        if not np.isfinite(targets.astype(np.float32)).all():
            raise DataError(
                f"{where}: expected finite numbers within float32 in y, got NaN or infinity"
            )
    if len(targets) != count:
        raise DataError(f"{where}: expected {count} targets, one per row of X, got {len(targets)}")
    return targets


def check_label(y: Any, classes: Array) -> int:
    """The code of one label. Raises ValueError for a label that is not among ``classes``."""
    if np.ndim(y) != 0:
        raise DataError(f"FFClassifier: expected one label, got {y!r}")
    return int(check_labels([y], 1, classes)[0][0])


def check_classes(classes: Any) -> Array:
    """All labels there will ever be, sorted. Raises DataError for fewer than 2."""
    try:
        labels = np.asarray(list(classes))
    except (TypeError, ValueError) as error:
        raise DataError(f"FFClassifier: expected classes as a list, got {error}") from None
    names, _ = _unique(labels)
    if labels.ndim != 1 or len(names) < 2:
        raise DataError(
            f"FFClassifier: expected a list of at least 2 classes, got {labels.tolist()}"
        )
    return names


def check_new_classes(classes: Any, known: Array) -> Array:
    """Known and new labels together, sorted. Raises DataError unless there are new ones only."""
    try:
        labels = np.asarray(list(classes))
    except (TypeError, ValueError) as error:
        raise DataError(f"add_classes: expected a list of new labels, got {error}") from None
    if labels.ndim != 1 or len(labels) == 0:
        raise DataError(f"add_classes: expected a list of new labels, got {labels.tolist()}")
    kinds = {labels.dtype.kind, known.dtype.kind}
    if len(kinds) > 1 and not (kinds <= {"U", "O"} or kinds <= {"i", "u"}):
        raise DataError(
            f"add_classes: expected labels like the known ones, {known.tolist()[:5]}, got "
            f"{labels.tolist()[:5]}"
        )
    old = set(known.tolist())
    again = [label for label in labels.tolist() if label in old]
    if again or len(set(labels.tolist())) < len(labels):
        raise DataError(
            f"add_classes: expected each label once and none of the {len(known)} known ones, got "
            f"{(again or labels.tolist())[:10]}"
        )
    names, _ = _unique(np.concatenate([known, labels]))
    return names


def check_same(known: Array, names: Array, when: str, advice: str) -> None:
    """Raise DataError unless the classes ``names`` are those of ``when``."""
    if not np.array_equal(known, names):
        raise DataError(
            f"FFClassifier: expected the classes of the {when}, {known.tolist()[:10]}, got "
            f"{names.tolist()[:10]}; {advice}"
        )


def _unique(labels: Array) -> tuple[Array, Array]:
    """(labels sorted, code of each); DataError for labels that cannot be compared."""
    try:
        found, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise DataError(
            f"FFClassifier: expected labels of one kind, all texts or all numbers, got {error}"
        ) from None
    return found, codes


def fill_sample(
    x: Any, names: Sequence[Any] | None, out: Array, where: str = "FFClassifier"
) -> None:
    """Write one sample, a mapping of ``names`` to numbers or a sequence of numbers, into ``out``.

    out: float32 (features,). Raises DataError for other names, another count, NaN and infinity.
    """
    try:
        if isinstance(x, Mapping):
            if names is None:
                raise DataError(
                    f"{where}: expected a sequence of {len(out)} numbers, got a mapping, and "
                    "the model was trained without column names"
                )
            unknown = sorted(set(x) ^ set(names), key=str)[:5]
            if unknown:
                raise DataError(
                    f"{where}: expected the {len(out)} columns of the first sample, got "
                    f"others: {unknown} are missing or new"
                )
            x = [x[name] for name in names]
        if len(x) != len(out):
            raise DataError(f"{where}: expected {len(out)} numbers, got {len(x)}")
        if isinstance(x, str | bytes) or len(out) == 0:
            raise DataError(f"{where}: expected a mapping or a sequence of numbers, got {x!r}")
        with np.errstate(over="ignore"):  # what overflows is refused below
            out[:] = x
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected {len(out)} numbers, got {error}") from None
    if not np.isfinite(out).all():
        raise DataError(f"{where}: expected finite numbers, got NaN or infinity in x")


def whole(name: str, value: Any, where: str = "FFClassifier") -> int:
    """``value`` as an int; ConfigError, naming the parameter, if it is no whole number.

    where: the estimator, for the message; likewise below.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ConfigError(f"{where}: expected {name} a whole number, got {value!r}")
    return int(value)


def widths_of(sizes: Any, where: str = "FFClassifier") -> list[int]:
    """Layer widths from one whole number or several; ConfigError for anything else."""
    try:
        several = [sizes] if isinstance(sizes, int | np.integer) else list(sizes)
        return [whole("hidden_layer_sizes", size, where) for size in several]
    except (TypeError, ConfigError):
        raise ConfigError(
            f"{where}: expected hidden_layer_sizes as whole numbers such as (500, 500), "
            f"got {sizes!r}"
        ) from None


def seed_of(random_state: Any, where: str = "FFClassifier") -> int:
    """A seed from an int, None (fresh), or a NumPy RandomState or Generator (drawn from it)."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if hasattr(random_state, "randint"):
        return int(random_state.randint(2**31 - 1))
    if hasattr(random_state, "integers"):
        return int(random_state.integers(2**32))
    if not isinstance(random_state, int | np.integer):
        raise ConfigError(
            f"{where}: expected random_state a whole number, None, a RandomState or a "
            f"Generator, got {random_state!r}"
        )
    return int(random_state) % 2**32
