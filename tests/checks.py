"""Contracts that many kernels and every rule must keep, and the shapes they are tried on."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import reference

from ffedge.kernels.provider import LIBRARY, PLAIN_PYTHON
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import SCHEDULES, Recipe
from ffedge.rules import NAMED_RULES, Group, Logistic, Prototypes, Readout, SideChannel, hinton
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent

#: Widths around one panel and two; the wide ones reach the tiles of 3 and of 8 panels.
WIDTHS = (1, 15, 16, 17, 33)
WIDE = (65, 145)
#: Rows around every tile height; the interpreted kernels are tried on fewer.
ROWS = (1, 2, 3, 13) if PLAIN_PYTHON else (*range(1, 14), 64)
CLASSES = (2, 3, 4, 5, 10, 16, 17, 20)
#: What stands in memory that a kernel must not touch.
UNTOUCHED = np.float32(7.5)

RULES = [
    Readout(),
    Readout(frozen=True, seed=2**32 - 1),
    Group(),
    Group(squared=False),
    hinton(),
    Prototypes(),
    SideChannel(),
    SideChannel(Logistic()),
]
#: Words of rules with the schedules in which they train.
SCHEDULED = [
    (word, schedule)
    for word in sorted(NAMED_RULES)
    for schedule in SCHEDULES
    if schedule == "sweep" or not NAMED_RULES[word].no_layerwise
]
#: Keeps the weights and the plain gradient: velocity = gradient.
GRADIENT = Momentum(rate=0.0, beta=0.0)
OPTIMIZERS = [SGD(0.05, 0.1), Momentum(0.01, 0.9, 0.1), Adam(0.01, weight_decay=0.1)]

compiled_only = pytest.mark.skipif(PLAIN_PYTHON, reason="the JIT is off")
#: Kernels of rules that are left out of the compiled library, which has no room for them.
not_in_library = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")


def repeatable(examples):
    """Hypothesis settings: the same few examples in every run, fewer with the JIT off."""
    from hypothesis import settings

    most = min(examples, 8) if PLAIN_PYTHON else examples
    return settings(derandomize=True, deadline=None, max_examples=most, database=None)


def child_environment(**changes):
    """The environment of a child Python process that finds ffedge; None removes a variable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | changes
    return {name: value for name, value in environment.items() if value is not None}


def sparse_rows(random, rows, width):
    """Activities as a ReLU leaves them: half of them zero."""
    return np.maximum(random.normal(size=(rows, width)), 0.0)


def workspace(inputs):
    """index and offset of the dense kernels."""
    return np.empty(inputs, np.int32), np.empty(inputs, np.int64)


