"""FFClassifier: batches and streams, labels of every kind, files, refusals, no scikit-learn."""

import json
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from checks import SCHEDULED
from conftest import clouds

from ffedge import FFClassifier
from ffedge.errors import BudgetError, CheckpointError, ConfigError, DataError
from ffedge.model_file import load_model, save_model
from ffedge.online import SCALER_SAMPLES
from ffedge.optimizers import Momentum
from ffedge.rules import NAMED_RULES, hinton

RULES = sorted(NAMED_RULES)
#: All but the slowest learner: its layers see each other's goodness, see test_rules_contrast_parts.
LEARNING = [(word, how) for word, how in SCHEDULED if word != "hinton-collaborating"]
#: Those whose layers go on learning from a stream; the others learn in two steps.
STREAMED = [(word, how) for word, how in LEARNING if NAMED_RULES[word].learns("weight")]


def small(**options):
    return FFClassifier(
        **{"hidden_layer_sizes": (16,), "max_iter": 40, "random_state": 0} | options
    )


@pytest.fixture(scope="module")
def data():
    clouded = clouds(samples=150, features=4)
    return clouded.features, clouded.labels


def weights(model):
    return {name: array.tobytes() for name, array in model.model_.params.items()}


def in_house_form(message):
    """where: expected ..., got ..."""
    return re.match(r"^\S.*: expected .+, got .+", message, re.DOTALL) is not None


# --- fitting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "schedule"), LEARNING)
def test_fit_learns_and_tells_what_it_did(data, rule, schedule):
    model = small(rule=rule, schedule=schedule, hidden_layer_sizes=(16, 12), max_iter=40).fit(*data)

    assert model.score(*data) > 0.9
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.n_features_in_ == 4
    # A head is trained in one sweep, whatever the schedule of the layers below it.
    layerwise = schedule == "layerwise" and NAMED_RULES[rule].learns("weight")
    assert model.n_iter_ == (80 if layerwise else 40)
    # The smallest value of u * sigmoid(u), the paired loss of some rules.
    assert model.loss_ >= -0.2785
    assert model.plan_.peak == model._trainer.measured_bytes


@pytest.mark.parametrize(
    "names",
    [("cat", "dog", "eel"), (3, 7, 40), (-1, 0, 1), (1.0, 2.0, 3.0)],
    ids=["text", "int", "negative", "float"],
)
def test_labels_of_every_kind_come_back(data, names):
    X, codes = data
    y = np.array(names)[codes]

    model = small().fit(X, y)

    assert model.predict(X).dtype == y.dtype
    assert np.mean(model.predict(X) == y) > 0.95
    assert model.classes_.tolist() == list(names)
    assert model.predict_one(X[0]) == model.predict(X[:1])[0]


@pytest.mark.parametrize("kind", [bool, object])
def test_two_classes_of_truth_or_of_objects_come_back(data, kind):
    X, codes = data
    y = (codes == 1) if kind is bool else np.array(["no", "yes"], object)[(codes == 1) * 1]

    model = small().fit(X, y)

    assert np.mean(model.predict(X) == y) > 0.95
    assert model.decision_function(X).shape == (150,)
    assert ((model.decision_function(X) > 0) == (model.predict(X) == model.classes_[1])).all()


def test_lists_are_data_too():
    model = small(max_iter=50).fit([[0.0, 1], [1, 0]] * 20, ["a", "b"] * 20)

    assert model.predict([[0, 1], [1, 0]]).tolist() == ["a", "b"]


def test_probabilities_are_columns_in_the_order_of_the_classes(data):
    model = small().fit(*data)

    chances = model.predict_proba(data[0])

    assert chances.shape == (150, 3)
    assert np.allclose(chances.sum(axis=1), 1)
    assert np.array_equal(model.classes_[chances.argmax(axis=1)], model.predict(data[0]))


