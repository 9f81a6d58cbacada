"""From the command line to a trainer: what ``train`` and ``profile`` have in common."""

from __future__ import annotations

import argparse

from ..defaults import (
    choose_batch,
    choose_epochs,
    choose_hidden,
    choose_parts,
    choose_scaling,
)
from ..errors import ConfigError
from ..network import Network
from ..rules import NAMED_RULES
from ..sources import Dataset
from ..trainer import Trainer
from .options import add_data, add_recipe, bytes_argument, read_recipe, widths_argument

#: Largest validation part that is split off by default, in samples and as a share.
VALIDATION_SAMPLES, VALIDATION_SHARE = 2000, 0.1


def add_training(parser: argparse.ArgumentParser) -> None:
    """Data, network, recipe and budget of a training."""
    add_data(parser)
    parser.add_argument("--hidden", metavar="WIDTHS", type=widths_argument,
                        help="hidden layers, as 128,64 (default: two, the widest up to 500,500 "
                             "that fit the budget)")  # fmt: skip
    add_recipe(parser)
    parser.add_argument("--budget", metavar="BYTES", type=bytes_argument,
                        help="most memory for all training buffers: 524288, 512KiB, 0.5MiB; "
                             "refused beforehand if the plan needs more")  # fmt: skip
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


def prepare(options: argparse.Namespace, data: Dataset) -> Trainer:
    """The trainer of the options, with every default filled in."""
    rule = NAMED_RULES[options.rule]
    batch = options.batch_size or min(choose_batch(data.n_samples), data.n_samples)
    recipe = read_recipe(
        options, features=data.width, batch_size=batch, epochs=choose_epochs(data.n_samples, batch),
        scaling=choose_scaling(data),
    )  # fmt: skip
    classes, precision = len(data.classes), options.precision
    parts = choose_parts(data, recipe.scaling) if precision == "int8" else 1
    hidden = options.hidden
    if hidden is None:
        hidden = choose_hidden(data.width, classes, rule, recipe, options.budget, precision, parts)
    network = Network.dense(
        data.width, hidden, classes, rule, precision=precision, input_parts=parts
    )
    return Trainer(network, recipe, budget=options.budget)
