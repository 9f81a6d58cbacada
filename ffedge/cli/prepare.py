"""From the command line to a trainer: what ``train`` and ``profile`` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

from ..atomic import atomic_write
from ..defaults import (
    BINS,
    choose_batch,
    choose_epochs,
    choose_hidden,
    choose_parts,
    choose_scaling,
)
from ..errors import ConfigError
from ..model import Model
from ..network import Network
from ..planner import Choice, Pace, choose
from ..recipe import Recipe
from ..shifts import grid_of
from ..sources import Dataset
from ..sources.spool import disk_folder
from ..trainer import Trainer
from ..training_file import TrainingFile
from .options import (
    activation_for,
    add_budget,
    add_data,
    add_recipe,
    add_regression,
    read_recipes,
    rule_of,
    widths_argument,
)

#: Largest validation part that is split off by default, in samples and as a share.
VALIDATION_SAMPLES, VALIDATION_SHARE = 2000, 0.1


def add_training(parser: argparse.ArgumentParser) -> None:
    """Data, network, recipe and budget of a training."""
    add_data(parser)
    add_regression(parser)
    parser.add_argument("--hidden", metavar="WIDTHS", type=widths_argument,
                        help="hidden layers, as 128,64 (default: two, the widest up to 500,500 "
                             "that fit the budget)")  # fmt: skip
    add_recipe(parser)
    add_budget(parser)
    parser.add_argument("--validation", metavar="SHARE", type=float,
                        help="share of the training samples kept for validation, 0 to 0.5 "
                             "(default: 0.1, at most 2,000 samples)")  # fmt: skip


def split_validation(data: Dataset, share: float | None) -> tuple[Dataset, Dataset | None]:
    """Training and validation part; ``share`` None: ``VALIDATION_SHARE``, 0: no validation."""
    if share is None:
        share = min(VALIDATION_SHARE, VALIDATION_SAMPLES / data.n_samples)
    if share == 0.0:
        return data, None
    if not 0.0 < share <= 0.5:
        raise ConfigError(f"train: expected --validation in 0..0.5, got {share}")
    if data.n_samples * share < 1.0:
        return data, None
    return data.split(share, 0)


def prepare(
    options: argparse.Namespace, data: Dataset, network: Network | None = None
) -> tuple[Choice, Recipe]:
    """The plan of the options, with every default filled in, and the recipe as it was asked for.

    network: if it is given already. Raises BudgetError if no plan keeps the budget.
    """
    rule = rule_of(options).fitted(data.feature_shape)
    activation = activation_for(options, rule)
    batch = options.batch_size or min(choose_batch(data.n_samples), data.n_samples)
    recipes = read_recipes(
        options, features=data.width, batch_size=batch, epochs=choose_epochs(data.n_samples, batch),
        scaling=choose_scaling(data), samples=data.n_samples,
    )  # fmt: skip
    recipe = recipes[0]
    if recipe.shift:
        grid_of(recipe.shift, data.feature_shape)
    if network is not None:
        return choose_plan(options, network, recipes), recipe
    classes, precision = len(data.classes), options.precision
    if data.numeric:
        classes = BINS if options.bins is None else options.bins
    parts = choose_parts(data, recipe.scaling) if precision == "int8" else 1
    hidden = options.hidden
    if hidden is None:
        hidden = choose_hidden(
            data.width, classes, rule, recipe, options.budget, precision, parts, activation
        )
    network = Network.dense(
        data.width, hidden, classes, rule, precision=precision, input_parts=parts,
        activations=activation,
    )  # fmt: skip
    return choose_plan(options, network, recipes), recipe


def choose_plan(options: argparse.Namespace, network: Network, recipes: list[Recipe]) -> Choice:
    """``planner.choose`` by the options of ``add_budget``."""
    speed = options.disk_speed
    return choose(
        network, recipes, options.budget, stream=options.stream == "auto",
        outputs=options.outputs_on_disk, checkpoint=bool(getattr(options, "checkpoint", None)),
        pace=None if speed is None else Pace(disk=speed),
    )  # fmt: skip


@contextmanager
def open_trainer(
    choice: Choice, data: Dataset, budget: int | None, output: str | None = None
) -> Iterator[Trainer]:
    """The trainer of a plan; layers that do not stay in memory lie in a file.

    output: the model file to be, which takes its name after ``Trainer.save``; None: a temporary
    one. The file of a training that fails is deleted.
    """
    network, recipe, streaming = choice.network, choice.recipe, choice.streaming
    if streaming is None:
        yield Trainer(network, recipe, budget=budget, checkpoint=choice.checkpoint)
        return
    model = Model(
        network, {}, data.classes, data.feature_shape, data.feature_names,
        {"recipe": recipe.describe(), "data": data.name},
    )  # fmt: skip
    with TemporaryFile(dir=disk_folder()) if output is None else atomic_write(output) as file:
        lying = TrainingFile(file, model, recipe)
        yield Trainer(network, recipe, budget=budget, streaming=streaming, file=lying)