def test_equal_seeds_give_equal_models_and_none_gives_fresh_ones(data):
    one, same, other = (small(random_state=seed).fit(*data) for seed in (3, 3, 4))
    fresh = [small(random_state=None).fit(*data) for _ in range(2)]

    assert weights(one) == weights(same) != weights(other)
    assert weights(fresh[0]) != weights(fresh[1])


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_random_generators_are_drawn_from(data, make):
    generator = make(0)

    one, two = (small(random_state=generator).fit(*data) for _ in range(2))

    assert weights(one) != weights(two)
    assert weights(one) == weights(small(random_state=make(0)).fit(*data))


def test_numbers_of_numpy_are_numbers(data):
    plain = small(batch_size=8, max_iter=3, learning_rate=0.01).fit(*data)
    numpys = FFClassifier(
        np.array([16]), batch_size=np.int64(8), max_iter=np.int32(3), random_state=np.uint8(0),
        learning_rate=np.float64(0.01), max_memory=np.int64(1 << 30),
    ).fit(*data)  # fmt: skip

    assert weights(plain) == weights(numpys)


def test_a_single_width_is_one_layer(data):
    assert weights(small(hidden_layer_sizes=16).fit(*data)) == weights(small().fit(*data))


def test_a_budget_is_kept_or_refused_before_training(data):
    needed = small().fit(*data).plan_.peak

    assert small(max_memory=needed).fit(*data).plan_.peak == needed
    with pytest.raises(BudgetError, match="1 B missing") as caught:
        small(max_memory=needed - 1).fit(*data)
    assert caught.value.required == needed
    with pytest.raises(BudgetError):
        small(max_memory="1KiB").partial_fit(*data, classes=[0, 1, 2])


def test_warm_start_goes_on_from_the_weights(data):
    model = small(warm_start=True, max_iter=1).fit(*data)
    first = model.loss_
    for _ in range(8):
        model.fit(*data)

    assert model.loss_ < first
    assert weights(model) != weights(small(max_iter=1).fit(*data))


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 4}, {"schedule": "layerwise"}, {"optimizer": "sgd"}, {"random_state": None}],
)
def test_warm_start_goes_on_with_another_recipe(data, change):
    model = small(warm_start=True, hidden_layer_sizes=(16, 16), max_iter=30).fit(*data)

    model.set_params(**change, max_iter=1).fit(*data)

    assert model.score(*data) > 0.9


def test_warm_start_with_another_shape_starts_afresh(data):
    X, y = data
    model = small(warm_start=True).fit(X, y)

    model.fit(X[:, :2], y)

    assert weights(model) == weights(small().fit(X[:, :2], y))


def test_warm_start_with_other_classes_is_refused(data):
    X, y = data
    model = small(warm_start=True).fit(X, y)

    with pytest.raises(DataError, match=r"classes of the last fit, \[0, 1, 2\], got \[5, 6, 7\]"):
        model.fit(X, y + 5)


def test_warm_start_obeys_a_smaller_budget(data):
    model = small(warm_start=True).fit(*data)

    with pytest.raises(BudgetError):
        model.set_params(max_memory=1000).fit(*data)


def test_a_second_fit_forgets_the_first(data):
    X, y = data
    model = small().fit(X[:, :2], 1 - (y > 0))

    model.fit(X, y)

    assert weights(model) == weights(small().fit(X, y))
    assert model.predict_one(X[0]) == model.predict(X[:1])[0]


# --- parameters -------------------------------------------------------------------------------


def test_the_repr_shows_what_was_changed():
    assert repr(FFClassifier()) == "FFClassifier()"
    assert repr(small(rule="group")) == (
        "FFClassifier(hidden_layer_sizes=(16,), rule='group', max_iter=40, random_state=0)"
    )


