#!/usr/bin/env python3
"""What streaming costs: a step with layers on disk against one with all in memory.

For each network the budget is a share of its weights (a quarter by default); both trainers take
the same batches in turns, in one process, and medians are compared. The file lies in --folder.
int8 weights must end with the same bits.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ffedge.buffers import model_needs
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import named_optimizer
from ffedge.planner import choose
from ffedge.recipe import Recipe
from ffedge.sources import Dataset, from_arrays
from ffedge.trainer import Trainer
from ffedge.training_file import TrainingFile
from ffedge.units import short_bytes

FEATURES, CLASSES = 784, 10
#: (hidden widths, precision, optimiser, rate)
NETWORKS = [
    ((500,) * 32, "int8", "sgd", 0.25),
    ((1000,) * 8, "int8", "sgd", 0.25),
    ((2000,) * 16, "int8", "sgd", 0.25),
    ((500,) * 32, "float32", "sgd", 0.02),
    ((1000,) * 8, "float32", "sgd", 0.02),
    ((1000,) * 8, "float32", "adam", 0.001),
    ((2000,) * 16, "float32", "adam", 0.001),
]


def main() -> int:
    """Measure, print, and write ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.25, help="of the weights (default: 0.25)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each (default: 15)")
    parser.add_argument("--folder", default=".", help="where the layers lie (default: here)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    data = make_data(options.batch * (options.steps + 2))
    rows = []
    for network in NETWORKS:
        row = measure(*network, data, options)
        rows.append(row)
        print(
            f"{row['network']:>12} {row['precision']:<8} {row['optimizer']:<5} "
            f"weights {short_bytes(row['weights']):>9}  budget {short_bytes(row['budget']):>9}  "
            f"{1e3 * row['resident_seconds']:8.1f} ms in memory, "
            f"{1e3 * row['streamed_seconds']:8.1f} ms streamed: {row['slowdown']:.2f} x "
            f"(predicted {row['predicted']:.2f} x); {row['how']}",
            flush=True,
        )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))
    return 0


def make_data(samples: int) -> Dataset:
    """Pixel-like samples: mostly zeros, as in MNIST."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (samples, FEATURES), np.uint8) * (
        rng.random((samples, FEATURES)) < 0.2
    )
    return from_arrays(X.astype(np.uint8), np.arange(samples) % CLASSES, classes=range(CLASSES))


def measure(
    hidden: tuple[int, ...], precision: str, optimizer: str, rate: float, data: Dataset,
    options: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    """One network, resident and streamed, step by step in turns."""
    network = Network.dense(FEATURES, hidden, CLASSES, precision=precision)
    recipe = Recipe(
        optimizer=named_optimizer(optimizer, rate), batch_size=options.batch, scaling="global"
    )
    weights = sum(need.spec.nbytes for need in model_needs(network))
    budget = int(weights * options.share)
    choice = choose(network, [recipe], budget)
    assert choice.streaming is not None
    model = Model(network, {}, tuple(range(CLASSES)), (FEATURES,))
    with tempfile.TemporaryFile(dir=options.folder) as file:
        lying = TrainingFile(file, model, recipe)
        streamed = Trainer(network, recipe, budget=budget, streaming=choice.streaming, file=lying)
        trainers = {"resident": Trainer(network, recipe), "streamed": streamed}
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        for trainer in trainers.values():
            trainer.learn_scaling(data)
            trainer.run.begin_stage(None)
        for step in range(options.steps + 2):
            for name, trainer in trainers.items():
                start = time.perf_counter()
                trainer.learn(data, step * options.batch, options.batch)
                seconds[name].append(time.perf_counter() - start)
        if precision == "int8":
            one, other = (trainer.params for trainer in trainers.values())
            assert all(one[key].tobytes() == other[key].tobytes() for key in one), "bits differ"
    # The first steps compile kernels and touch memory for the first time.
    medians = {name: statistics.median(values[2:]) for name, values in seconds.items()}
    width = f"{len(hidden)} x {hidden[0]}"
    return {
        "network": width, "precision": precision, "optimizer": optimizer, "batch": options.batch,
        "weights": weights, "budget": budget, "planned_bytes": choice.plan.peak,
        "resident_bytes": trainers["resident"].plan.peak,
        "resident_seconds": medians["resident"], "streamed_seconds": medians["streamed"],
        "slowdown": medians["streamed"] / medians["resident"], "predicted": choice.slowdown,
        "how": choice.words(recipe)[0],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
