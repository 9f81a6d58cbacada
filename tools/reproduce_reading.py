"""Reproductions of what reading a network out costs and gains: ``reproduce.py early-exit`` etc.

A tenth of the training part is kept back; margins and intervals are fitted on it, and the test
part is read once by each read-out, after all is chosen. Multiply-adds are counted as they are
done, see ``ffedge.reading``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from datasets import folder

from ffedge.cli.progress import ProgressLine
from ffedge.fit_reading import Fitted, fit_early_exit, fit_interval
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import Momentum
from ffedge.predict import Predictor
from ffedge.reading import Everything, OnePass, PerLabel, Reading, Shortlist
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout, Rule, hinton
from ffedge.sources import Dataset, load
from ffedge.trainer import Trainer

Result = dict[str, Any]

#: Share of the training part on which read-outs are fitted.
HELD_OUT = 0.1


@dataclass(frozen=True)
class Setting:
    """A data set, and what is trained on it."""

    data: str
    hidden: tuple[int, ...]
    recipe: Recipe
    rule: Rule = field(default_factory=Readout)

    def train(
        self, seed: int, epochs: int | None, data_dir: str | None
    ) -> tuple[Model, Dataset, Dataset, Result]:
        """The model, the samples kept back, the test part, and how it went."""
        whole, test = load(self.data, data_dir=data_dir or folder(None))
        assert test is not None
        rest, held_out = whole.split(HELD_OUT, 0)
        recipe = replace(self.recipe, seed=seed, epochs=epochs or self.recipe.epochs)
        network = Network.dense(whole.width, self.hidden, len(whole.classes), self.rule)
        trainer = Trainer(network, recipe)
        trainer.learn_scaling(rest)
        with ProgressLine() as line:
            for progress in trainer.train(rest):
                line.show(progress)
        model = Model(network, trainer.params, whole.classes, whole.feature_shape).copy()
        return model, held_out, test, {
            "data": self.data, "network": network.text, "rule": network.describe()["rule"],
            "recipe": recipe.describe(), "epochs": recipe.epochs, "seconds": progress.seconds,
        }  # fmt: skip


def measured(model: Model, data: Dataset, reading: Reading) -> Result:
    """Accuracy in percent, multiply-adds and seconds of prediction on one thread."""
    predictor = Predictor(model, reading=reading)
    started, right = time.perf_counter(), 0
    for scores, labels in predictor.batches(data):
        right += int((scores.argmax(axis=1) == labels).sum())
    return {
        "reading": reading.text,
        "test_accuracy": 100 * right / data.n_samples,
        "multiply_adds": predictor.multiply_adds / data.n_samples,
        "share": 100 * predictor.share,
        "predict_seconds": time.perf_counter() - started,
    }


def in_words(row: Result) -> str:
    """One read-out in one line."""
    return (
        f"  {row['reading']:<28.28} {row['test_accuracy']:.2f} % on the test part, "
        f"{row['multiply_adds']:>11,.0f} multiply-adds a sample ({row['share']:.1f} %), "
        f"{row['predict_seconds']:.2f} s"
    )


@dataclass(frozen=True)
class FittedRun:
    """Everything against a read-out fitted on the samples kept back, on one or more settings."""

    settings: tuple[Setting, ...]
    kind: str
    lose: float
    target: str

    def fit(self, model: Model, held_out: Dataset) -> Fitted:
        """``fit_early_exit`` or ``fit_interval``."""
        fit = fit_early_exit if self.kind == "early-exit" else fit_interval
        return fit(model, held_out, lose=self.lose)

    def reproduce(self, name: str, seed: int, epochs: int | None, data_dir: str | None) -> Result:
        """Train, fit and test; returns the result as JSON types."""
        runs = []
        for setting in self.settings:
            model, held_out, test, about = setting.train(seed, epochs, data_dir)
            started = time.perf_counter()
            fitted = self.fit(model, held_out)
            about["fit_seconds"] = time.perf_counter() - started
            about["held_out"] = {
                "samples": fitted.samples, "accuracy": 100 * fitted.accuracy,
                "everything": 100 * fitted.full_accuracy,
            }  # fmt: skip
            about["readings"] = [
                measured(model, test, reading) for reading in (Everything(), fitted.reading)
            ]
            runs.append(about)
        return {"name": name, "target": self.target, "seed": seed, "lose": self.lose, "runs": runs}

    def words(self, result: Result) -> str:
        """A paragraph for each setting."""
        lines = [f"{result['name']}: to reach: {result['target']}; seed {result['seed']}"]
        for run in result["runs"]:
            full, own = run["readings"]
            lines.append(
                f"{run['data']}, {run['network']}, {run['epochs']} epochs, {run['seconds']:.0f} s; "
                f"fitted on {run['held_out']['samples']:,} samples kept back in "
                f"{run['fit_seconds']:.1f} s"
            )
            lines += [in_words(full), in_words(own)]
            lost = full["test_accuracy"] - own["test_accuracy"]
            lines.append(f"  lost {lost:+.2f} points for {own['share']:.1f} % of the multiply-adds")
        return "\n".join(lines)


@dataclass(frozen=True)
class LabelRun:
    """The read-outs of a rule with the label in the input, side by side."""

    setting: Setting
    readings: tuple[Reading, ...]
    target: str

    def reproduce(self, name: str, seed: int, epochs: int | None, data_dir: str | None) -> Result:
        """Train and test; returns the result as JSON types."""
        model, _, test, about = self.setting.train(seed, epochs, data_dir)
        about["readings"] = [measured(model, test, reading) for reading in self.readings]
        return {"name": name, "target": self.target, "seed": seed, **about}

    def words(self, result: Result) -> str:
        """A line for each read-out."""
        lines = [
            f"{result['name']}: {result['target']}; {result['data']}, {result['network']}, "
            f"{result['epochs']} epochs, seed {result['seed']}, {result['seconds']:.0f} s"
        ]
        return "\n".join([*lines, *map(in_words, result["readings"])])


RUNS: dict[str, Any] = {
    "early-exit": FittedRun(
        (
            Setting("mnist", (500, 500, 500), Recipe(scaling="global")),
            Setting("fashion-mnist", (500, 500, 500), Recipe()),
        ),
        "early-exit", 0.001, "half the multiply-adds at no more than 0.2 points lost, on mnist",
    ),
    "interval": FittedRun(
        (
            Setting("mnist", (300,) * 5, Recipe(epochs=5, scaling="global"), Group(squared=False)),
            Setting("fashion-mnist", (300,) * 5, Recipe(epochs=5), Group(squared=False)),
        ),
        "interval", 0.0, "not worse than all layers (DeeperForward's interval)",
    ),
    "shortlist": LabelRun(
        Setting(
            "mnist", (500, 500),
            Recipe(Momentum(0.0005, 0.9, 0.02), batch_size=100, epochs=8, scaling="global"),
            hinton(head_gain=20.0),
        ),
        (OnePass(), Shortlist(2), Shortlist(3), PerLabel(), Everything()),
        "between one pass and a pass per label, in accuracy and cost",
    ),
}  # fmt: skip
