"""Time from a folder of states to a trainer that goes on: the median of ten resumes.

    python tools/bench_resume.py [--hidden 700,600] [--folder FOLDER] [--json]

An int8 network on MNIST's 784 inputs; the newest file holds a whole state and some saves behind it.
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

import numpy as np

from ffedge.checkpointing import Checkpoints, Every
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.resume import fingerprint
from ffedge.sources import Dataset, from_arrays
from ffedge.trainer import Trainer
from ffedge.units import show_bytes


def opened(
    folder: str, network: Network, recipe: Recipe, data: Dataset
) -> tuple[Trainer, Checkpoints]:
    """A new trainer and its checkpoints, a save after every step."""
    trainer = Trainer(network, recipe, checkpoint=True)
    run = fingerprint(network, recipe, data, None, trainer.run.capacity)
    kept = Checkpoints(folder, trainer, data.n_samples, run, "bench", every=Every(steps=1))
    return trainer, kept


def main() -> None:
    """Train a little, then resume ten times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", default="700,600", help="default: 700,600, about 1 MB")
    parser.add_argument("--folder", help="where the states lie (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    hidden = [int(width) for width in options.hidden.split(",")]
    network = Network.dense(784, hidden, 10, precision="int8")
    recipe = Recipe(optimizer=SGD(0.2), epochs=1, scaling="global")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (640, 784), np.uint8)
    data = from_arrays(pixels, np.arange(640) % 10, classes=range(10))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        trainer, kept = opened(folder, network, recipe, data)
        trainer.learn_scaling(data)
        for _ in trainer.train(data, after_step=kept.after_step):
            pass
        seconds = []
        for _ in range(10):
            trainer, kept = opened(folder, network, recipe, data)
            started = time.perf_counter()
            resume = kept.resume()
            assert resume is not None
            trainer.run.begin_stage(None)
            resume.apply(trainer)
            seconds.append(time.perf_counter() - started)
    nbytes = sum(array.nbytes for array in trainer.params.values())
    report = {"state_bytes": nbytes, "seconds": statistics.median(seconds), "worst": max(seconds)}
    if options.json:
        print(json.dumps(report))
        return
    print(f"{show_bytes(nbytes)} of state: {1e3 * report['seconds']:.1f} ms, at worst "
          f"{1e3 * report['worst']:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
