"""Seconds from the start of Python to 97.5 % on MNIST's test part: ffedge int8 and PyTorch Adam.

    python tools/time_to_accuracy.py [--target 97.5] [--runs 3] [--data-dir FOLDER] [--json]

784-500-500, one thread, each run a fresh process, the systems in turn; start-up, reading the data
and a test after every epoch included, kernels cached. ffedge trains its default int8 rule for 3
epochs (a number chosen on validation data); PyTorch trains by backprop with fused Adam, rate
0.001, batch 64, for as long as it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

_FFEDGE = """
import sys
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.sources import load
from ffedge.trainer import Trainer
train, test = load("mnist", data_dir=sys.argv[1])
network = Network.dense(784, (500, 500), 10, precision="int8")
trainer = Trainer(network, Recipe(SGD(0.25), epochs=3, hold=0.3, scaling="global"))
trainer.learn_scaling(train)
for progress in trainer.train(train, tick=float("inf")):
    accuracy = 100 * trainer.evaluate(test)
    print(progress.epoch, accuracy)
    if accuracy >= float(sys.argv[2]):
        break
"""

_TORCH = """
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from ffedge.sources import load
torch.set_num_threads(1)
torch.set_flush_denormal(True)
torch.manual_seed(0)
train, test = load("mnist", data_dir=sys.argv[1])
x, x_test = (torch.tensor(d.features).float() / 255 for d in (train, test))
y, y_test = (torch.from_numpy(d.labels.astype(np.int64)) for d in (train, test))
first, second, last = nn.Linear(784, 500), nn.Linear(500, 500), nn.Linear(500, 10)
net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
for epoch in range(20):
    order = torch.randperm(len(x))
    for start in range(0, len(x), 64):
        rows = order[start : start + 64]
        optimizer.zero_grad()
        functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.inference_mode():
        accuracy = 100 * (net(x_test).argmax(1) == y_test).float().mean().item()
    print(epoch + 1, accuracy)
    if accuracy >= float(sys.argv[2]):
        break
"""


def run(code: str, data_dir: str, target: float) -> tuple[float, int, float]:
    """Seconds, epochs and accuracy of one fresh process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, data_dir, str(target)],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    epoch, accuracy = done.stdout.strip().splitlines()[-1].split()
    return seconds, int(epoch), float(accuracy)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=float, default=97.5, help="percent (default: 97.5)")
    parser.add_argument("--runs", type=int, default=3, help="default: 3")
    parser.add_argument("--data-dir", required=True, help="folder with mnist")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    run(_FFEDGE, options.data_dir, options.target)  # fills the kernel cache
    results: dict[str, list[tuple[float, int, float]]] = {"ffedge-int8": [], "torch-bp-adam": []}
    for _ in range(options.runs):
        for name, code in (("ffedge-int8", _FFEDGE), ("torch-bp-adam", _TORCH)):
            results[name].append(run(code, options.data_dir, options.target))
    medians = {name: statistics.median(row[0] for row in rows) for name, rows in results.items()}
    ratio = medians["torch-bp-adam"] / medians["ffedge-int8"]
    if options.json:
        print(json.dumps({"target": options.target, "runs": results, "median_seconds": medians,
                          "ratio": ratio}))  # fmt: skip
        return
    for name, rows in results.items():
        shown = ", ".join(f"{seconds:.1f} s ({epochs} epochs, {accuracy:.2f} %)"
                          for seconds, epochs, accuracy in rows)  # fmt: skip
        print(f"{name:<16}{medians[name]:6.1f} s   {shown}")
    print(f"ffedge needs 1/{ratio:.1f} of PyTorch's time")


if __name__ == "__main__":
    main()
