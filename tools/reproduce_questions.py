"""The questions that Hinton 2022, section 10, leaves open, as runs: which goodness, which unit.

All runs share data, width, epochs, batch, negatives and optimiser; only the learning rate is each
run's own, the best of ``RATES`` on 10,000 training images held out (``seed_questions.py
--validate``). The test part is read once, after the last epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import folder

from ffedge.activations import RELU, Activation, Leaky, StudentT, Triangle
from ffedge.cli.progress import ProgressLine
from ffedge.fields import Fields
from ffedge.network import Network
from ffedge.optimizers import Adam
from ffedge.recipe import Recipe
from ffedge.rules import (
    Contrast,
    Goodness,
    MeanOfSquares,
    Regions,
    Signed,
    Sum,
    SumOfSquares,
    TopK,
)
from ffedge.sources import Dataset, load
from ffedge.trainer import Trainer

Result = dict[str, Any]

#: Tried for every run on validation data.
RATES = (0.001, 0.003)

EPOCHS, BATCH = 10, 64

#: A 4 x 4 grid of windows of 10 x 10 pixels, then of 2 x 2 neighbouring regions, as in section
#: 3.2 with a quarter of the units.
WINDOWS = (Fields((28, 28), (10, 10), (6, 6)), Fields((4, 4), (2, 2), (1, 1), depth=32))


@dataclass(frozen=True)
class Question:
    """One answer to one question: what differs from the published rule."""

    goodness: Goodness = field(default_factory=SumOfSquares)
    activation: Activation = RELU
    hidden: tuple[int, ...] = (500, 500)
    fields: tuple[Fields, ...] | None = None
    rate: float = 0.001
    peer: float = 0.03

    def network(self, data: Dataset) -> Network:
        """Hard negatives from the network's own prediction, peer normalisation."""
        return Network.dense(
            data.width, self.hidden, len(data.classes), Contrast(self.goodness, peer=self.peer),
            activations=self.activation, fields=self.fields,
        )  # fmt: skip

    def train(self, data: Dataset, seed: int, epochs: int, rate: float) -> tuple[Trainer, float]:
        """The trainer after training, and its seconds."""
        recipe = Recipe(Adam(rate), batch_size=BATCH, epochs=epochs, scaling="global", seed=seed)
        trainer, seconds = Trainer(self.network(data), recipe), 0.0
        trainer.learn_scaling(data)
        with ProgressLine() as line:
            for progress in trainer.train(data):
                line.show(progress)
                seconds = progress.seconds
        return trainer, seconds

    def reproduce(self, name: str, seed: int, epochs: int | None, data_dir: str | None) -> Result:
        """Train on all training images and test once; JSON types."""
        train, test = load("mnist", data_dir=data_dir or folder(None))
        assert test is not None
        return self.measure(name, seed, epochs or EPOCHS, train, test)

    def measure(self, name: str, seed: int, epochs: int, train: Dataset, test: Dataset) -> Result:
        """Train on ``train``, test on ``test``."""
        trainer, seconds = self.train(train, seed, epochs, self.rate)
        network = trainer.network
        return {
            "name": name, "test_accuracy": 100 * trainer.evaluate(test), "target": None,
            "seed": seed, "epochs": epochs, "samples": train.n_samples, "rate": self.rate,
            "network": network.text, "goodness": network.describe()["rule"]["goodness"],
            "activation": self.activation.name, "fields": self.fields is not None,
            "seconds": seconds, "planned_bytes": trainer.plan.peak,
        }  # fmt: skip

    def words(self, result: Result) -> str:
        """A row of the table."""
        return (
            f"| {result['name']} | {_goodness(result['goodness'])} | {result['activation']} | "
            f"{result['network']}{', windows' if result['fields'] else ''} | {result['rate']:g} | "
            f"{result['test_accuracy']:.2f} | {result['seconds']:.0f} |"
        )


def _goodness(description: dict[str, Any]) -> str:
    details = [
        f"{key} {value}"
        for key, value in description.items()
        if key in ("share", "count") and value is not None
    ]
    if description["minimise"]:
        details.insert(0, "positive data low")
    name = description["name"]
    return f"{name} ({', '.join(details)})" if details else str(name)


HEAD = (
    "| run | goodness | unit | network | rate | test accuracy (%) | seconds |\n"
    "|---|---|---|---|---|---|---|"
)

_LOCAL = (512, 504)

RUNS: dict[str, Question] = {
    "goodness-squares": Question(),
    "goodness-squares-low": Question(SumOfSquares(minimise=True)),
    # Its derivative is that of the sum over the width, and so is the peer term that goes with it.
    "goodness-mean": Question(MeanOfSquares(), peer=0.03 / 500),
    "goodness-unsquared": Question(Sum()),
    "goodness-unsquared-low": Question(Sum(minimise=True)),
    "goodness-top-k": Question(TopK()),
    "activation-leaky": Question(activation=Leaky()),
    "activation-triangle": Question(activation=Triangle()),
    "activation-student-t": Question(Sum(), StudentT()),
    "local": Question(Regions(), hidden=_LOCAL, fields=WINDOWS),
    "local-whole": Question(hidden=_LOCAL, fields=WINDOWS),
    "local-blocks": Question(Regions(count=10)),
    "signed": Question(Signed()),
}


def best_rate(
    question: Question, part: Dataset, held: Dataset, seed: int, epochs: int,
    rates: Sequence[float] = RATES,
) -> dict[float, float]:  # fmt: skip
    """Accuracy in percent on ``held`` by rate, after training on ``part``."""
    return {
        rate: 100 * question.train(part, seed, epochs, rate)[0].evaluate(held) for rate in rates
    }
