"""Regression by ordinal bins: gradients, whole steps, votes, and what is refused."""

import numpy as np
import pytest
import reference
import reference_ordinal
from checks import (
    GRADIENT,
    active_layers,
    assert_close,
    assert_layer_descends,
    assert_layers_close,
    give_random_params,
    matrices,
    recorded_updates,
    scores_of,
)

from ffedge import Predictor, load_model, save_model
from ffedge.bins import Even, Quantiles
from ffedge.buffers import model_needs, plan_training
from ffedge.errors import CheckpointError, ConfigError, DataError
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.quantize import quantize
from ffedge.recipe import Recipe
from ffedge.rules import Contrast, Group, Ordinal, Readout, for_numbers
from ffedge.rules.ordinal import CENTRES
from ffedge.sources import from_arrays
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer
from ffedge.training_file import TrainingFile

#: Features, hidden widths, bins, batch: one row, more bins than lanes, uneven groups.
SIZES = [(5, (7, 9), 6, 4), (16, (17, 33), 8, 1), (20, (40, 20), 18, 5)]
FROZEN = Readout(smoothing=0.0, frozen=True)
GROUP = Group(smoothing=0.0)
RULES = [
    Ordinal(),
    Ordinal(width=2.5, gaussian=False, spacing=Quantiles(), average=False),
    Ordinal(FROZEN, spacing=Even(margin=0.5)),
    Ordinal(GROUP),
    Ordinal(Group(smoothing=0.0, squared=False), width=0.5),
]


