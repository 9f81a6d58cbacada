"""Small trained models for tests of read-outs, each trained once."""

from functools import cache

from conftest import clouds

from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES, Rule
from ffedge.trainer import Trainer


@cache
def data(samples=200, seed=0, features=20, classes=5):
    """Noisy clouds: some samples are hard, so that layers disagree."""
    return clouds(samples=samples, features=features, classes=classes, seed=seed, spread=6.0)


@cache
def trained_model(rule="readout", hidden=(40, 33, 18), precision="float32", epochs=3):
    """A model of ``data()``; rule: a word of NAMED_RULES or a rule."""
    samples = data()
    parts = 2 if precision == "int8" else 1
    network = Network.dense(
        samples.width, hidden, len(samples.classes),
        rule if isinstance(rule, Rule) else NAMED_RULES[rule],
        precision=precision, input_parts=parts,
    )  # fmt: skip
    optimizer = SGD(0.05) if precision == "int8" else Adam()
    trainer = Trainer(network, Recipe(optimizer, batch_size=16, epochs=epochs, seed=1))
    trainer.learn_scaling(samples)
    for _ in trainer.train(samples):
        pass
    return Model(network, trainer.params, samples.classes, samples.feature_shape).copy()
