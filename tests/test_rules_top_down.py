"""Recurrent layers driven from below and above: gradients, scores, and what is refused."""

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

from ffedge.buffers import plan_training
from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.planner import choose
from ffedge.recipe import Recipe
from ffedge.rules import MeanOfSquares, Sum, SumOfSquares, Swish, SymBa, Threshold, TopDown
from ffedge.streaming import Streaming

pytestmark = not_in_library

#: Features, hidden widths, classes, batch: one to three layers, more classes than lanes.
SIZES = [(5, (7,), 3, 4), (5, (17, 6), 3, 4), (20, (7, 18, 9), 18, 3)]
STEPS = {"steps": 3, "share": 0.6, "first_read": 2, "last_read": 3}
LOSSES = {
    "threshold": (SumOfSquares(), Threshold()),
    "symba": (MeanOfSquares(), SymBa()),
    "swish": (MeanOfSquares(), Swish()),
}


def prepared(rule, size, optimizer=None):
    features, hidden, classes, batch = size
    trainer = small_trainer(rule, features, hidden, classes, batch=batch, optimizer=optimizer)
    give_random_params(trainer)
    return trainer, small_data(features, classes, batch)


def matrices(trainer):
    layers = []
    for layer in trainer.run.layers:
        names = {"W": "weight", "D": "down", "b": "bias", "M": "head"}
        own = {
            key: reference.unpack_weights(layer.params[name], layer.width)
            for key, name in names.items()
            if name in layer.params
        }
        layers.append(own | {"b": own["b"][0]})
    return layers


def loss_of(kind, Y, half):
    """Sum over the samples, as the rule defines it: both rows' losses, or the pair's."""
    if kind == "threshold":
        return reference.threshold_losses(
            reference.goodness(Y), np.arange(len(Y)) < half, Y.shape[1]
        ).sum()
    g = (Y**2).mean(axis=1)
    u = -{"symba": 4.0, "swish": 6.0}[kind] * (g[:half] - g[half:])
    return (np.logaddexp(0, u) if kind == "symba" else u * reference.sigmoid(u)).sum()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", LOSSES)
