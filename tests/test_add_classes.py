"""New classes on a trained model: nothing it said changes, until it learns on."""

import pickle

import numpy as np
import pytest
from conftest import clouds

from ffedge import FFClassifier
from ffedge.errors import BudgetError, ConfigError, DataError
from ffedge.network import Network
from ffedge.new_classes import with_classes
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import Recipe
from ffedge.rules import Readout
from ffedge.trainer import Trainer

ALL = clouds(samples=600, features=4, classes=5)
X, Y = ALL.features, ALL.labels.astype(np.int64)
OLD = Y < 3
#: Samples of every kind, also such as nobody trained on.
WIDE = np.concatenate(
    [X, X * 10, -X, np.random.default_rng(1).standard_normal((3000, 4)) * 3]
).astype(np.float32)
PRECISIONS = ["float32", "int8"]


def streamed(precision="float32", names=(1, 3, 5), **options):
    """A model that has learned clouds 0, 1, 2 under the names 1, 3, 5."""
    model = FFClassifier(
        **{"hidden_layer_sizes": (20, 12), "precision": precision, "random_state": 0} | options
    )
    labels = np.array(names)[Y[OLD]]
    for _ in range(15):
        model.partial_fit(X[OLD], labels, classes=list(names))
    return model


def layer_scores(model, features):
    """Each layer's raw class scores, (layers, samples, classes)."""
    run, found = model._trainer.run, []
    for n in range(len(features)):
        run.fetch_features(features, n, 1)
        run.score_batch(1)
        x, rows = run.input, []
        for layer in run.layers:
            layer.forward(x, 1)
            if model.precision == "int8":
                layer.score(1)
                rows.append(layer.lane.scores[0].copy())
            else:
                run.network.rule.scores(run, layer, 1)
                rows.append(run.scores[0].copy())
            layer.normalize(1)
            x = layer.out
        found.append(rows)
    return np.array(found).swapaxes(0, 1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("new", [[2], [0, 4], [9], [0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]])
def test_every_prediction_stays_what_it_was(precision, new):
    model = streamed(precision)
    before = model.predict(WIDE)

    model.add_classes(new)

    assert model.classes_.tolist() == sorted([1, 3, 5, *new])
    assert np.array_equal(model.predict(WIDE), before)
    assert [model.predict_one(x) for x in WIDE[:50]] == before[:50].tolist()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_layers_scores_of_the_old_classes_keep_their_bits(precision):
    model = streamed(precision)
    before = layer_scores(model, WIDE[:200])

    model.add_classes([0, 2, 4, 6, 7])

    after = layer_scores(model, WIDE[:200])
    assert after.shape[2] == 8
    assert after[:, :, [1, 3, 5]].tobytes() == before.tobytes()
    rest = np.delete(after, [1, 3, 5], axis=2)
    assert (rest.max(axis=2) <= before.max(axis=2)).all()


def test_int8_scores_keep_their_unit_and_their_bits():
    model = streamed("int8")
    unit, before = model._trainer.network.score_exponent, model.decision_function(WIDE)

    model.add_classes([2, 7])

    assert model._trainer.network.score_exponent == unit
    assert np.array_equal(model.decision_function(WIDE)[:, [0, 2, 3]], before)


@pytest.mark.parametrize("value", [-127, 0, 127])
def test_a_new_int8_readout_stays_in_its_range_at_the_edges(value):
    model = streamed("int8")
    for i in (0, 1):
        width = model._trainer.network.hidden[i]
        model._trainer.params[f"layer{i}.readout"][:, :width] = value

    model.add_classes([2])

    for i, width in enumerate(model._trainer.network.hidden):
        row = model._trainer.params[f"layer{i}.readout"][1]
        assert (row[:width] == max(value - 1, -127)).all()
        assert not row[width:].any()
    assert model.model_.loud_padding() is None


@pytest.mark.parametrize("precision", PRECISIONS)
def test_padding_stays_silent_and_the_plan_is_what_is_used(precision):
    model = streamed(precision).add_classes([2, 4])

    assert model.model_.loud_padding() is None
    assert model.plan_ is model._trainer.plan
    assert model._trainer.measured_bytes == model.plan_.peak


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("single", [True, False], ids=["learn_one", "partial_fit"])
def test_the_new_classes_are_learned(precision, single):
    names = np.array([1, 3, 5, 0, 2])
    model = streamed(precision, batch_size=8).add_classes([0, 2])

    for _ in range(10):
        if single:
            for x, label in zip(X, names[Y].tolist(), strict=True):
                model.learn_one(x, label)
        else:
            model.partial_fit(X, names[Y])

    assert model.score(X, names[Y]) > 0.95


@pytest.mark.parametrize("optimizer", [SGD(0.1), Momentum(0.01), Adam()], ids=lambda o: o.name)
def test_the_optimisers_state_and_counters_go_on(optimizer):
    model = streamed(optimizer=optimizer)
    old = model._trainer
    old.run.samples_seen = 12345

    model.add_classes([2])

    new = model._trainer
    assert [layer.updates for layer in new.run.layers] == [
        layer.updates for layer in old.run.layers
    ]
    assert all(layer.updates > 0 and layer.active for layer in new.run.layers)
    assert new.run.samples_seen == 12345
    assert new.scaler.count == old.scaler.count
    assert np.array_equal(new.arena["moments"], old.arena["moments"])
    for kind in optimizer.state:
        name = f"layer0.weight.{kind}"
        assert np.array_equal(new.arena[name], old.arena[name])
        name = f"layer1.readout.{kind}"
        assert np.array_equal(new.arena[name][:, [0, 2, 3]], old.arena[name])
        assert not new.arena[name][:, 1].any()


def test_nothing_but_the_readouts_changes():
    model = streamed()
    before = {name: array.copy() for name, array in model._trainer.params.items()}

    model.add_classes([2])

    after = model._trainer.params
    for name, array in before.items():
        if not name.endswith("readout"):
            assert np.array_equal(after[name], array), name


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_a_fitted_model_takes_new_classes_too(precision, schedule):
    names = np.array([1, 3, 5, 0, 2])
    model = FFClassifier(
        (20, 12), precision=precision, schedule=schedule, max_iter=10, random_state=0
    ).fit(X[OLD], names[Y[OLD]])
    before = model.predict(WIDE)

    model.add_classes([0, 2])

    assert np.array_equal(model.predict(WIDE), before)
    for _ in range(20):
        model.partial_fit(X, names[Y])
    assert model.score(X, names[Y]) > 0.9


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_loaded_model_takes_new_classes_and_is_saved_with_them(tmp_path, precision):
    streamed(precision).save(tmp_path / "a")
    model = FFClassifier.load(tmp_path / "a")
    before = model.predict(WIDE)

    model.add_classes([4]).save(tmp_path / "b")

    again = FFClassifier.load(tmp_path / "b")
    assert again.classes_.tolist() == [1, 3, 4, 5]
    assert np.array_equal(again.predict(WIDE), before)


def test_a_pickle_of_a_grown_model_goes_on_the_same():
    model = streamed().add_classes([2])

    twin = pickle.loads(pickle.dumps(model))

    for one in (model, twin):
        one.partial_fit(X[OLD], np.array([1, 2, 5])[Y[OLD]])
    assert np.array_equal(twin.decision_function(X), model.decision_function(X))


def test_texts_are_added_to_texts_of_any_length():
    model = streamed(names=("ant", "bee", "cow")).add_classes(["bumblebee", "a"])

    assert model.classes_.tolist() == ["a", "ant", "bee", "bumblebee", "cow"]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_budget_one_byte_short_is_refused_and_the_model_stays_as_it_was(precision):
    needed = streamed(precision).add_classes(range(10, 50)).plan_.peak
    model = streamed(precision, max_memory=needed - 1)
    before = model.decision_function(X)

    with pytest.raises(BudgetError, match="1 B missing"):
        model.add_classes(range(10, 50))

    assert model.classes_.tolist() == [1, 3, 5]
    assert np.array_equal(model.decision_function(X), before)
    model.set_params(max_memory=needed).add_classes(range(10, 50))
    assert model.plan_.peak == needed


@pytest.mark.parametrize("rule", ["group", "group-mean", "hinton", "readout-frozen"])
def test_rules_whose_old_answers_would_change_refuse_in_words(rule):
    model = streamed(rule=rule, hidden_layer_sizes=(20,))

    with pytest.raises(
        ConfigError, match=f"^add_classes: expected the rule readout, got {rule}, whose .*; train"
    ):
        model.add_classes([2])

    assert model.classes_.tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("classes", "said"),
    [([], "a list of new labels"), ([3], "none of the 3 known ones, got \\[3\\]"),
     ([2, 2], "each label once"), (["2"], "labels like the known ones"),
     ([2.5], "labels like the known ones"), ([[1, 2]], "a list of new labels"),
     (7, "a list of new labels"), ([None], "labels like the known ones")],
)  # fmt: skip
def test_labels_that_cannot_be_added_are_refused_in_words(classes, said):
    model = streamed()

    with pytest.raises(DataError, match=f"^add_classes: expected .*{said}"):
        model.add_classes(classes)

    assert model.classes_.tolist() == [1, 3, 5]


