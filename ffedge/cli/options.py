"""Arguments and their readers that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..activations import ACTIVATIONS, Activation, activation_of
from ..defaults import BINS, choose_optimizer
from ..errors import ConfigError
from ..layers import PRECISIONS
from ..optimizers import OPTIMIZERS, named_optimizer
from ..reading import FORMS, named_reading
from ..recipe import SCHEDULES, Recipe
from ..rules import ALL_RULES, HEADS, Headed, Rule, for_numbers
from ..scaling import KINDS
from ..shifts import Shift, check_shift
from ..sources import Dataset, load
from ..units import parse_bytes
from .progress import ProgressLine

T = TypeVar("T")


def argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """``read`` as an argparse type: a ConfigError becomes argparse's own message."""

    def convert(text: str) -> T:
        try:
            return read(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def widths(text: str) -> tuple[int, ...]:
    """``"128,64"`` or ``"128-64"`` as a tuple of whole numbers."""
    try:
        return tuple(int(part) for part in text.replace("-", ",").split(","))
    except ValueError:
        raise ConfigError(f"expected widths such as 128,64, got {text!r}") from None


def shift(text: str) -> Shift:
    """``"1"`` or ``"1,0"`` as a recipe's shift."""
    try:
        each = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"expected a shift such as 1, or 1,0, got {text!r}") from None
    return check_shift(each[0] if len(each) == 1 else each)


bytes_argument = argument(parse_bytes)
reading_argument = argument(named_reading)
widths_argument = argument(widths)
shift_argument = argument(shift)


def add_data(parser: argparse.ArgumentParser) -> None:
    """The data set and how to read it."""
    parser.add_argument(
        "data", metavar="DATA",
        help="digits, mnist, fashion-mnist, or the path of an .npz, .npy, .csv or IDX file",
    )  # fmt: skip
    parser.add_argument(
        "--label", metavar="COLUMN",
        help="label column of a csv file, labels file of an .npy file, or labels of an .npz file",
    )  # fmt: skip
    parser.add_argument("--data-dir", metavar="FOLDER", help="where to look for mnist and the like")
    parser.add_argument("--cache-dir", metavar="FOLDER",
                        help="folder for the temporary file of compressed data")  # fmt: skip


def add_regression(parser: argparse.ArgumentParser) -> None:
    """That the labels are numbers, and how finely they are told apart."""
    parser.add_argument(
        "--regression", action="store_true",
        help="the label column holds numbers to be predicted, not classes: rule ordinal, or "
             "ordinal-group with --rule group",
    )  # fmt: skip
    parser.add_argument("--bins", type=int, metavar="N",
                        help=f"bins of a regression (default: {BINS})")  # fmt: skip


