"""Layers with other activations: gradients, streams, files, export, and what is refused."""

import json

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    assert_downhill,
    give_random_params,
    gradient_of,
    matrices,
    recorded_updates,
    scores_of,
    small_data,
)
from test_kernels_activations import value
from test_streamer import STREAMINGS, streamed, train

from ffedge.activations import ACTIVATIONS, Leaky, ReLU, Standout, StudentT, Triangle, activation_of
from ffedge.buffers import plan_training
from ffedge.cli import main
from ffedge.errors import ConfigError
from ffedge.estimator import FFClassifier
from ffedge.fields import Fields
from ffedge.model import Model
from ffedge.model_file import load_model
from ffedge.network import Network
from ffedge.new_classes import check_growing
from ffedge.optimizers import SGD
from ffedge.planner import choose
from ffedge.predict import Predictor
from ffedge.quantize import quantize
from ffedge.recipe import Recipe
from ffedge.rules import Group, Prototypes, Readout
from ffedge.sources import from_arrays
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer

OTHERS = [Leaky(0.3), Triangle(), StudentT(2.0)]
RULES = [Readout(), Readout(frozen=True), Group(), Group(squared=False)]
HIDDEN = (17, 33)


def trainer_of(rule, activation, optimizer=GRADIENT, **recipe):
    network = Network.dense(9, HIDDEN, 3, rule, activations=activation)
    trainer = Trainer(network, Recipe(optimizer, batch_size=7, scaling="none", **recipe))
    trainer.learn_scaling(small_data(9, 3, 7))
    trainer.run.begin_stage(None)
    give_random_params(trainer)
    return trainer


def class_scores(rule, layer, own):
    """The rule's scores as a function of the activity, float64."""
    if isinstance(rule, Group):
        return lambda Y: reference.group_scores(Y, 3, rule.squared, float(rule.factor))
    M = own.get("M")
    if M is None:
        M = reference.frozen_matrix(*[rule.frozen_matrix(layer.index, layer.width)[0], 3],
                                    layer.width, 3.0 / layer.width**0.5)  # fmt: skip
    return lambda Y: Y @ M.T


@pytest.mark.parametrize("activation", OTHERS, ids=repr)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_delta_and_gradient_are_the_local_losss_finite_differences(rule, activation):
    trainer, data = trainer_of(rule, activation), small_data(9, 3, 7)
    before = matrices(trainer)

    for record, own in zip(recorded_updates(trainer, data, 7), before, strict=True):
        layer, x, _, delta = record
        scores = class_scores(rule, layer, own)

        def loss(z, scores=scores):
            return reference.cross_entropy(scores(value(activation, z)), data.labels, 0.05)

        assert_downhill(delta, loss, x @ own["W"] + own["b"], 2e-6)
        assert_downhill(
            gradient_of(layer, "weight"),
            lambda W, x=x, b=own["b"], loss=loss: loss(x @ W + b), own["W"], 5e-6,
        )  # fmt: skip


