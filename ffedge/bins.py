"""Bins of a number: where their centres lie, and numbers made of probabilities over them.

Centres are float32 (K,), ascending, in the target's own units. What ``Ordinal`` learns and what
a prediction, its spread and its interval are, is defined here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import ConfigError, DataError

Array = np.ndarray[Any, Any]

#: Targets looked at, at most, spread evenly over the data.
MOST = 1 << 16


@dataclass(frozen=True)
class Spacing:
    """Base of the ways to lay out bins."""

    name: ClassVar[str]

    def centres(self, targets: Array, bins: int) -> Array:
        """float64 (bins,), not yet rounded, for finite targets (n,)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Even(Spacing):
    """Equal distances; the lowest and highest target lie ``margin`` bins inside the outermost.

    Without a margin the soft targets of the extremes would be cut off on one side, and the mean
    of their bins would fall short of them. margin: 0 to 8, and at least two bins must be left.
    """

    margin: float = 2.0
    name: ClassVar[str] = "even"

    def __post_init__(self) -> None:
        if not 0.0 <= self.margin <= 8.0:
            raise ConfigError(f"Even: expected margin in 0..8, got {self.margin!r:.40}")

    def centres(self, targets: Array, bins: int) -> Array:
        """``low + step * (k - margin)`` with ``step = (high - low) / (bins - 1 - 2 * margin)``."""
        low, high = float(targets.min()), float(targets.max())
        inside = bins - 1 - 2 * self.margin
        if inside < 1:
            raise ConfigError(
                f"Even: expected at least {2 + 2 * self.margin:g} bins for a margin of "
                f"{self.margin:g} on either side, got {bins}"
            )
        step = (high - low) / inside
        found: Array = low + step * (np.arange(bins) - self.margin)
        return found


@dataclass(frozen=True)
class Quantiles(Spacing):
    """Equal shares of the training targets: centre k is their quantile ``(k + 0.5) / K``.

    Bins are narrow where targets are many. Equal quantiles are moved apart by a thousandth of an
    even step.
    """

    name: ClassVar[str] = "quantiles"

    def centres(self, targets: Array, bins: int) -> Array:
        """Quantiles, made to ascend."""
        found = np.quantile(targets.astype(np.float64), (np.arange(bins) + 0.5) / bins)
        least = float(np.ptp(targets)) / (1000 * bins)
        apart: Array = np.maximum.accumulate(found - least * np.arange(bins))
        apart += least * np.arange(bins)
        return apart


#: Spacings by name, for model files.
SPACINGS: dict[str, type[Spacing]] = {"even": Even, "quantiles": Quantiles}


def looked_at(targets: Array, rows: Array | None) -> Array:
    """At most ``MOST`` of the targets, evenly spread, as a float32 copy."""
    count = len(targets) if rows is None else len(rows)
    step = -(-count // MOST)
    chosen = targets[::step] if rows is None else targets[rows[::step]]
    return np.array(chosen, np.float32)


def place(spacing: Spacing, targets: Array, bins: int) -> Array:
    """Bin centres float32 (bins,) for targets (n,); those of a constant lie closely around it.

    Raises DataError where float32 cannot tell neighbouring centres apart.
    """
    low, high = float(targets.min()), float(targets.max())
    if low == high:
        # Any step that float32 can still tell apart: the mean of such bins is the constant.
        around = max(abs(low), 1e-6) * 1e-4
        targets = np.array([low - around, low + around])
    centres = spacing.centres(targets, bins).astype(np.float32)
    if not ascending(centres):
        raise DataError(
            f"regression: expected targets that float32 can divide into {bins} bins, got values "
            f"from {low:g} to {high:g}; subtract what they have in common, or scale them"
        )
    return centres


def ascending(centres: Array) -> bool:
    """Whether they are finite and each is larger than the one before."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(centres).all() and (np.diff(centres.astype(np.float64)) > 0).all())


def expected(chances: Array, centres: Array) -> Array:
    """Predictions float64 (n,): the mean of the centres under probabilities (n, K)."""
    found: Array = chances @ centres.astype(np.float64)
    return found


def deviation(chances: Array, centres: Array) -> Array:
    """Standard deviation float64 (n,) of the centres under probabilities (n, K)."""
    wide = centres.astype(np.float64)
    middle = chances @ wide
    spread = (chances * (wide[None, :] - middle[:, None]) ** 2).sum(axis=1)
    found: Array = np.sqrt(spread)
    return found


def quantile(chances: Array, centres: Array, share: float) -> Array:
    """Value float64 (n,) below which ``share`` of the probability lies.

    A bin's probability is spread evenly between the middles to its neighbours.
    """
    wide = centres.astype(np.float64)
    middles = (wide[1:] + wide[:-1]) / 2
    edges = np.concatenate([[2 * wide[0] - middles[0]], middles, [2 * wide[-1] - middles[-1]]])
    below = np.concatenate([np.zeros((len(chances), 1)), np.cumsum(chances, axis=1)], axis=1)
    return np.array([np.interp(share * row[-1], row, edges) for row in below])


def interval(chances: Array, centres: Array, coverage: float) -> Array:
    """float64 (n, 2): equal tails lie below and above, ``coverage`` of the probability between."""
    tail = (1.0 - check_share(coverage)) / 2
    ends = [quantile(chances, centres, share) for share in (tail, 1.0 - tail)]
    return np.stack(ends, axis=1)


def check_share(coverage: Any) -> float:
    """``coverage`` of an interval; ConfigError unless it lies between 0 and 1."""
    if isinstance(coverage, bool) or not isinstance(coverage, int | float | np.number):
        raise ConfigError(f"interval: expected coverage above 0 and below 1, got {coverage!r:.40}")
    if not 0.0 < coverage < 1.0:
        raise ConfigError(f"interval: expected coverage above 0 and below 1, got {coverage!r:.40}")
    return float(coverage)


def check_centres(params: Mapping[str, Array], name: str) -> None:
    """Raise ConfigError unless the array ``name`` holds ascending centres."""
    if not ascending(params[name]):
        raise ConfigError(f"expected ascending bin centres in {name}, got others")
