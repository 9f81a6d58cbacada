"""Rules with the goodness of parts: gradients, scores, receptive fields, files and refusals."""

import json
import math

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
from test_kernels_activations import value

from ffedge.activations import Leaky, ReLU, StudentT, Triangle
from ffedge.errors import ConfigError
from ffedge.fields import Fields
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import (
    Contrast,
    LikelyLabel,
    MeanOfSquares,
    Regions,
    Signed,
    Sum,
    SumOfSquares,
    Swish,
    SymBa,
    TopK,
)
from ffedge.trainer import Trainer

HIDDEN, COUNT = (16, 34), 6
PARTS = [TopK(share=0.3), Regions(count=2), Signed(share=0.4)]
PARTS += [type(each)(minimise=True, **own) for each, own in
          zip(PARTS, ({"share": 0.2}, {"count": 2}, {"share": 0.6}), strict=True)]  # fmt: skip
WHOLE = [SumOfSquares(), SumOfSquares(minimise=True), MeanOfSquares(), Sum(), Sum(minimise=True)]


def goodness_of(goodness, Y):
    """(rows, terms) by the papers' words, float64."""
    width = Y.shape[1]
    if isinstance(goodness, TopK):
        k = max(5, math.ceil(goodness.share * width))
        values = -np.sort(-(Y**2), axis=1)[:, :k].mean(axis=1, keepdims=True)
    elif isinstance(goodness, Regions):
        values = (Y.reshape(len(Y), goodness.count, -1) ** 2).sum(axis=2)
    elif isinstance(goodness, Signed):
        sign = np.where(np.arange(width) < round(goodness.share * width), 1.0, -1.0)
        values = (sign * Y**2).sum(axis=1, keepdims=True)
    else:
        values = (Y if isinstance(goodness, Sum) else Y**2).sum(axis=1, keepdims=True)
        values = values / width if isinstance(goodness, MeanOfSquares) else values
    return -values if goodness.minimise else values


def trainer_of(goodness, activation=None, **options):
    rule = Contrast(goodness, peer=0.0, **options)
    network = Network.dense(9, HIDDEN, 3, rule, activations=activation or ReLU())
    trainer = Trainer(network, Recipe(GRADIENT, batch_size=COUNT, scaling="none"))
    trainer.learn_scaling(small_data(9, 3, COUNT))
    trainer.run.begin_stage(None)
    give_random_params(trainer, spread=1.5)
    return trainer


def threshold_of(goodness, layer, terms):
    return goodness.threshold(layer.width // terms)


@pytest.mark.parametrize("activation", [ReLU(), Leaky(0.3), Triangle(), StudentT(2.0)], ids=repr)
@pytest.mark.parametrize("goodness", PARTS + WHOLE, ids=repr)
def test_delta_and_gradient_are_the_added_losses_finite_differences(goodness, activation):
    trainer, data = trainer_of(goodness, activation), small_data(9, 3, COUNT)
    before, positive = matrices(trainer), np.arange(2 * COUNT) < COUNT
    learned = False

    for record, own in zip(recorded_updates(trainer, data, COUNT), before, strict=True):
        layer, x, _, delta = record
        terms = goodness.terms(trainer.network, layer.index)
        threshold = threshold_of(goodness, layer, terms)

        def loss(z, threshold=threshold):
            g = goodness_of(goodness, value(activation, z))
            rows = np.repeat(positive[:, None], g.shape[1], axis=1)
            return reference.threshold_losses(g, rows, threshold).sum() / COUNT

        assert_downhill(delta, loss, x @ own["W"] + own["b"], 2e-4)
        assert_downhill(
            gradient_of(layer, "weight"),
            lambda W, x=x, b=own["b"], loss=loss: loss(x @ W + b), own["W"], 5e-4,
        )  # fmt: skip
        learned |= bool(np.abs(delta).max() > 1e-3)

    assert learned


@pytest.mark.parametrize(("loss", "slope"), [
    (SymBa(0.3), lambda u: np.logaddexp(0, u)),
    (Swish(0.3), lambda u: u * reference.sigmoid(u)),
])  # fmt: skip
def test_paired_losses_compare_region_with_region(loss, slope):
    goodness = Regions(count=2)
    trainer, data = trainer_of(goodness, loss=loss), small_data(9, 3, COUNT)
    before = matrices(trainer)

    for record, own in zip(recorded_updates(trainer, data, COUNT), before, strict=True):
        _, x, _, delta = record

        def total(z):
            g = goodness_of(goodness, np.maximum(z, 0))
            return slope(-0.3 * (g[:COUNT] - g[COUNT:])).sum() / COUNT

        assert_downhill(delta, total, x @ own["W"] + own["b"], 2e-4)


@pytest.mark.parametrize("goodness", PARTS, ids=repr)
def test_a_labels_score_is_its_goodness_summed_over_parts_and_upper_layers(goodness):
    trainer = trainer_of(goodness)
    X = small_data(9, 3, COUNT).features
    wanted = np.zeros((COUNT, 3))
    for label in range(3):
        x = reference.label_input(X, [label] * COUNT, 3, 3.0)
        for i, own in enumerate(matrices(trainer)):
            Y = reference.dense(x, own["W"], own["b"])
            if i > 0:
                wanted[:, label] += goodness_of(goodness, Y).sum(axis=1)
            x = reference.normalize(Y)

    assert_close(scores_of(trainer, X), wanted, 1e-4)


@pytest.mark.parametrize("goodness", [*PARTS, *WHOLE], ids=repr)
def test_a_network_remembers_its_goodness(goodness):
    network = Network.dense(9, HIDDEN, 3, Contrast(goodness))

    assert Network.parse(json.loads(json.dumps(network.describe()))) == network


@pytest.mark.parametrize(
    "given",
    [
        {"name": "top-k", "share": 0.0}, {"name": "top-k", "share": float("nan")},
        {"name": "top-k", "share": "all"}, {"name": "signed", "share": 1.0},
        {"name": "regions", "count": 0}, {"name": "regions", "count": True},
        {"name": "regions", "count": 2.0}, {"name": "regions", "count": 1 << 40},
        {"name": "regions", "count": [2]}, {"name": "regions", "parts": 2},
        {"name": "signed", "level": 0.0}, {"name": "top-k", "minimise": 1},
    ],
)  # fmt: skip
def test_a_hostile_description_of_a_goodness_is_refused(given):
    description = Network.dense(9, HIDDEN, 3, Contrast()).describe()
    description["rule"]["goodness"] = given

    with pytest.raises(ConfigError, match="network description"):
        Network.parse(description)


def test_regions_must_divide_the_layer():
    with pytest.raises(ConfigError, match="expected a multiple of 4 units in layer 1, the same"):
        Network.dense(9, (16, 34), 3, Contrast(Regions(count=4)))


def test_tables_have_no_regions_of_their_own():
    with pytest.raises(ConfigError, match="columns of a table have no neighbours"):
        Network.dense(9, HIDDEN, 3, Contrast(Regions()))


def test_both_kinds_of_unit_must_be_there():
    with pytest.raises(ConfigError, match="a unit of each kind in layer 1, got 0 of 2"):
        Network.dense(9, (16, 2), 3, Contrast(Signed(share=0.2)))


def test_a_goodness_below_zero_has_no_likely_labels():
    with pytest.raises(ConfigError, match="expected a goodness that is never below 0"):
        Network.dense(9, HIDDEN, 3, Contrast(Signed(), negatives=LikelyLabel()))


def test_regions_do_not_collaborate():
    with pytest.raises(ConfigError, match="whose regions have no counterpart"):
        Network.dense(9, HIDDEN, 3, Contrast(Regions(count=2), collaboration=True))


@pytest.mark.parametrize("goodness", PARTS, ids=repr)
def test_int8_is_refused(goodness):
    with pytest.raises(ConfigError, match="expected precision float32, got int8; squares"):
        Network.dense(9, HIDDEN, 3, Contrast(goodness), precision="int8")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 1.0])
