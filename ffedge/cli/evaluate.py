"""``ffedge eval``: how good a model is, class by class."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from ..described import describe
from ..errors import DataError
from ..memory import process_peak_bytes
from ..model import Model
from ..predict import Predictor
from ..rules import word_for
from ..sources import Dataset, load
from ..units import show_bytes
from .model_argument import add_model, open_model
from .options import add_data, add_reading, bytes_argument

NAME = "eval"
HELP = "Measure a model's accuracy on a data set, class by class."
EXAMPLE = "example: ffedge eval digits.ffedge digits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model and data."""
    add_model(parser)
    add_data(parser)
    add_reading(parser)
    parser.add_argument("--part", choices=("test", "train", "all"), default="test",
                        help="which samples; a data set without a test part is used whole "
                             "(default: test)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--budget", metavar="BYTES", type=bytes_argument,
                        help="refuse a prediction plan above this size")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Evaluate and print; DataError (exit code 4) if the data do not suit the model."""
    model = open_model(options, options.model)
    train, test = load(
        options.data, label=options.label, data_dir=options.data_dir, cache_dir=options.cache_dir
    )
    parts = {"train": [train], "test": [test or train], "all": [train, *([test] if test else [])]}
    predictor = Predictor(
        model, batch=options.batch_size, budget=options.budget, reading=options.reading
    )
    codes = _codes(model, train)
    confusion = np.zeros((len(model.classes),) * 2, np.int64)
    started = time.perf_counter()
    for data in parts[options.part]:
        for scores, labels in predictor.batches(data):
            np.add.at(confusion, (codes[labels], scores.argmax(axis=1)), 1)
    seconds = time.perf_counter() - started
    report = _report(model, predictor, confusion, seconds)
    print(json.dumps(report) if options.json else _table(report, confusion))
    return 0


def _codes(model: Model, data: Dataset) -> np.ndarray[Any, Any]:
    """The model's code of each of the data set's classes."""
    places = {name: i for i, name in enumerate(model.classes)}
    unknown = [name for name in data.classes if name not in places]
    if unknown:
        raise DataError(
            f"eval: expected classes among {list(model.classes)[:10]}, got {unknown[:5]} as well; "
            "use data with the classes that the model was trained on"
        )
    return np.array([places[name] for name in data.classes])


def _report(
    model: Model, predictor: Predictor, confusion: np.ndarray[Any, Any], seconds: float
) -> dict[str, Any]:
    right = np.diag(confusion)
    per_class: list[dict[str, Any]] = []
    for i, name in enumerate(model.classes):
        found, actual = int(confusion[:, i].sum()), int(confusion[i].sum())
        precision = float(right[i] / found) if found else None
        recall = float(right[i] / actual) if actual else None
        both = found + actual
        per_class.append({
            "class": name, "samples": actual, "precision": precision, "recall": recall,
            "f1": float(2 * right[i] / both) if both else None,
        })  # fmt: skip
    scores = [row["f1"] for row in per_class if row["f1"] is not None]
    total = int(confusion.sum())
    return {
        "accuracy": float(right.sum() / total),
        "macro_f1": float(np.mean(scores)),
        "samples": total,
        "samples_per_second": total / max(seconds, 1e-9),
        "reading_text": predictor.reading.text,
        "reading": describe(predictor.reading),
        "multiply_adds": predictor.multiply_adds / total,
        "multiply_adds_share": predictor.share,
        "planned_bytes": predictor.plan.peak,
        "process_peak_bytes": process_peak_bytes(),
        "network": model.network.text,
        "rule": word_for(model.network.rule),
        "precision": model.precision,
        "classes": per_class,
        "confusion": confusion.tolist(),
    }


def _table(report: dict[str, Any], confusion: np.ndarray[Any, Any]) -> str:
    lines = [f"{'class':<16}{'samples':>9}{'precision':>11}{'recall':>9}  most often taken for"]
    for i, row in enumerate(report["classes"]):
        wrong = confusion[i].copy()
        wrong[i] = 0
        other = report["classes"][int(wrong.argmax())]["class"] if wrong.any() else "-"
        precision, recall = _percent(row["precision"]), _percent(row["recall"])
        lines.append(
            f"{row['class']!s:<16.16}{row['samples']:>9,}{precision:>11}{recall:>9}  {other}"
        )
    lines.append(
        f"accuracy {100 * report['accuracy']:.2f} %, macro F1 {100 * report['macro_f1']:.2f} % on "
        f"{report['samples']:,} samples, {report['samples_per_second']:,.0f} a second, "
        f"{show_bytes(report['planned_bytes'])} of buffers"
    )
    share = report["multiply_adds_share"]
    lines.append(
        f"reading {report['reading_text']}: {report['multiply_adds']:,.0f} multiply-adds a sample, "
        f"{100 * share:.1f} % of everything"
    )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
