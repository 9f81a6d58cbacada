"""``ffedge reading``: how a model is read out; fitted on held-out data and kept in its file."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from typing import Any

from ..errors import ConfigError
from ..fit_reading import Fitted, fit_early_exit, fit_interval
from ..model import Model
from ..model_file import save_model
from ..predict import Predictor
from ..reading import FORMS, default_reading
from ..sources import Dataset, load
from ..units import show_bytes
from .model_argument import add_model, open_model
from .options import check_writable, reading_argument
from .prepare import split_validation

NAME = "reading"
HELP = "Show or set how a model is read out, or fit it on held-out training data."
EXAMPLE = """\
examples:
  ffedge reading digits.ffedge
  ffedge reading digits.ffedge digits --fit early-exit --lose 0.1
  ffedge reading digits.ffedge digits --fit interval --trim -o short.ffedge
  ffedge reading net.ffedge --set shortlist:3
"""

#: Points of accuracy that may be given up, where nothing is said.
LOSE = {"early-exit": 0.1, "interval": 0.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, data and what to do."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?",
                        help="for --fit: the data that the model was trained on")  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--fit", choices=tuple(LOSE), help="choose margins, or the layers that vote")
    what.add_argument("--set", metavar="READING", type=reading_argument,
                      help=f"{', '.join(FORMS)}")  # fmt: skip
    what.add_argument("--clear", action="store_true", help="read everything again")
    parser.add_argument("--lose", metavar="POINTS", type=float,
                        help="most points of accuracy to give up on the held-out data, 0 to 50 "
                             "(default: 0.1 for early-exit, 0 for interval)")  # fmt: skip
    parser.add_argument("--validation", metavar="SHARE", type=float,
                        help="share of the training samples to fit on: as it was given to `ffedge "
                             "train`, which kept these samples back (default: the same 0.1, at "
                             "most 2,000 samples)")  # fmt: skip
    parser.add_argument("--trim", action="store_true",
                        help="drop the layers that the read-out never runs")  # fmt: skip
    parser.add_argument("--label", metavar="COLUMN", help="label column of a csv file")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where to look for mnist and the like")
    parser.add_argument("--cache-dir", metavar="FOLDER",
                        help="folder for the temporary file of compressed data")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="model file to write (default: MODEL itself)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Show, or change and save; ConfigError (exit code 2) for a read-out that makes no sense."""
    _check(options)
    model = open_model(options, options.model)
    output = options.output or options.model
    changes = bool(options.fit or options.set or options.clear or options.trim)
    if changes:
        check_writable(output, "reading")
    report: dict[str, Any] = {}
    if options.fit:
        fitted, kept_back = _fit(options, model)
        report["fitted"] = asdict(fitted) | {"held_out": kept_back}
        report["fitted"].pop("reading")
        model = replace(model, reading=fitted.reading)
    elif options.set or options.clear:
        model = replace(model, reading=options.set)
    if options.trim:
        model = model.trimmed()
    reading = model.reading or default_reading(model.network)
    report |= {
        "model": output if changes else options.model,
        "network": model.network.text,
        "reading": reading.text,
        "planned_bytes": Predictor(model).plan.peak,
        "model_bytes": save_model(model, output) if changes else None,
    }
    print(json.dumps(report) if options.json else _words(report))
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.fit and options.data is None:
        raise ConfigError(
            "reading: expected the training data behind the model for --fit, got none"
        )
    if not options.fit:
        for name in ("data", "lose", "validation"):
            if getattr(options, name) is not None:
                raise ConfigError(f"reading: expected {name} with --fit only")


def _fit(options: argparse.Namespace, model: Model) -> tuple[Fitted, bool | None]:
    """The fitted read-out, and whether training kept its samples back (None: not known)."""
    train, _ = load(
        options.data, label=options.label, data_dir=options.data_dir, cache_dir=options.cache_dir
    )
    rest, held_out = split_validation(train, options.validation)
    if held_out is None:
        raise ConfigError(
            "reading: expected a --validation share that leaves samples to fit on, got none"
        )
    points = LOSE[options.fit] if options.lose is None else options.lose
    fit = fit_early_exit if options.fit == "early-exit" else fit_interval
    return fit(model, held_out, lose=points / 100), _kept_back(model, train, rest)


def _kept_back(model: Model, train: Dataset, rest: Dataset) -> bool | None:
    """Whether the model learned from ``rest`` alone, as far as its file tells."""
    samples, data = model.training.get("samples"), model.training.get("data")
    if data != train.name or samples not in (rest.n_samples, train.n_samples):
        return None
    return bool(samples == rest.n_samples)


def _words(report: dict[str, Any]) -> str:
    lines = [f"network  {report['network']}", f"reading  {report['reading']}"]
    if "fitted" in report:
        fitted = report["fitted"]
        lines.append(
            f"fitted   on {fitted['samples']:,} samples: {100 * fitted['accuracy']:.2f} % right "
            f"instead of {100 * fitted['full_accuracy']:.2f} %, {100 * fitted['share']:.1f} % of "
            "the multiply-adds"
        )
        if not fitted["held_out"]:
            known = "were" if fitted["held_out"] is False else "may have been"
            lines.append(
                f"         these samples {known} used in training, so expect to lose more; train "
                "with the same --validation share"
            )
    lines.append(f"memory   {show_bytes(report['planned_bytes'])} for prediction in batches of 64")
    if report["model_bytes"] is not None:
        lines.append(f"model    {report['model']} ({show_bytes(report['model_bytes'])})")
    return "\n".join(lines)
