"""Forward-Forward put together otherwise: every goodness, loss, label and activation learns."""

import json
from functools import partial

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    assert_close,
    assert_downhill,
    give_random_params,
    gradient_of,
    matrices,
    recorded_updates,
    scores_of,
    small_data,
)

from ffedge.activations import Leaky, ReLU
from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import (
    Append,
    Contrast,
    HardLabel,
    LikelyLabel,
    MeanOfSquares,
    Overwrite,
    Pattern,
    Sum,
    SumOfSquares,
    Swish,
    SymBa,
    Threshold,
    WrongLabel,
    hinton,
)
from ffedge.trainer import Trainer

FEATURES, HIDDEN, CLASSES, BATCH = 14, (17, 9), 4, 5

VALUES = {
    SumOfSquares: lambda y: (y**2).sum(axis=1),
    MeanOfSquares: lambda y: (y**2).mean(axis=1),
    Sum: lambda y: y.sum(axis=1),
}


def trainer_of(rule, activation=None, *, hidden=HIDDEN, spread=1.5, optimizer=GRADIENT):
    network = Network.dense(FEATURES, hidden, CLASSES, rule, activations=activation or ReLU())
    recipe = Recipe(optimizer, batch_size=BATCH, scaling="none", shuffle=False, seed=3)
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(small_data(FEATURES, CLASSES, 8))
    trainer.run.begin_stage(None)
    give_random_params(trainer, spread=spread)
    return trainer


def activity_of(z, activation):
    slope = activation.slope if isinstance(activation, Leaky) else 0.0
    return np.where(z > 0, z, slope * z)


def local_loss(rule, activation, width):
    """loss(z) of one layer, from the definitions."""
    goodness, kind = rule.goodness, rule.loss
    sign = -1.0 if goodness.minimise else 1.0
    threshold = sign * goodness.level * (1 if isinstance(goodness, MeanOfSquares) else width)

    def loss(z):
        g = sign * VALUES[type(goodness)](activity_of(z, activation))
        if isinstance(kind, Threshold):
            positive = np.arange(2 * BATCH) < BATCH
            margins = kind.sharpness * g, kind.sharpness * threshold
            return reference.threshold_losses(margins[0], positive, margins[1]).sum() / BATCH
        u = -kind.sharpness * (g[:BATCH] - g[BATCH:])
        each = u * reference.sigmoid(u) if isinstance(kind, Swish) else np.logaddexp(0.0, u)
        return each.sum() / BATCH

    return loss


def behind(value, x, b, W):
    return value(x @ W + b)


@pytest.mark.parametrize("activation", [ReLU(), Leaky(0.2)], ids=lambda a: a.name)
@pytest.mark.parametrize("loss", [Threshold(0.5), SymBa(0.5), Swish(0.5)], ids=lambda a: a.name)
@pytest.mark.parametrize(
    "goodness",
    [SumOfSquares(), SumOfSquares(0.5, minimise=True), MeanOfSquares(2.0), Sum(), Sum(0.3, True)],
    ids=lambda g: f"{g.name}{'-' if g.minimise else ''}",
)
def test_every_goodness_descends_every_loss_with_every_activation(goodness, loss, activation):
    rule = Contrast(goodness, loss, WrongLabel(), peer=0.0)
    trainer = trainer_of(rule, activation, spread=0.7)
    before = [(own["W"], own["b"]) for own in matrices(trainer)]

    records = recorded_updates(trainer, small_data(FEATURES, CLASSES, BATCH), BATCH)

    assert len(records) == len(HIDDEN)
    for (layer, x, _, delta), (W, b) in zip(records, before, strict=True):
        value = local_loss(rule, activation, layer.width)
        z = x @ W + b
        assert np.abs(z).min() > 1e-4
        assert_downhill(delta, value, z, 1e-5)
        assert_downhill(gradient_of(layer, "weight"), partial(behind, value, x, b), W, 1e-5)


def test_what_a_layer_passes_on_hides_its_goodness():
    for goodness, size in ((MeanOfSquares(), lambda y: np.sqrt((y**2).mean(axis=1))),
                           (Sum(), lambda y: np.abs(y).mean(axis=1))):  # fmt: skip
        rule = Contrast(goodness, negatives=WrongLabel(), peer=0.0)

        records = recorded_updates(trainer_of(rule), small_data(FEATURES, CLASSES, BATCH), BATCH)

        assert_close(size(records[1][1]), np.ones(2 * BATCH), 1e-5)


LABELS = [Append(), Append(None), Overwrite(), Overwrite(2.0), Pattern(0.5, seed=9)]


