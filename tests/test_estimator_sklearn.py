"""scikit-learn's own checks, without exceptions, and life among its tools."""

import pickle
import warnings

import numpy as np
import pytest
from conftest import clouds

from ffedge import FFClassifier, FFRegressor

sklearn = pytest.importorskip("sklearn")
joblib = pytest.importorskip("joblib")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

#: The estimators speak the protocol without the base class: ffedge does not need scikit-learn.
NO_BASE_CLASS = r"Estimator FF\w+ does not inherit from `sklearn.base.BaseEstimator`"

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", NO_BASE_CLASS)
    each_check = parametrize_with_checks(
        [
            FFClassifier(random_state=0),
            FFClassifier((16,), rule="group", random_state=0),
            FFClassifier((32,), precision="int8", random_state=0),
            FFRegressor(random_state=0),
            FFRegressor((32,), rule="ordinal-group", random_state=0),
        ]
    )


@pytest.mark.filterwarnings(f"ignore:{NO_BASE_CLASS}")
@each_check
def test_scikit_learns_check_passes(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    clouded = clouds(samples=150)
    return clouded.features, clouded.labels


def small(**options):
    return FFClassifier(
        **{"hidden_layer_sizes": (16,), "max_iter": 40, "random_state": 0} | options
    )


def test_it_is_a_classifier_to_scikit_learn():
    assert is_classifier(small())
    assert not is_regressor(small())
    assert is_regressor(FFRegressor())
    assert not is_classifier(FFRegressor())


def test_it_works_at_the_end_of_a_pipeline(data):
    pipeline = make_pipeline(StandardScaler(), small(scaling="none")).fit(*data)

    assert pipeline.score(*data) > 0.95
    assert pipeline.predict_proba(data[0]).shape == (150, 3)


def test_it_can_be_cross_validated(data):
    assert cross_val_score(small(), *data, cv=3).min() > 0.9


def test_its_parameters_can_be_searched(data):
    search = GridSearchCV(small(), {"rule": ["readout", "group"], "max_iter": [1, 40]}, cv=2)

    search.fit(*data)

    assert search.best_params_["max_iter"] == 40
    assert search.best_estimator_.score(*data) > 0.9


def test_a_clone_has_the_parameters_and_nothing_learned(data):
    fitted = small(rule="hinton").fit(*data)

    fresh = clone(fitted)

    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(data[0])


@pytest.mark.parametrize("rule", ["readout", "readout-frozen", "group", "group-mean", "hinton"])
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_a_pickle_predicts_the_same_and_goes_on_learning_the_same(data, rule, schedule):
    X, y = data
    fitted = small(hidden_layer_sizes=(16, 12), rule=rule, schedule=schedule).fit(X, y)

    twin = pickle.loads(pickle.dumps(fitted))

    assert np.array_equal(twin.decision_function(X), fitted.decision_function(X))
    for model in (fitted, twin):
        model.partial_fit(X[:40], y[:40])
    assert np.array_equal(twin.decision_function(X), fitted.decision_function(X))


def test_joblib_stores_and_restores_it(tmp_path, data):
    fitted = small().fit(*data)

    joblib.dump(fitted, tmp_path / "model.joblib")

    restored = joblib.load(tmp_path / "model.joblib")
    assert np.array_equal(restored.predict(data[0]), fitted.predict(data[0]))


def test_column_names_are_learned_and_compared(tmp_path):
    pandas = pytest.importorskip("pandas")
    clouded = clouds(features=3)
    frame = pandas.DataFrame(clouded.features, columns=["a", "b", "c"])
    fitted = small().fit(frame, clouded.labels)

    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    assert fitted.model_.feature_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[["b", "a", "c"]])
    row = dict(zip("cab", clouded.features[0, [2, 0, 1]], strict=True))
    assert fitted.predict_one(row) == fitted.predict(frame[:1])[0]
    fitted.save(tmp_path / "m")
    assert FFClassifier.load(tmp_path / "m").feature_names_in_.tolist() == ["a", "b", "c"]


def test_a_column_vector_of_labels_is_taken_with_a_warning(data):
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        small().fit(data[0], data[1][:, None])


def test_parallel_jobs_get_read_only_memory_and_cope(data):
    X = data[0].copy()
    X.flags.writeable = False

    fitted = small().fit(X, data[1])

    assert np.array_equal(fitted.predict(X), small().fit(*data).predict(data[0]))


def test_no_warnings_are_given_in_ordinary_use(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = small().fit(*data)
        model.predict(data[0])
        model.partial_fit(*data)
        model.learn_one(data[0][0], data[1][0])