def test_a_new_model_has_no_classes_to_add_to():
    with pytest.raises(ValueError, match="expected a fitted estimator"):
        FFClassifier().add_classes([1])


@pytest.mark.parametrize("single", [True, False], ids=["learn_one", "partial_fit"])
def test_an_unknown_label_is_still_refused_and_told_where_to_go(single):
    model = streamed()

    with pytest.raises(DataError, match=r"expected labels among .*, got \[7\]; add_classes makes"):
        model.learn_one(X[0], 7) if single else model.partial_fit(X[:1], [7])


# --- the trainer's own ---------------------------------------------------------------------------


@pytest.mark.parametrize("width", [16, 500, 4099])
def test_the_margin_outweighs_rounding_for_random_readouts_of_any_width(width):
    network = Network.dense(4, (width,), 2, Readout())
    trainer = Trainer(network, Recipe(SGD(), batch_size=1, stream=True))
    trainer.scaler.finish()
    trainer.run.begin_stage(None)
    # All classes alike: the closest race there can be.
    matrix = trainer.params["layer0.readout"]
    matrix[:, 1] = matrix[:, 0]

    grown = with_classes(trainer, np.array([1, 2]), 3)

    rng = np.random.default_rng(0)
    for _ in range(50):
        grown.run.fetch_features(rng.standard_normal((1, 4)).astype(np.float32), 0, 1)
        grown.run.score_batch(1)
        scores = grown.run.scores[0]
        assert scores[1] == scores[2] > scores[0]
