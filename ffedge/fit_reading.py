"""Margins and intervals chosen on labelled data: on training data kept back, never on test data.

``EarlyExit`` and ``Interval`` are looked for among what the network's layers say of these samples
after one pass; nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import ConfigError, DataError
from .model import Model
from .network import Network
from .predict import Predictor, check_width
from .reading import EarlyExit, Everything, Interval, Reading, full_cost
from .reading.base import check_votes, layer_cost
from .reading.layers import leads, score_unit
from .sources import Dataset

Array = np.ndarray[Any, Any]

#: Rounds in which every margin is set anew beside the others, and prices that are tried.
_ROUNDS, _PRICES = 4, 40


@dataclass(frozen=True, slots=True)
class Fitted:
    """A read-out and what it does on the samples it was chosen on.

    full_accuracy, accuracy: 0..1, of ``Everything`` and of ``reading``. share: of multiply-adds,
    of those of ``Everything``. samples: how many there were.
    """

    reading: Reading
    full_accuracy: float
    accuracy: float
    share: float
    samples: int


def fit_early_exit(model: Model, data: Dataset, *, lose: float = 0.001, batch: int = 64) -> Fitted:
    """The margins that save most, such that few samples that all layers get right come out wrong.

    data: labelled, with the model's classes in their order; samples that the model was trained on
    make it look surer than it is. lose: largest share of the samples that may be spoilt, 0 to 0.5;
    those that leaving early puts right are not set against them.

    A spoilt sample has a price in multiply-adds. For a price, each margin in turn is the best one
    beside the others; the price is the lowest at which no more are spoilt than allowed.
    """
    _check_share(lose)
    EarlyExit((None,) * max(len(model.network.layers) - 1, 1)).check(model.network)
    totals, labels = running_totals(model, data, batch)
    costs = np.cumsum([_cost(model.network, i) for i in range(len(totals))])
    right = totals.argmax(axis=2) == labels
    spoilt = right[-1] & ~right
    unit, room = score_unit(model.network), np.empty_like(totals[0])
    margins = np.array([leads(total, room) / unit for total in totals[:-1]], np.float64)
    chosen = _cheapest(margins, spoilt, costs, int(lose * len(labels)))
    reading = EarlyExit(tuple(None if np.isinf(t) else float(t) for t in chosen))
    layer = _exits(margins, chosen)
    return Fitted(
        reading,
        float(right[-1].mean()),
        float(right[layer, np.arange(len(labels))].mean()),
        float(costs[layer].mean() / full_cost(model.network)),
        len(labels),
    )


def fit_interval(model: Model, data: Dataset, *, lose: float = 0.0, batch: int = 64) -> Fitted:
    """The interval of layers of the best accuracy, or a cheaper one that loses no more than that.

    data: as for ``fit_early_exit``. lose: accuracy that may be given up, 0 to 0.5. Among equals
    the one whose topmost layer is lowest, then the one with most layers, wins.
    """
    _check_share(lose)
    check_votes(Interval(0, 0), model.network)
    totals, labels = running_totals(model, data, batch)
    depth = len(totals)
    # float64: differences of sums in float32 would decide close calls by rounding.
    below = np.concatenate([np.zeros((1, *totals.shape[1:])), totals])
    found = {
        (first, last): float(((below[last + 1] - below[first]).argmax(axis=1) == labels).mean())
        for last in range(depth)
        for first in range(last + 1)
    }
    best = max(found.values())
    # In the order of the dictionary: a low last layer, then a low first one.
    first, last = next(ends for ends, accuracy in found.items() if accuracy >= best - lose - 1e-12)
    network = model.network
    cost = sum(_cost(network, i) for i in range(last + 1))
    cost -= sum(network.rule.vote_cost(network, i) for i in range(first))
    return Fitted(
        Interval(first, last), found[0, depth - 1], found[first, last],
        cost / full_cost(network), len(labels),
    )  # fmt: skip


def running_totals(model: Model, data: Dataset, batch: int = 64) -> tuple[Array, Array]:
    """(layers, n, C): votes of the lowest 1, 2, ... layers; and the samples' codes, (n,).

    float32 log-probabilities, or int32 scores of an int8 model. Raises DataError for data of
    another width or other classes.
    """
    network = model.network
    check_width(network, data.features)
    if tuple(data.classes) != tuple(model.classes):
        raise DataError(
            f"fit: expected the model's classes {list(model.classes)[:10]} in their order, got "
            f"{list(data.classes)[:10]}"
        )
    run = Predictor(replace(model, reading=None), batch=batch, reading=Everything()).run
    totals = np.empty((len(run.layers), data.n_samples, network.classes), run.total.dtype)
    labels = np.empty(data.n_samples, np.int64)
    for first in range(0, data.n_samples, batch):
        count = min(batch, data.n_samples - first)
        run.fetch(data, first, count)
        labels[first : first + count] = run.labels[:count]
        run.total[:count] = 0
        x = run.input
        for layer in run.layers:
            layer.forward(x, count)
            layer.vote(count)
            totals[layer.index, first : first + count] = run.total[:count]
            network.rule.hand_on(layer, count)
            x = layer.out
    return totals, labels


def _cost(network: Network, index: int) -> int:
    return layer_cost(network, index) + network.rule.vote_cost(network, index)


def _check_share(lose: float) -> None:
    if not 0.0 <= lose <= 0.5:
        raise ConfigError(f"fit: expected a share to lose in 0..0.5, got {lose!r:.40}")


def _exits(margins: Array, thresholds: Array) -> Array:
    """The layer that each sample leaves after, int (n,); the last is ``len(margins)``."""
    leaves = np.vstack([margins > thresholds[:, None], np.ones(margins.shape[1], bool)])
    found: Array = leaves.argmax(axis=0)
    return found


def _cheapest(margins: Array, spoilt: Array, costs: Array, allowed: int) -> Array:
    """Thresholds (layers - 1,), inf for nobody, of the lowest cost with at most ``allowed``."""
    samples = np.arange(margins.shape[1])
    best, least = np.full(len(margins), np.inf), np.inf
    # What one sample can cost at most outweighs everything that all of them can save.
    low, high = 0.0, float(costs[-1]) * len(samples)
    for _ in range(_PRICES):
        price = (low * high) ** 0.5 if low > 0.0 else high / 2.0**10
        thresholds = _priced(margins, spoilt, costs, price)
        layer = _exits(margins, thresholds)
        if spoilt[layer, samples].sum() > allowed:
            low = price
            continue
        high = price
        if costs[layer].sum() < least:
            best, least = thresholds, costs[layer].sum()
        if price < 1e-3:
            break
    return best


def _priced(margins: Array, spoilt: Array, costs: Array, price: float) -> Array:
    """Thresholds where a spoilt sample costs ``price`` multiply-adds more."""
    depth, samples = len(margins), np.arange(margins.shape[1])
    thresholds = np.full(depth, np.inf)
    worth = costs[:, None] + price * spoilt
    for _ in range(_ROUNDS):
        before = thresholds.copy()
        for k in reversed(range(depth)):
            reach = np.flatnonzero(~(margins[:k] > thresholds[:k, None]).any(axis=0))
            later = k + 1 + _exits(margins[k + 1 :], thresholds[k + 1 :])
            gain = worth[later, samples] - worth[k]
            thresholds[k] = _cut(margins[k, reach], gain[reach])
        if (thresholds == before).all():
            break
    return thresholds


def _cut(margins: Array, gain: Array) -> float:
    """The threshold above which the gains sum up to most; half-way to the next margin below."""
    order = np.argsort(-margins, kind="stable")
    ranked, sums = margins[order], np.cumsum(gain[order])
    # Equal margins leave together; at 0 two classes are as good, and nobody leaves.
    ends = np.flatnonzero((ranked > np.append(ranked[1:], 0.0)) & (ranked > 0.0))
    if not len(ends) or sums[ends].max() <= 0.0:
        return np.inf
    end = int(ends[sums[ends].argmax()])
    below = ranked[end + 1] if end + 1 < len(ranked) else 0.0
    return float((ranked[end] + below) / 2.0)
