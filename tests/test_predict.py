"""Prediction: the same bits in any company, inside its own plan, refusals in words."""

import numpy as np
import pytest
from conftest import clouds, measured_allocations
from test_trainer import RULES, model_of, trained

from ffedge.buffers import plan_prediction
from ffedge.errors import BudgetError, ConfigError, DataError
from ffedge.model import Model
from ffedge.predict import Predictor


@pytest.fixture(params=RULES)
def model(request):
    data = clouds(features=50)
    return model_of(trained(data, rule=request.param, hidden=(70, 33)), data).copy()


@pytest.mark.parametrize("batch", [1, 2, 5, 6, 7, 8, 64])
def test_scores_do_not_depend_on_the_batch(model, batch):
    X = clouds(samples=37, features=50, seed=5).features

    one_by_one = np.vstack([Predictor(model, batch=64).scores(X[i : i + 1]) for i in range(37)])

    assert Predictor(model, batch=batch).scores(X).tobytes() == one_by_one.tobytes()


def test_scores_do_not_depend_on_the_neighbours(model):
    X = clouds(samples=30, features=50, seed=5).features
    predictor = Predictor(model, batch=30)

    forwards, backwards = predictor.scores(X), predictor.scores(X[::-1].copy())

    assert forwards.tobytes() == backwards[::-1].tobytes()


def test_probabilities_are_a_distribution_with_the_label_on_top(model):
    data = clouds(features=50)
    predictor = Predictor(model)

    chances = predictor.probabilities(data.features)

    assert chances.dtype == np.float64
    assert np.allclose(chances.sum(axis=1), 1.0, atol=1e-12)
    assert (chances >= 0).all()
    assert np.array_equal(chances.argmax(axis=1), predictor.codes(data.features))


@pytest.mark.parametrize("classes", [("cat", "dog", "eel"), (-5, 0, 70)])
def test_labels_are_the_models_class_names(classes):
    data = clouds(features=50)
    trained_model = model_of(trained(data, epochs=10), data)
    named = Model(trained_model.network, trained_model.params, classes, (50,))

    labels = Predictor(named).labels(data.features)

    assert np.mean(labels == np.array(classes)[data.labels]) > 0.9


def test_batches_give_scores_and_codes_of_a_data_set(model):
    data = clouds(samples=70, features=50)
    part, _ = data.split(0.5, 0)
    predictor = Predictor(model, batch=16)

    scores, labels = zip(
        *[(s.copy(), y.copy()) for s, y in predictor.batches(part)], strict=True
    )  # fmt: skip

    assert np.array_equal(np.concatenate(labels), part.labels[part.rows])
    assert np.array_equal(np.vstack(scores), predictor.scores(data.features[part.rows]))


@pytest.mark.parametrize("shape", [(3, 49), (3, 51), (50,), (0, 5), (2, 2, 50)])
def test_samples_of_another_width_are_refused(model, shape):
    with pytest.raises(DataError, match=r"^predict: expected samples of 50 features, got .*; use"):
        Predictor(model).scores(np.zeros(shape, np.float32))


def test_no_samples_give_no_scores(model):
    assert Predictor(model).scores(np.zeros((0, 50), np.float32)).shape == (0, 3)


def test_a_predictor_is_planned_and_measured(model):
    predictor = Predictor(model, batch=8)

    assert predictor.plan == plan_prediction(model.network, 8)
    assert predictor.arena.measured_bytes == predictor.plan.peak
    predictor.scores(np.ones((20, 50), np.float32))
    predictor.arena.check()


def test_a_budget_that_is_too_small_is_refused(model):
    with pytest.raises(BudgetError, match="B missing"):
        Predictor(model, budget=1000)


@pytest.mark.parametrize("batch", [0, -3])
def test_an_impossible_batch_is_refused(model, batch):
    with pytest.raises(ConfigError, match="batch of at least 1 sample"):
        Predictor(model, batch=batch)


def test_prediction_allocates_its_result_only(model):
    X = clouds(samples=2000, features=50).features
    predictor = Predictor(model)
    predictor.scores(X)

    with measured_allocations() as measured:
        predictor.scores(X)

    assert measured.peak < 2000 * 3 * 4 + 4096


def test_a_predictor_keeps_its_own_copy_of_the_weights(model):
    predictor = Predictor(model)
    X = clouds(features=50).features
    before = predictor.scores(X)

    for array in model.params.values():
        array[...] = 0

    assert predictor.scores(X).tobytes() == before.tobytes()


def test_features_that_are_read_only_are_read():
    data = clouds(features=50)
    model = model_of(trained(data), data)
    X = data.features.copy()
    X.flags.writeable = False

    assert Predictor(model).scores(X).tobytes() == Predictor(model).scores(data.features).tobytes()
