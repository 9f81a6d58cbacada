"""Sequences with fast weights: gradients, scores, and what is refused."""

import numpy as np
import pytest
import reference
import reference_time
from checks import (
    GRADIENT,
    OPTIMIZERS,
    assert_close,
    assert_downhill,
    assert_params_are_padded_with_zeros,
    give_random_params,
    gradient_of,
    not_in_library,
    scores_of,
    small_data,
    small_trainer,
)

from ffedge.buffers import plan_prediction, plan_training
from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.new_classes import with_classes
from ffedge.recipe import Recipe
from ffedge.rules import FastWeights, named_rule
from ffedge.sources import from_arrays
from ffedge.streaming import Streaming

pytestmark = not_in_library

#: Rule, features, hidden widths, classes, batch.
SIZES = [
    (FastWeights(3), 6, (7,), 3, 4),
    (FastWeights(4, turns=2, rate=1.5, decay=0.5), 20, (17, 6), 3, 4),
    (FastWeights(5, turns=0), 15, (7, 18), 18, 3),
    (FastWeights(1), 5, (9, 33), 3, 4),
]


def prepared(size, optimizer=None, stage=None):
    rule, features, hidden, classes, batch = size
    trainer = small_trainer(
        rule, features, hidden, classes, batch=batch, optimizer=optimizer, stage=stage
    )
    give_random_params(trainer)
    return trainer, small_data(features, classes, batch)


def matrices(trainer):
    names = {"W": "weight", "R": "recurrent", "b": "bias", "M": "readout"}
    layers = []
    for layer in trainer.run.layers:
        own = {
            key: reference.unpack_weights(layer.params[name], layer.width)
            for key, name in names.items()
        }
        layers.append(own | {"b": own["b"][0]})
    return layers


def sequences(data, rule):
    """(steps, rows, inputs)"""
    X = data.features.astype(float)
    return X.reshape(len(X), rule.steps, -1).swapaxes(0, 1)


@pytest.mark.parametrize("size", SIZES)
def test_the_gradients_are_the_finite_differences_of_all_steps_local_losses(size):
    rule, batch = size[0], size[-1]
    trainer, data = prepared(size, GRADIENT)
    layers = matrices(trainer)

    trainer.learn(data, 0, batch)

    x = sequences(data, rule)
    for layer, own in zip(trainer.run.layers, layers, strict=True):
        Y, recalled, before = reference_time.fast_sequence(
            own, x, rule.steps, rule.turns, rule.rate, rule.decay
        )

        def loss(changed, x=x, recalled=recalled, before=before):
            sums = x @ changed["W"] + before @ changed["R"] + changed["b"] + recalled
            return np.mean([
                reference.cross_entropy(np.maximum(z, 0) @ changed["M"].T, data.labels, 0.05)
                for z in sums
            ])  # fmt: skip

        for key, name in (("W", "weight"), ("R", "recurrent"), ("b", "bias"), ("M", "readout")):
            found = gradient_of(layer, name)
            found = found[0] if key == "b" else found
            assert_downhill(found, lambda v, k=key, o=own, f=loss: f(o | {k: v}), own[key], 1e-5)
        x = np.stack([reference.normalize(y) for y in Y])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first_vote", [0.0, 0.5, 0.99])
def test_scores_are_log_probabilities_of_the_steps_that_vote(first_vote, size):
    from dataclasses import replace

    rule = replace(size[0], first_vote=first_vote)
    trainer, data = prepared((rule, *size[1:]))
    wanted = reference_time.fast_scores(
        matrices(trainer), data.features.astype(float), rule.steps, rule.turns, rule.rate,
        rule.decay, int(first_vote * rule.steps),
    )  # fmt: skip

    assert_close(scores_of(trainer, data.features), wanted, 1e-4)


def test_only_the_layer_in_its_stage_learns():
    trainer, data = prepared(SIZES[1], stage=1)
    before = matrices(trainer)

    trainer.learn(data, 0, 4)

    after = matrices(trainer)
    assert all((before[0][key] == after[0][key]).all() for key in before[0])
    assert all((before[1][key] != after[1][key]).any() for key in before[1])


def test_a_rate_of_zero_and_no_turns_are_the_same_network():
    (plain, data), (still, _) = (
        prepared((FastWeights(4, **options), 20, (17, 6), 3, 4))
        for options in ({"turns": 0}, {"rate": 0.0})
    )

    assert scores_of(plain, data.features).tobytes() == scores_of(still, data.features).tobytes()


