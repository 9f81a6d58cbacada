"""Profile reference trainings of fixed seeds, and compare with a saved baseline.

    python tools/profile_memory.py [--save FILE] [--baseline FILE] [--allow PERCENT] [--json]

Exit code 3 if the measured training peak of any of them grew by more than ``--allow`` percent,
or if measured and planned bytes differ anywhere. Data are random: memory does not depend on them.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.defaults import choose_optimizer
from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.profiling.file import check_profile, compare, save_profile
from ffedge.profiling.measure import profile_training
from ffedge.recipe import SCHEDULES, Recipe
from ffedge.rules import NAMED_RULES
from ffedge.sources import Dataset, from_arrays
from ffedge.trainer import Trainer

#: Epochs where time is of interest: a watch's first looks cost some milliseconds a stage.
LONG = 20

#: name: rule, precision, features, hidden widths, classes, batch.
REFERENCES = {
    "digits": ("readout", "float32", 64, (128, 128), 10, 64),
    "images": ("readout", "float32", 784, (500, 500), 10, 64),
    "hinton": ("hinton", "float32", 784, (500, 500), 10, 64),
    "digits-int8": ("readout", "int8", 64, (128, 128), 10, 64),
    "images-int8": ("readout", "int8", 784, (500, 500), 10, 64),
    "board-int8": ("group", "int8", 64, (100, 100), 10, 1),
}


def samples(features: int, classes: int) -> Dataset:
    """A thousand random samples, the same every time."""
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (1000, features), np.uint8)
    return from_arrays(values, np.arange(1000) % classes, name="random")


def profiles(overhead: bool) -> dict[str, dict[str, Any]]:
    """Every reference by every schedule."""
    found = {}
    for name, (rule, precision, features, hidden, classes, batch) in REFERENCES.items():
        data = samples(features, classes)
        for schedule in SCHEDULES:
            network = Network.dense(
                features, hidden, classes, NAMED_RULES[rule], precision=precision
            )
            optimizer = choose_optimizer(network.rule, precision, features, batch, None)
            recipe = Recipe(
                optimizer, batch_size=batch, epochs=LONG if overhead else 2, schedule=schedule,
                scaling="global",
            )  # fmt: skip
            print(f"{name} {schedule}", file=sys.stderr, flush=True)
            trainer = Trainer(network, recipe)
            found[f"{name} {schedule}"] = profile_training(trainer, data, measure_overhead=overhead)
    return found


def read_baseline(path: str) -> dict[str, dict[str, Any]]:
    """The profiles of ``--save``, each checked."""
    try:
        found = json.loads(Path(path).read_bytes())
        return {name: check_profile(profile) for name, profile in found["profiles"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: expected a baseline of --save, got {error}") from None


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [f"{'training':<24}{'planned':>12}{'measured':>12}{'baseline':>12}{'grown':>9}"
             f"{'process':>11}{'overhead':>10}"]  # fmt: skip
    for row in rows:
        baseline, grown, overhead = (row[n] for n in ("baseline", "grown_percent", "overhead"))
        lines.append(
            f"{row['name']:<24}{row['planned']:>12,}{row['measured']:>12,}"
            f"{'-' if baseline is None else f'{baseline:,}':>12}"
            f"{'-' if grown is None else f'{grown:+.2f} %':>9}"
            f"{row['process'] / 2**20:>7.1f} MiB"
            f"{'-' if overhead is None else f'{overhead:+.1f} %':>10}"
        )
    return "\n".join(lines)


def main() -> int:
    """Parse, profile, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", metavar="FILE", help="write all profiles as a new baseline")
    parser.add_argument("--baseline", metavar="FILE", help="compare with it")
    parser.add_argument("--allow", type=float, default=0.0, help="percent of growth (default: 0)")
    parser.add_argument("--overhead", action="store_true", help="also measure the watch's cost")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    baseline = {} if options.baseline is None else read_baseline(options.baseline)
    found = profiles(options.overhead)
    if options.save:
        save_profile({"profiles": found}, options.save)
    rows, failed = [], False
    for name, profile in found.items():
        old = baseline.get(name)
        change = None if old is None else compare(profile, old, options.allow)
        failed |= profile["measured_bytes"] != profile["planned_bytes"]
        failed |= change is not None and change["grew"]
        rows.append({
            "name": name, "planned": profile["planned_bytes"],
            "measured": profile["measured_bytes"], "process": profile["process"]["peak"],
            "overhead": profile["overhead_percent"], "seconds": profile["seconds"],
            "baseline": None if old is None else old["measured_bytes"],
            "grown_percent": None if change is None else change["measured"]["grown_percent"],
        })  # fmt: skip
    print(json.dumps({"rows": rows, "failed": failed}) if options.json else table(rows))
    return 3 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigError as error:
        sys.exit(f"profile_memory: {error}")
