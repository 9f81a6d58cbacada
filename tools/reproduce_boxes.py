"""Black boxes between two layers: how much they cost, and what one that learns wins back.

Hinton 2022 (arXiv 2212.13345), abstract and section 7, claims that they do not hinder learning, and
gives no experiment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from datasets import folder

from ffedge.boxes import (
    Box,
    Converter,
    FrozenNetwork,
    NoisyDropout,
    Permutation,
    Perturbed,
    Quantizer,
)
from ffedge.cli.progress import ProgressLine
from ffedge.network import Network
from ffedge.optimizers import SGD, Momentum
from ffedge.recipe import Recipe
from ffedge.rules import Readout, Rule, hinton
from ffedge.sources import load
from ffedge.trainer import Trainer

Result = dict[str, Any]

#: The four that are asked for, of which each stays the same all the time.
FIXED: dict[str, Box] = {
    "8-bit quantiser": Quantizer(),
    "saturating converter": Converter(),
    "random permutation": Permutation(),
    "frozen random network": FrozenNetwork((500,)),
}


#: Far too little gain: hardly anything reaches the first of its eight steps.
DULL = Converter(gain=0.05, bits=3)


@dataclass(frozen=True)
class Boxes:
    """The same network without a box and with each of ``boxes`` in front of layer 1."""

    boxes: dict[str, Box] = field(default_factory=lambda: FIXED)
    hidden: tuple[int, ...] = (500, 500)
    rule: Rule = field(default_factory=Readout)
    recipe: Recipe = field(default_factory=lambda: Recipe(scaling="global"))
    precision: str = "float32"
    target: float | None = 1.0
    data: str = "mnist"

    def reproduce(self, name: str, seed: int, epochs: int | None, data_dir: str | None) -> Result:
        """Train and test each; accuracies and differences in percent and points."""
        train, test = load(self.data, data_dir=data_dir or folder(None))
        assert test is not None
        recipe = replace(self.recipe, seed=seed, epochs=epochs or self.recipe.epochs)
        rows: list[Result] = []
        for title, box in ({"no box": None} | self.boxes).items():
            network = Network.dense(
                train.width, self.hidden, len(train.classes), self.rule,
                precision=self.precision, boxes=None if box is None else {1: box},
            )  # fmt: skip
            trainer = Trainer(network, recipe)
            trainer.learn_scaling(train)
            with ProgressLine() as line:
                for progress in trainer.train(train):
                    line.show(progress)
            accuracy = 100 * trainer.evaluate(test)
            rows.append({
                "box": title, "described": None if box is None else box.describe(),
                "test_accuracy": accuracy, "seconds": progress.seconds,
                "points_lost": (rows[0]["test_accuracy"] if rows else accuracy) - accuracy,
                "planned_bytes": trainer.plan.peak,
                "learned": [float(value) for value in trainer.params.get("box1.v", ())],
            })  # fmt: skip
        worst = max(row["points_lost"] for row in rows)
        return {
            "name": name, "boxes": rows, "worst": worst, "target": self.target, "seed": seed,
            "epochs": recipe.epochs, "network": network.text, "rule": network.describe()["rule"],
            "recipe": recipe.describe(), "precision": self.precision,
            "seconds": sum(row["seconds"] for row in rows),
        }  # fmt: skip

    def words(self, result: Result) -> str:
        """A line for each box, then the worst."""
        lines = [
            f"{row['box']}: {row['test_accuracy']:.2f} % on the test part, "
            f"{row['points_lost']:+.2f} points lost, {row['seconds']:.0f} s, "
            f"{row['planned_bytes']:,} B planned"
            for row in result["boxes"]
        ]
        aim = "" if result["target"] is None else f" (to reach: at most {result['target']:g})"
        return "\n".join([
            *lines,
            f"{result['name']}: {result['worst']:.2f} points lost at most{aim}, "
            f"{result['network']}, rule {result['rule']['name']}, {result['epochs']} epochs, seed "
            f"{result['seed']}, {result['seconds']:.0f} s",
        ])  # fmt: skip


RUNS = {
    "black-box": Boxes(),
    "black-box-noise": Boxes(
        {"dropout and noise": NoisyDropout(), "noisy converter": Converter(noise=0.2)}, target=None
    ),
    "black-box-learning": Boxes(
        {"dull converter": DULL, "the same, learning": Perturbed(DULL)}, target=None
    ),
    "black-box-int8": Boxes(
        recipe=Recipe(SGD(0.25), scaling="global"), precision="int8",
        boxes=FIXED | {"dropout and noise": NoisyDropout()},
    ),
    "black-box-hinton": Boxes(
        FIXED | {"dropout and noise": NoisyDropout()}, rule=hinton(head_gain=20.0),
        recipe=Recipe(Momentum(0.0005, 0.9, 0.02), batch_size=100, epochs=10, scaling="global"),
        target=None,
    ),
}  # fmt: skip
