"""Choose the defaults: rules, optimisers, rates, schedules and scalings on validation data.

    python tools/choose_defaults.py [--seeds 3] [--limit 4000] [--sets NAME,...]
                                    [--only CANDIDATE,...] [--json]

Of each set's training part, 30 % are split off for validation; test parts are never read. Every
candidate changes one thing of the default. Validation accuracy in percent, mean over the seeds;
the last line is the mean over the sets. ``--images`` judges on 50,000 / 10,000 training images
of MNIST and Fashion-MNIST with 784-500-500 and 10 epochs instead (about 15 minutes).
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import NAMES, available, read

from ffedge.defaults import choose_batch, choose_epochs, choose_scaling
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import Dataset
from ffedge.trainer import Trainer

#: What differs from the default: network options, then recipe options.
CANDIDATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "rule group": ({"rule": Group()}, {}),
    "rule group-mean": ({"rule": Group(squared=False)}, {}),
    "rule readout-frozen": ({"rule": Readout(frozen=True)}, {}),
    "smoothing 0": ({"rule": Readout(smoothing=0.0)}, {}),
    "smoothing 0.1": ({"rule": Readout(smoothing=0.1)}, {}),
    "sgd 0.1": ({}, {"optimizer": SGD(0.1)}),
    "momentum 0.03": ({}, {"optimizer": Momentum(0.03)}),
    "adam 0.0005": ({}, {"optimizer": Adam(0.0005)}),
    "adam 0.002": ({}, {"optimizer": Adam(0.002)}),
    "layerwise": ({}, {"schedule": "layerwise"}),
    "hold 0": ({}, {"hold": 0.0}),
    "hold 1": ({}, {"hold": 1.0}),
    "half the batch": ({}, {"batch_size": -2}),
    "half the epochs": ({}, {"epochs": -2}),
    "scaling standard": ({}, {"scaling": "standard"}),
    "scaling global": ({}, {"scaling": "global"}),
    "normalised input": ({"normalize_input": True}, {}),
}


def default_recipe(data: Dataset, epochs: int | None) -> Recipe:
    """What `ffedge train` would take."""
    batch = choose_batch(data.n_samples)
    return Recipe(
        batch_size=batch, scaling=choose_scaling(data),
        epochs=choose_epochs(data.n_samples, batch) if epochs is None else epochs,
    )  # fmt: skip


def accuracy(
    rest: Dataset, held: Dataset, hidden: tuple[int, ...], recipe: Recipe, network: dict[str, Any],
    changes: dict[str, Any], seed: int,
) -> float:  # fmt: skip
    """Validation accuracy of one candidate, in percent."""
    changes = {
        key: max(1, getattr(recipe, key) // -value)
        if isinstance(value, int) and value < 0
        else value
        for key, value in changes.items()
    }
    described = Network.dense(rest.width, hidden, len(rest.classes), **network)
    trainer = Trainer(described, replace(recipe, seed=seed, **changes))
    trainer.learn_scaling(rest)
    for _ in trainer.train(rest, tick=float("inf")):
        pass
    return 100 * trainer.evaluate(held)


def main() -> None:
    """Run all candidates on all sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--limit", type=int, default=4000, help="samples a set (default: 4000)")
    parser.add_argument("--images", action="store_true", help="MNIST and Fashion-MNIST instead")
    parser.add_argument("--sets", help="sets to run, separated by commas")
    parser.add_argument("--only", help="candidates to run, separated by commas")
    parser.add_argument("--data-dir", help="folder of the .npz files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(CANDIDATES)
    sets = ("mnist", "fashion_mnist") if options.images else NAMES
    if options.sets:
        sets = tuple(options.sets.split(","))
    hidden = (500, 500) if options.images else (256, 256)
    limit = None if options.images else options.limit
    table: dict[str, dict[str, float]] = {name: {} for name in names}
    for set_name in available(sets, options.data_dir):
        data, _ = read(set_name, options.data_dir, limit)
        rest, held = data.split(1 / 6 if options.images else 0.3, 0)
        recipe = default_recipe(rest, 10 if options.images else None)
        for name in names:
            values = [accuracy(rest, held, hidden, recipe, *CANDIDATES[name], seed)
                      for seed in range(options.seeds)]  # fmt: skip
            table[name][set_name] = float(np.mean(values))
            if not options.json:
                shown = ", ".join(f"{value:.1f}" for value in values)
                mean = table[name][set_name]
                print(f"{set_name:<22}{name:<22}{mean:>8.2f}   ({shown})", flush=True)
    means = {name: float(np.mean(list(row.values()))) for name, row in table.items()}
    if options.json:
        print(json.dumps({"accuracy": table, "mean": means, "seeds": options.seeds}))
        return
    for name, mean in sorted(means.items(), key=lambda item: -item[1]):
        print(f"{'mean':<22}{name:<22}{mean:>8.2f}")


if __name__ == "__main__":
    main()