def numbers(features, samples, seed=0):
    """Normal features and a target that depends on them."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(samples, features)).astype(np.float32)
    return from_arrays(X, 100 + 20 * X[:, 0] + 5 * X[:, 1] ** 2, numeric=True)


def number_trainer(rule, features, hidden, bins, batch=4, optimizer=None, stage=None, **recipe):
    network = Network.dense(features, hidden, bins, rule)
    options = {"scaling": "none", "shuffle": False, "seed": 3} | recipe
    options["schedule"] = "sweep" if stage is None else "layerwise"
    trainer = Trainer(network, Recipe(optimizer or SGD(0.1), batch_size=batch, **options))
    trainer.learn_scaling(numbers(features, 30))
    trainer.run.begin_stage(stage)
    give_random_params(trainer)
    return trainer, numbers(features, batch, seed=5)


def soft_of(trainer, data):
    rule = trainer.network.rule
    centres = trainer.arena[CENTRES].astype(float)
    return reference_ordinal.soft_targets(
        data.labels.astype(float), centres, rule.width, rule.gaussian
    )


def score_of(rule, bins):
    """The oracle's (score, delta) of a scorer, by (layer index is not needed) its matrices."""
    scorer = rule.scorer
    if isinstance(scorer, Group):
        squared, sharpness = scorer.squared, float(scorer.factor)
        return (
            lambda _, Y: reference.group_scores(Y, bins, squared, sharpness),
            lambda _, Y, errors: reference.group_delta(Y, errors, squared, sharpness),
        )
    return (
        lambda layer, Y: Y @ layer["M"].T,
        lambda layer, Y, errors: reference.readout_delta(Y, errors, layer["M"]),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", [r for r in RULES if r.scorer is not FROZEN], ids=range(4))
def test_delta_and_gradient_are_the_local_losss_finite_differences(size, rule):
    features, hidden, bins, batch = size
    trainer, data = number_trainer(rule, features, hidden, bins, batch, GRADIENT)
    before = matrices(trainer)
    soft, (score, _) = soft_of(trainer, data), score_of(rule, bins)

    records = recorded_updates(trainer, data, batch)

    assert len(records) == 2
    for record, own in zip(records, before, strict=True):

        def loss(z, own=own):
            return reference_ordinal.divergence(score(own, np.maximum(z, 0)), soft)

        assert_layer_descends(record, own, loss, 2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", [None, 0, 1])
@pytest.mark.parametrize("rule", [r for r in RULES if r.scorer is not FROZEN], ids=range(4))
def test_one_step_equals_the_oracles(size, stage, rule):
    features, hidden, bins, batch = size
    trainer, data = number_trainer(rule, features, hidden, bins, batch, stage=stage)
    wanted = reference_ordinal.ordinal_batch(
        matrices(trainer), data.features.astype(float), soft_of(trainer, data), 0.1,
        active_layers(trainer), *score_of(rule, bins),
    )  # fmt: skip

    trainer.learn(data, 0, batch)

    assert_layers_close(trainer, wanted, 2e-5)


@pytest.mark.parametrize("average", [True, False])
def test_layers_vote_by_the_mean_or_the_product_of_their_probabilities(average):
    rule = Ordinal(average=average)
    trainer, data = number_trainer(rule, 5, (7, 9), 6, batch=4)
    x, logs = data.features.astype(float), []
    for layer in matrices(trainer):
        Y = reference.dense(x, layer["W"], layer["b"])
        logs.append(reference.log_softmax(Y @ layer["M"].T))
        x = reference.normalize(Y)
    wanted = np.exp(logs).sum(axis=0) if average else np.sum(logs, axis=0)

    scores = scores_of(trainer, data.features)

    assert_close(scores, wanted)
    chances = rule.probabilities(trainer.network, scores)
    combined = np.exp(logs).mean(axis=0) if average else np.exp(np.mean(logs, axis=0))
    assert_close(chances, combined / combined.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_it_learns_a_number_and_its_steps_allocate_nothing(rule, schedule):
    data = numbers(4, 400)
    rest, part = data.split(0.25, 0)
    recipe = Recipe(Adam(0.003), batch_size=16, epochs=25, schedule=schedule)
    trainer = Trainer(Network.dense(4, (48, 48), 16, rule), recipe)
    trainer.learn_scaling(rest)

    last = list(trainer.train(rest, part))[-1]

    assert last.numeric
    assert last.validation == trainer.evaluate(part) > 0.75
    assert 0 < trainer.step_bytes < 4096
    assert trainer.measured_bytes == trainer.plan.peak


def test_the_plan_owns_the_targets_and_the_centres():
    network = Network.dense(5, (7, 9), 6, Ordinal())

    plan = plan_training(network, Recipe(batch_size=12))

    specs = {b.name: (b.spec.shape, b.spec.dtype) for b in plan.buffers}
    assert specs["targets"] == ((12,), "float32")
    assert specs[CENTRES] == ((6,), "float32")
    assert CENTRES in {need.name for need in model_needs(network)}
    assert CENTRES not in {n.name for n in model_needs(Network.dense(5, (7,), 6))}


def test_streamed_layers_end_with_the_same_numbers(tmp_path):
    data, recipe = numbers(6, 80), Recipe(SGD(0.2), batch_size=16, epochs=3, scaling="none")
    network = Network.dense(6, (40, 33, 20), 8, Ordinal())
    resident = Trainer(network, recipe)
    resident.learn_scaling(data)
    list(resident.train(data))
    streaming = Streaming((1, 3, 2))
    model = Model(network, {}, (), (6,))

    with open(tmp_path / "m.ffedge", "w+b") as file:
        trainer = Trainer(
            network, recipe, streaming=streaming, file=TrainingFile(file, model, recipe)
        )
        trainer.learn_scaling(data)
        list(trainer.train(data))
        trainer.save(model)

    loaded = load_model(tmp_path / "m.ffedge")
    for name, array in resident.params.items():
        assert_close(loaded.params[name], array, 1e-5)
    assert Predictor(loaded).values(data.features).shape == (80,)


def test_outputs_kept_on_disk_bring_the_targets_along(tmp_path):
    data = numbers(6, 80)
    recipe = Recipe(Adam(0.003), batch_size=16, epochs=25, schedule="layerwise")
    network = Network.dense(6, (40, 33), 8, Ordinal(spacing=Even(margin=1.0)))
    streaming = Streaming((3, 3), outputs=True)
    model = Model(network, {}, (), (6,))

    with open(tmp_path / "m.ffedge", "w+b") as file:
        trainer = Trainer(
            network, recipe, streaming=streaming, file=TrainingFile(file, model, recipe)
        )
        trainer.learn_scaling(data)
        list(trainer.train(data))

        assert trainer.evaluate(data) > 0.8
        trainer.close()


def small_model():
    trainer, data = number_trainer(Ordinal(), 4, (9, 8), 8)
    model = Model(trainer.network, trainer.params, (), (4,), training={"note": "x"})
    return model.copy(), data


def test_a_model_file_keeps_the_bins(tmp_path):
    model, data = small_model()
    save_model(model, tmp_path / "m")

    loaded = load_model(tmp_path / "m")

    assert loaded.network == model.network
    assert loaded.classes == ()
    assert np.array_equal(loaded.params[CENTRES], model.params[CENTRES])
    ours, theirs = (Predictor(m).values(data.features) for m in (model, loaded))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("centres", [[1.0] * 8, [8, 7, 6, 5, 4, 3, 2, 1], [-3e38] * 4 + [3e38] * 4])
def test_a_file_whose_centres_do_not_ascend_is_refused(tmp_path, centres):
    model, _ = small_model()
    model.params[CENTRES][:] = centres
    save_model(model, tmp_path / "m")

    with pytest.raises(CheckpointError, match=r"expected ascending bin centres in target\.centres"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_a_description_survives_the_round_trip(rule):
    network = Network.dense(4, (20, 20), 8, rule)

    assert Network.parse(network.describe()) == network


@pytest.mark.parametrize(
    "change",
    [
        {"scorer": {"name": "contrast"}}, {"scorer": {"name": "ordinal"}}, {"scorer": None},
        {"scorer": {"name": "readout", "smoothing": 0.1}}, {"width": 0}, {"width": "1"},
        {"spacing": {"name": "even", "margin": 99}}, {"spacing": {"name": "odd"}},
        {"spacing": None}, {"gaussian": 1}, {"average": "yes"}, {"more": 1}, {"width": [1]},
    ],
)  # fmt: skip
def test_hostile_descriptions_are_refused(change):
    description = Network.dense(4, (20,), 8, Ordinal()).describe()
    description["rule"] |= change

    with pytest.raises(ConfigError, match="network description: "):
        Network.parse(description)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scorer": Readout()}, "expected a scorer with smoothing=0.0"),
        ({"scorer": Contrast()}, "expected scorer Readout"),
        ({"width": 0.0}, "expected width above 0 to 100, got 0.0"),
        ({"width": float("nan")}, "expected width above 0 to 100, got nan"),
        ({"gaussian": 1}, "expected gaussian True or False, got 1"),
        ({"average": None}, "expected average True or False, got None"),
        ({"spacing": "even"}, "expected spacing Even"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Ordinal(**options)


def test_int8_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="its kernels make errors from class codes"):
        Network.dense(4, (20,), 8, Ordinal(), precision="int8")
    model, data = small_model()
    with pytest.raises(ConfigError, match="its kernels make errors from class codes"):
        quantize(model, data)


def test_a_group_scorer_needs_a_unit_for_every_bin():
    with pytest.raises(ConfigError, match="expected at least 16 units"):
        Network.dense(4, (15,), 16, Ordinal(GROUP))


def test_a_margin_that_leaves_no_bins_is_refused_before_training():
    trainer = Trainer(Network.dense(4, (9,), 4, Ordinal(spacing=Even(margin=3.0))), Recipe())

    with pytest.raises(ConfigError, match="expected at least 8 bins"):
        trainer.learn_scaling(numbers(4, 20))


def test_classes_and_numbers_are_not_mixed_up():
    classes = from_arrays(np.eye(4, dtype=np.float32), [0, 1, 0, 1])
    trainer, data = number_trainer(Ordinal(), 4, (9, 8), 8)

    with pytest.raises(DataError, match="rule ordinal: expected numbers to predict, got 2 classes"):
        trainer.evaluate(classes)
    other = Trainer(Network.dense(4, (9,), 2, Readout()), Recipe())
    with pytest.raises(DataError, match="rule readout: expected classes, got numbers to predict"):
        list(other.train(data))


def test_a_classifier_has_no_values():
    model = Model(Network.dense(4, (9,), 2), {}, (0, 1), (4,)).first_layers(1)
    trainer = Trainer(model.network, Recipe())
    predictor = Predictor(Model(model.network, trainer.params, (0, 1), (4,)))

    with pytest.raises(ConfigError, match="expected a model that predicts numbers"):
        predictor.values(np.zeros((1, 4), np.float32))


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("readout", "ordinal"), ("group", "ordinal-group"), ("ordinal", "ordinal")],
)
def test_rules_for_classes_have_a_word_for_numbers(word, wanted):
    assert for_numbers(word) == wanted


def test_a_rule_that_knows_classes_only_is_refused_for_numbers():
    with pytest.raises(ConfigError, match="got hinton, which knows classes only"):
        for_numbers("hinton")