@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
@pytest.mark.parametrize("activation", OTHERS, ids=repr)
def test_layers_in_slices_learn_what_whole_ones_do(activation, schedule):
    data = small_data(9, 3, 70)
    network = Network.dense(9, (33, 70, 20), 3, activations=activation)
    recipe = Recipe(batch_size=16, epochs=2, schedule=schedule)
    _, params = train(Trainer(network, recipe), data)

    for name in ("one by one", "slices", "some in slices"):
        with streamed(network, recipe, STREAMINGS[name]) as trainer:
            _, other = train(trainer, data)
            trainer.arena.check()

        for key, array in params.items():
            if name == "one by one":
                assert other[key].tobytes() == array.tobytes(), key
            else:
                np.testing.assert_allclose(other[key], array, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("activation", OTHERS, ids=repr)
def test_a_step_allocates_nothing_and_all_bytes_are_planned(activation):
    trainer = trainer_of(Readout(), activation, SGD(0.05), epochs=2)

    list(trainer.train(small_data(9, 3, 21)))

    assert trainer.step_bytes < 4096
    assert trainer.measured_bytes == trainer.plan.peak


def test_only_a_t_density_takes_a_buffer_for_sums():
    def peak(activation):
        network = Network.dense(784, (160,), 10, activations=activation)
        return plan_training(network, Recipe(SGD(), batch_size=8)).peak

    assert peak(Leaky()) == peak(Triangle()) == peak(ReLU())
    assert peak(StudentT()) == peak(ReLU()) + 8 * 160 * 4


def test_scores_use_the_layers_own_activations():
    rule, kinds = Group(squared=False), [Triangle(), StudentT()]
    trainer = trainer_of(rule, kinds)
    X = small_data(9, 3, 7).features
    x, wanted = X.astype(float), 0.0
    for own, kind in zip(matrices(trainer), kinds, strict=True):
        Y = value(kind, x @ own["W"] + own["b"])
        wanted = wanted + reference.log_softmax(reference.group_scores(Y, 3, False, 5.0))
        x = reference.normalize(Y)

    np.testing.assert_allclose(scores_of(trainer, X), wanted, rtol=1e-4, atol=1e-4)


def test_a_network_remembers_its_activations_and_old_descriptions_stay():
    network = Network.dense(9, HIDDEN, 3, activations=[Leaky(0.2), StudentT(5.0)])

    assert Network.parse(json.loads(json.dumps(network.describe()))) == network
    assert "activations" not in Network.dense(9, HIDDEN, 3).describe()


@pytest.mark.parametrize(
    "given",
    [
        "relu", [], ["relu", "relu"], [{"name": "gelu"}] * 2,
        [{"name": "student-t", "nu": "x"}] * 2,
        [{"name": "student-t", "nu": float("nan")}] * 2, [{"name": "leaky", "slope": 2}] * 2,
        [{"name": "triangle", "slope": 0.5}] * 2, [None, None], 7,
    ],
)  # fmt: skip
def test_a_hostile_description_is_refused(given):
    description = Network.dense(9, HIDDEN, 3).describe() | {"activations": given}

    with pytest.raises(ConfigError, match="network description"):
        Network.parse(description)


@pytest.mark.parametrize("activation", OTHERS, ids=repr)
def test_a_rule_with_the_relus_derivative_built_in_refuses_another(activation, monkeypatch):
    monkeypatch.setattr(Readout, "any_activation", False)

    with pytest.raises(ConfigError, match="expected the activation relu in layer 0, whose deriv"):
        Network.dense(9, HIDDEN, 3, activations=activation)


@pytest.mark.parametrize("activation", OTHERS, ids=repr)
def test_int8_refuses_what_is_no_relu(activation):
    with pytest.raises(ConfigError, match="expected the activation relu in int8, whose bytes"):
        Network.dense(9, HIDDEN, 3, precision="int8", activations=activation)


def test_quantize_refuses_what_is_no_relu():
    network = Network.dense(9, HIDDEN, 3, activations=Triangle())
    trainer = Trainer(network, Recipe())

    with pytest.raises(ConfigError, match="expected the activation relu in int8"):
        quantize(Model(network, trainer.params, (0, 1, 2), (9,)), small_data(9, 3, 7))


def test_activity_below_zero_is_not_kept_on_disk_in_bytes():
    recipe = Recipe(schedule="layerwise")
    network = Network.dense(400, (400,) * 4, 3, activations=Leaky())
    with pytest.raises(ConfigError, match="expected activations that are never below 0 where"):
        plan_training(network, recipe, None, Streaming((25,) * 4, outputs=True))

    budget = plan_training(network, recipe).peak // 2
    for activation, kept in ((Leaky(), False), (Triangle(), True)):
        network = Network.dense(400, (400,) * 4, 3, activations=activation)
        choice = choose(network, [recipe], budget, outputs=True)
        assert choice.streaming.outputs is kept


def test_activity_below_zero_takes_no_new_classes():
    check_growing(Network.dense(9, HIDDEN, 3, activations=Triangle()))
    with pytest.raises(ConfigError, match="expected activations that are never below 0, so that"):
        check_growing(Network.dense(9, HIDDEN, 3, activations=Leaky()))


@pytest.mark.parametrize("nu", [0.0, 0.09, 1000.1, float("nan"), -1.0])
def test_degrees_of_freedom_out_of_range_are_refused(nu):
    with pytest.raises(ConfigError, match=r"StudentT: expected nu in 0.1..1000, got"):
        StudentT(nu)


@pytest.mark.parametrize("given", ["gelu", 5, None, ReLU])
def test_an_unknown_activation_is_refused_with_the_known_ones(given):
    with pytest.raises(
        ConfigError, match="expected one of relu, leaky, triangle, standout, student-t"
    ):
        activation_of(given)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, Leaky(0.4), ["triangle", StudentT(3.0)]])
