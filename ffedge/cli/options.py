"""Arguments and their readers that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from ..defaults import choose_optimizer
from ..errors import ConfigError
from ..layers import PRECISIONS
from ..optimizers import OPTIMIZERS, named_optimizer
from ..recipe import SCHEDULES, Recipe
from ..rules import NAMED_RULES
from ..scaling import KINDS
from ..units import parse_bytes

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


bytes_argument = argument(parse_bytes)
widths_argument = argument(widths)


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


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """How to train; defaults are the evidence-based ones of ``ffedge.defaults``."""
    parser.add_argument("--rule", choices=tuple(NAMED_RULES), default="readout",
                        help="learning rule (default: readout)")  # fmt: skip
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
        "--schedule", choices=SCHEDULES, default="sweep",
        help="all layers from every batch, or one after the other (default: sweep)",
    )  # fmt: skip
    parser.add_argument("--scaling", choices=("auto", *KINDS), default="auto",
                        help="of the input (default: auto)")  # fmt: skip
    parser.add_argument(
        "--threads", type=int, choices=(1, 2), default=1,
        help="2: the upper layers learn beside the lower ones, in int8 (default: 1)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def read_recipe(
    options: argparse.Namespace, *, features: int, batch_size: int, epochs: int, scaling: str
) -> Recipe:
    """The recipe of the options; the arguments are what to take where an option was left out."""
    batch_size = batch_size if options.batch_size is None else options.batch_size
    if options.optimizer is None:
        rule = NAMED_RULES[options.rule]
        optimizer = choose_optimizer(rule, options.precision, features, batch_size, options.rate)
    else:
        optimizer = named_optimizer(options.optimizer, options.rate)
    return Recipe(
        optimizer=optimizer,
        batch_size=batch_size,
        epochs=epochs if options.epochs is None else options.epochs,
        schedule=options.schedule,
        scaling=scaling if options.scaling == "auto" else options.scaling,
        threads=options.threads,
        seed=options.seed,
    )