def first_value_tells(samples, seed):
    """Six values; the class is the first one, and the others tell nothing."""
    values = np.random.default_rng(seed).integers(0, 4, (samples, 6))
    return from_arrays(np.eye(4, dtype=np.float32)[values], values[:, 0], classes=range(4))


@pytest.mark.parametrize("rule", [FastWeights(6, first_vote=0.99), FastWeights(6, 0, 0.0, 0.0)])
def test_what_was_seen_at_the_first_step_is_remembered_at_the_last(rule):
    data = first_value_tells(400, 0)
    trainer = small_trainer(rule, 24, (64,), 4, batch=20, optimizer=OPTIMIZERS[2], epochs=20)

    for _ in trainer.train(data):
        pass

    assert trainer.evaluate(first_value_tells(400, 1)) > 0.9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_allocates_nothing_and_the_plan_is_all_there_is(optimizer):
    data = first_value_tells(40, 0)
    trainer = small_trainer(
        FastWeights(6), 24, (20, 18), 4, batch=16, optimizer=optimizer, epochs=2
    )

    for _ in trainer.train(data):
        pass

    assert trainer.step_bytes < 4096
    assert trainer.measured_bytes == trainer.plan.peak
    assert_params_are_padded_with_zeros(trainer)


def test_a_smaller_last_batch_scores_as_alone():
    trainer, data = prepared(SIZES[1])

    together, alone = scores_of(trainer, data.features), scores_of(trainer, data.features[:3])

    assert_close(alone, together[:3], 1e-6)


def test_the_plan_holds_a_row_of_activity_for_every_step():
    network = Network.dense(60, (20, 20), 3, FastWeights(12))

    specs = {buffer.name: buffer.spec.shape for buffer in plan_prediction(network, 5).buffers}

    assert network.layers[0].in_features == 5
    assert (network.features, network.text) == (60, "60-20-20-3")
    assert specs["input"] == (4, 5, 16)
    assert specs["layer0.out"] == specs["past"] == (2, 60, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps a whole number in 1..4096, got 0"),
        ({"steps": 2.0}, "steps a whole number in 1..4096, got 2.0"),
        ({"turns": 9}, "turns a whole number in 0..8, got 9"),
        ({"rate": -0.1}, "rate in 0..10, got -0.1"),
        ({"decay": float("nan")}, "decay in 0..1, got nan"),
        ({"first_vote": 1.0}, "first_vote in 0..0.99, got 1.0"),
        ({"smoothing": "x"}, "smoothing in 0..0.9, got 'x'"),
    ],
)
def test_values_out_of_range_are_refused(options, words):
    with pytest.raises(ConfigError) as refusal:
        FastWeights(**options)

    assert str(refusal.value) == f"FastWeights: expected {words}"


def test_steps_that_do_not_divide_the_features_are_refused():
    with pytest.raises(
        ConfigError, match="expected steps to divide the 10 features, got 3; choose"
    ):
        Network.dense(10, (20,), 3, FastWeights(3))


def test_int8_and_layers_on_disk_are_refused_with_the_reason():
    network = Network.dense(8, (20, 20), 3, FastWeights(2))

    with pytest.raises(ConfigError, match="FastWeights: expected precision float32, got int8, who"):
        Network.dense(8, (20, 20), 3, FastWeights(2), precision="int8")
    with pytest.raises(ConfigError, match="whose recurrent products want a layer whole"):
        plan_training(network, Recipe(), streaming=Streaming.of(network))


@pytest.mark.parametrize(("shape", "steps"), [((28, 28), 28), ((6, 4, 2), 6), ((784,), 1)])
def test_the_word_takes_its_steps_from_the_data(shape, steps):
    assert named_rule("fast-weights").fitted(shape).steps == steps
    assert FastWeights(4).fitted(shape).steps == 4


def test_new_classes_leave_the_predictions_of_the_old_ones_as_they_are():
    trainer, data = prepared((FastWeights(4), 20, (17, 6), 3, 4))
    before = scores_of(trainer, data.features)

    grown = with_classes(trainer, np.array([0, 2, 3]), 5)

    grown.run.begin_stage(None)
    after = scores_of(grown, data.features)
    assert after.argmax(axis=1).tolist() == np.array([0, 2, 3])[before.argmax(axis=1)].tolist()


def test_its_description_comes_back():
    rule = FastWeights(4, 2, 0.25, 0.75, 0.125, 0.0)
    network = Network.dense(8, (20, 20), 3, rule)

    assert Network.parse(network.describe()) == network
