"""Signed data in int8 networks for small devices: two input parts, or one that is shifted.

    python tools/compare_scaling.py [--hidden 48,48] [--seeds 2] [--data-dir FOLDER] [--json]

``standard`` scaling enters as positive and negative parts side by side, ``shifted`` as one input a
feature. Training is sample by sample, as on a device. Accuracy in percent on parts held out of the
*training* data: a random fifth of every set; and, for sets whose new samples come from elsewhere,
a stretch of each activity (stm32_har) or a fifth of the speakers (speech_commands_test, mfcc).
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
from typing import Any

import numpy as np
from datasets import NAMES, available, folder, read, rows

from ffedge.defaults import choose_epochs, choose_parts, choose_scaling
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer

Array = np.ndarray[Any, Any]

#: (scaling, learning rate), the rate for up to 1,000 inputs.
TRIED = (("standard", 0.0078), ("standard", 0.002), ("shifted", 0.0078), ("shifted", 0.004),
         ("shifted", 0.002))  # fmt: skip

#: Samples of a set, and passes over them, at most.
MOST, EPOCHS = 3000, 60


def accuracy(
    x: Array, y: Array, held: Array, hidden: tuple[int, ...], scaling: str, rate: float, seed: int
) -> float:
    """Percent right on the rows that are ``held`` out."""
    parts = 2 if scaling == "standard" else 1
    epochs = min(EPOCHS, choose_epochs(len(x), 64))
    rate *= min(1.0, 1000 / (parts * x.shape[1]))
    classes = int(y.max()) + 1
    network = Network.dense(x.shape[1], hidden, classes, precision="int8", input_parts=parts)
    recipe = Recipe(
        optimizer=SGD(rate), batch_size=1, epochs=epochs, scaling=scaling, seed=seed
    )  # fmt: skip
    trainer = Trainer(network, recipe)
    data = from_arrays(x[~held], y[~held])
    trainer.learn_scaling(data)
    for _ in trainer.train(data, tick=1e9):
        pass
    return 100 * trainer.evaluate(from_arrays(x[held], y[held]))


def cases(data_dir: str | None) -> list[tuple[str, Array, Array, Array]]:
    """(name, features, labels, held out) of every signed set."""
    found = []
    for name in available(NAMES, data_dir):
        train, _ = read(name, data_dir, MOST)
        if choose_parts(train, choose_scaling(train)) == 2:
            x, y = rows(train)
            order = np.random.default_rng(1).permutation(len(x))
            held = np.zeros(len(x), bool)
            held[order[int(0.8 * len(x)) :]] = True
            found.append((name, x, y, held))
    for name in available(("stm32_har",), data_dir):
        with np.load(folder(data_dir) / f"{name}.npz", allow_pickle=False) as file:
            x, y = file["x_train"].reshape(len(file["x_train"]), -1), file["y_train"]
        held = np.zeros(len(x), bool)
        for label in np.unique(y):
            own = np.flatnonzero(y == label)
            held[own[int(0.4 * len(own)) : int(0.65 * len(own))]] = True
        found.append((f"{name}, other stretches", x, y, held))
    for name in available(("speech_commands_test",), data_dir):
        with np.load(folder(data_dir) / f"{name}.npz", allow_pickle=False) as file:
            x, y = file["mfcc_train"].reshape(len(file["mfcc_train"]), -1), file["y_train"]
            speakers = file["speaker_train"]
        names = np.unique(speakers)
        left = names[np.random.default_rng(0).permutation(len(names))[: len(names) // 5]]
        found.append((f"{name} mfcc, other speakers", x, y, np.isin(speakers, left)))
    return [(name, np.asarray(x, np.float32), np.unique(y, return_inverse=True)[1], held)
            for name, x, y, held in found]  # fmt: skip


def main() -> None:
    """Run all sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", default="48,48", help="default: 48,48")
    parser.add_argument("--seeds", type=int, default=2, help="default: 2")
    parser.add_argument("--data-dir", help="folder of the .npz files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    hidden = tuple(int(width) for width in options.hidden.split(","))
    results = []
    for name, x, y, held in cases(options.data_dir):
        row: dict[str, Any] = {"set": name, "random": "," not in name}
        for scaling, rate in TRIED:
            row[f"{scaling} {rate}"] = float(np.mean([
                accuracy(x, y, held, hidden, scaling, rate, seed) for seed in range(options.seeds)
            ]))  # fmt: skip
        results.append(row)
        if not options.json:
            figures = "  ".join(f"{s} {r} {row[f'{s} {r}']:6.2f}" for s, r in TRIED)
            print(f"{name:<40} {figures}", flush=True)
    columns = [f"{scaling} {rate}" for scaling, rate in TRIED]
    own = [row for row in results if row["random"]]
    mean = {column: float(np.mean([row[column] for row in own])) for column in columns}
    if options.json:
        print(json.dumps({"rows": results, "mean of random parts": mean}))
    else:
        print("mean of random parts:", {column: round(mean[column], 2) for column in columns})


if __name__ == "__main__":
    main()
