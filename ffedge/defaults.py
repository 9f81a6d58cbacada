"""What ffedge chooses when the user does not: evidence in docs/results.md, "Defaults".

``tools/choose_defaults.py`` makes the figures, on validation data split off training data.
"""

from __future__ import annotations

from .buffers import plan_training
from .errors import BudgetError, ConfigError
from .network import Network
from .recipe import Recipe
from .rules import Rule
from .sources import Dataset

#: Widths tried for the two hidden layers, widest first, when a budget is all that is given.
WIDTHS = (500, 400, 320, 256, 200, 160, 128, 96, 64, 48, 32, 24, 16, 12, 8)

#: Updates that a whole training run should have, about.
UPDATES = 5_000


def choose_batch(samples: int) -> int:
    """Samples per update: 64, or fewer where there are fewer than 1,024 samples."""
    return max(8, min(64, samples // 16))


def choose_epochs(samples: int, batch: int) -> int:
    """Passes over the data: enough for ``UPDATES`` updates, at least 10 and at most 200."""
    return max(10, min(200, UPDATES * batch // max(samples, 1)))


def choose_scaling(data: Dataset) -> str:
    """"global" for pixels and counts (unsigned bytes in two or more dimensions), else "standard"."""
    return "global" if data.features.dtype.kind == "u" and len(data.feature_shape) > 1 else "standard"


def choose_hidden(
    features: int, classes: int, rule: Rule, recipe: Recipe, budget: int | None
) -> tuple[int, ...]:
    """Two equal hidden layers: the widest of ``WIDTHS`` whose plan fits the budget.

    Raises BudgetError if not even the narrowest fits.
    """
    if budget is None:
        return (WIDTHS[0],) * 2
    refusal: BudgetError | ConfigError | None = None
    for width in WIDTHS:
        try:
            plan_training(Network.dense(features, (width, width), classes, rule), recipe, budget)
        except (BudgetError, ConfigError) as error:
            if refusal is None or isinstance(error, BudgetError):
                refusal = error
        else:
            return (width, width)
    assert refusal is not None
    raise refusal