def is_regression(options: argparse.Namespace) -> bool:
    """Whether numbers are to be predicted, by ``--regression`` or by the rule, which is set to one
    that can. Raises ConfigError for a rule that cannot, and for bins without numbers.
    """
    if getattr(options, "regression", False):
        options.rule = for_numbers(options.rule)
    numeric = "regression" in options and ALL_RULES[options.rule].numeric
    if not numeric and getattr(options, "bins", None) is not None:
        raise ConfigError(
            f"expected --bins with --regression only, got it with the rule {options.rule}"
        )
    return numeric


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How the network is read out."""
    parser.add_argument(
        "--reading", metavar="READING", type=reading_argument,
        help=f"{', '.join(FORMS)}; layers count from 0 (default: as the model file says, see "
             "`ffedge reading`, or everything)",
    )  # fmt: skip


def read_data(options: argparse.Namespace, line: ProgressLine) -> tuple[Dataset, Dataset | None]:
    """Training and test part of the data of ``add_data``, with progress on ``line``."""
    return load(
        options.data, label=options.label, data_dir=options.data_dir,
        cache_dir=options.cache_dir, progress=line.reading, numeric=is_regression(options),
    )  # fmt: skip


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """How to train; defaults are the evidence-based ones of ``ffedge.defaults``."""
    parser.add_argument("--rule", choices=tuple(ALL_RULES), default="readout",
                        help="learning rule (default: readout)")  # fmt: skip
    parser.add_argument("--head", choices=tuple(HEADS), default="softmax",
                        help="of layers that learn without labels: softmax, by the optimiser, or "
                             "ridge, in one pass (default: softmax)")  # fmt: skip
    parser.add_argument("--activation", choices=tuple(ACTIVATIONS),
                        help="of the hidden units (default: relu; of scff standout)")  # fmt: skip
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32",
        help="int8: weights, activations and updates in 8 bits (default: float32)",
    )  # fmt: skip
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS),
                        help="default: adam; in int8 sgd, which needs no state")  # fmt: skip
    parser.add_argument("--rate", type=float, metavar="R",
                        help="learning rate (default: the optimiser's own)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples per update")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    parser.add_argument(
        "--schedule", choices=SCHEDULES,
        help="all layers from every batch, or one after the other (default: sweep, unless only "
             "the other keeps the budget)",
    )  # fmt: skip
    parser.add_argument("--scaling", choices=("auto", *KINDS), default="auto",
                        help="of the input (default: auto)")  # fmt: skip
    parser.add_argument(
        "--threads", type=int, choices=(1, 2), default=1,
        help="2: the upper layers learn beside the lower ones, in int8 (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--shift", type=shift_argument, default=0, metavar="N",
        help="move training images by up to N pixels each way, anew every time; of windows of "
             "(steps, channels) N,0 (default: 0)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def rule_of(options: argparse.Namespace) -> Rule:
    """The rule of ``add_recipe``; of data without labels the part that asks none."""
    rule = ALL_RULES[options.rule]
    if not isinstance(rule, Headed):
        if getattr(options, "unlabelled", False):
            words = [word for word, known in ALL_RULES.items() if isinstance(known, Headed)]
            raise ConfigError(
                f"train: expected one of the rules {', '.join(words)} with --unlabelled, got "
                f"{options.rule}, which learns from labels"
            )
        return rule
    return (
        rule.learned
        if getattr(options, "unlabelled", False)
        else (replace(rule, head=HEADS[options.head]()))
    )


def activation_for(options: argparse.Namespace, rule: Rule) -> Activation:
    """That of ``add_recipe``; where nothing was asked, the one that the rule prefers."""
    if options.activation is None:
        return rule.activation
    return activation_of(options.activation)


def add_budget(parser: argparse.ArgumentParser) -> None:
    """The budget, and what may be done to keep it."""
    parser.add_argument("--budget", metavar="BYTES", type=bytes_argument,
                        help="most memory for all training buffers: 524288, 512KiB, 0.5MiB; what "
                             "cannot be kept within is refused beforehand")  # fmt: skip
    parser.add_argument(
        "--stream", choices=("auto", "never"), default="auto",
        help="whether layers may lie on disk while others learn (default: auto, where the budget "
             "asks for it; in the folder of the model file)",
    )  # fmt: skip
    parser.add_argument(
        "--outputs-on-disk", action="store_true",
        help="in schedule layerwise, where layers are streamed: keep what finished layers put out "
             "on disk in 8 bits, a byte for each unit and sample, instead of running them again",
    )  # fmt: skip
    parser.add_argument("--disk-speed", metavar="BYTES", type=bytes_argument,
                        help="of the disk in a second, for the predicted slowdown (default: that "
                             "of the system's cache, 8 GB)")  # fmt: skip


def read_recipes(
    options: argparse.Namespace, *, features: int, batch_size: int, epochs: int, scaling: str,
    samples: int | None = None,
) -> list[Recipe]:  # fmt: skip
    """The recipe of the options, then those that may be taken instead to keep a budget.

    What the options name stays; batch size and schedule are free where they do not.
    """
    found = []
    sizes = [batch_size]
    while options.batch_size is None and sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    for size in sizes:
        recipe = read_recipe(
            options, features=features, batch_size=size, epochs=epochs, scaling=scaling,
            samples=samples,
        )  # fmt: skip
        found.append(recipe)
        if options.schedule is None and recipe.threads == 1:
            found.append(replace(recipe, schedule="layerwise"))
    return found


def read_recipe(
    options: argparse.Namespace, *, features: int, batch_size: int, epochs: int, scaling: str,
    samples: int | None = None,
) -> Recipe:  # fmt: skip
    """The recipe of the options; the arguments are what to take where an option was left out."""
    batch_size = batch_size if options.batch_size is None else options.batch_size
    if options.optimizer is None:
        rule = rule_of(options)
        optimizer = choose_optimizer(
            rule, options.precision, features, batch_size, options.rate, samples
        )
    else:
        optimizer = named_optimizer(options.optimizer, options.rate)
    return Recipe(
        optimizer=optimizer,
        batch_size=batch_size,
        epochs=epochs if options.epochs is None else options.epochs,
        schedule=options.schedule or SCHEDULES[0],
        scaling=scaling if options.scaling == "auto" else options.scaling,
        threads=options.threads,
        shift=options.shift,
        seed=options.seed,
    )


def check_writable(path: str, command: str) -> None:
    """Refuse now, in ``command``'s name, what would fail after the training."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise ConfigError(
            f"{command}: expected a folder for {path}, got none at {folder}; create it"
        )
    if Path(path).is_dir():
        raise ConfigError(f"{command}: expected a file to write, got the folder {path}; add a name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{command}: expected a folder that can be written to, got {folder}; choose another one"
        )
