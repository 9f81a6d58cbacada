"""Rules with steps in time: recurrent Forward-Forward, and fast weights on sequences."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import read, rows

from ffedge.network import Network
from ffedge.optimizers import Adam
from ffedge.recipe import Recipe
from ffedge.rules import FastWeights, Readout, Rule
from ffedge.sources import Dataset, from_arrays, load
from ffedge.trainer import Trainer

Result = dict[str, Any]


@dataclass(frozen=True)
class Sequence:
    """A data set as sequences: ``steps`` parts, time first. epochs: of every rule alike."""

    steps: int
    epochs: int
    swapped: bool = False
    limit: int | None = None


#: Sensor windows and images whose rows follow each other.
SETS = {
    "stm32_har": Sequence(26, 40),
    "hmp_wrist": Sequence(32, 40),
    "magic_wand": Sequence(25, 60),
    "BasicMotions": Sequence(20, 100, swapped=True),
    "GunPoint": Sequence(15, 100),
    "mnist": Sequence(28, 10, limit=10_000),
}


@dataclass(frozen=True)
class FastAgainstNone:
    """Fast weights, the same network without them, and a readout on the whole window."""

    hidden: tuple[int, ...] = (100, 100)

    def rules(self, steps: int) -> dict[str, Rule]:
        """What is compared."""
        fast = FastWeights(steps)
        return {
            "fast weights": fast,
            "no fast weights": replace(fast, turns=0),
            "readout, whole window": Readout(),
        }

    def reproduce(self, name: str, seed: int, epochs: int | None, data_dir: str | None) -> Result:
        """Train each on each set; the test part is read once, after the last epoch."""
        found: list[Result] = []
        begin = time.perf_counter()
        for data_name, plan in SETS.items():
            train, test = sequences(data_name, plan, data_dir)
            for word, rule in self.rules(plan.steps).items():
                network = Network.dense(train.width, self.hidden, len(train.classes), rule)
                scaling = "global" if data_name == "mnist" else "standard"
                recipe = Recipe(
                    Adam(0.001), batch_size=32, epochs=epochs or plan.epochs, scaling=scaling,
                    seed=seed,
                )  # fmt: skip
                trainer = Trainer(network, recipe)
                trainer.learn_scaling(train)
                for progress in trainer.train(train):
                    seconds = progress.seconds
                found.append({
                    "data": data_name, "rule": word, "steps": plan.steps,
                    "test_accuracy": 100 * trainer.evaluate(test), "samples": train.n_samples,
                    "network": network.text, "epochs": recipe.epochs, "seconds": seconds,
                    "planned_bytes": trainer.plan.peak,
                })  # fmt: skip
        return {
            "name": name, "seed": seed, "results": found, "target": None,
            "source": "Ba et al. 2016 (arXiv 1610.06258), taught by local losses",
            "seconds": time.perf_counter() - begin,
        }  # fmt: skip

    def words(self, result: Result) -> str:
        """A table: sets down, rules across."""
        table = [f"{'% on the test part':20}" + "".join(f"{r:>24}" for r in self.rules(1))]
        for data in dict.fromkeys(row["data"] for row in result["results"]):
            own = [row for row in result["results"] if row["data"] == data]
            line = "".join(f"{row['test_accuracy']:24.1f}" for row in own)
            table.append(f"{data:20}{line}")
        table.append(
            f"{result['name']}: hidden {self.hidden}, Adam, seed {result['seed']}, "
            f"{result['seconds']:.0f} s in all; no target, {result['source']}"
        )
        return "\n".join(table)


def sequences(name: str, plan: Sequence, data_dir: str | None) -> tuple[Dataset, Dataset]:
    """(train, test) with time as the first axis."""
    if name == "mnist":
        train, test = load("mnist", data_dir=data_dir)
        assert test is not None
        if plan.limit is not None:
            train, _ = train.split(1 - plan.limit / train.n_samples, 0)
        return train, test
    parts = []
    for part in read(name, data_dir, plan.limit):
        x, y = rows(part)
        if plan.swapped:
            x = x.reshape(-1, *part.feature_shape).swapaxes(1, 2)
        x = np.ascontiguousarray(x.reshape(len(x), -1))
        parts.append(from_arrays(x, y, classes=part.classes, name=name))
    return parts[0], parts[1]


RUNS = {"fast-weights": FastAgainstNone()}