def output(width, capacity):
    """Panels full of what must not survive in the rows in use."""
    return np.full((-(-width // 16), capacity, 16), UNTOUCHED)


def assert_close(actual, wanted, tolerance=2e-5):
    """Equal but for the rounding of float32 sums of numbers about 1."""
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance)


def assert_rows(panels, rows, wanted, tolerance=2e-5):
    """Values as wanted, lanes beyond the width zero, rows beyond ``rows`` untouched."""
    width = wanted.shape[1]
    assert_close(reference.unpack_rows(panels, rows, width), wanted, tolerance)
    assert_padding_is_zero(panels[:, :rows], width)
    assert (panels[:, rows:] == UNTOUCHED).all()


def assert_padding_is_zero(panels, width):
    """Exactly zero in every lane that belongs to no unit."""
    assert panels.shape[0] == -(-width // 16)
    used = width - (panels.shape[0] - 1) * 16
    assert not panels[-1, :, used:].any()


def assert_no_denormals(*arrays):
    """Zero or a normal number, everywhere."""
    for array in arrays:
        tiny = np.finfo(array.dtype).tiny
        assert not ((array != 0) & (np.abs(array) < tiny)).any()


def assert_allocates_nothing(call, limit=1024):
    """No array is made, not even inside Numba; ``limit`` leaves room for Python's numbers."""
    call()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < limit


def assert_rows_do_not_depend_on_neighbours(compute, X):
    """compute(X) -> one result per row; the same bits for a row alone and among others."""
    together = compute(X)
    for r in range(len(X)):
        alone = compute(X[r : r + 1])[0]
        assert alone.tobytes() == together[r].tobytes(), f"row {r}"


# Rules.


def small_data(features, classes, samples, seed=0):
    """Normal features and every class at least once."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, samples)])[:samples]
    X = random.normal(size=(samples, features)).astype(np.float32)
    return from_arrays(X, labels, classes=range(classes))


def small_trainer(
    rule, features, hidden, classes, *, batch=4, optimizer=None, stage=None, seed=3,
    normalize_input=False, **recipe,
):  # fmt: skip
    """A trainer whose stage has begun; data come unscaled and in order."""
    network = Network.dense(features, hidden, classes, rule, normalize_input=normalize_input)
    optimizer = SGD(0.1) if optimizer is None else optimizer
    schedule = "sweep" if stage is None else "layerwise"
    options = {"scaling": "none", "shuffle": False, "seed": seed, "schedule": schedule} | recipe
    trainer = Trainer(network, Recipe(optimizer, batch_size=batch, **options))
    trainer.learn_scaling(small_data(features, max(classes, 2), max(classes, 2)))
    trainer.run.begin_stage(stage)
    return trainer


def active_layers(trainer):
    """Which layers learn, as a list of bool."""
    return [layer.active for layer in trainer.run.layers]


def matrices(trainer):
    """The layers' parameters as the oracle's matrices; M is the readout or the head."""
    layers = []
    for layer in trainer.run.layers:
        own = {
            "W": reference.unpack_weights(layer.weight, layer.width),
            "b": reference.unpack_weights(layer.bias, layer.width)[0],
        }
        for name in ("readout", "head"):
            if name in layer.params:
                own["M"] = reference.unpack_weights(layer.params[name], layer.width)
        for name, letter in (("prototypes", "Q"), ("labels", "U")):
            if name in layer.params:
                own[letter] = reference.unpack_weights(layer.params[name], layer.width)
        layers.append(own)
    return layers


def assert_layers_close(trainer, wanted, tolerance=2e-5):
    """Every parameter of every layer as the oracle has it, and zero in the lanes behind."""
    for i, (actual, expected) in enumerate(zip(matrices(trainer), wanted, strict=True)):
        assert actual.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(
                actual[name], expected[name], rtol=tolerance, atol=tolerance,
                err_msg=f"layer {i}, {name}",
            )  # fmt: skip
    assert_params_are_padded_with_zeros(trainer)


def assert_params_are_padded_with_zeros(trainer):
    """Weight, bias, readout, head: no lane beyond the width is anything but zero."""
    for layer in trainer.run.layers:
        for array in layer.params.values():
            assert_padding_is_zero(array, layer.width)


def give_random_params(trainer, seed=0, spread=1.0):
    """Fill every parameter, heads and biases too, so that no term of an oracle vanishes."""
    random = np.random.default_rng(seed)
    for layer in trainer.run.layers:
        for name, array in layer.params.items():
            values = random.normal(size=(array.shape[1], layer.width))
            scale = spread / np.sqrt(layer.inputs if name == "weight" else layer.width)
            array[:] = reference.pack_weights(values * scale)


def scores_of(trainer, X):
    """Class scores of raw rows, as many at once as there are."""
    run = trainer.run
    run.fetch_features(X, 0, len(X))
    run.network.rule.score_batch(run, len(X))
    return run.total[: len(X)].copy()


def gradient_of(layer, name):
    """The velocity of an optimiser that keeps the weights and the plain gradient (GRADIENT)."""
    return reference.unpack_weights(layer.state[name][0], layer.width)


def assert_downhill(downhill, loss, at, tolerance):
    """``downhill`` is minus the gradient of ``loss``, by central finite differences."""
    assert_close(downhill, -reference.central_differences(loss, at), tolerance)


def assert_layer_descends(record, own, loss, tolerance):
    """delta and the steps of weight and bias lead down loss(z), z before the ReLU."""
    layer, x, _, delta = record
    W, b = own["W"], own["b"]
    z = x @ W + b
    assert np.abs(z).min() > 1e-4  # no unit so near to its kink that differences cross it
    assert_downhill(delta, loss, z, tolerance)
    assert_downhill(gradient_of(layer, "weight"), lambda W: loss(x @ W + b), W, tolerance)
    assert_downhill(gradient_of(layer, "bias")[0], lambda b: loss(x @ W + b), b, tolerance)


def recorded_updates(trainer, data, count):
    """Train one batch; for each layer that learned: (layer, its input, activity, delta).

    Rows are the oracle's, float64; activity is the layer's before normalisation.
    """
    records = []

    def record(layer, update):
        def wrapped(x, rows):
            records.append((
                layer,
                reference.unpack_rows(x, rows, layer.inputs),
                reference.unpack_rows(layer.out, rows, layer.width),
                reference.unpack_rows(layer.delta, rows, layer.width),
            ))  # fmt: skip
            update(x, rows)

        return wrapped

    for layer in trainer.run.layers:
        layer.update = record(layer, layer.update)
    trainer.learn(data, 0, count)
    for layer in trainer.run.layers:
        del layer.update
    return records