def test_the_estimator_takes_names_and_objects_and_loads_them_again(activation, tmp_path):
    data = small_data(9, 3, 60)
    given = FFClassifier(HIDDEN, activation=activation, max_iter=3, random_state=0)

    model = given.fit(data.features, data.labels)
    model.save(tmp_path / "model.ffedge")
    loaded = FFClassifier.load(tmp_path / "model.ffedge")

    assert loaded.model_.network == model.model_.network
    assert loaded.predict(data.features).tolist() == model.predict(data.features).tolist()
    loaded.partial_fit(data.features, data.labels)
    kinds = [layer.activation for layer in loaded.model_.network.layers]
    wanted = activation if isinstance(activation, list) else [activation] * 2
    assert kinds == [activation_of(each) for each in wanted]


@pytest.mark.parametrize("given", [5, ["relu"], ["relu", 4], "gelu"])
def test_the_estimator_refuses_what_is_no_activation_a_layer(given):
    with pytest.raises(ConfigError, match="activation"):
        FFClassifier(HIDDEN, activation=given).fit(np.eye(9, dtype=np.float32), np.arange(9) % 3)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_command_line_trains_every_activation(name, tmp_path, capsys):
    path = tmp_path / "model.ffedge"
    words = ["digits", "--hidden", "32,24", "--epochs", "8", "--activation", name, "--json"]

    assert main(["train", *words, "-o", str(path)]) == 0

    assert json.loads(capsys.readouterr().out)["test_accuracy"] > 0.5
    assert load_model(path).network.layers[1].activation.name == name


def test_inspect_shows_activations_and_fields(tmp_path, capsys):
    data = small_data(9, 3, 30)
    fields = [Fields((3, 3), (2, 2), (1, 1)), None]
    model = FFClassifier((16, 7), activation=["relu", StudentT(2.0)], fields=fields, max_iter=1)
    model.fit(data.features, data.labels).save(tmp_path / "model.ffedge")

    assert main(["inspect", str(tmp_path / "model.ffedge")]) == 0

    shown = capsys.readouterr().out
    assert "activations relu, student-t (nu 2.0)" in shown
    assert "fields     fields (grid [3, 3], field [2, 2], stride [1, 1], depth 1), None" in shown


def test_the_command_line_plans_the_sums_of_a_t_density(capsys):
    assert main(["plan", "9-33-3", "--activation", "student-t", "--json"]) == 0

    assert "layer0.sums" in capsys.readouterr().out


def test_a_small_network_has_every_kind_of_activation_and_the_rule():
    kinds = [ReLU(), Leaky(0.1), Leaky(0.2), Triangle(), Standout(), StudentT()]
    network = Network.dense(9, (40,) * 6, 3, Group(), activations=kinds)

    small = network.small(33, 3)

    assert small.rule == Group()
    assert small.hidden == (33,) * 5
    assert {type(layer.activation) for layer in small.layers} == set(ACTIVATIONS.values())


@pytest.mark.parametrize("activation", OTHERS, ids=repr)
@pytest.mark.parametrize("rule", [*RULES, Prototypes()], ids=repr)
def test_the_onnx_graph_computes_what_the_predictor_computes(rule, activation):
    pytest.importorskip("onnx")
    from test_export_onnx_float import assert_agrees, random_model, run, samples

    from ffedge.export.onnx_float import build
    from ffedge.export.onnx_writer import to_bytes

    plain = random_model(rule)
    network = Network.dense(13, plain.network.hidden, 3, rule, activations=activation)
    model = Model(network, plain.params, plain.classes, plain.feature_shape)
    x = samples(33)

    data = to_bytes(build(model))

    assert_agrees(run(data, x, "plain"), model, x)
    assert_agrees(run(data, x, "optimised"), model, x)
    assert (Predictor(model).scores(x) != Predictor(plain).scores(x)).any()


def test_learning_works_with_every_activation():
    random = np.random.default_rng(1)
    centres = random.normal(size=(3, 9)) * 2
    labels = np.arange(300) % 3
    X = (centres[labels] + random.normal(size=(300, 9))).astype(np.float32)
    data = from_arrays(X, labels, classes=range(3))

    for name in ACTIVATIONS:
        for rule in (Readout(), Group(squared=False)):
            network = Network.dense(9, (60, 60), 3, rule, activations=activation_of(name))
            trainer = Trainer(network, Recipe(batch_size=16, epochs=10))
            trainer.learn_scaling(data)
            list(trainer.train(data))
            assert trainer.evaluate(data) > 0.9, (name, rule)
