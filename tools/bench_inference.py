"""Time prediction with ffedge int8 against ONNX Runtime on ffedge's own int8 export.

    python tools/bench_inference.py [--batches 1,64] [--seconds 20] [--json]

784-500-500-10 after a little training on random images; one thread, one process, in turn;
microseconds a call, medians. Labels and goodness of both are compared first: 0 differing bits.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from ffedge import Model, Network, Predictor, Recipe, Trainer, export_onnx
from ffedge.optimizers import SGD
from ffedge.sources import from_arrays


def make_model() -> tuple[Model, np.ndarray[Any, Any]]:
    """A trained model, and samples for it."""
    random = np.random.default_rng(0)
    images = random.integers(1, 256, (4096, 784), np.uint8)
    images[random.random(images.shape) < 0.81] = 0
    data = from_arrays(images, random.integers(0, 10, len(images)))
    network = Network.dense(784, (500, 500), 10, precision="int8")
    trainer = Trainer(network, Recipe(SGD(0.1), epochs=1, scaling="global"))
    trainer.learn_scaling(data)
    for _ in trainer.train(data):
        pass
    return Model(network, trainer.params, tuple(range(10)), (784,)).copy(), images


def median_time(step: Callable[[], object], repeat: int) -> float:
    """Seconds a call, over ``repeat`` calls."""
    started = time.perf_counter()
    for _ in range(repeat):
        step()
    return (time.perf_counter() - started) / repeat


def main() -> None:
    """Compare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="1,64", help="default: 1,64")
    parser.add_argument("--seconds", type=float, default=20.0, help="default: 20")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    model, images = make_model()
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, f"{folder}/model.onnx", check="off")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(f"{folder}/model.onnx", settings)
    rows = []
    for batch in (int(text) for text in options.batches.split(",")):
        predictor = Predictor(model, batch=batch)
        raw, floats = images[:batch], images[:batch].astype(np.float32)
        differing = int((predictor.scores(raw).astype(np.float32)
                         != session.run(["goodness"], {"X": floats})[0]).sum())  # fmt: skip
        steps: dict[str, Callable[[], object]] = {
            "ffedge-int8": lambda p=predictor, x=raw: p.scores(x),
            "onnxruntime": lambda x=floats: session.run(["goodness"], {"X": x}),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        ends = time.perf_counter() + options.seconds / 2
        while time.perf_counter() < ends:
            for name, step in steps.items():
                times[name].append(median_time(step, 50))
        medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
        rows.append({"batch": batch, "differing_values": differing, "microseconds": medians,
                     "ratio": medians["onnxruntime"] / medians["ffedge-int8"]})  # fmt: skip
    if options.json:
        print(json.dumps({"onnxruntime": onnxruntime.__version__, "rows": rows}))
        return
    for row in rows:
        shown = ", ".join(f"{name} {value:.1f} us" for name, value in row["microseconds"].items())
        print(f"batch {row['batch']}: {shown}; ratio {row['ratio']:.2f}, "
              f"{row['differing_values']} differing values")  # fmt: skip


if __name__ == "__main__":
    main()
