"""Checkpoints on the command line: options, the folder's lock, signals that stop a training."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..checkpoint_store import lock
from ..checkpointing import Checkpoints, Every, WriteLimit
from ..errors import ConfigError
from ..resume import fingerprint
from ..sources import Dataset
from ..trainer import Trainer
from .options import argument

#: How often, if nothing is said.
EVERY = "60s"


def add_checkpoints(parser: argparse.ArgumentParser) -> None:
    """Where, how often, and how much may be written."""
    parser.add_argument(
        "--checkpoint", metavar="FOLDER",
        help="keep the state of the training there, so that a power cut loses none of it; the same "
             "command then goes on from it",
    )  # fmt: skip
    parser.add_argument(
        "--every", metavar="TIME", type=argument(Every.parse),
        help=f"how often: 30s, 5min, 1h, 1000steps (default: {EVERY})",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true",
                        help="refuse to begin anew if the folder has no state")  # fmt: skip
    parser.add_argument(
        "--max-writes", metavar="BYTES/TIME", type=argument(WriteLimit.parse),
        help="most that checkpoints may write on average, such as 50MB/day; those beyond are put "
             "off (default: no limit)",
    )  # fmt: skip


def check_checkpoints(options: argparse.Namespace) -> None:
    """Raise ConfigError for options that mean nothing without a folder."""
    for name in ("every", "resume", "max_writes"):
        if getattr(options, name) and not options.checkpoint:
            raise ConfigError(
                f"train: expected --checkpoint FOLDER with --{name.replace('_', '-')}, got none"
            )


@contextmanager
def open_checkpoints(
    options: argparse.Namespace, trainer: Trainer, data: Dataset, validation: Dataset | None,
    start: str,
) -> Iterator[Checkpoints | None]:  # fmt: skip
    """The checkpoints that the options ask for; nobody else has the folder meanwhile.

    start: what tells the model apart that the training begins with.
    """
    if not options.checkpoint:
        yield None
        return
    run = fingerprint(trainer.network, trainer.recipe, data, validation, trainer.run.capacity)
    run += start
    title = f"{data.name}, {trainer.network.short_text}, seed {trainer.recipe.seed}"
    with lock(options.checkpoint):
        kept = Checkpoints(
            options.checkpoint, trainer, data.n_samples, run, title,
            every=options.every or Every.parse(EVERY), limit=options.max_writes,
        )  # fmt: skip
        kept.store.sweep()
        yield kept


@contextmanager
def stop_on_signals(trainer: Trainer) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end training after the batch in hand; a second one ends the program.

    Yields the numbers of the signals that came.
    """
    seen: list[int] = []

    def stop(number: int, frame: Any) -> None:
        seen.append(number)
        trainer.stop()
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        for name in before:
            signal.signal(name, stop)
    except ValueError:  # not in the main thread: somebody else handles signals
        yield seen
        return
    try:
        yield seen
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
