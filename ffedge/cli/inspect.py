"""``ffedge inspect``: what is in a model file or a data set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..buffers import model_needs
from ..errors import ConfigError
from ..model import Model
from ..model_file import FORMAT
from ..sources import Dataset, load
from ..units import show_bytes, show_text
from .model_argument import add_signature, open_model, refuse_versions_alone

NAME = "inspect"
HELP = "Show what is in a model file or a data set."
EXAMPLE = "example: ffedge inspect digits.ffedge"

_MODEL_SUFFIXES = (".ffedge", ".safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One file or name."""
    parser.add_argument("path", metavar="FILE", help="a model file, a data file, or digits")
    parser.add_argument("--label", metavar="COLUMN", help="label column of a csv file")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where to look for mnist and the like")
    add_signature(parser)


def run(options: argparse.Namespace) -> int:
    """Print a description; CheckpointError or DataError (exit codes 5, 4) for a broken file."""
    if Path(options.path).suffix in _MODEL_SUFFIXES:
        report = describe_model(open_model(options, options.path))
        text = _model_text(report)
    elif options.require_signature is not None:
        raise ConfigError(
            f"inspect: expected a model file ({', '.join(_MODEL_SUFFIXES)}) with "
            f"--require-signature, got {options.path}; any other file: `ffedge verify`"
        )
    else:
        refuse_versions_alone(options)
        train, test = load(options.path, label=options.label, data_dir=options.data_dir)
        report = describe_data(train, test)
        text = "\n".join(f"{key:<14} {show_text(str(value))}" for key, value in report.items())
    print(json.dumps(report) if options.json else text)
    return 0


def describe_model(model: Model) -> dict[str, Any]:
    """Network, parameters with their ranges, classes and training figures; JSON types."""
    params = []
    for need in model_needs(model.network):
        array = model.params[need.name]
        params.append({
            "name": need.name, "shape": list(array.shape), "dtype": str(array.dtype),
            "bytes": array.nbytes, "min": float(array.min()), "max": float(array.max()),
        })  # fmt: skip
    described = model.network.describe()
    return {
        "format": FORMAT,
        "network": model.network.text,
        "rule": described["rule"],
        "activations": described.get("activations"),
        "fields": described.get("fields"),
        "precision": model.precision,
        "classes": list(model.classes),
        "feature_shape": list(model.feature_shape),
        "feature_names": model.feature_names and list(model.feature_names),
        "bytes": model.nbytes,
        "reading": None if model.reading is None else model.reading.text,
        "params": params,
        # JSON has no NaN and no infinity, which Python's json reads and writes all the same.
        "training": json.loads(json.dumps(model.training), parse_constant=lambda _: None),
    }


def describe_data(train: Dataset, test: Dataset | None) -> dict[str, Any]:
    """Sizes, classes and types of a data set; JSON types."""
    counts = np.bincount(train.labels, minlength=len(train.classes))
    return {
        "name": train.name,
        "train_samples": train.n_samples,
        "test_samples": test.n_samples if test else 0,
        "feature_shape": list(train.feature_shape),
        "feature_names": train.feature_names and list(train.feature_names),
        "dtype": str(train.features.dtype),
        "storage": train.storage,
        "bytes": train.nbytes,
        "classes": {str(name): int(n) for name, n in zip(train.classes, counts, strict=True)},
    }


def _model_text(report: dict[str, Any]) -> str:
    more = " …" if len(report["classes"]) > 12 else ""
    names = show_text(", ".join(map(str, report["classes"][:12]))) + more
    lines = [
        f"network    {report['network']}, {report['precision']}, {show_bytes(report['bytes'])}",
        f"rule       {_object_text(report['rule'])}",
        f"features   {'x'.join(map(str, report['feature_shape']))}",
        f"classes    {names}",
    ]
    for name in ("activations", "fields"):
        if report[name] is not None:
            lines.insert(2, f"{name:<10} {', '.join(map(_object_text, report[name]))}")
    if report["reading"] is not None:
        lines.append(f"reading    {report['reading']}")
    for key, value in report["training"].items():
        if key.endswith("_accuracy") and isinstance(value, float):
            name = show_text(key.removesuffix("_accuracy"))
            lines.append(f"{name:<10} {100 * value:.2f} % right")
    lines += [
        f"  {p['name']:<18} {'x'.join(map(str, p['shape'])):<16} {p['bytes']:>12,} B"
        f"   {p['min']:+.4f} … {p['max']:+.4f}"
        for p in report["params"]
    ]
    return "\n".join(lines)


def _object_text(description: Any) -> str:
    """A described object in words: its name and its fields, objects among them likewise."""
    if not isinstance(description, dict):
        return str(description)
    fields = [f"{key} {_object_text(value)}" for key, value in description.items() if key != "name"]
    return f"{description['name']} ({', '.join(fields)})" if fields else str(description["name"])
