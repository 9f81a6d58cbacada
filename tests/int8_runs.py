"""Short int8 trainings, whose every bit must be the same on every processor.

    python tests/int8_runs.py OUT.npz

writes all weights and scores of all runs and prints the vector path taken. Needs numpy and
ffedge, not pytest: it also runs on emulated processors, where a computed array is compared with
the same array of this machine.
"""

import sys

import numpy as np

from ffedge.kernels.int8.vector import PATH
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import from_arrays, load
from ffedge.trainer import Trainer

RULES = {"readout": Readout(), "group": Group(), "group-mean": Group(squared=False)}

#: Features, hidden widths, classes: one panel, odd widths, more classes than lanes, wide tiles.
SHAPES = [(5, (16,), 3), (33, (17, 31), 18), (100, (145, 1), 2), (300, (67, 50), 10)]

BATCHES = (1, 3, 64)


def extremes(features, classes, samples=130):
    """Raw numbers: zeros, ordinary ones, and a third far outside of what 8 bits hold."""
    random = np.random.default_rng([features, classes])
    X = random.normal(size=(samples, features)) * 2
    kind = random.integers(0, 3, X.shape)
    X = np.where(kind == 0, 0.0, np.where(kind == 1, X, X * 1e6)).astype(np.float32)
    return from_arrays(X, np.arange(samples) % classes, classes=range(classes))


def trained(data, rule, hidden, batch, *, rate, steps=None, parts=2, **options):
    """All parameters and scores after training; ``steps=None`` for whole epochs."""
    if rule != "readout":  # a group needs a unit of every class
        hidden = tuple(max(width, len(data.classes)) for width in hidden)
    network = Network.dense(
        data.width, hidden, len(data.classes), RULES[rule], precision="int8", input_parts=parts
    )
    trainer = Trainer(network, Recipe(SGD(rate), batch_size=batch, seed=3, **options))
    trainer.learn_scaling(data)
    if steps is None:
        for _ in trainer.train(data):
            pass
    else:
        trainer.run.begin_stage(None)
        for step in range(steps):
            trainer.learn(data, step * batch % (data.n_samples - batch + 1), batch)
    result = dict(trainer.params)
    trainer.run.fetch_features(data.features, 0, batch)
    trainer.run.score_batch(batch)
    return result | {"scores": trainer.run.total[:batch].copy()}


def results():
    """{"run: array": array}; the rates of 30 drive many weights to +-127."""
    runs = {}
    for features, hidden, classes in SHAPES:
        data = extremes(features, classes)
        for rule in RULES:
            for batch in BATCHES:
                for rate in (0.2, 30.0):
                    name = f"{features}-{'-'.join(map(str, hidden))}-{classes} {rule} {batch}"
                    runs[f"{name} rate {rate}"] = trained(
                        data, rule, hidden, batch, rate=rate, steps=12, scaling="none"
                    )
    digits, _ = load("digits")
    for schedule in ("sweep", "layerwise"):
        for scaling in ("standard", "global"):
            runs[f"digits {schedule} {scaling}"] = trained(
                digits, "readout", (64, 48), 64,
                rate=0.25, epochs=1, schedule=schedule, scaling=scaling,
            )  # fmt: skip
    return {f"{run}: {name}": array for run, own in runs.items() for name, array in own.items()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
    print(PATH)
