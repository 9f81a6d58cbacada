"""A trainer that knows more classes than the one it came from, and forgets nothing for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arena import Arena
from .buffers import plan_training
from .errors import ConfigError
from .network import Network
from .plan import END, Need
from .rules import FastWeights, Readout, word_for
from .trainer import Trainer

Array = np.ndarray[Any, Any]

#: Buffers with one row per class: the part of the name, and the axis in float32 and in int8.
_PER_CLASS = {"readout": (1, 0), "counts": (1, 1)}


def check_growing(network: Network) -> None:
    """Raise ConfigError where new classes would change what the network says of the old ones."""
    rule = network.rule
    if not all(layer.activation.nonnegative for layer in network.layers):
        raise ConfigError(
            "add_classes: expected activations that are never below 0, so that a new class scores "
            "below the old ones at first, got leaky; train a new model with all classes"
        )
    if isinstance(rule, FastWeights) or (isinstance(rule, Readout) and not rule.frozen):
        return
    name = word_for(rule)
    why = {
        "readout": "whose frozen readout is drawn for all classes at once",
        "group": "whose units are divided among the classes it began with",
        "hinton": "whose first layer takes in one label input for each class it began with",
        "top-down": "whose last layer takes in one label input for each class it began with",
    }.get(name, "whose parameters are made for the classes it began with")
    raise ConfigError(
        f"add_classes: expected the rule readout, got {name}, {why}; train a new model with "
        "all classes, or use rule='readout'"
    )


def with_classes(
    trainer: Trainer, places: Array, classes: int, budget: int | None = None
) -> Trainer:
    """A trainer of the same layers for ``classes`` classes, of which old class k is places[k].

    Weights, the readouts of the old classes, the optimiser's state and its count of updates, the
    scaler and the replay memory are carried over as they are. A new class's readout is the mean of
    the old ones, less a margin: no sample scores higher for it than for the best of the old
    classes, so every prediction stays what it was until training goes on. Its optimiser's state
    is zero. While it is being made, the old trainer's arena is there too.

    Raises BudgetError if the new plan exceeds ``budget`` bytes, ConfigError as ``check_growing``.
    """
    check_growing(trainer.network)
    old = trainer.network
    network = Network(
        old.layers, classes, old.rule, old.normalize_input, old.precision, old.input_parts
    )
    arena = Arena(plan_training(network, trainer.recipe, budget))
    fresh = np.setdiff1d(np.arange(classes), places)
    for buffer in arena.plan.buffers:
        if not _lasts(buffer.need) or buffer.name not in trainer.arena:
            continue
        before, after = trainer.arena[buffer.name], arena[buffer.name]
        name = buffer.name.split(".")[1] if "." in buffer.name else ""
        if name in _PER_CLASS:
            axis = _PER_CLASS[name][network.precision == "int8"]
            rows = np.moveaxis(after, axis, 0)
            rows[places] = np.moveaxis(before, axis, 0)
            if buffer.name.endswith(".readout"):
                index = int(buffer.name.split(".")[0].removeprefix("layer"))
                rows[fresh] = _outvoted(rows[places], network.hidden[index])
        elif before.shape == after.shape:
            after[...] = before
    if "replay.labels" in arena:
        arena["replay.labels"][:] = places[trainer.arena["replay.labels"]]
    grown = Trainer.__new__(Trainer)
    grown.__setstate__(trainer.__getstate__() | {"network": network, "arena": arena})
    return grown


def _lasts(need: Need) -> bool:
    """Whether a buffer keeps its bytes for itself from step to step to the end."""
    return need.stages[0] <= 1 and need.stages[1] == END and need.phases == (0, END)


def _outvoted(rows: Array, width: int) -> Array:
    """The readout of a class that scores below the best of ``rows`` (C, ...) for every activity.

    Activities are never negative, so a score by the mean of the rows is the mean of the scores;
    the margin outweighs the rounding of a sum of ``width`` float32 products.
    """
    mean = rows.astype(np.float64).mean(axis=0)
    if rows.dtype == np.int8:
        row = np.maximum(np.floor(mean) - 1, -127)
    else:
        row = mean - np.abs(rows).max() * max(2.0**-10, 4 * width * 2.0**-24)
    # Lanes beyond the layer's width stay silent; units lie in the lanes of consecutive panels.
    units = row.reshape(-1)
    units[width:] = 0
    found: Array = row.astype(rows.dtype)
    return found
