"""Mono-Forward: gradients by finite differences, whole steps by the oracle."""

from functools import partial

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    active_layers,
    assert_close,
    assert_downhill,
    assert_layer_descends,
    assert_layers_close,
    give_random_params,
    gradient_of,
    matrices,
    recorded_updates,
    scores_of,
    small_data,
    small_trainer,
)

from ffedge.errors import ConfigError
from ffedge.optimizers import SGD
from ffedge.rules import Readout

#: Features, hidden widths, classes, batch: one panel, uneven panels, more classes than lanes.
SIZES = [(5, (7, 6), 3, 4), (16, (17, 33), 2, 1), (20, (40, 15), 18, 5)]
SMOOTHING = 0.05


def prepared(rule, size, **options):
    features, hidden, classes, batch = size
    trainer = small_trainer(rule, features, hidden, classes, batch=batch, **options)
    give_random_params(trainer)
    return trainer, small_data(features, classes, batch)


def local_loss(M, z, labels):
    return reference.cross_entropy(np.maximum(z, 0) @ M.T, labels, SMOOTHING)


@pytest.mark.parametrize("size", SIZES)
def test_delta_and_gradients_are_the_local_losss_finite_differences(size):
    trainer, data = prepared(Readout(), size, optimizer=GRADIENT)
    before = matrices(trainer)

    records = recorded_updates(trainer, data, size[3])

    assert len(records) == 2
    for record, own in zip(records, before, strict=True):
        layer, x, _, _ = record
        assert_layer_descends(record, own, partial(local_loss, own["M"], labels=data.labels), 1e-6)
        z = x @ own["W"] + own["b"]
        by_readout = partial(local_loss, z=z, labels=data.labels)
        assert_downhill(gradient_of(layer, "readout"), by_readout, own["M"], 1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", [None, 0, 1])
@pytest.mark.parametrize("normalize_input", [False, True])
def test_one_step_equals_the_oracles(size, stage, normalize_input):
    trainer, data = prepared(Readout(), size, stage=stage, normalize_input=normalize_input)
    X = data.features.astype(float)
    X = reference.normalize(X) if normalize_input else X
    before, active = matrices(trainer), active_layers(trainer)
    wanted = reference.readout_batch(before, X, data.labels, 0.1, SMOOTHING, active)

    trainer.learn(data, 0, size[3])

    assert active == [stage in (None, 0), stage in (None, 1)]
    assert_layers_close(trainer, wanted, 5e-6)


def test_several_steps_at_a_falling_rate_equal_the_oracles():
    trainer, data = prepared(Readout(), SIZES[0], epochs=4, hold=0.0, optimizer=SGD(0.2))
    wanted = matrices(trainer)
    for step in range(4):
        rate = 0.2 * (4 - step) / 4
        wanted = reference.readout_batch(
            wanted, data.features.astype(float), data.labels, rate, SMOOTHING, [True, True]
        )

    list(trainer.train(data))

    assert_layers_close(trainer, wanted, 2e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", [None, 0, 1])
def test_a_frozen_readout_trains_as_its_matrix_held_fast_does(size, stage):
    rule = Readout(frozen=True, seed=2**32 - 5)
    frozen, data = prepared(rule, size, stage=stage)
    held, _ = prepared(Readout(), size, stage=stage)
    for i, (ours, theirs) in enumerate(zip(frozen.run.layers, held.run.layers, strict=True)):
        theirs.weight[:], theirs.bias[:] = ours.weight, ours.bias
        seed = (2**32 - 5 + 0x9E3779B9 * (i + 1)) % 2**32
        M = reference.frozen_matrix(seed, size[2], ours.width, 3 / np.sqrt(ours.width))
        theirs.params["readout"][:] = reference.pack_weights(M)
    fixed = [layer.params["readout"].copy() for layer in held.run.layers]
    for _ in range(3):
        frozen.learn(data, 0, size[3])
        held.learn(data, 0, size[3])
        for layer, M in zip(held.run.layers, fixed, strict=True):
            layer.params["readout"][:] = M

    for ours, theirs in zip(matrices(frozen), matrices(held), strict=True):
        assert_close(ours["W"], theirs["W"])
        assert_close(ours["b"], theirs["b"])
        assert "M" not in ours
    X = data.features
    np.testing.assert_allclose(scores_of(frozen, X), scores_of(held, X), rtol=1e-4, atol=1e-4)


def test_frozen_readouts_differ_between_layers_and_seeds():
    rules = [Readout(frozen=True, seed=seed) for seed in (0, 1, 2**32 - 1)]

    seeds = [rule.frozen_matrix(index, 9)[0] for rule in rules for index in range(3)]

    assert len(set(seeds)) == 9
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_frozen_readout_takes_no_parameters():
    trainer = small_trainer(Readout(frozen=True), 5, (7, 6), 3)

    assert not [name for name in trainer.params if "readout" in name]
    assert trainer.arena["readout_panel"].shape == (1, 3, 16)


@pytest.mark.parametrize("size", SIZES)
def test_scores_are_the_sum_of_the_layers_log_probabilities(size):
    trainer, data = prepared(Readout(), size)
    x, wanted = data.features.astype(float), 0.0
    for layer in matrices(trainer):
        Y = reference.dense(x, layer["W"], layer["b"])
        wanted = wanted + reference.log_softmax(Y @ layer["M"].T)
        x = reference.normalize(Y)

    assert_close(scores_of(trainer, data.features), wanted)


@pytest.mark.parametrize("width", [4, 400])
def test_the_readout_starts_at_the_scale_of_its_width(width):
    trainer = small_trainer(Readout(), 5, (width,), 20)

    start = matrices(trainer)[0]["M"]

    assert start.std() == pytest.approx(1 / np.sqrt(width), rel=0.2)


def test_loss_and_accuracy_are_the_layers_own():
    trainer, data = prepared(Readout(), SIZES[2])
    own = matrices(trainer)[0]
    scores = reference.dense(data.features.astype(float), own["W"], own["b"]) @ own["M"].T

    trainer.learn(data, 0, 5)

    layer = trainer.run.layers[0]
    assert layer.loss == pytest.approx(5 * reference.cross_entropy(scores, data.labels), rel=1e-5)
    assert layer.right == (scores.argmax(axis=1) == data.labels).sum()
    assert layer.seen == 5


@pytest.mark.parametrize("seed", [-1, 2**32, float("nan"), 0.5])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ConfigError) as refusal:
        Readout(frozen=True, seed=seed)

    assert str(refusal.value) == f"Readout: expected seed in 0..2**32-1, got {seed!r}"