def test_parameters_are_set_together_or_not_at_all():
    model = small()

    with pytest.raises(
        ConfigError, match=r"^FFClassifier: expected one of activation, batch_size, .* 'depth'"
    ):
        model.set_params(rule="group", depth=3)

    assert model.rule == "readout"
    assert model.set_params(rule="group").get_params()["rule"] == "group"


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": ()}, {"hidden_layer_sizes": (0,)}, {"hidden_layer_sizes": "16"},
        {"hidden_layer_sizes": (1.5,)}, {"hidden_layer_sizes": [[8], [8, 8]]},
        {"hidden_layer_sizes": None}, {"hidden_layer_sizes": (True,)},
        {"hidden_layer_sizes": -3}, {"rule": "backprop"}, {"rule": 5}, {"rule": None},
        {"precision": "int3"}, {"optimizer": "lbfgs"}, {"optimizer": 5},
        {"optimizer": Momentum(0.1), "learning_rate": 0.1}, {"learning_rate": "fast"},
        {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"max_iter": 0},
        {"max_iter": 2.5}, {"max_iter": "many"}, {"max_iter": True}, {"batch_size": 0},
        {"batch_size": "big"}, {"batch_size": 2.0}, {"batch_size": -4},
        {"schedule": "random"}, {"scaling": "minmax"}, {"max_memory": "lots"},
        {"max_memory": 0}, {"random_state": "seed"}, {"random_state": 1.5},
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True], ids=["fit", "partial_fit"])
def test_an_impossible_parameter_is_refused_in_words(data, options, stream):
    model = small(**options)
    # A stream passes once over the data, all layers at a time: these two do not matter to it.
    if stream and options.keys() & {"max_iter", "schedule"}:
        model.partial_fit(*data, classes=[0, 1, 2])
        return

    with pytest.raises(ConfigError) as caught:
        model.partial_fit(*data, classes=[0, 1, 2]) if stream else model.fit(*data)

    assert in_house_form(str(caught.value))


def test_an_own_rule_and_optimizer_are_taken(data):
    model = small(rule=hinton(label_value=2.0), optimizer=Momentum(0.02), max_iter=20).fit(*data)

    assert model.model_.network.rule == hinton(label_value=2.0)
    assert model.score(*data) > 0.8


# --- streams ----------------------------------------------------------------------------------


def test_partial_fit_learns_batch_by_batch(data):
    X, y = data
    model = small()
    for _ in range(60):
        for first in range(0, 150, 50):
            rows = slice(first, first + 50)
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])

    assert model.score(X, y) > 0.95
    assert model.n_iter_ == 60 * 3 * 2  # batches of 32 and 18


def test_partial_fit_knows_classes_it_has_not_seen(data):
    X, _ = data

    model = small().partial_fit(X[:20], np.zeros(20, int), classes=[2, 0, 1])

    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(X).shape == (150, 3)