def test_the_gradients_are_the_finite_differences_of_all_steps_local_losses(kind, size):
    _, _, classes, batch = size
    rule = TopDown(*LOSSES[kind], **STEPS, peer=0.0)
    trainer, data = prepared(rule, size, GRADIENT)
    layers = matrices(trainer)
    X = reference.normalize(data.features.astype(float))

    trainer.learn(data, 0, batch)

    shown = np.concatenate([data.labels, trainer.run.shown[:batch]])
    assert (shown[:batch] != shown[batch:]).all()
    steps = reference_time.top_down_steps(
        layers, np.vstack([X, X]), shown, classes, rule.steps, rule.share
    )
    for i, (layer, own) in enumerate(zip(trainer.run.layers, layers, strict=True)):
        drives = [step[i][:2] for step in steps]

        def loss(changed, drives=drives):
            sums = [reference_time.top_down_sums(changed, *drive) for drive in drives]
            total = sum(loss_of(kind, np.maximum(z, 0), batch) for z in sums)
            return total / (batch * rule.steps)

        for key, name in (("W", "weight"), ("D", "down"), ("b", "bias")):
            found = gradient_of(layer, name)
            found = found[0] if key == "b" else found
            assert_downhill(found, lambda v, k=key, o=own, f=loss: f(o | {k: v}), own[key], 2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_heads_learn_from_the_bottom_up_states(size):
    batch = size[-1]
    rule = TopDown(**STEPS, head_gain=2.0)
    trainer, data = prepared(rule, size, GRADIENT)
    layers = matrices(trainer)
    states = reference_time.bottom_up(layers, reference.normalize(data.features.astype(float)))

    trainer.learn(data, 0, batch)

    assert ["M" in own for own in layers] == [i > 0 or len(layers) == 1 for i in range(len(layers))]
    for layer, own, state in zip(trainer.run.layers, layers, states, strict=True):
        if "M" in own:
            x = reference.normalize(state)
            errors = reference.class_errors(x @ own["M"].T, data.labels) / batch
            assert_close(gradient_of(layer, "head"), rule.head_gain * errors.T @ x)


def test_wrong_labels_are_drawn_from_the_heads_own_prediction():
    size = (5, (17, 6), 3, 4)
    trainer, data = prepared(TopDown(**STEPS), size)
    X = reference.normalize(data.features.astype(float))
    wanted = reference_time.top_down_head_scores(matrices(trainer), X)

    trainer.learn(data, 0, 4)

    assert_close(trainer.run.total[:4], wanted)


def test_peers_pull_every_unit_towards_the_mean_activity_of_the_layer():
    size, rule = (5, (17, 6), 3, 4), TopDown(**STEPS, peer=0.5)
    with_peers, data = prepared(rule, size, GRADIENT)
    without, _ = prepared(TopDown(**STEPS, peer=0.0), size, GRADIENT)
    layers = matrices(with_peers)
    X = reference.normalize(data.features.astype(float))

    with_peers.learn(data, 0, 4)
    without.learn(data, 0, 4)

    steps = reference_time.top_down_steps(layers, X, data.labels, 3, rule.steps, rule.share)
    for i, layer in enumerate(with_peers.run.layers):
        means, pulled = np.full(layer.width, 0.5), 0.0
        for step in steps:
            means = 0.9 * means + 0.1 * step[i][2].mean(axis=0)
            pulled = pulled + rule.peer * (means.mean() - means) / rule.steps
        found = gradient_of(layer, "bias") - gradient_of(without.run.layers[i], "bias")
        assert_close(found[0], pulled, 1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("goodness", [SumOfSquares(), MeanOfSquares()])
def test_scores_are_the_goodness_of_each_label_over_the_steps_that_are_read(goodness, size):
    classes = size[2]
    rule = TopDown(goodness, **STEPS)
    trainer, data = prepared(rule, size)
    wanted = reference_time.top_down_scores(
        matrices(trainer), reference.normalize(data.features.astype(float)), classes, rule.share,
        rule.first_read, rule.last_read, isinstance(goodness, MeanOfSquares),
    )  # fmt: skip

    assert_close(scores_of(trainer, data.features), wanted, 1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_learns_clouds_with_every_optimizer_and_keeps_padding_zero(optimizer):
    random = np.random.default_rng(0)
    from ffedge.sources import from_arrays

    labels = np.arange(60) % 3
    X = (random.normal(size=(3, 6))[labels] * 3 + random.normal(size=(60, 6))).astype(np.float32)
    data = from_arrays(X, labels, classes=range(3))
    trainer = small_trainer(
        TopDown(steps=4, first_read=2, last_read=4), 6, (20, 18), 3, batch=20,
        optimizer=optimizer, epochs=40,
    )  # fmt: skip

    for _ in trainer.train(data):
        pass

    assert trainer.evaluate(data) > 0.9
    assert trainer.step_bytes < 4096
    assert trainer.measured_bytes == trainer.plan.peak
    assert_params_are_padded_with_zeros(trainer)


def test_a_smaller_last_batch_scores_as_alone():
    trainer, data = prepared(TopDown(**STEPS), (5, (17, 6), 3, 4))

    together, alone = scores_of(trainer, data.features), scores_of(trainer, data.features[:3])

    assert alone.tobytes() == together[:3].tobytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "expected steps in 1..64, got 0"),
        ({"steps": True}, "expected steps in 1..64, got True"),
        ({"steps": 4}, "expected first_read <= last_read <= steps, got 3, 5, 4"),
        ({"first_read": 6}, "expected first_read <= last_read <= steps, got 6, 5, 8"),
        ({"share": 0.0}, "expected share in 0.001..1, got 0.0"),
        ({"share": float("nan")}, "expected share in 0.001..1, got nan"),
        ({"peer": 2}, "expected peer in 0..1, got 2"),
        ({"head_gain": "x"}, "expected head_gain in 0.001..1000, got 'x'"),
        ({"loss": None}, "expected a loss such as Threshold(), got None"),
        ({"goodness": Sum()}, "whose length is what states are divided by"),
        ({"goodness": SumOfSquares(minimise=True)}, "maximised"),
    ],
)
def test_values_out_of_range_are_refused(options, words):
    with pytest.raises(ConfigError, match=r"^TopDown: ") as refusal:
        TopDown(**options)

    assert words in str(refusal.value)


def test_int8_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="TopDown: expected precision float32, got int8, whose"):
        Network.dense(8, (20, 20), 3, TopDown(), precision="int8")


def test_layer_by_layer_and_layers_on_disk_are_refused_with_the_reason():
    network = Network.dense(8, (20, 20), 3, TopDown())

    with pytest.raises(ConfigError, match="whose layers drive each other at every step, got layer"):
        plan_training(network, Recipe(schedule="layerwise"))
    with pytest.raises(ConfigError, match="which needs them all at every step, got some on disk"):
        plan_training(network, Recipe(), streaming=Streaming.of(network))


def test_a_small_budget_is_met_by_smaller_batches_only():
    network = Network.dense(8, (20, 20), 3, TopDown())
    recipes = [
        Recipe(batch_size=size, schedule=schedule)
        for size in (64, 8)
        for schedule in ("sweep", "layerwise")
    ]
    budget = plan_training(network, recipes[2]).peak

    choice = choose(network, recipes, budget)

    assert (choice.recipe, choice.streaming) == (recipes[2], None)


def test_its_description_comes_back():
    rule = TopDown(MeanOfSquares(2.0), Swish(3.0), 6, 0.5, 2, 4, 0.1, 5.0)
    network = Network.dense(8, (20, 20), 3, rule)

    assert Network.parse(network.describe()) == network
