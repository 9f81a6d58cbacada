"""Time one training epoch of 784-500-500 in ffedge and in every peer that is installed.

    python tools/bench_training.py [--batches 1,64,256] [--seconds 90] [--data-dir FOLDER] [--json]

All systems run on one thread (ffedge also on two, as a pipeline of layers), in turn, over the
same samples (MNIST where it is found, else random images as sparse); a time is the median of the
rounds, scaled to 60,000 samples.
``ratio_to_torch_bp_sgd`` above 1 means faster than PyTorch backprop with SGD at that batch size.
ffedge's time includes fetching and scaling raw uint8 samples; the peers get theirs as ready
float32 arrays. A forced vector path needs a process of its own, which waits while the others
run.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
from machine import machine

from ffedge.errors import DataError
from ffedge.kernels import simd
from ffedge.kernels.int8 import vector
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.recipe import Recipe
from ffedge.sources import Dataset, from_arrays, load
from ffedge.trainer import Trainer

EPOCH = 60_000
WIDTHS = (784, 500, 500)
CLASSES = 10

#: One call trains on ``samples`` samples.
Step = Callable[[int], None]
Array = np.ndarray[Any, Any]


def samples(data_dir: str | None) -> tuple[str, Dataset]:
    """MNIST, or random images of its size with its share of zeros."""
    try:
        data, _ = load("mnist", data_dir=data_dir)
        return "mnist", data
    except DataError:
        random = np.random.default_rng(0)
        images = random.integers(1, 256, (8192, 784), np.uint8)
        images[random.random(images.shape) < 0.81] = 0
        return "random, 81 % zeros", from_arrays(images, random.integers(0, CLASSES, 8192))


def ffedge_step(
    data: Dataset, batch: int, optimizer: SGD | Adam, precision: str = "float32", threads: int = 1
) -> Step:
    """The default rule, batch after batch as ``Trainer.train`` takes them."""
    network = Network.dense(data.width, WIDTHS[1:], CLASSES, precision=precision)
    recipe = Recipe(optimizer=optimizer, batch_size=batch, scaling="global", threads=threads)
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(data)
    trainer.run.begin_stage(None)
    position = [0]

    def step(count: int) -> None:
        run = trainer.run
        for first in range(0, count, run.capacity):
            taken = min(run.capacity, count - first)
            if position[0] + taken > data.n_samples:
                position[0] = 0
            run.fetch(data, position[0], taken)
            run.train_batch(taken)
            position[0] += taken
        run.drain()

    return step


def torch_steps(x: Array, y: Array, batch: int) -> dict[str, Step]:
    """PyTorch: backprop with SGD and with fused Adam, and Forward-Forward with autograd."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))

    def backprop(make: Any) -> Step:
        net = nn.Sequential(
            nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 10)
        )
        optimizer = make(net.parameters())

        def step(count: int) -> None:
            for first in _starts(count, batch, len(inputs)):
                optimizer.zero_grad()
                rows = slice(first, first + batch)
                functional.cross_entropy(net(inputs[rows]), labels[rows]).backward()
                optimizer.step()

        return step

    def forward_forward() -> Step:
        """One autograd graph per layer, label in the first pixels, random wrong labels."""
        layers = [nn.Linear(a, b) for a, b in pairwise(WIDTHS)]
        optimizers = [torch.optim.Adam(layer.parameters(), lr=1e-3, fused=True) for layer in layers]

        def step(count: int) -> None:
            for first in _starts(count, batch, len(inputs)):
                rows = slice(first, first + batch)
                wrong = (labels[rows] + torch.randint(1, 10, (batch,))) % 10
                hidden = inputs[rows].repeat(2, 1)
                hidden[:, :10] = functional.one_hot(torch.cat([labels[rows], wrong]), 10).float()
                sign = torch.ones(2 * batch)
                sign[batch:] = -1
                for layer, optimizer in zip(layers, optimizers, strict=True):
                    hidden = hidden / (hidden.pow(2).mean(1, keepdim=True).sqrt() + 1e-8)
                    activity = functional.relu(layer(hidden))
                    goodness = activity.pow(2).sum(1)
                    loss = functional.softplus(-sign * (goodness - activity.shape[1])).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    hidden = activity.detach()

        return step

    return {
        "torch-bp-sgd": backprop(lambda p: torch.optim.SGD(p, lr=1e-3)),
        "torch-bp-adam": backprop(lambda p: torch.optim.Adam(p, lr=1e-4, fused=True)),
        "torch-ff-adam": forward_forward(),
    }


def sklearn_step(x: Array, y: Array, batch: int) -> Step:
    """scikit-learn's MLPClassifier.partial_fit with SGD on the same hidden layers."""
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(WIDTHS[1:], solver="sgd", batch_size=batch, momentum=0.0)
    classes = np.arange(CLASSES)
    net.partial_fit(x[:batch], y[:batch], classes=classes)

    def step(count: int) -> None:
        for first in _starts(count, batch, len(x)):
            net.partial_fit(x[first : first + batch], y[first : first + batch])

    return step


def _starts(count: int, batch: int, available: int) -> range:
    return range(0, min(count, available - batch + 1), batch)


