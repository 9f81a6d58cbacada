"""Regressions in words: errors in the target's units, and predicted values as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..predict import Predictor


def number_words(figures: Mapping[str, Any], prefix: str = "") -> str:
    """R2, and the errors beside the target's own standard deviation.

    >>> number_words({"r2": 0.75, "mae": 3.5, "rmse": 5.0, "std": 10.0})
    'R2 0.7500, MAE 3.5, RMSE 5, where the target has a standard deviation of 10'
    """
    mae, rmse, std = (figures[f"{prefix}{name}"] for name in ("mae", "rmse", "std"))
    return (
        f"R2 {figures[f'{prefix}r2']:.4f}, MAE {mae:.4g}, RMSE {rmse:.4g}, where the target has a "
        f"standard deviation of {std:.4g}"
    )


def number_columns(predictor: Predictor, interval: float | None, chances: bool) -> list[str]:
    """The header of ``number_rows``."""
    ends = [] if interval is None else ["low", "high"]
    bins = [f"p_{centre:.6g}" for centre in predictor.centres] if chances else []
    return ["value", *ends, *bins]


def number_rows(
    predictor: Predictor, features: np.ndarray[Any, Any], interval: float | None, chances: bool
) -> Iterator[list[float]]:
    """For each sample its value, the ends of its interval and the probabilities of its bins."""
    for first in range(0, len(features), predictor.batch):
        seen = predictor.probabilities(features[first : first + predictor.batch])
        columns = [predictor.values_of(seen)[:, None]]
        if interval is not None:
            columns.append(predictor.interval_of(seen, interval))
        if chances:
            columns.append(seen)
        yield from np.concatenate(columns, axis=1).tolist()
