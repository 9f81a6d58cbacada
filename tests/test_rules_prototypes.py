"""Prototypes: gradients by finite differences, whole steps by the oracle, lengths that stay 1."""

import numpy as np
import pytest
import reference
import reference_classes as oracle
from checks import (
    GRADIENT,
    OPTIMIZERS,
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
from ffedge.kernels.prototypes import unit_lengths
from ffedge.network import Network
from ffedge.rules import Prototypes

#: Features, hidden widths, classes, batch.
SIZES = [(5, (7, 6), 3, 4), (16, (17, 33), 2, 1), (20, (40, 18), 18, 5)]
SMOOTHING = 0.05
RULE, TAU = Prototypes(tau=3.0), 3.0


def prepared(rule, size, **options):
    features, hidden, classes, batch = size
    trainer = small_trainer(rule, features, hidden, classes, batch=batch, **options)
    give_random_params(trainer)
    for layer in trainer.run.layers:
        unit_lengths(layer.params["prototypes"])
    return trainer, small_data(features, classes, batch)


@pytest.mark.parametrize("size", SIZES)
def test_delta_and_gradients_are_the_local_losss_finite_differences(size):
    trainer, data = prepared(RULE, size, optimizer=GRADIENT)
    before = matrices(trainer)

    records = recorded_updates(trainer, data, size[3])

    assert len(records) == 2
    for record, own in zip(records, before, strict=True):

        def loss(z, Q=own["Q"]):
            scores = oracle.prototype_scores(np.maximum(z, 0), Q, TAU)
            return reference.cross_entropy(scores, data.labels, SMOOTHING)

        assert_layer_descends(record, own, loss, 2e-6)
        z = record[1] @ own["W"] + own["b"]
        turn = gradient_of(record[0], "prototypes")
        assert_downhill(turn, lambda Q, z=z: loss(z, Q), own["Q"], 2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", [None, 0, 1])
def test_one_step_equals_the_oracles(size, stage):
    trainer, data = prepared(RULE, size, stage=stage)
    wanted = oracle.prototype_batch(
        matrices(trainer), data.features.astype(float), data.labels, 0.1, SMOOTHING,
        active_layers(trainer), TAU,
    )  # fmt: skip

    trainer.learn(data, 0, size[3])

    assert_layers_close(trainer, wanted, 1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_scores_are_the_sum_of_the_layers_log_probabilities(size):
    trainer, data = prepared(RULE, size)
    x, wanted = data.features.astype(float), 0.0
    for layer in matrices(trainer):
        Y = reference.dense(x, layer["W"], layer["b"])
        wanted = wanted + reference.log_softmax(oracle.prototype_scores(Y, layer["Q"], TAU))
        x = reference.normalize(Y)

    assert_close(scores_of(trainer, data.features), wanted)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
def test_prototypes_keep_the_length_1_through_training(optimizer):
    trainer = small_trainer(RULE, 5, (17, 6), 3, optimizer=optimizer, epochs=5)

    list(trainer.train(small_data(5, 3, 23)))

    for layer in matrices(trainer):
        assert_close((layer["Q"] ** 2).sum(axis=1), np.ones(3), 3e-6)


def test_frozen_prototypes_stay_while_the_weights_learn():
    trainer = small_trainer(Prototypes(frozen=True), 5, (7, 6), 3, epochs=2)
    before = matrices(trainer)

    list(trainer.train(small_data(5, 3, 23)))

    for old, new in zip(before, matrices(trainer), strict=True):
        assert (old["Q"] == new["Q"]).all()
        assert (old["W"] != new["W"]).any()
    assert "class_gradient" not in trainer.arena


def test_the_scale_of_the_weights_does_not_change_the_scores():
    trainer, data = prepared(RULE, SIZES[0])
    before = scores_of(trainer, data.features)
    for layer in trainer.run.layers:
        layer.weight *= np.float32(50)
        layer.bias *= np.float32(50)

    assert_close(scores_of(trainer, data.features), before)


@pytest.mark.parametrize("tau", [0.0, -1.0, 1000.1, float("nan"), float("inf"), "16"])
def test_a_tau_out_of_range_is_refused(tau):
    with pytest.raises(ConfigError) as refusal:
        Prototypes(tau=tau)

    assert str(refusal.value) == f"Prototypes: expected tau in 0.1..1000, got {tau!r}"


def test_frozen_must_be_true_or_false():
    with pytest.raises(ConfigError, match=r"Prototypes: expected frozen True or False, got 1"):
        Prototypes(frozen=1)


def test_int8_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"expected precision float32, got int8, whose .*length"):
        Network.dense(5, (7,), 3, RULE, precision="int8")


def test_the_description_comes_back_as_the_same_rule():
    network = Network.dense(5, (7, 6), 3, Prototypes(0.1, 5.0, True))

    assert Network.parse(network.describe()) == network
