"""The label side-channel: gradients by finite differences, whole steps by the oracle."""

import numpy as np
import pytest
import reference
import reference_classes as oracle
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

from ffedge.buffers import training_needs
from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.rules import CrossEntropy, Logistic, SideChannel

#: Features, hidden widths, classes, batch.
SIZES = [(5, (7, 6), 3, 4), (16, (17, 33), 2, 1), (20, (40, 18), 18, 5)]
SMOOTHING, SHARPNESS, THRESHOLD = 0.05, 2.5, 1.5
ENTROPY = SideChannel(CrossEntropy(SHARPNESS))
LOGISTIC = SideChannel(Logistic(SHARPNESS, THRESHOLD))


def loss_of(rule, scores, labels):
    if rule is ENTROPY:
        return reference.cross_entropy(scores, labels, SMOOTHING)
    return oracle.logistic_loss(scores, labels, THRESHOLD)


def prepared(rule, size, **options):
    features, hidden, classes, batch = size
    trainer = small_trainer(rule, features, hidden, classes, batch=batch, **options)
    give_random_params(trainer)
    return trainer, small_data(features, classes, batch)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", [ENTROPY, LOGISTIC])
def test_delta_and_gradients_are_the_local_losss_finite_differences(size, rule):
    trainer, data = prepared(rule, size, optimizer=GRADIENT)
    before = matrices(trainer)

    records = recorded_updates(trainer, data, size[3])

    assert len(records) == 2
    for record, own in zip(records, before, strict=True):

        def loss(z, U=own["U"]):
            return loss_of(rule, oracle.side_scores(z, U, SHARPNESS), data.labels)

        assert_layer_descends(record, own, loss, 2e-6)
        z = record[1] @ own["W"] + own["b"]
        downhill = gradient_of(record[0], "labels")
        assert_downhill(downhill, lambda U, z=z: loss(z, U), own["U"], 2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", [None, 0, 1])
def test_one_step_equals_the_oracles(size, stage):
    trainer, data = prepared(ENTROPY, size, stage=stage)
    wanted = oracle.side_batch(
        matrices(trainer), data.features.astype(float), data.labels, 0.1, SMOOTHING,
        active_layers(trainer), SHARPNESS,
    )  # fmt: skip

    trainer.learn(data, 0, size[3])

    assert_layers_close(trainer, wanted, 1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", [ENTROPY, LOGISTIC])
def test_scores_are_the_sum_of_the_layers_votes_and_no_label_is_passed_on(size, rule):
    trainer, data = prepared(rule, size)
    x, wanted = data.features.astype(float), 0.0
    for layer in matrices(trainer):
        S = x @ layer["W"] + layer["b"]
        scores = oracle.side_scores(S, layer["U"], SHARPNESS)
        wanted = wanted + (reference.log_softmax(scores) if rule is ENTROPY else scores)
        x = reference.normalize(np.maximum(S, 0))

    assert_close(scores_of(trainer, data.features), wanted)


def test_the_topmost_layer_is_left_rectified_for_those_who_measure_it():
    trainer, data = prepared(ENTROPY, SIZES[0])

    trainer.learn(data, 0, 4)

    assert trainer.run.layers[-1].out[:, :4].min() == 0.0
    assert trainer.run.layers[-1].out[:, :4].max() > 0.0


def test_label_weights_start_with_the_given_spread():
    wide, none = (
        small_trainer(SideChannel(spread=spread), 5, (400,), 10).run.layers[0].params["labels"]
        for spread in (0.5, 0.0)
    )

    assert wide.std() == pytest.approx(0.5, rel=0.05)
    assert not none.any()


def test_labels_that_start_equal_come_apart():
    trainer = small_trainer(SideChannel(spread=0.0), 5, (7,), 3, epochs=3)

    list(trainer.train(small_data(5, 3, 23)))

    labels = matrices(trainer)[0]["U"]
    assert (labels[0] != labels[1]).any()
    assert (labels[1] != labels[2]).any()


def test_no_buffer_holds_an_activity_per_class():
    network = Network.dense(50, (64, 64), 100, SideChannel())

    sizes = {
        need.name: need.spec.nbytes for need in training_needs(network, Recipe(batch_size=32), 32)
    }

    assert max(size for name, size in sizes.items() if "label" not in name) < 32 * 64 * 100 * 4
    assert sizes["class_gradient"] == sizes["layer0.labels"] == 64 * 112 * 4 * 100 // 112


@pytest.mark.parametrize("spread", [-0.1, 10.1, float("nan"), "1", True])
def test_a_spread_out_of_range_is_refused(spread):
    with pytest.raises(ConfigError) as refusal:
        SideChannel(spread=spread)

    assert str(refusal.value) == f"SideChannel: expected spread in 0..10, got {spread!r}"


def test_an_objective_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"expected objective CrossEntropy\(\.\.\.\) or Logistic"):
        SideChannel("logistic")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CrossEntropy(0.0), "CrossEntropy: expected sharpness in 0.001..10000, got 0.0"),
        (lambda: CrossEntropy(smoothing=0.91), "CrossEntropy: expected smoothing in 0..0.9, got"),
        (lambda: Logistic(True), "Logistic: expected sharpness in 0.001..10000, got True"),
        (lambda: Logistic(threshold=-1.0), "Logistic: expected threshold in 0..10000, got -1.0"),
        (lambda: Logistic(threshold=float("nan")), "Logistic: expected threshold in 0..10000, got"),
    ],
)
def test_values_of_an_objective_out_of_range_are_refused(make, words):
    with pytest.raises(ConfigError) as refusal:
        make()

    assert str(refusal.value).startswith(words)


def test_int8_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"expected precision float32, got int8, whose layers"):
        Network.dense(5, (7,), 3, SideChannel(), precision="int8")


@pytest.mark.parametrize("rule", [ENTROPY, LOGISTIC])
def test_the_description_comes_back_as_the_same_rule(rule):
    network = Network.dense(5, (7, 6), 3, rule)

    assert Network.parse(network.describe()) == network


@pytest.mark.parametrize("objective", [None, {"name": "hinge"}, {"name": "logistic", "x": 1}, "a"])
def test_a_description_with_another_objective_is_refused(objective):
    description = Network.dense(5, (7,), 3, LOGISTIC).describe()
    description["rule"]["objective"] = objective

    with pytest.raises(ConfigError):
        Network.parse(description)
