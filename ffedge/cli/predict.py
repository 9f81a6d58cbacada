"""``ffedge predict``: labels for samples that have none."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

from ..errors import ConfigError
from ..memory import process_peak_bytes
from ..model import Model
from ..predict import Predictor
from ..sources import load_features
from ..unlabelled import threshold_of
from .model_argument import add_model, open_model
from .numbers import number_columns, number_rows
from .options import add_reading, bytes_argument

NAME = "predict"
HELP = "Predict labels or numbers, or how normal samples are, as csv or JSON."
EXAMPLE = "example: ffedge predict digits.ffedge new_samples.csv -o labels.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, samples and where the labels go."""
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA",
        help="samples: .npy, .npz or .csv, with or without labels, or digits",
    )  # fmt: skip
    add_reading(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="csv file (default: stdout)")
    parser.add_argument("--probabilities", action="store_true",
                        help="one column per class (of a regression: bin) beside")  # fmt: skip
    parser.add_argument("--interval", type=float, metavar="SHARE",
                        help="of a regression: columns low and high, between which the model sees "
                             "this share of the probability, such as 0.9")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--budget", metavar="BYTES", type=bytes_argument,
                        help="refuse a prediction plan above this size")  # fmt: skip
    parser.add_argument("--data-dir", metavar="FOLDER", help="where to look for mnist and the like")
    parser.add_argument("--cache-dir", metavar="FOLDER",
                        help="folder for the temporary file of compressed data")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Predict and write; DataError (exit code 4) if the samples do not suit the model."""
    model = open_model(options, options.model)
    features = load_features(
        options.data, width=model.network.features, names=model.feature_names,
        data_dir=options.data_dir, cache_dir=options.cache_dir,
    )  # fmt: skip
    predictor = Predictor(
        model, batch=options.batch_size, budget=options.budget, reading=options.reading
    )
    if options.interval is not None:
        # Refused before anything is written.
        predictor.check_interval(options.interval)
    rule, threshold = model.network.rule, threshold_of(model)
    if rule.unlabelled and options.probabilities:
        raise ConfigError(
            "predict: expected a model with classes for --probabilities, got one that learned "
            "without labels and scores how normal a sample is"
        )
    if options.json:
        whole: Callable[..., dict[str, Any]] = _as_json
        if rule.numeric:
            whole = _numbers_as_json
        elif rule.unlabelled:
            whole = _scores_as_json
        print(json.dumps(whole(model, predictor, features, options)))
        return 0
    with contextlib.ExitStack() as stack:
        out: TextIO = sys.stdout
        if options.output:
            out = stack.enter_context(open(options.output, "w", newline="", encoding="utf-8"))
        writer = csv.writer(out, lineterminator="\n")
        if rule.numeric:
            writer.writerow(number_columns(predictor, options.interval, options.probabilities))
            found = number_rows(predictor, features, options.interval, options.probabilities)
            writer.writerows([f"{number:.9g}" for number in numbers] for numbers in found)
            return 0
        if rule.unlabelled:
            writer.writerow(["score"] if threshold is None else ["score", "anomaly"])
            for score in _scores(predictor, features):
                yes = [] if threshold is None else ["yes" if score < threshold else "no"]
                writer.writerow([f"{score:.6g}", *yes])
            return 0
        chances = [f"p_{name}" for name in model.classes] if options.probabilities else []
        writer.writerow(["label", *chances])
        for labels, rows in _batches(model, predictor, features):
            for label, row in zip(labels, rows, strict=True):
                writer.writerow([label, *(f"{p:.6g}" for p in row if chances)])
    return 0


def _scores(predictor: Predictor, features: np.ndarray[Any, Any]) -> Iterator[float]:
    """How normal each sample is, a batch at a time."""
    for first in range(0, len(features), predictor.batch):
        yield from predictor.scores(features[first : first + predictor.batch])[:, 0].tolist()


def _scores_as_json(
    model: Model, predictor: Predictor, features: np.ndarray[Any, Any], _: argparse.Namespace
) -> dict[str, Any]:
    threshold, scores = threshold_of(model), list(_scores(predictor, features))
    found = None if threshold is None else [score < threshold for score in scores]
    return {
        "scores": scores, "threshold": threshold, "anomalies": found,
        "planned_bytes": predictor.plan.peak, "process_peak_bytes": process_peak_bytes(),
    }  # fmt: skip


def _batches(model: Model, predictor: Predictor, features: np.ndarray[Any, Any]) -> Any:
    """Labels and probabilities, a batch at a time."""
    for first in range(0, len(features), predictor.batch):
        chances = predictor.probabilities(features[first : first + predictor.batch])
        yield [model.classes[code] for code in chances.argmax(axis=1)], chances


def _as_json(
    model: Model, predictor: Predictor, features: np.ndarray[Any, Any], options: argparse.Namespace
) -> dict[str, Any]:
    with_chances = options.probabilities
    labels: list[Any] = []
    chances: list[list[float]] = []
    for names, rows in _batches(model, predictor, features):
        labels += names
        if with_chances:
            chances += rows.tolist()
    report: dict[str, Any] = {"labels": labels, "classes": list(model.classes)}
    if with_chances:
        report["probabilities"] = chances
    return report | {
        "reading": predictor.reading.text,
        "multiply_adds": predictor.multiply_adds / max(predictor.samples, 1),
        "multiply_adds_share": predictor.share,
        "planned_bytes": predictor.plan.peak, "process_peak_bytes": process_peak_bytes(),
    }  # fmt: skip


def _numbers_as_json(
    model: Model, predictor: Predictor, features: np.ndarray[Any, Any], options: argparse.Namespace
) -> dict[str, Any]:
    rows = list(number_rows(predictor, features, options.interval, options.probabilities))
    report: dict[str, Any] = {"values": [row[0] for row in rows]}
    if options.interval is not None:
        report["intervals"] = [row[1:3] for row in rows]
    if options.probabilities:
        first = 1 if options.interval is None else 3
        report["centres"] = predictor.centres.tolist()
        report["probabilities"] = [row[first:] for row in rows]
    return report | {
        "planned_bytes": predictor.plan.peak, "process_peak_bytes": process_peak_bytes(),
    }  # fmt: skip
