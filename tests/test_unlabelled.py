"""Layers that learn without labels, and the head that follows: functions, estimator, files."""

import numpy as np
import pytest
from checks import small_data

from ffedge import FFClassifier, Predictor, load_model, save_model
from ffedge.buffers import plan_training
from ffedge.errors import BudgetError, ConfigError, DataError
from ffedge.kernels.provider import LIBRARY
from ffedge.optimizers import Adam
from ffedge.recipe import Recipe
from ffedge.rules import (
    SCFF,
    Contrast,
    Headed,
    Hybrid,
    Readout,
    RidgeHead,
    SoftmaxHead,
    named_rule,
)
from ffedge.sources import from_features, load
from ffedge.unlabelled import fit_head, head_recipe, pretrain, set_threshold, threshold_of

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")

RECIPE = Recipe(Adam(0.003), batch_size=32, epochs=5, scaling="global")


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def accuracy(model, data):
    return float(np.mean(Predictor(model).codes(data.features) == data.labels))


@pytest.mark.parametrize("head", [SoftmaxHead(), RidgeHead(0.01)])
def test_a_head_on_layers_that_never_saw_a_label_tells_digits_apart(digits, head):
    train, test = digits
    layers = pretrain(train, (100,), SCFF(), RECIPE)
    model = fit_head(layers, train, head, Recipe(Adam(0.01), batch_size=32, epochs=15))

    assert layers.classes == ("normal",)
    assert accuracy(model, test) > 0.93
    assert model.training["pretraining"]["epochs"] == 5
    for name in layers.params:
        assert model.params[name].tobytes() == layers.params[name].tobytes()


def test_the_labels_of_the_first_step_are_not_looked_at(digits):
    train, _ = digits
    plain = from_features(np.asarray(train.features), train.feature_shape, "digits")
    shown = from_features(np.asarray(train.features), train.feature_shape, "digits")
    shown.labels[:] = 1

    one, other = (pretrain(data, (30,), SCFF(), RECIPE) for data in (plain, shown))

    assert all(one.params[n].tobytes() == other.params[n].tobytes() for n in one.params)


def test_negatives_take_the_shape_of_the_data(digits):
    train, _ = digits
    rule = Contrast(negatives=Hybrid(), label=None)

    model = pretrain(train, (20,), rule, RECIPE)

    assert model.network.rule.negatives.shape == (8, 8)


def test_models_come_back_from_their_files(digits, tmp_path):
    train, test = digits
    layers = pretrain(train, (20, 10), SCFF(), RECIPE)
    headed = fit_head(layers, train, RidgeHead(), RECIPE)

    for model in (layers, headed):
        save_model(model, tmp_path / "m.ffedge")
        back = load_model(tmp_path / "m.ffedge")
        assert back.network == model.network
        scores = [Predictor(m).scores(test.features) for m in (model, back)]
        assert scores[0].tobytes() == scores[1].tobytes()


def test_a_rule_that_needs_labels_is_refused_and_so_is_a_head_on_a_classifier(digits):
    train, _ = digits
    model = FFClassifier((8,), max_iter=1).fit(train.features, train.labels).model_

    with pytest.raises(ConfigError, match="pretrain: expected a rule that learns without labels"):
        pretrain(train, (8,), Readout())
    with pytest.raises(ConfigError, match="fit_head: expected a model that learned without labels"):
        fit_head(model, train)


def test_a_head_for_other_features_is_refused(digits):
    layers = pretrain(digits[0], (8,), SCFF(), RECIPE)

    with pytest.raises(DataError, match="expected samples of 64 features, got 5"):
        fit_head(layers, small_data(5, 2, 20))


def test_both_steps_keep_their_budget(digits):
    train, _ = digits

    with pytest.raises(BudgetError):
        pretrain(train, (100,), SCFF(), RECIPE, budget=1000)
    layers = pretrain(train, (100,), SCFF(), RECIPE)
    with pytest.raises(BudgetError):
        fit_head(layers, train, RidgeHead(), RECIPE, budget=60_000)


def test_a_ridge_head_takes_one_pass():
    assert head_recipe(RECIPE, RidgeHead()).epochs == 1
    assert head_recipe(RECIPE, SoftmaxHead()).epochs == 5


@pytest.mark.parametrize("rule", ["scff", "hybrid", Headed(SCFF(), RidgeHead(), 0)])
def test_the_classifier_does_both_steps(digits, rule, tmp_path):
    train, test = digits
    model = FFClassifier((60, 40), rule=rule, max_iter=8, random_state=0)

    model.fit(train.features, train.labels)

    assert model.score(test.features, test.labels) > 0.8
    assert isinstance(model.model_.network.rule, Headed)
    model.save(tmp_path / "m.ffedge")
    back = FFClassifier.load(tmp_path / "m.ffedge")
    assert (back.predict(test.features) == model.predict(test.features)).all()
    assert np.allclose(model.predict_proba(test.features).sum(axis=1), 1)


def test_the_classifier_refuses_a_stream_of_such_a_rule(digits):
    train, _ = digits
    model = FFClassifier((8,), rule="scff", max_iter=1)

    for _ in range(2):
        with pytest.raises(ConfigError, match="expected a rule that trains the layers"):
            model.partial_fit(train.features[:50], train.labels[:50], classes=range(10))
        model.fit(train.features, train.labels)


@pytest.mark.parametrize("word", ["scff", "hybrid", "corrupted", "mixed", "other-sample"])
def test_every_word_for_learning_without_labels_has_a_plan(word):
    from ffedge.network import Network

    rule = named_rule(word)

    assert rule.learned.unlabelled
    assert plan_training(Network.dense(64, (20,), 10, rule), Recipe()).peak > 0


def test_the_threshold_leaves_its_share_of_the_samples_below(digits):
    train, _ = digits
    layers = pretrain(train, (20,), SCFF(), RECIPE)
    X = np.ascontiguousarray(train.features)

    model = set_threshold(layers, X, 0.1)

    scores = Predictor(model).scores(X)[:, 0]
    assert 0.09 < np.mean(scores < threshold_of(model)) <= 0.1
    assert threshold_of(layers) is None


@pytest.mark.parametrize("about", [None, 3, {"threshold": "0"}, {"threshold": float("nan")}])
def test_a_threshold_that_is_no_number_is_none(digits, about):
    layers = pretrain(digits[0], (8,), SCFF(), RECIPE)
    layers.training["anomaly"] = about

    assert threshold_of(layers) is None
