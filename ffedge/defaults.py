"""What ffedge chooses when the user does not: evidence in docs/results.md, "Defaults".

``tools/choose_defaults.py`` makes the figures, on validation data split off training data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .activations import Activation
from .buffers import plan_training
from .errors import BudgetError, ConfigError
from .network import Network
from .optimizers import Optimizer, named_optimizer
from .recipe import Recipe
from .rules import Group, Rule
from .sources import Dataset
from .sources.residency import Residency

#: Features up to which int8 training takes its full rate.
STEADY = 1000

#: Share of zeros from which on relations between pixels are worth more than equal spreads.
SPARSE = 0.6

#: Widths tried for the two hidden layers, widest first, when a budget is all that is given.
WIDTHS = (500, 400, 320, 256, 224, 192, 176, 160, 144, 128, 112, 96, 80, 64, 48, 32, 24, 16, 12, 8)

#: Bins of a regression.
BINS = 16

#: Weight decay of a regression's Adam, and samples up to which it is that.
DECAY, DECAY_SAMPLES = 0.3, 300

#: Updates that a whole training run should have, about.
UPDATES = 5_000


def choose_batch(samples: int) -> int:
    """Samples per update: 64, or fewer where there are fewer than 1,024 samples."""
    return max(8, min(64, samples // 16))


def choose_epochs(samples: int, batch: int) -> int:
    """Passes over the data: enough for ``UPDATES`` updates, at least 10 and at most 200."""
    return max(10, min(200, UPDATES * batch // max(samples, 1)))


def choose_scaling(data: Dataset) -> str:
    """Global for data of mostly zeros and nothing below (pixels, counts), else standard.

    Looks at 256 samples spread over the set, one at a time.
    """
    zeros = looked_at = 0
    residency = Residency(data.features)
    for sample in range(0, data.n_samples, max(1, data.n_samples // 256)):
        row = data.features[sample if data.rows is None else data.rows[sample]]
        if row.min() < 0:
            return "standard"
        zeros += row.size - int(np.count_nonzero(row))
        looked_at += row.size
        # Samples so far apart would leave a page or a megabyte each.
        residency.give_back()
    return "global" if zeros > SPARSE * looked_at else "standard"


def choose_parts(data: Dataset, scaling: str) -> int:
    """Input parts of an int8 network: 1 if no scaled feature is meant to be negative, else 2."""
    if scaling == "standard":
        return 2
    if scaling == "shifted" or data.features.dtype.kind == "u":
        return 1
    rows = range(data.n_samples) if data.rows is None else data.rows
    return 2 if any(data.features[row].min() < 0 for row in rows) else 1


def choose_optimizer(
    rule: Rule, precision: str, features: int, batch: int, rate: float | None = None,
    samples: int | None = None,
) -> Optimizer:  # fmt: skip
    """Adam in float32; SGD in int8, whose weights hold no moments.

    A regression on few samples gets weight decay, ``DECAY`` up to ``DECAY_SAMPLES`` of them and
    less in proportion beyond: the noise of its targets would be learned by heart. samples: None
    for a stream.

    The int8 rate depends on the rule. It falls with the number of features, since a step moves a
    unit's sum by rate * features and training diverged beyond about 400, and with batches below
    32 samples, which are noisier.
    """
    if precision == "float32":
        adam = named_optimizer("adam", rate)
        if rule.numeric and samples is not None:
            return replace(adam, weight_decay=DECAY * min(1.0, DECAY_SAMPLES / samples))
        return adam
    if rate is None:
        rate = 0.25
        if isinstance(rule, Group):
            rate = 0.05 if rule.squared else 0.2
        rate *= min(1.0, STEADY / features) * min(1.0, batch / 32)
    return named_optimizer("sgd", rate)


def choose_hidden(
    features: int, classes: int, rule: Rule, recipe: Recipe, budget: int | None,
    precision: str = "float32", input_parts: int = 1, activation: Activation | None = None,
) -> tuple[int, ...]:  # fmt: skip
    """Two equal hidden layers: the widest of ``WIDTHS`` whose plan fits the budget.

    activation: None takes the one that the rule prefers. Raises BudgetError if not even the
    narrowest fits.
    """
    if budget is None:
        return (WIDTHS[0],) * 2
    refusal: BudgetError | ConfigError | None = None
    for width in WIDTHS:
        try:
            network = Network.dense(
                features, (width, width), classes, rule,
                precision=precision, input_parts=input_parts, activations=activation,
            )  # fmt: skip
            plan_training(network, recipe, budget)
        except (BudgetError, ConfigError) as error:
            if refusal is None or isinstance(error, BudgetError):
                refusal = error
        else:
            return (width, width)
    assert refusal is not None
    raise refusal