def test_the_threshold_of_the_largest_is_twice_what_untrained_units_have(share):
    Y = np.maximum(np.random.default_rng(0).normal(size=(400, 500)), 0)

    goodness = goodness_of(TopK(share=share), Y).mean()

    assert TopK(share=share).threshold(500) == pytest.approx(2 * goodness, rel=0.03)
    assert TopK(0.5, True, share).threshold(500) == -TopK(share=share).threshold(500) / 2


def test_thresholds_of_halves_and_of_one_kind():
    assert Signed().threshold(100) == 0
    assert Signed(share=0.99).threshold(100) == 98
    assert Signed(2.0, True, 0.75).threshold(100) == -100
    assert Regions(0.5, count=4).threshold(8) == 4


@pytest.mark.parametrize("goodness", PARTS, ids=repr)
def test_a_step_allocates_nothing(goodness):
    network = Network.dense(9, HIDDEN, 3, Contrast(goodness))
    trainer = Trainer(network, Recipe(SGD(0.01), batch_size=7, epochs=2))
    data = small_data(9, 3, 21)
    trainer.learn_scaling(data)

    list(trainer.train(data))

    assert trainer.step_bytes < 8192
    assert trainer.measured_bytes == trainer.plan.peak


@pytest.mark.parametrize("activation", [ReLU(), Triangle(), StudentT()], ids=repr)
@pytest.mark.parametrize("goodness", PARTS, ids=repr)
def test_the_onnx_graph_computes_what_the_predictor_computes(goodness, activation):
    pytest.importorskip("onnx")
    from test_export_onnx_float import assert_agrees, random_model, run, samples

    from ffedge.export.onnx_float import build
    from ffedge.export.onnx_writer import to_bytes

    rule = Contrast(goodness)
    plain = random_model(rule, hidden=(34, 22, 18))
    network = Network.dense(13, (34, 22, 18), 3, rule, activations=activation)
    model = Model(network, plain.params, plain.classes, plain.feature_shape)
    x = samples(33)

    data = to_bytes(build(model))

    import onnx

    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    assert_agrees(run(data, x, "plain"), model, x)
    assert_agrees(run(data, x, "optimised"), model, x)


def test_fields_of_an_image_give_each_region_its_own_goodness():
    first = Fields((4, 4), (2, 2), (2, 2))
    second = Fields(first.regions, (1, 2), (1, 1), depth=8)
    network = Network.dense(16, (32, 6), 3, Contrast(Regions()), fields=[first, second])

    assert [network.rule.goodness.terms(network, i) for i in range(2)] == [4, 2]
    assert network.small(33, 2).rule == network.rule
    assert Network.parse(json.loads(json.dumps(network.describe()))) == network
    with pytest.raises(ConfigError, match="expected receptive fields in layer 1"):
        Network.dense(16, (32, 6), 3, Contrast(Regions()), fields=[first, None])
    mixed = Network.dense(16, (32, 6), 3, Contrast(Regions(count=3)), fields=[first, None])
    assert [mixed.rule.goodness.terms(mixed, i) for i in range(2)] == [4, 3]
    assert mixed.small(33, 2).hidden == (33, 33)
