"""Forward-Forward as published: gradients by finite differences, whole steps by the oracle."""

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
from ffedge.layers import Dense
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.rules import Contrast, hinton

#: Features, hidden widths, classes, batch: one panel, uneven panels, more classes than lanes.
SIZES = [(5, (7, 6), 3, 4), (14, (17, 33), 2, 1), (20, (40, 15, 9), 18, 5), (3, (12,), 4, 3)]


def prepared(rule, size, **options):
    features, hidden, classes, batch = size
    trainer = small_trainer(rule, features, hidden, classes, batch=batch, **options)
    # Wide enough for a goodness near the threshold, where both kinds of row teach.
    give_random_params(trainer, spread=1.5)
    return trainer, small_data(features, classes, batch)


def stages(size):
    return [None, *range(len(size[1]))]


@pytest.mark.parametrize("size", SIZES)
def test_delta_and_gradient_are_the_threshold_losss_finite_differences(size):
    trainer, data = prepared(hinton(peer=0.0), size, optimizer=GRADIENT)
    count, before = size[3], matrices(trainer)
    positive = np.arange(2 * count) < count

    def loss(z):
        g = reference.goodness(np.maximum(z, 0))
        return reference.threshold_losses(g, positive, z.shape[1]).sum() / count

    records = recorded_updates(trainer, data, count)

    assert len(records) == len(size[1])
    for record, own in zip(records, before, strict=True):
        assert_layer_descends(record, own, loss, 1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_peer_term_pulls_positive_rows_towards_the_mean_of_means(size):
    deltas, count = [], size[3]
    for peer in (0.0, 0.5):
        trainer, data = prepared(hinton(peer=peer), size, optimizer=GRADIENT)
        deltas.append(recorded_updates(trainer, data, count))

    for (_, _, activity, without), (_, _, _, with_peer) in zip(*deltas, strict=True):
        means = 0.9 * 0.5 + 0.1 * activity[:count].mean(axis=0)
        pull = np.zeros_like(without)
        pull[:count] = 0.5 * (means.mean() - means) / count
        assert_close(with_peer - without, pull, 1e-6)


def head_loss(M, x, labels):
    return reference.cross_entropy(x @ M.T, labels)


@pytest.mark.parametrize("size", SIZES)
def test_a_head_learns_from_its_own_cross_entropy_on_the_neutral_label(size):
    rule = hinton(head_gain=4.0)
    trainer, data = prepared(rule, size, optimizer=GRADIENT)
    x = reference.label_input(data.features.astype(float), None, size[2], 3.0)
    before = matrices(trainer)

    trainer.learn(data, 0, size[3])

    for layer, own in zip(trainer.run.layers, before, strict=True):
        x = reference.normalize(reference.dense(x, own["W"], own["b"]))
        if "M" not in own:
            continue
        loss = partial(head_loss, x=x, labels=data.labels)
        assert_downhill(gradient_of(layer, "head") / 4.0, loss, own["M"], 1e-5)


@pytest.mark.parametrize(("size", "stage"), [(size, s) for size in SIZES for s in stages(size)])
@pytest.mark.parametrize("normalize_input", [False, True])
def test_two_steps_equal_the_oracles(size, stage, normalize_input):
    rule = hinton(label_value=2.0, peer=0.1, head_gain=3.0)
    trainer, data = prepared(
        rule, size, stage=stage, normalize_input=normalize_input, optimizer=SGD(0.02)
    )
    wanted, active = matrices(trainer), active_layers(trainer)
    means = [np.full(layer.width, 0.5) for layer in trainer.run.layers]
    X = data.features.astype(float)
    X = reference.normalize(X) if normalize_input else X
    for _ in range(2):
        trainer.learn(data, 0, size[3])

        wrong = trainer.run.shown[: size[3]]
        wanted = reference.hinton_batch(
            wanted, X, data.labels, wrong, 0.02, 2.0, 0.1, 3.0, active, means, size[2]
        )

    assert (wrong != data.labels).all()
    assert_layers_close(trainer, wanted)


@pytest.mark.parametrize("size", SIZES)
def test_label_inputs_have_the_stated_values(size, monkeypatch):
    trainer, data = prepared(hinton(label_value=2.5), size, normalize_input=True)
    features, classes, count = size[0], size[2], size[3]
    seen, normalised = [], Contrast.normalize_input

    def spy(rule, run, rows):
        seen.append(reference.unpack_rows(run.input, rows, features + classes))
        normalised(rule, run, rows)

    monkeypatch.setattr(Contrast, "normalize_input", spy)
    trainer.learn(data, 0, count)
    scores_of(trainer, data.features)

    neutral, pair, *each = [block[:, features:] for block in seen]
    assert (neutral == np.float32(2.5) / np.float32(classes)).all()
    assert pair[:count].tolist() == (2.5 * np.eye(classes)[data.labels]).tolist()
    assert sorted(set(pair[count:].ravel())) == [0.0, 2.5]
    assert (pair[count:].sum(axis=1) == 2.5).all()
    assert not pair[count:][np.arange(count), data.labels].any()
    assert [block.tolist() for block in each] == [
        [(2.5 * np.eye(classes)[label]).tolist()] * count for label in range(classes)
    ]
    assert all((block[:count, :features] == seen[0][:, :features]).all() for block in seen)


def test_hard_negatives_follow_the_heads_predictions_and_are_never_right():
    trainer, data = prepared(hinton(), (5, (17, 9, 6), 4, 8), optimizer=SGD(0.0))
    for layer in trainer.run.layers[1:]:
        layer.params["head"][:] *= 3.0
    chances = np.exp(reference.neutral_scores(matrices(trainer), data.features, 4, 3.0))
    rows, draws = np.arange(8), 3000
    drawn = np.zeros((8, 4))

    for _ in range(draws):
        trainer.learn(data, 0, 8)
        drawn[rows, trainer.run.shown[:8]] += 1

    chances[rows, data.labels] = 0.0
    chances /= chances.sum(axis=1, keepdims=True)
    assert not drawn[rows, data.labels].any()
    # The prediction must be uneven, or an even draw would pass as well.
    assert chances.max() > 0.6
    assert (np.abs(drawn / draws - chances) <= 4.5 * np.sqrt(chances / draws) + 1e-9).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_labels_score_is_its_goodness_without_the_first_layer(size):
    trainer, data = prepared(hinton(), size)
    X = data.features.astype(float)

    wanted = reference.hinton_scores(matrices(trainer), X, size[2], 3.0)

    assert_close(scores_of(trainer, data.features), wanted, 1e-4)


def test_only_layers_that_are_read_out_have_heads():
    deep, flat = Network.dense(5, (7, 6, 8), 3, hinton()), Network.dense(5, (7,), 3, hinton())

    heads = [list(deep.rule.params(deep, i)) for i in range(3)]

    assert heads == [[], ["head"], ["head"]]
    assert list(flat.rule.params(flat, 0)) == ["head"]
    assert [network.rule.probability_factor(network) for network in (deep, flat)] == [0.5, 1.0]


def test_a_first_layer_in_training_alone_speaks_for_itself():
    trainer, data = prepared(hinton(), SIZES[0], stage=0)
    first = matrices(trainer)[:1]

    wanted = reference.hinton_scores(first, data.features.astype(float), 3, 3.0)

    assert_close(scores_of(trainer, data.features), wanted, 1e-4)


def test_running_means_start_anew_with_every_stage():
    trainer, data = prepared(hinton(), SIZES[0])
    trainer.learn(data, 0, 4)
    moved = trainer.arena["layer0.means"].copy()

    trainer.run.begin_stage(None)

    assert (moved[0, 0, :7] != 0.5).any()
    assert (trainer.arena["layer0.means"] == 0.5).all()


def test_the_label_inputs_widen_the_first_layer_only():
    network = Network.dense(20, (7, 6), 18, hinton())

    assert [layer.in_features for layer in network.layers] == [38, 7]
    assert network.features == 20


@pytest.mark.parametrize(
    ("field", "words", "values"),
    [
        ("peer", "peer in 0..1", [-0.1, 1.1]),
        ("head_gain", "head_gain in 0.001..1000", [0.0, 1e4]),
    ],
)
def test_a_setting_out_of_range_is_refused(field, words, values):
    for value in [*values, float("nan"), float("inf")]:
        with pytest.raises(ConfigError) as refusal:
            hinton(**{field: value})

        assert str(refusal.value) == f"Contrast: expected {words}, got {value!r}"


def test_a_network_without_room_for_features_is_refused():
    with pytest.raises(ConfigError) as refusal:
        Network((Dense(10, 5),), 10, hinton())

    assert str(refusal.value) == (
        "Network: expected layer 0 to take more than the rule's 10 label inputs"
    )