def test_the_scaler_of_a_stream_learns_from_a_thousand_samples(data):
    clouded = clouds(samples=3000, features=4)
    model = small(batch_size=96)

    for first in range(0, 3000, 300):
        rows = slice(first, first + 300)
        model.partial_fit(clouded.features[rows], clouded.labels[rows], classes=[0, 1, 2])

    first = clouded.features[:SCALER_SAMPLES].astype(np.float64)
    assert model._trainer.scaler.count == SCALER_SAMPLES == 1000
    assert np.allclose(model.model_.params["input.mean"], first.mean(axis=0), rtol=1e-5)
    assert np.allclose(1 / model.model_.params["input.gain"], first.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize(("rule", "schedule"), STREAMED)
def test_partial_fit_goes_on_after_fit_with_all_layers(data, rule, schedule):
    X, y = data
    model = small(rule=rule, hidden_layer_sizes=(16, 12), schedule=schedule).fit(X, y)
    before, mean = weights(model), model.model_.params["input.mean"].copy()

    for _ in range(5):
        model.partial_fit(X, y)

    after = weights(model)
    assert all(before[f"layer{i}.weight"] != after[f"layer{i}.weight"] for i in (0, 1))
    assert np.array_equal(model.model_.params["input.mean"], mean)
    assert model.score(X, y) > 0.8
    assert model._trainer.measured_bytes == model._trainer.plan.peak


@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_a_stream_trains_every_layer_whatever_the_schedule(data, schedule):
    options = {"hidden_layer_sizes": (16, 12), "schedule": schedule}
    model = small(**options).partial_fit(*data, classes=[0, 1, 2])

    assert weights(model) == weights(
        small(hidden_layer_sizes=(16, 12)).partial_fit(*data, classes=[0, 1, 2])
    )


def test_learn_one_learns_a_small_stream():
    clouded = clouds(samples=1500, features=4)
    model = small(batch_size=1)
    right = []

    for x, label in zip(clouded.features.tolist(), clouded.labels.tolist(), strict=True):
        right.append(model.predict_one(x) == label)
        model.learn_one(x, label, classes=[0, 1, 2])

    assert right[0] is False  # None before the first sample
    assert np.mean(right[-300:]) > 0.9


def test_learn_one_equals_partial_fit_on_one_row(data):
    X, y = data
    one, other = small(), small()

    for i in range(30):
        one.learn_one(X[i], y[i], classes=[0, 1, 2])
        other.partial_fit(X[i : i + 1], y[i : i + 1], classes=[0, 1, 2])

    assert weights(one) == weights(other)


def test_mappings_are_read_by_name(data):
    X, y = data
    by_name, by_place = small(), small()

    for i in range(20):
        named = dict(zip("badc", X[i, [1, 0, 3, 2]], strict=True))
        by_name.learn_one(named, y[i], classes=[0, 1, 2])
        by_place.learn_one(X[i], y[i], classes=[0, 1, 2])

    assert weights(by_name) == weights(by_place)
    assert by_name.model_.feature_names == ("a", "b", "c", "d")
    assert by_name.predict_one(dict(zip("abcd", X[0], strict=True))) == by_place.predict_one(X[0])


def test_predictions_of_one_agree_with_those_of_many(data):
    X, y = data
    model = small().fit(X, y)

    assert [model.predict_one(x) for x in X] == model.predict(X).tolist()
    chances = model.predict_proba_one(X[0])
    assert list(chances) == [0, 1, 2]
    assert list(chances.values()) == model.predict_proba(X[:1])[0].tolist()


def test_before_the_first_sample_there_is_no_prediction(data):
    assert small().predict_one([1, 2]) is None
    assert small().predict_proba_one([1, 2]) == {}


GOOD = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "x",
    [[1.0, 2.0, 3.0], [], 5, None, "1234", [1, 2, 3, "x"], [1, 2, 3, None], [1, 2, 3, np.nan],
     [1, 2, np.inf, 4], [1, 2, 3, 1e300], {"a": 1}, [[1], [2], [3], [4]],
     {"a": 1, "b": 2, "c": 3, "d": 4}, (v for v in GOOD)],
)  # fmt: skip
@pytest.mark.parametrize("method", ["learn_one", "predict_one"])
def test_a_sample_that_does_not_fit_is_refused_in_words(x, method):
    model = small().learn_one(GOOD, 0, classes=[0, 1])
    before = weights(model)

    with pytest.raises(DataError) as caught:
        model.learn_one(x, 1) if method == "learn_one" else model.predict_one(x)

    assert in_house_form(str(caught.value))
    assert weights(model) == before


@pytest.mark.parametrize(
    "x", [{"a": 1.0}, {"a": 1, "c": 2}, {}, {"a": 1, "b": "x"}, {"a": 1, "b": np.nan}]
)
def test_a_mapping_with_other_names_is_refused_in_words(x):
    model = small().learn_one({"a": 1.0, "b": 2.0}, 0, classes=[0, 1])

    with pytest.raises(DataError) as caught:
        model.predict_one(x)

    assert in_house_form(str(caught.value))


@pytest.mark.parametrize("x", [[1, np.nan], {"a": "x"}, 5, [], {}, "ab", None])
def test_a_refused_first_sample_leaves_a_new_model(x):
    model = small()

    with pytest.raises(DataError):
        model.learn_one(x, 0, classes=[0, 1])

    assert model.predict_one(GOOD) is None
    assert model.learn_one(GOOD, 0, classes=[0, 1]).predict_one(GOOD) in (0, 1)


