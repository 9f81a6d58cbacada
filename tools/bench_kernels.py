"""Time the int8 product against ONNX Runtime's MatMulInteger, weights changing as in training.

    python tools/bench_kernels.py [--rounds 9] [--json]

One thread, one process, in turn, medians. ffedge's time includes bias, shift and rounding to
bytes; ONNX Runtime's is the bare product, its weights an input of the graph, since weights that
change cannot be packed beforehand.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from ffedge.arena import Arena
from ffedge.export.onnx_writer import Graph, to_bytes
from ffedge.kernels.int8 import dense, vector
from ffedge.plan import Need, place
from ffedge.tensor import PANEL, TensorSpec, panels

SHAPES = ((784, 500), (784, 2000), (2000, 2000), (64, 128))
BATCHES = (1, 16, 64, 256)


def ffedge_step(inputs: int, units: int, batch: int) -> Callable[[], object]:
    """One forward product, in buffers aligned as a run's are."""
    count, quads = panels(units), -(-inputs // 4)
    specs = {
        "x": TensorSpec((batch, panels(inputs) * PANEL), "uint8"),
        "weight": TensorSpec((count, quads, PANEL, 4), "int8"),
        "bias": TensorSpec((count * PANEL,), "int32"),
        "listed": TensorSpec((quads,), "int32"),
        "y": TensorSpec((batch, count * PANEL), "uint8"),
    }
    arena = Arena(place(Need(name, spec, "workspace") for name, spec in specs.items()))
    random = np.random.default_rng(0)
    arena["x"][:, :inputs] = random.integers(0, 128, (batch, inputs))
    arena["weight"][:] = random.integers(-127, 128, arena["weight"].shape)
    arguments = arena["x"], batch, arena["weight"], arena["bias"], 10
    return lambda: dense.forward(*arguments, arena["listed"], arena["y"])


def runtime_step(inputs: int, units: int, batch: int) -> Callable[[], object]:
    """The same product in ONNX Runtime."""
    graph = Graph("product", "uint8 times int8")
    x = graph.add_input("x", "uint8", ("N", inputs))
    weight = graph.add_input("weight", "int8", (inputs, units))
    graph.add_node("MatMulInteger", [x, weight], "y")
    graph.add_output("y", "int32", ("N", units))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_bytes(graph), settings)
    random = np.random.default_rng(0)
    feed = {
        "x": random.integers(0, 128, (batch, inputs), np.uint8),
        "weight": random.integers(-127, 128, (inputs, units)).astype(np.int8),
    }
    return lambda: session.run(None, feed)


def seconds(step: Callable[[], object], repeat: int) -> float:
    """Seconds a call, over ``repeat`` calls."""
    started = time.perf_counter()
    for _ in range(repeat):
        step()
    return (time.perf_counter() - started) / repeat


def main() -> None:
    """Measure all shapes and batches, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="default: 9")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for inputs, units in SHAPES:
        for batch in BATCHES:
            steps = {"ffedge": ffedge_step(inputs, units, batch),
                     "onnxruntime": runtime_step(inputs, units, batch)}  # fmt: skip
            repeat = {name: max(1, int(0.02 / seconds(step, 3))) for name, step in steps.items()}
            times: dict[str, list[float]] = {name: [] for name in steps}
            for _ in range(options.rounds):
                for name, step in steps.items():
                    times[name].append(seconds(step, repeat[name]))
            medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
            rows.append({"shape": f"{inputs}x{units}", "batch": batch, "microseconds": medians,
                         "ratio": medians["onnxruntime"] / medians["ffedge"]})  # fmt: skip
    mean = statistics.mean(row["ratio"] for row in rows)
    if options.json:
        print(json.dumps({"path": vector.PATH, "onnxruntime": onnxruntime.__version__, "rows": rows,
                          "mean_ratio": mean}))  # fmt: skip
        return
    print(f"path {vector.PATH}, onnxruntime {onnxruntime.__version__}")
    for row in rows:
        times_of = row["microseconds"]
        print(f"{row['shape']:<12}{row['batch']:>5}{times_of['ffedge']:>10.1f} us"
              f"{times_of['onnxruntime']:>10.1f} us{row['ratio']:>8.2f}")  # fmt: skip
    print(f"mean ratio {mean:.2f}")


if __name__ == "__main__":
    main()