@pytest.mark.parametrize("label", LABELS, ids=lambda a: f"{a.name}-{a.value}")
def test_labels_are_seen_by_positive_and_negative_rows_as_defined(label, monkeypatch):
    trainer = trainer_of(Contrast(negatives=WrongLabel(), label=label))
    data = small_data(FEATURES, CLASSES, BATCH)
    # The largest of these rows stand at the ends of what an automatic label looks at.
    data.features[0, -1], data.features[1, 0], data.features[2, CLASSES] = 6.0, -6.0, -6.0
    seen, normalised = [], Contrast.normalize_input

    def spy(rule, run, rows):
        seen.append(reference.unpack_rows(run.input, rows, run.network.layers[0].in_features))
        normalised(rule, run, rows)

    monkeypatch.setattr(Contrast, "normalize_input", spy)
    trainer.learn(data, 0, BATCH)

    X = data.features.astype(float)
    positive, negative = seen[0][:BATCH], seen[0][BATCH:]
    codes = np.concatenate([data.labels, trainer.run.shown[:BATCH]]).astype(int)
    assert (codes[:BATCH] != codes[BATCH:]).all()
    kept = X[:, CLASSES:] if isinstance(label, Overwrite) else X
    scale = np.abs(kept).max(axis=1) if label.value is None else np.full(BATCH, label.value)
    if isinstance(label, Pattern):
        shift = (np.vstack([positive, negative]) - np.vstack([X, X])) / label.value
        assert_close(np.abs(shift), np.ones_like(shift), 1e-5)
        for row, code in zip(shift, codes, strict=True):
            assert_close(row, shift[list(codes).index(code)], 1e-5)
    else:
        marks = np.eye(CLASSES)[codes] * np.tile(scale, 2)[:, None]
        first = slice(0, CLASSES) if isinstance(label, Overwrite) else slice(FEATURES, None)
        rest = slice(CLASSES, None) if isinstance(label, Overwrite) else slice(0, FEATURES)
        both = np.vstack([positive, negative])
        assert_close(both[:, first], marks, 1e-5)
        assert_close(both[:, rest], np.vstack([kept, kept]), 1e-5)


@pytest.mark.parametrize("label", LABELS, ids=lambda a: f"{a.name}-{a.value}")
def test_a_neutral_label_says_nothing(label, monkeypatch):
    trainer = trainer_of(Contrast(label=label))
    data = small_data(FEATURES, CLASSES, BATCH)
    seen, normalised = [], Contrast.normalize_input

    def spy(rule, run, rows):
        seen.append(reference.unpack_rows(run.input, rows, run.network.layers[0].in_features))
        normalised(rule, run, rows)

    monkeypatch.setattr(Contrast, "normalize_input", spy)
    trainer.learn(data, 0, BATCH)

    neutral, X = seen[0], data.features.astype(float)
    if isinstance(label, Pattern):
        assert_close(neutral, X, 1e-6)
    else:
        marks = neutral[:, :CLASSES] if isinstance(label, Overwrite) else neutral[:, FEATURES:]
        assert_close(marks, marks[:, :1].repeat(CLASSES, axis=1), 1e-6)


@pytest.mark.parametrize("negatives", [WrongLabel(), HardLabel(), LikelyLabel()],
                         ids=lambda n: n.name)  # fmt: skip
def test_wrong_labels_are_never_right(negatives):
    trainer = trainer_of(Contrast(negatives=negatives), optimizer=SGD(0.01))
    data = small_data(FEATURES, CLASSES, 40)

    for first in range(0, 40, BATCH):
        trainer.learn(data, first, BATCH)
        trainer.run.samples_seen += BATCH
        shown = trainer.run.shown[:BATCH]
        assert (shown != data.labels[first : first + BATCH]).all()
        assert (shown >= 0).all()
        assert (shown < CLASSES).all()


def test_likely_labels_follow_the_root_of_their_goodness():
    trainer = trainer_of(Contrast(negatives=LikelyLabel(), peer=0.0), optimizer=SGD(0.0))
    data = small_data(FEATURES, CLASSES, BATCH)
    chances = np.sqrt(np.maximum(scores_of(trainer, data.features).astype(float), 1e-30))
    chances[np.arange(BATCH), data.labels] = 0.0
    chances /= chances.sum(axis=1, keepdims=True)
    counts = np.zeros((BATCH, CLASSES))

    for _ in range(800):
        trainer.learn(data, 0, BATCH)
        trainer.run.samples_seen += BATCH
        counts[np.arange(BATCH), trainer.run.shown[:BATCH]] += 1

    assert np.abs(counts / 800 - chances).max() < 5 * 0.5 / np.sqrt(800)


