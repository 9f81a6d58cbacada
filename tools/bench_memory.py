"""Peak training memory against depth and batch size: ffedge and PyTorch's back-propagation.

    python tools/bench_memory.py [--depths 2,4,8,16,32,64] [--batches 1,16,64,256] [--repeats 3]
                                 [--data PATH] [--rates] [--json FILE] [--picture FILE.svg]

Hidden layers of 500. Each measurement is a fresh process on one thread; the systems take turns.
Two columns of bytes, the same for both sides. Counted: PyTorch, most bytes of tensors alive at
once (weights, gradients, optimiser state, activations, temporaries); ffedge, the arena, which holds
all it trains with, planned and measured to be equal. Resident: growth of the resident set from
before the model is made, libraries loaded and warmed up by a toy network, to the highest point
of training. The data set counts for neither, the batch for both. Accuracy is of the set's own
test part; rates were chosen on a validation part of the training data (``--rates`` shows it).

A run takes ``--epochs`` passes, or fewer passes and samples where that is more than ``--updates``
updates; layerwise takes a fifth of the passes for each of its layers, so that it makes more updates
than the others where there are more than five.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from memory_report import BASELINE, Row, draw, panels, shortfalls, table

from ffedge.defaults import choose_parts, choose_scaling
from ffedge.memory import process_bytes, process_peak_bytes
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import Optimizer, named_optimizer
from ffedge.recipe import Recipe
from ffedge.sources import Dataset, from_arrays, load
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer
from ffedge.training_file import TrainingFile

WIDTH = 500
#: Where the two diagrams cross.
DEPTH, BATCH = 32, 64
#: Share of the training samples kept apart for choosing rates.
VALIDATION = 0.1


@dataclass(frozen=True, slots=True)
class System:
    """One way of training. kind: "torch", "ffedge" or "streamed"."""

    kind: str
    optimizer: str = "adam"
    precision: str = "float32"
    schedule: str = "sweep"
    mode: str = "plain"


SYSTEMS = {
    "torch adam": System("torch"),
    "torch adam accumulate": System("torch", mode="accumulate"),
    "torch adam checkpoint": System("torch", mode="checkpoint"),
    "torch adam in-backward": System("torch", mode="in_backward"),
    "torch sgd": System("torch", "sgd"),
    "torch sgd in-backward": System("torch", "sgd", mode="in_backward"),
    "ffedge adam": System("ffedge"),
    "ffedge adam layerwise": System("ffedge", schedule="layerwise"),
    "ffedge sgd": System("ffedge", "sgd"),
    "ffedge int8": System("ffedge", "sgd", "int8"),
    "ffedge adam streamed": System("streamed"),
    "ffedge int8 streamed": System("streamed", "sgd", "int8"),
}


@contextmanager
def streamed(network: Network, recipe: Recipe) -> Iterator[Trainer]:
    """A trainer whose layers all lie on disk and come whole, one by one: the least of that kind."""
    model = Model(network, {}, tuple(range(network.classes)), (network.features,))
    with tempfile.TemporaryFile() as file:
        lying = TrainingFile(file, model, recipe)
        yield Trainer(network, recipe, streaming=Streaming.of(network), file=lying)


def rate_of(system: System, depth: int) -> float:
    """The best of ``--rates`` on the validation part of digits, or within 3 points of it.

    Back-propagation's falls with depth: gradients pass through all layers.
    """
    if system.kind == "torch":
        return min(1e-3, 3.2e-3 / depth) if system.optimizer == "adam" else min(0.1, 0.32 / depth)
    return {"adam": 1e-3, "sgd": 0.25 if system.precision == "int8" else 0.3}[system.optimizer]


def read(path: str | None, batch: int, epochs: int, updates: int) -> tuple[Any, ...]:
    """(training, validation, test, epochs): the data in memory, cut down to ``updates`` updates."""
    data, test = load("digits") if path is None else load(path)
    if test is None:
        data, test = data.split(VALIDATION, 1)
    data, validation = data.split(VALIDATION, 0)
    most = updates * batch
    epochs = max(1, min(epochs, most // data.n_samples))
    if most < data.n_samples:
        _, data = data.split(most / data.n_samples, 2)
    return in_memory(data), in_memory(validation), in_memory(test), epochs


def in_memory(data: Dataset) -> Dataset:
    """A copy that no file lies behind: it is resident, and stays so."""
    rows = slice(None) if data.rows is None else data.rows
    return from_arrays(np.array(data.features[rows]), data.labels[rows].astype(np.int32),
                       classes=range(len(data.classes)))  # fmt: skip


def describe(system: System, data: Dataset, task: dict[str, Any]) -> tuple[Network, Recipe]:
    """Network and recipe of one measurement."""
    depth, batch, width = task["depth"], task["batch"], task.get("width", WIDTH)
    scaling = choose_scaling(data)
    int8 = system.precision == "int8"
    network = Network.dense(
        data.width, (width,) * depth, len(data.classes), precision=system.precision,
        input_parts=choose_parts(data, scaling) if int8 else 1,
    )  # fmt: skip
    optimizer: Optimizer = named_optimizer(
        system.optimizer, task.get("rate") or rate_of(system, depth)
    )
    epochs = max(1, task["epochs"] // 5) if system.schedule == "layerwise" else task["epochs"]
    recipe = Recipe(
        optimizer, batch_size=batch, epochs=epochs, schedule=system.schedule, scaling=scaling
    )
    return network, recipe


def micro_batch(system: System, batch: int) -> int | None:
    """A quarter of the batch where gradients are accumulated."""
    return max(1, batch // 4) if system.mode == "accumulate" else None


def run(system: System, data: Dataset, test: Dataset, task: dict[str, Any]) -> Row:
    """Make, train and judge one model; the highest resident set is read before it is judged."""
    network, recipe = describe(system, data, task)
    model: Any
    with ExitStack() as files:
        if system.kind == "torch":
            from ffedge.interop.torch_backprop import Backprop

            micro = micro_batch(system, recipe.batch_size)
            model = Backprop(network, recipe, mode=system.mode, micro_batch=micro)
        elif system.kind == "streamed":
            model = files.enter_context(streamed(network, recipe))
        else:
            model = Trainer(network, recipe)
        model.learn_scaling(data)
        started = time.perf_counter()
        if system.kind == "torch":
            model.train(data)
        else:
            for _ in model.train(data, tick=float("inf")):
                pass
        seconds = time.perf_counter() - started
        row = {"seconds": seconds, "process_peak": process_peak_bytes(), "epochs": recipe.epochs,
               "accuracy": model.evaluate(test)}  # fmt: skip
        if system.kind == "torch":
            return row
        assert model.measured_bytes == model.plan.peak
        kinds = model.plan.by_category()
        return row | {"peak_bytes": model.measured_bytes, "kinds": kinds}


def counted(system: System, data: Dataset, task: dict[str, Any]) -> Row:
    """PyTorch's bytes, from a few steps of a model of its own."""
    from ffedge.interop.torch_backprop import count_backprop

    network, recipe = describe(system, data, task)
    micro = micro_batch(system, recipe.batch_size)
    ledger = count_backprop(network, recipe, data, mode=system.mode, micro_batch=micro)
    return {"peak_bytes": ledger.peak, "kinds": ledger.at_peak}