class Worker:
    """ffedge in int8 with a forced vector path, in a process of its own."""

    def __init__(self, path: str, data_dir: str | None) -> None:
        command = [
            sys.executable,
            __file__,
            "--worker",
            *(["--data-dir", data_dir] if data_dir else []),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"FFEDGE_SIMD": path},
        )  # fmt: skip

    def _ask(self, *words: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        if self._process.stdout.readline().strip() != "done":
            raise RuntimeError("the process of a forced vector path failed")

    def prepare(self, batch: int) -> None:
        """Make a fresh trainer for this batch size."""
        self._ask("prepare", batch)

    def step(self, count: int) -> None:
        """Train on ``count`` samples there; returns when it is done."""
        self._ask("step", count)


def work(data_dir: str | None) -> None:
    """The other end of ``Worker``."""
    _, data = samples(data_dir)
    step: Step | None = None
    for line in sys.stdin:
        order, number = line.split()
        if order == "prepare":
            step = ffedge_step(data, int(number), SGD(1e-3), "int8")
        elif step is not None:
            step(int(number))
        print("done", flush=True)


def systems(data: Dataset, batch: int, workers: dict[str, Worker]) -> dict[str, tuple[str, Step]]:
    """Every system that can run here: name -> (path, step)."""
    found: dict[str, tuple[str, Step]] = {
        "ffedge-float32": (simd.PATH, ffedge_step(data, batch, SGD(1e-3))),
        "ffedge-float32-adam": (simd.PATH, ffedge_step(data, batch, Adam(1e-4))),
        "ffedge-int8": (vector.PATH, ffedge_step(data, batch, SGD(1e-3), "int8")),
    }
    if (os.cpu_count() or 1) > 1:
        step = ffedge_step(data, batch, SGD(1e-3), "int8", threads=2)
        found["ffedge-int8-2-threads"] = (vector.PATH, step)
    for path, worker in workers.items():
        worker.prepare(batch)
        found[f"ffedge-int8-{path}"] = (path, worker.step)
    count = min(8192, data.n_samples)
    x = np.ascontiguousarray(data.features[:count]).astype(np.float32) / 255
    y = np.ascontiguousarray(data.labels[:count])
    with suppress(ImportError):
        found |= {name: ("torch", step) for name, step in torch_steps(x, y, batch).items()}
    with suppress(ImportError):
        found["sklearn-mlp-sgd"] = ("numpy", sklearn_step(x, y, batch))
    return found


def measure(
    found: dict[str, tuple[str, Step]], batch: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds per sample of every system, round by round; rounds of all systems interleave."""
    share = seconds / len(found)
    counts = {}
    for name, (_, step) in found.items():
        step(batch)
        started = time.perf_counter()
        step(4 * batch)
        cost = (time.perf_counter() - started) / 4
        # About seven rounds in the time there is.
        counts[name] = batch * max(1, min(int(share / 7 / cost), 4096 // batch or 1))
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(7):
        for name, (_, step) in found.items():
            started = time.perf_counter()
            step(counts[name])
            times[name].append((time.perf_counter() - started) / counts[name])
    return times


def bench(batches: list[int], seconds: float, data_dir: str | None) -> dict[str, Any]:
    """The whole comparison as JSON types."""
    name, data = samples(data_dir)
    others = [
        path for path in ("avx2",) if path in vector.available_paths() and path != vector.PATH
    ]
    workers = {path: Worker(path, data_dir) for path in others}
    rows = []
    for batch in batches:
        found = systems(data, batch, workers)
        times = measure(found, batch, seconds / len(batches))
        medians = {system: statistics.median(values) for system, values in times.items()}
        base = medians.get("torch-bp-sgd")
        for system, (path, _) in found.items():
            rows.append({
                "system": system, "path": path, "batch": batch,
                "seconds": medians[system] * EPOCH,
                "seconds_min": min(times[system]) * EPOCH,
                "seconds_max": max(times[system]) * EPOCH,
                "ratio_to_torch_bp_sgd": base / medians[system] if base else None,
            })  # fmt: skip
    return {"conditions": conditions(name), "rows": rows}


def conditions(data: str) -> dict[str, Any]:
    """What the figures hold for."""
    return {
        **machine("numpy", "numba", "torch", "sklearn"),
        "threads": "1 (2 where named)", "data": data,
        "network": "784-500-500-10", "samples": EPOCH, "rounds": 7, "statistic": "median",
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The rows for people."""
    lines = [f"{key}: {value}" for key, value in result["conditions"].items()]
    lines.append(
        f"\n{'system':<24}{'path':<12}{'batch':>6}{'s/epoch':>10}{'min-max':>18}{'ratio':>8}"
    )
    for row in result["rows"]:
        span = f"{row['seconds_min']:.2f}-{row['seconds_max']:.2f}"
        ratio = row["ratio_to_torch_bp_sgd"]
        shown = "-" if ratio is None else f"{ratio:.2f}"
        lines.append(f"{row['system']:<24}{row['path']:<12}{row['batch']:>6}{row['seconds']:>10.2f}"
                     f"{span:>18}{shown:>8}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="1,64,256", help="default: 1,64,256")
    parser.add_argument("--seconds", type=float, default=90.0, help="of measuring (default: 90)")
    parser.add_argument("--data-dir", help="folder with mnist")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.data_dir)
        return
    warnings.simplefilter("ignore")
    batches = [int(text) for text in options.batches.split(",")]
    result = bench(batches, options.seconds, options.data_dir)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
