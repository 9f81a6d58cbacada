"""FFRegressor: batches and streams, how sure it is, files, refusals."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from checks import child_environment

from ffedge import FFClassifier, FFRegressor, load_model
from ffedge.bins import Even
from ffedge.errors import BudgetError, CheckpointError, ConfigError, DataError
from ffedge.optimizers import SGD
from ffedge.rules import Group, Ordinal, Readout


def numbers(samples=300, seed=0, noise=0.0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(samples, 4)).astype(np.float32)
    y = 50 + 10 * X[:, 0] + 4 * np.abs(X[:, 1]) + noise * random.normal(size=samples)
    return X, y


def small(**options):
    return FFRegressor(
        **{"hidden_layer_sizes": (32, 24), "max_iter": 80, "random_state": 0} | options
    )


@pytest.fixture(scope="module")
def data():
    return numbers()


@pytest.fixture(scope="module")
def fitted(data):
    return small().fit(*data)


@pytest.mark.parametrize("rule", ["ordinal", "ordinal-group", Ordinal(width=2.0, average=False)])
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_fit_learns_and_tells_what_it_did(data, rule, schedule):
    model = small(rule=rule, schedule=schedule).fit(*data)

    assert model.score(*data) > (0.75 if rule == "ordinal-group" else 0.9)
    assert model.n_iter_ == (80 if schedule == "sweep" else 160)
    assert model.loss_ > 0
    assert model.plan_.peak == model._trainer.measured_bytes
    assert not hasattr(model, "classes_")
    assert model.predict(data[0]).shape == (300,)
    assert model.predict(data[0]).dtype == np.float64


def test_the_score_is_scikit_learns_r2(data, fitted):
    metrics = pytest.importorskip("sklearn.metrics")

    assert fitted.score(*data) == pytest.approx(metrics.r2_score(data[1], fitted.predict(data[0])))


def test_bins_span_the_targets_and_a_margin(data, fitted):
    centres, y = fitted.bin_centres_, data[1]

    step = np.diff(centres).mean()
    assert len(centres) == 16
    assert centres[0] == pytest.approx(y.min() - 2 * step, rel=1e-4)
    assert centres[-1] == pytest.approx(y.max() + 2 * step, rel=1e-4)


def test_predictions_do_not_depend_on_where_zero_lies_or_on_the_unit(data):
    X, y = data

    plain, moved = small().fit(X, y).predict(X), small().fit(X, 1000 * y - 7000).predict(X)

    assert np.allclose((moved + 7000) / 1000, plain, atol=0.5)


def test_a_noisy_target_is_predicted_less_surely_where_it_is_noisier():
    X, y = numbers(800)
    random = np.random.default_rng(1)
    noisy = X[:, 2] > 0
    y = y + noisy * 30 * random.normal(size=800)

    spread = small(max_iter=30).fit(X, y).predict_std(X)

    assert spread[noisy].mean() > 1.1 * spread[~noisy].mean()


def test_intervals_hold_about_their_share_and_nest():
    X, y = numbers(600, noise=8.0)
    test, truth = numbers(600, seed=9, noise=8.0)
    model = small(max_iter=20).fit(X, y)

    wide, narrow = model.predict_interval(test, 0.9), model.predict_interval(test, 0.5)

    inside = ((truth >= wide[:, 0]) & (truth <= wide[:, 1])).mean()
    assert 0.75 < inside <= 1.0
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (narrow[:, 1] < wide[:, 1]).all()


def test_a_constant_target_is_predicted_as_it_is():
    X, _ = numbers(40)

    model = small(max_iter=2).fit(X, np.full(40, 123.25))

    assert np.allclose(model.predict(X), 123.25, rtol=1e-3)


def test_a_known_range_places_the_bins(data):
    model = small(target_range=(0, 120), max_iter=1, rule=Ordinal(spacing=Even(margin=0.0)))

    model.fit(*data)

    assert np.allclose(model.bin_centres_, np.linspace(0, 120, 16))


# --- streams ----------------------------------------------------------------------------------


def test_partial_fit_places_the_bins_once(data):
    X, y = data
    model = small(batch_size=16).partial_fit(X[:100], y[:100])
    before = model.bin_centres_

    for _ in range(30):
        model.partial_fit(X, 2 * y)

    assert np.array_equal(model.bin_centres_, before)
    assert model.predict(X).max() <= before[-1]


def test_partial_fit_learns(data):
    model = small(batch_size=16)
    for _ in range(30):
        model.partial_fit(*data)

    assert model.score(*data) > 0.8
    assert model.n_iter_ == 30 * 19


def test_one_sample_at_a_time_learns_and_predicts(data):
    X, y = data
    model = small(target_range=(10, 100), batch_size=8)
    assert model.predict_one(X[0]) is None

    for _ in range(10):
        for x, target in zip(X, y, strict=True):
            model.learn_one(dict(zip("dcba", x, strict=True)), target)

    assert model.score(X[:, ::-1], y) > 0.7
    row = dict(zip("abcd", X[0, ::-1], strict=True))
    assert model.predict_one(row) == pytest.approx(model.predict(X[:1, ::-1])[0])
    assert len(model.goodness_one(row)) == 2


def test_partial_fit_goes_on_after_fit(data):
    model = small(schedule="layerwise").fit(*data)
    before = model.score(*data)

    for _ in range(5):
        model.partial_fit(*data)

    assert model.score(*data) > before - 0.1


def test_a_stream_goes_on_from_its_checkpoint(tmp_path, data):
    X, y = data
    first = small().partial_fit(X, y, checkpoint=tmp_path / "c")
    twin = pickle.loads(pickle.dumps(first))
    first._hold(None)
    second = small().partial_fit(X, 3 * y, checkpoint=tmp_path / "c")

    twin.partial_fit(X, 3 * y)

    assert np.array_equal(second.bin_centres_, first.bin_centres_)
    assert np.array_equal(second.predict(X), twin.predict(X))
    assert second.n_iter_ == 2 * first.n_iter_


def test_a_drift_is_told():
    X, y = numbers(6000)
    found = []
    model = small(batch_size=20, on_drift=found.append).partial_fit(X, y)

    for _ in range(4):
        model.partial_fit(X, y)
    model.partial_fit(3 * X[:2000], y[:2000])

    assert model.drift_ is found[-1]
    assert 1500 < found[-1].step < 1600


def test_warm_start_keeps_the_bins(data):
    X, y = data
    model = small(warm_start=True, max_iter=5).fit(X, y)
    before = model.bin_centres_

    model.fit(X, y + 100)

    assert np.array_equal(model.bin_centres_, before)


# --- files ------------------------------------------------------------------------------------


def test_a_saved_model_predicts_the_same_and_goes_on(tmp_path, data, fitted):
    X, y = data
    fitted.save(tmp_path / "m")

    loaded = FFRegressor.load(tmp_path / "m")

    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.get_params()["bins"] == 16
    assert loaded.hidden_layer_sizes == (32, 24)
    loaded.partial_fit(X, y)
    assert loaded.score(X, y) > 0.8
    assert load_model(tmp_path / "m").classes == ()


def test_each_estimator_refuses_the_others_files(tmp_path, data, fitted):
    X, y = data
    fitted.save(tmp_path / "r")
    FFClassifier((8,), max_iter=1, random_state=0).fit(X, y > 50).save(tmp_path / "c")

    with pytest.raises(CheckpointError, match="expected a regression for FFRegressor, got a class"):
        FFRegressor.load(tmp_path / "c")
    with pytest.raises(CheckpointError, match="got a regression of the rule ordinal; use FFRegr"):
        FFClassifier.load(tmp_path / "r")


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "readout"}, "rule: expected one of ordinal, ordinal-group, got 'readout'"),
        ({"rule": Readout()}, "predicts numbers, got readout, which predicts classes: use FFClass"),
        ({"rule": 3}, "FFRegressor: expected rule a name or a Rule, got 3"),
        ({"bins": 2.5}, "FFRegressor: expected bins a whole number, got 2.5"),
        ({"bins": 5}, "expected at least 6 bins for a margin of 2"),
        ({"bins": 1}, "expected 2 to 65,536 classes, got 1"),
        ({"target_range": (3, 3)}, r"expected target_range as \(low, high\) with low < high"),
        ({"target_range": "ab"}, r"expected target_range as \(low, high\)"),
        ({"target_range": (0, float("inf"))}, r"expected target_range as \(low, high\)"),
        ({"target_range": 7}, r"expected target_range as \(low, high\)"),
        ({"hidden_layer_sizes": "x"}, "FFRegressor: expected hidden_layer_sizes as whole numbers"),
        ({"max_iter": "x"}, "FFRegressor: expected max_iter a whole number"),
        ({"random_state": "x"}, "FFRegressor: expected random_state a whole number"),
        ({"optimizer": SGD(), "learning_rate": 1}, "FFRegressor: expected the rate inside the opt"),
        ({"rule": Ordinal(Group(smoothing=0.0)), "bins": 40}, "expected at least 40 units"),
    ],
)
def test_impossible_parameters_are_refused(data, options, words):
    with pytest.raises(ConfigError, match=words):
        small(**options).fit(*data)


def test_a_classifier_refuses_a_rule_for_numbers(data):
    with pytest.raises(ConfigError, match="got ordinal, which predicts numbers: use FFRegressor"):
        FFClassifier(rule=Ordinal()).fit(data[0], data[1] > 50)


def test_a_plan_beyond_the_budget_is_refused(data):
    with pytest.raises(BudgetError):
        small(max_memory=4096).fit(*data)


def test_the_first_learn_one_needs_the_range(data):
    with pytest.raises(ConfigError, match="expected target_range before the first learn_one"):
        small().learn_one(data[0][0], 5.0)


def test_the_first_partial_fit_needs_different_targets(data):
    with pytest.raises(DataError, match="expected different targets in the first call"):
        small().partial_fit(data[0][:3], [7, 7, 7])


#: In a process without scikit-learn, whose own words come first where it is loaded.
REFUSALS = """
import sys
import numpy as np
from ffedge import DataError, FFRegressor
X = np.zeros((3, 2))
for y in (None, [1, 2], [1, 2, float("nan")], [1, 2, 1e39], ["a", "b", "c"], [1, 2, 3j],
          [[1, 2]] * 3, [1, "x", None]):
    try:
        FFRegressor(random_state=0).fit(X, y)
    except DataError as error:
        print(error)
model = FFRegressor((8,), max_iter=1, random_state=0).fit(np.eye(3), [[1], [2], [3]])
print(model.predict(np.eye(3)).shape, "sklearn" in sys.modules)
"""


def test_targets_that_are_no_finite_numbers_are_refused_without_scikit_learn():
    done = subprocess.run(
        [sys.executable, "-c", REFUSALS], env=child_environment(), capture_output=True, text=True
    )

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 9
    assert all(line.startswith("FFRegressor: expected ") for line in lines[:-1])
    assert lines[-1] == "(3,) False"