def test_a_collaborating_layer_sees_the_sum_of_all_goodness_but_moves_only_its_own():
    rule = Contrast(negatives=WrongLabel(), peer=0.0, collaboration=True)
    trainer, alone = trainer_of(rule), trainer_of(Contrast(negatives=WrongLabel(), peer=0.0))
    data = small_data(FEATURES, CLASSES, BATCH)
    alone_records = recorded_updates(alone, data, BATCH)

    records = recorded_updates(trainer, data, BATCH)

    kept = trainer.run.all_goodness[:, : 2 * BATCH].astype(float)
    _, _, y, delta = records[0]
    assert_close(kept[0], (y**2).sum(axis=1), 1e-4)
    assert_close(y, alone_records[0][2], 1e-6)
    sign = np.where(np.arange(2 * BATCH) < BATCH, 1.0, -1.0)
    margin = sign * (kept.sum(axis=0) - sum(HIDDEN))
    wanted = (2 * sign * reference.sigmoid(-margin))[:, None] * y / BATCH
    assert_close(delta, wanted, 1e-5)


def test_peers_pull_only_where_they_are_asked_to():
    with_peers = trainer_of(Contrast()).run.layers[0].memory
    without = trainer_of(Contrast(peer=0.0)).run.layers[0].memory

    assert list(with_peers) == ["means"]
    assert not without


def test_a_step_of_other_parts_makes_no_array():
    rule = Contrast(Sum(), Swish(), LikelyLabel(), Pattern(), collaboration=True)
    trainer = trainer_of(rule, Leaky(), optimizer=SGD(0.01))
    data = small_data(FEATURES, CLASSES, 20)

    for _ in trainer.train(data):
        pass

    assert trainer.step_bytes < 4096
    assert trainer.measured_bytes == trainer.plan.peak


@pytest.mark.parametrize(
    "rule",
    [
        Contrast(),
        Contrast(Sum(0.25, True), SymBa(2.0), WrongLabel(), Pattern(1.0, 5), 0.0, 3.0, True),
    ],
    ids=["default", "other"],
)
def test_a_description_comes_back_equal(rule):
    network = Network.dense(FEATURES, HIDDEN, CLASSES, rule, activations=[Leaky(0.3), ReLU()])

    assert Network.parse(json.loads(json.dumps(network.describe()))) == network


def test_files_of_before_the_parts_mean_the_same():
    description = Network.dense(FEATURES, HIDDEN, CLASSES, Contrast()).describe()
    description["rule"] = {"name": "hinton", "label_value": 2.0, "peer": 0.1, "head_gain": 5.0}

    assert Network.parse(description).rule == hinton(2.0, 0.1, 5.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Contrast(label=None), "expected a label encoding beside hard-label, got None"),
        (lambda: Contrast(goodness="squares"), "expected goodness such as"),
        (lambda: Contrast(label="append"), "expected a label encoding or None"),
        (lambda: Contrast(collaboration=1), "expected collaboration True or False"),
        (lambda: SumOfSquares(level=0.0), "SumOfSquares: expected level in 0.001..1000"),
        (lambda: Sum(minimise=1), "Sum: expected minimise True or False"),
        (lambda: Swish(0.0), "Swish: expected sharpness in 1e-6..1e6"),
        (lambda: Append(0.0), "Append: expected value in 0.001..1000 or None"),
        (lambda: Pattern(None), "Pattern: expected a value, got None"),
        (lambda: Pattern(seed=-1), "Pattern: expected seed in 0..2"),
        (lambda: Leaky(0.0), "Leaky: expected slope in 0.001..0.999"),
        (
            lambda: Network.dense(4, (3,), 4, Contrast(label=Overwrite())),
            "Overwrite: expected more features than the 4 that labels cover",
        ),
        (
            lambda: Network.dense(4, (3,), 4, Contrast(collaboration=True)),
            "expected at least two layers to collaborate",
        ),
        (
            lambda: Network.dense(
                4, (3,), 4, Contrast(SumOfSquares(minimise=True), negatives=LikelyLabel())
            ),
            "LikelyLabel: expected a goodness that is maximised",
        ),
        (
            lambda: Network.dense(4, (3,), 4, Contrast(), precision="int8"),
            "expected precision float32, got int8; squares, thresholds",
        ),
        (
            lambda: Network.dense(4, (3, 3), 4, Contrast(), activations=[Leaky()]),
            "expected an activation for each of 2 layers, got 1",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_reason(make, words):
    with pytest.raises(ConfigError) as refusal:
        make()

    assert words in str(refusal.value)