@pytest.mark.parametrize("label", [2, "0", None, 0.5, np.nan])
def test_an_unknown_label_is_refused_in_words(data, label):
    fresh, model = small(), small().learn_one(GOOD, 0, classes=[0, 1])
    before = weights(model)

    for one in (fresh, model):
        with pytest.raises(ValueError):  # noqa: PT011 - scikit-learn has its own words
            one.learn_one(GOOD, label, classes=[0, 1])
        with pytest.raises(ValueError):  # noqa: PT011
            one.partial_fit([GOOD], [label], classes=[0, 1])

    assert weights(model) == before
    assert not hasattr(fresh, "classes_")


def test_learn_one_takes_one_label():
    with pytest.raises(DataError, match=r"expected one label, got \[0\]"):
        small().learn_one(GOOD, [0], classes=[0, 1])


def test_text_classes_do_not_match_numbers():
    model = small().learn_one(GOOD, "0", classes=["0", "1"])

    with pytest.raises(DataError, match=r"expected labels among \['0', '1'\], got \[0\]"):
        model.learn_one(GOOD, 0)


@pytest.mark.parametrize("method", ["partial_fit", "learn_one"])
def test_the_first_call_needs_classes_and_later_ones_the_same(method):
    def call(model, **classes):
        if method == "learn_one":
            return model.learn_one(GOOD, 0, **classes)
        return model.partial_fit([GOOD], [0], **classes)

    with pytest.raises(DataError, match=f"classes on the first call to {method}, got none"):
        call(small())
    model = call(small(), classes=[1, 0])
    call(model)
    call(model, classes=[0, 1])
    with pytest.raises(DataError, match=r"classes of the first call, \[0, 1\], got \[0, 1, 2\]"):
        call(model, classes=[0, 1, 2])


@pytest.mark.parametrize("classes", [[0], [], [0, 0], 5, [[0, 1], [2, 3]]])
def test_classes_that_cannot_be_are_refused_in_words(classes):
    with pytest.raises(DataError) as caught:
        small().learn_one(GOOD, 0, classes=classes)

    assert in_house_form(str(caught.value))


def test_one_class_cannot_be_fitted(data):
    with pytest.raises(DataError, match=r"expected at least 2 classes in y, got one class: \[0\]"):
        small().fit(data[0], np.zeros(150, int))


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "schedule"), STREAMED)
def test_a_saved_model_predicts_the_same_and_goes_on(tmp_path, data, rule, schedule):
    X, y = data
    model = small(rule=rule, schedule=schedule, hidden_layer_sizes=(16, 12)).fit(X, y)

    model.save(tmp_path / "m")
    loaded = FFClassifier.load(tmp_path / "m")

    assert np.array_equal(loaded.decision_function(X), model.decision_function(X))
    assert loaded.hidden_layer_sizes == (16, 12)
    assert loaded.n_iter_ == model.n_iter_
    before = weights(loaded)
    for _ in range(3):
        loaded.partial_fit(X, y)
    assert all(before[f"layer{i}.weight"] != weights(loaded)[f"layer{i}.weight"] for i in (0, 1))
    assert loaded.score(X, y) > 0.8
    assert loaded.fit(X, y).score(X, y) > 0.85


def test_a_stream_is_saved_with_its_names_and_goes_on(tmp_path):
    model = small().learn_one({"b": 1.0, "a": 2.0}, "x", classes=["x", "y"])

    model.save(tmp_path / "m")
    loaded = FFClassifier.load(tmp_path / "m")

    assert loaded.predict_one({"a": 2.0, "b": 1.0}) == model.predict_one({"b": 1.0, "a": 2.0})
    loaded.learn_one({"a": 2.0, "b": 1.0}, "y")


def test_the_shape_of_a_sample_survives_load_and_save(tmp_path, data):
    model = small().fit(*data).model_
    save_model(type(model)(model.network, model.params, model.classes, (2, 2)), tmp_path / "m")

    FFClassifier.load(tmp_path / "m").partial_fit(*data).save(tmp_path / "again")

    assert load_model(tmp_path / "again").feature_shape == (2, 2)


