"""What a device must come to: predictions and a checksum that this machine has computed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arena import Arena
from ..buffers import plan_training
from ..errors import DataError
from ..model import Model
from ..recipe import Recipe
from ..run_int8 import Int8Run

Array = np.ndarray[Any, Any]

#: Samples of a self-test, and passes over them.
SAMPLES, PASSES = 8, 4


@dataclass(frozen=True)
class SelfTest:
    """samples: float32 (n, features). labels, classes_before, classes_after: int32 (n,).

    passes: times that the samples are trained on, in order. crc: zip's CRC-32 of the parameters
    afterwards, one after the other as ``Store.ranges`` lists them.
    """

    samples: Array
    labels: Array
    passes: int
    classes_before: Array
    classes_after: Array
    crc: int


def invented_samples(model: Model, count: int = SAMPLES) -> tuple[Array, Array]:
    """(samples, labels) that look scaled like the model's data: integers make them, no generator.

    Every feature is its mean plus -2..2 of its spreads.
    """
    mean, gain = model.params["input.mean"], model.params["input.gain"]
    state, steps = 1, np.empty((count, len(mean)), np.float32)
    for place in np.ndindex(steps.shape):
        state = (state * 1103515245 + 12345) % 2**31
        steps[place] = (state >> 16) % 257 / 64 - 2
    spread = np.divide(1, gain, out=np.zeros_like(gain), where=gain != 0)
    labels = np.arange(count, dtype=np.int32) % np.int32(model.network.classes)
    return (mean + steps * spread).astype(np.float32), labels


def run_selftest(
    model: Model, recipe: Recipe, names: tuple[str, ...],
    samples: Array | None = None, labels: Array | None = None, passes: int = PASSES,
) -> SelfTest:  # fmt: skip
    """Train a copy of ``model`` here as a device would, by the recipe's full rate.

    names: the parameters of the checksum. samples, labels: float32 (n, features), int32 (n,);
    ``invented_samples`` for None. Raises DataError for other shapes or labels.
    """
    if samples is None or labels is None:
        samples, labels = invented_samples(model)
    features, classes = model.network.features, model.network.classes
    samples, labels = np.asarray(samples, np.float32), np.asarray(labels, np.int32)
    if samples.ndim != 2 or samples.shape[1] != features or labels.shape != samples.shape[:1]:
        raise DataError(
            f"self-test: expected samples (n, {features}) and n labels, got {samples.shape} and "
            f"{labels.shape}"
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"self-test: expected samples with labels in 0..{classes - 1}")
    arena = Arena(plan_training(model.network, recipe))
    run = Int8Run(model.network, arena, recipe)
    for name, array in model.params.items():
        arena[name][:] = array
    run.begin_stage(None)
    before = _predict(run, samples)
    for _ in range(passes):
        for i in range(len(samples)):
            run.fetch_features(samples, i, 1)
            run.labels[0] = labels[i]
            run.train_batch(1)
    crc = 0
    for name in names:
        crc = zlib.crc32(arena[name].tobytes(), crc)
    return SelfTest(samples, labels, passes, before, _predict(run, samples), crc)


def _predict(run: Int8Run, samples: Array) -> Array:
    found = np.empty(len(samples), np.int32)
    for i in range(len(samples)):
        run.fetch_features(samples, i, 1)
        run.score_batch(1)
        found[i] = run.total[0].argmax()
    return found