def settle() -> int:
    """Give back what is free, forget the highest resident set so far; returns the present one."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return process_bytes()


def child(task: dict[str, Any]) -> Row:
    """One measurement, in a process of its own."""
    system = SYSTEMS[task["system"]]
    data, validation, test, epochs = read(
        task["data"], task["batch"], task["epochs"], task["updates"]
    )
    task = task | {"epochs": epochs}
    if system.kind == "torch":
        import torch

        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    run(
        system,
        in_memory(data.split(0.2, 0)[1]),
        test,
        task | {"depth": 2, "width": 16, "epochs": 1},
    )
    before = settle()
    row = run(system, data, validation if task["judge"] == "validation" else test, task)
    row["resident_bytes"] = row.pop("process_peak") - before
    row["samples"] = data.n_samples
    if system.kind == "torch":
        row |= counted(system, data, task)
    return {"system": task["system"], "depth": task["depth"], "batch": task["batch"]} | row


def measure(tasks: list[dict[str, Any]]) -> list[Row]:
    """A row a task, each from a fresh process."""
    rows: list[Row] = []
    for task in tasks:
        done = subprocess.run(
            [sys.executable, __file__, "--child", json.dumps(task)],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        done.check_returncode()
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def medians(rows: list[Row]) -> list[Row]:
    """One row for each system and point: bytes, seconds and accuracy are medians."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["system"], row["depth"], row["batch"]), []).append(row)
    fields = ("peak_bytes", "resident_bytes", "seconds", "accuracy")
    return [
        group[0] | {field: statistics.median(row[field] for row in group) for field in fields}
        for group in groups.values()
    ]


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hold for."""
    return {
        **machine("numpy", "numba", "torch"), "cores": os.cpu_count(), "threads": 1,
        "data": Path(options.data).stem if options.data else "digits", "width": WIDTH,
        "epochs": options.epochs, "updates": options.updates, "repeats": options.repeats,
        "statistic": "median",
    }  # fmt: skip


def show_rates(base: dict[str, Any], names: list[str], depths: list[int]) -> None:
    """Validation accuracy around each system's rate."""
    for name in names:
        for depth in depths:
            rate = rate_of(SYSTEMS[name], depth)
            tasks = [
                base
                | {"system": name, "depth": depth, "rate": rate * factor, "judge": "validation"}
                for factor in (0.1, 0.3, 1.0, 3.0)
            ]
            shown = ", ".join(
                f"{task['rate']:.2g}: {100 * row['accuracy']:.2f} %"
                for task, row in zip(tasks, measure(tasks), strict=False)
            )
            print(f"{name:<28}{depth:>3} layers  {shown}", flush=True)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", default="2,4,8,16,32,64", help="default: 2,4,8,16,32,64")
    parser.add_argument("--batches", default="1,16,64,256",
                        help=f"at {DEPTH} layers; the depths are at {BATCH} "
                             "(default: 1,16,64,256)")  # fmt: skip
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="default: all")
    parser.add_argument("--epochs", type=int, default=10, help="at most (default: 10)")
    parser.add_argument("--updates", type=int, default=400, help="at most (default: 400)")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--data", metavar="PATH", help=".npz with a test part (default: digits)")
    parser.add_argument("--rates", action="store_true",
                        help="only show validation accuracy around each system's rate")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write conditions and rows here")
    parser.add_argument("--picture", metavar="FILE.svg", help="draw both diagrams here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(json.loads(options.child))))
        return
    names = options.systems.split(",")
    depths, batches = ([int(text) for text in given.split(",") if text]
                       for given in (options.depths, options.batches))  # fmt: skip
    base = {"data": options.data, "epochs": options.epochs, "updates": options.updates,
            "batch": BATCH, "judge": "test"}  # fmt: skip
    if options.rates:
        show_rates(base, names, depths)
        return
    points = dict.fromkeys([*((depth, BATCH) for depth in depths), *((DEPTH, n) for n in batches)])
    rows = medians(measure([
        base | {"system": name, "depth": depth, "batch": batch}
        for _ in range(options.repeats) for depth, batch in points for name in names
    ]))  # fmt: skip
    stated = conditions(options)
    print("\n".join(f"{key}: {value}" for key, value in stated.items()))
    print(table(rows))
    print(f"\nRatios are to {BASELINE}. Where ffedge does not win against the best PyTorch system:")
    print("\n".join(shortfalls(rows)) or "nowhere")
    if options.json:
        Path(options.json).write_text(json.dumps({"conditions": stated, "rows": rows}, indent=1))
    if options.picture:
        title = f"Peak training memory, layers of {WIDTH}, {stated['data']} (counted bytes)"
        Path(options.picture).write_text(draw(panels(rows, BATCH, DEPTH), title))


if __name__ == "__main__":
    main()
