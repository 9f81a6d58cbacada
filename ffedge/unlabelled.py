"""Layers that learn without labels, and the head that labels are then enough for.

    model = pretrain(data, (2000, 2000), SCFF())
    model = fit_head(model, labelled, RidgeHead())

Both train inside a plan of their own, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .errors import ConfigError, DataError
from .model import Model
from .network import Network
from .predict import Predictor
from .progress import Progress
from .recipe import Recipe
from .rules import Head, Headed, RidgeHead, Rule, SoftmaxHead
from .rules.scff import SCFF
from .sources import Dataset
from .trainer import Trainer

#: What the one class of a model without labels is called.
NORMAL = "normal"

Array = np.ndarray[Any, Any]

Show = Callable[[Progress], Any]


def pretrain(
    data: Dataset, hidden: Sequence[int], rule: Rule | None = None, recipe: Recipe | None = None,
    *, budget: int | None = None, show: Show | None = None,
) -> Model:  # fmt: skip
    """A model of layers that have learned from ``data``, whose labels are not looked at.

    hidden: widths of the layers. rule: one that learns without labels; None: ``SCFF``. recipe:
    None takes the default one. budget: bytes. show: called with the progress.
    Its one score says how normal a sample is. Raises ConfigError and BudgetError.
    """
    rule = SCFF() if rule is None else rule
    if not rule.unlabelled:
        raise ConfigError(
            f"pretrain: expected a rule that learns without labels, such as SCFF(), got {rule.name}"
        )
    rule = rule.fitted(data.feature_shape)
    network = Network.dense(data.width, hidden, 1, rule)
    trainer = Trainer(network, recipe or Recipe(), budget=budget)
    trainer.learn_scaling(data)
    _run(trainer, data, None, show)
    about = {
        "recipe": trainer.recipe.describe(), "epochs": trainer.epochs_done, "data": data.name,
        "samples": data.n_samples,
    }  # fmt: skip
    # Its own arrays, so that the arena can go before another is made.
    return Model(
        network, trainer.params, (NORMAL,), data.feature_shape, data.feature_names, about
    ).copy()


def with_head(
    network: Network, classes: int, head: Head | None = None, first: int | None = None
) -> Network:
    """The layers of ``network``, which learned without labels, under a head for ``classes``."""
    if not network.rule.unlabelled:
        raise ConfigError(
            f"fit_head: expected a model that learned without labels, got the rule "
            f"{network.rule.name}, which has its own classes"
        )
    rule = Headed(network.rule, head or SoftmaxHead(), first)
    return replace(network, classes=classes, rule=rule)


def head_recipe(recipe: Recipe, head: Head) -> Recipe:
    """``recipe`` as the head can use it: all layers at once, and one pass for a ridge solution."""
    epochs = 1 if isinstance(head, RidgeHead) else recipe.epochs
    return replace(recipe, schedule="sweep", epochs=epochs)


def fit_head(
    model: Model, data: Dataset, head: Head | None = None, recipe: Recipe | None = None, *,
    first: int | None = None, validation: Dataset | None = None, budget: int | None = None,
    show: Show | None = None,
) -> Model:  # fmt: skip
    """The classifier of a model of ``pretrain`` and a head trained on labelled ``data``.

    The layers and the scaler stay as they are. first: see ``Headed``. validation: what a
    ``RidgeHead`` without a strength chooses it on. Raises ConfigError, BudgetError, and DataError
    for data of other features.
    """
    head = SoftmaxHead() if head is None else head
    if data.width != model.network.features:
        raise DataError(
            f"fit_head: expected samples of {model.network.features} features, got {data.width}"
        )
    network = with_head(model.network, len(data.classes), head, first)
    trainer = Trainer(network, head_recipe(recipe or Recipe(), head), budget=budget)
    trainer.begin_with(model.params)
    _run(trainer, data, validation, show)
    training = {
        "recipe": trainer.recipe.describe(), "epochs": trainer.epochs_done, "data": data.name,
        "samples": data.n_samples, "pretraining": model.training,
    }  # fmt: skip
    return Model(
        network, trainer.params, data.classes, data.feature_shape, data.feature_names, training
    )


def _run(trainer: Trainer, data: Dataset, validation: Dataset | None, show: Show | None) -> None:
    for progress in trainer.train(data, validation):
        if show is not None:
            show(progress)


def set_threshold(model: Model, features: Array, contamination: float) -> Model:
    """``model`` with the score below which that share of the samples lies, 0 to 0.5.

    features: (n, width) as ``Predictor.scores`` takes them. 0 puts it just below all of them.
    """
    scores = Predictor(model, batch=256).scores(features)[:, 0]
    threshold = np.quantile(scores, contamination, method="lower")
    about = {"threshold": float(threshold), "contamination": contamination}
    return replace(model, training=model.training | {"anomaly": about})


def threshold_of(model: Model) -> float | None:
    """What ``set_threshold`` found; None for other models, and for what is no number."""
    about = model.training.get("anomaly")
    value = about.get("threshold") if isinstance(about, dict) else None
    if not model.network.rule.unlabelled or not isinstance(value, float | int):
        return None
    return float(value) if math.isfinite(value) else None
