"""What ``ffedge train`` does where layers learn without labels: the step before the head."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..errors import ConfigError
from ..model import Model
from ..network import Network
from ..planner import Choice
from ..rules import HEADS, Headed
from ..sources import Dataset, load_unlabelled
from ..unlabelled import head_recipe, pretrain, with_head
from .progress import ProgressLine


def add_unlabelled(parser: argparse.ArgumentParser) -> None:
    """For data without labels, and for the share of them that is not normal."""
    parser.add_argument(
        "--unlabelled", action="store_true",
        help="DATA has no labels (or a csv column label, class, target or y that is not looked "
             "at): the model scores how normal a sample is, and `train LABELLED --from` puts a "
             "head on it",
    )  # fmt: skip
    parser.add_argument("--contamination", type=float, default=0.01, metavar="SHARE",
                        help="of unlabelled samples that lie below the threshold, 0 to 0.5 "
                             "(default: 0.01)")  # fmt: skip


def read_unlabelled(options: argparse.Namespace, line: ProgressLine) -> Dataset:
    """The data of ``--unlabelled``; ConfigError for options that have no meaning there."""
    for name in ("label", "start", "validation", "export"):
        if getattr(options, name, None) is not None:
            option = "--from" if name == "start" else f"--{name}"
            raise ConfigError(f"train: expected no {option} beside --unlabelled, got it")
    if not 0.0 <= options.contamination <= 0.5:
        raise ConfigError(f"train: expected --contamination in 0..0.5, got {options.contamination}")
    return load_unlabelled(
        options.data, data_dir=options.data_dir, cache_dir=options.cache_dir, progress=line.reading
    )


def learn_layers(
    options: argparse.Namespace, choice: Choice, data: Dataset, start: Model | None,
    line: ProgressLine,
) -> tuple[Choice, Model | None]:  # fmt: skip
    """The layers that a head begins with, trained if no model has them, and the head's choice.

    Does nothing for other networks. Raises ConfigError for what cannot be kept through two steps.
    """
    rule = choice.network.rule
    if not isinstance(rule, Headed):
        return choice, start
    if start is None:
        if choice.checkpoint or options.enforce:
            raise ConfigError(
                "train: expected --checkpoint and --enforce with one step of training, got the "
                f"rule {options.rule}, whose head follows its layers; train the layers with "
                "--unlabelled, then the head with --from"
            )
        start = pretrain(
            data, choice.network.hidden, rule.learned, choice.recipe, budget=options.budget,
            show=line.show,
        )  # fmt: skip
    return replace(choice, recipe=head_recipe(choice.recipe, rule.head)), start


def under_a_head(options: argparse.Namespace, model: Model, data: Dataset) -> Model:
    """A model without labels as the beginning of a classifier of the classes of ``data``."""
    network: Network = with_head(model.network, len(data.classes), HEADS[options.head]())
    return replace(model, network=network, classes=data.classes)