@pytest.mark.parametrize("training", [{"recipe": "ab"}, {"recipe": {}}, {"epochs": "two"}])
def test_notes_that_are_no_recipe_are_refused_by_the_files_name(tmp_path, data, training):
    model = small().fit(*data).model_
    model.training.update(training)
    save_model(model, tmp_path / "m")

    with pytest.raises(CheckpointError) as caught:
        FFClassifier.load(tmp_path / "m")

    assert str(caught.value).startswith(str(tmp_path / "m"))


def test_a_model_of_a_single_feature_can_be_saved(tmp_path):
    model = small().fit([[0.0], [1.0]] * 20, [0, 1] * 20)

    model.save(tmp_path / "m")

    assert FFClassifier.load(tmp_path / "m").predict([[0.0], [1.0]]).tolist() == [0, 1]


def test_a_new_model_has_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match=r"^FFClassifier: expected a fitted estimator, got a new"):
        small().save(tmp_path / "m")


# --- without scikit-learn ---------------------------------------------------------------------

ALONE = """
    import json, sys
    if {blocked}:
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("sklearn", "scipy", "onnx", "torch", "pandas"):
                    raise ImportError(name + " is blocked")
        sys.meta_path.insert(0, Blocker())
    else:
        import sklearn
    import numpy as np
    from ffedge import FFClassifier, load
    from ffedge.errors import FFEdgeError

    train, test = load("digits")
    model = FFClassifier((20,), max_iter=3, random_state=7).fit(train.features, train.labels)
    stream = FFClassifier((8,), random_state=1)
    for i in range(40):
        stream.learn_one(train.features[i], int(train.labels[i]), classes=range(10))
    stream.partial_fit(train.features.astype(float), train.labels.tolist())
    scores, labels = model.decision_function(test.features), model.predict(test.features)
    other = FFClassifier((4,), random_state=0)
    errors = {{}}
    X, y = np.zeros((4, 2)), [0, 1, 0, 1]
    for name, call in {{
        "1-D": lambda: other.fit(X[0], y),
        "empty": lambda: other.fit(X[:0], []),
        "no columns": lambda: other.fit(X[:, :0], y),
        "ragged": lambda: other.fit([[1], [1, 2]], [0, 1]),
        "NaN": lambda: other.fit(X * np.nan, y),
        "too large": lambda: other.fit(X + 1e300, y),
        "text": lambda: other.fit([["a"], ["b"]], [0, 1]),
        "complex": lambda: other.fit(X + 1j, y),
        "width": lambda: model.predict(X),
        "no rows": lambda: model.predict(np.zeros((0, 64))),
        "length": lambda: other.fit(X, [0, 1]),
        "continuous": lambda: other.fit(X, [0.5, 1.5, 2.5, 3.5]),
        "NaN label": lambda: other.fit(X, [np.nan, 1, 0, 1]),
        "mixed": lambda: other.fit(X, np.array([1, "a", 2, "b"], object)),
        "2-D labels": lambda: other.fit(X, np.zeros((4, 2))),
        "no labels": lambda: other.fit(X, None),
        "new": lambda: FFClassifier().predict(X),
    }}.items():
        try:
            call()
        except ValueError as error:
            errors[name] = [isinstance(error, FFEdgeError), str(error)]
    print(json.dumps({{
        "sklearn": "sklearn" in sys.modules,
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "stream": stream.predict(test.features).tolist(),
        "errors": errors,
    }}))
"""


def run_alone(blocked):
    script = textwrap.dedent(ALONE).format(blocked=blocked)
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", script], capture_output=True,
        text=True, check=False, cwd=os.path.dirname(os.path.dirname(__file__)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_works_the_same_without_scikit_learn():
    pytest.importorskip("sklearn")
    alone, beside = run_alone(True), run_alone(False)

    assert (alone["sklearn"], beside["sklearn"]) == (False, True)
    for key in ("scores", "labels", "stream"):
        assert alone[key] == beside[key]
    assert alone["errors"].keys() == beside["errors"].keys()
    assert len(alone["errors"]) == 17
    for ours, message in alone["errors"].values():
        assert ours, message
        assert in_house_form(message), message
