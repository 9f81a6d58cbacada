"""Rules with a label in the input: a pass per label, one pass, a shortlist of labels."""

import numpy as np
import pytest
from read_models import data, trained_model

from ffedge.errors import ConfigError
from ffedge.kernels.provider import LIBRARY
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.reading import Everything, OnePass, PerLabel, Shortlist, full_cost
from ffedge.rules import Append, Contrast, Overwrite, Pattern, Readout, WrongLabel, hinton

RULES = {
    "hinton": hinton(),
    "automatic": Contrast(label=Append(None)),
    "overwrite": Contrast(label=Overwrite()),
    "pattern": Contrast(label=Pattern()),
    "unsquared": "hinton-unsquared",
    "minimising": "hinton-minimising",
}
HIDDEN = (40, 33, 18)


@pytest.fixture(params=RULES)
def model(request):
    return trained_model(RULES[request.param], HIDDEN)


def read(model, reading, batch=64):
    """Scores, and the predictor that made them."""
    predictor = Predictor(model, batch=batch, reading=reading)
    return predictor.scores(data().features), predictor


def costs(model):
    """Multiply-adds of the first layer, and of all above it, for one row."""
    first, *rest = (n.in_features * n.out_features for n in model.network.layers)
    return first, sum(rest)


def test_per_label_scores_as_the_rule_itself_but_for_rounding(model):
    wanted, _ = read(model, Everything())

    scores, predictor = read(model, PerLabel())

    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4)
    assert isinstance(Predictor(model).reading, PerLabel)
    chances = predictor.probabilities(data().features)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.skipif(LIBRARY is not None, reason="the compiled library shares nothing")
def test_the_product_with_the_data_is_counted_once(model):
    first, rest = costs(model)

    _, predictor = read(model, PerLabel())

    shared = first + 5 * HIDDEN[0] + 5 * rest
    is_pattern = isinstance(model.network.rule.label, Pattern)
    assert predictor.multiply_adds == 200 * (5 * (first + rest) if is_pattern else shared)
    assert full_cost(model.network) == 5 * (first + rest)


def heads_of(model):
    """Mean log-probabilities of the heads on the neutral label, by plain matrices in float64."""
    run = Predictor(model, batch=200).run
    run.fetch_features(data().features, 0, 200)
    model.network.rule.show_label(run, 200, None)
    inputs = model.network.layers[0].in_features
    x = run.input.transpose(1, 0, 2).reshape(200, -1)[:, :inputs].astype(np.float64)
    x /= np.sqrt((x**2).mean(axis=1, keepdims=True))
    votes = []
    for i in range(len(HIDDEN)):
        x = np.maximum(x @ model.dense_weight(i) + model.dense_weight(i, "bias")[0], 0)
        size = np.sqrt((x**2).mean(axis=1, keepdims=True))
        if model.network.rule.goodness.name == "sum":
            size = x.mean(axis=1, keepdims=True)
        x /= size + 1e-8
        if i > 0:
            logits = x @ model.dense_weight(i, "head").T
            logits -= logits.max(axis=1, keepdims=True)
            votes.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return np.mean(votes, axis=0)


def test_one_pass_is_the_mean_of_the_heads_on_the_neutral_label(model):
    wanted = heads_of(model)

    scores, predictor = read(model, OnePass())

    np.testing.assert_allclose(scores, wanted, rtol=2e-4, atol=2e-4)
    chances = predictor.probabilities(data().features)
    wanted = np.exp(wanted)
    np.testing.assert_allclose(chances, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.skipif(LIBRARY is not None, reason="the compiled library shares nothing")
def test_one_pass_is_counted(model):
    first, rest = costs(model)
    heads = 5 * sum(HIDDEN[1:])

    _, predictor = read(model, OnePass())

    shared = 200 * (first + HIDDEN[0] + rest + heads) + 4 * 5 * HIDDEN[0]
    is_pattern = isinstance(model.network.rule.label, Pattern)
    assert predictor.multiply_adds == (200 * (first + rest + heads) if is_pattern else shared)


@pytest.mark.parametrize("most", [2, 3, 5])
def test_a_shortlist_ranks_the_likeliest_classes_by_goodness(model, most):
    heads, goodness = read(model, OnePass())[0], read(model, PerLabel())[0]

    scores, _ = read(model, Shortlist(most))

    order = np.argsort(-heads, axis=1, kind="stable")
    listed, rest = order[:, :most], order[:, most:]
    rows = np.arange(200)[:, None]
    np.testing.assert_allclose(scores[rows, listed], goodness[rows, listed], rtol=1e-5, atol=1e-5)
    factor = model.network.rule.probability_factor(model.network)
    gap = (heads[rows, listed[:, -1:]] - heads[rows, rest]) / factor
    wanted = goodness[rows, listed].min(axis=1, keepdims=True) - gap
    np.testing.assert_allclose(scores[rows, rest], wanted, rtol=1e-4, atol=1e-3)
    best = listed[np.arange(200), goodness[rows, listed].argmax(axis=1)]
    assert np.mean(scores.argmax(axis=1) == best) > 0.99


@pytest.mark.skipif(LIBRARY is not None, reason="the compiled library shares nothing")
def test_a_shortlist_costs_one_pass_and_one_for_each_class_on_it(model):
    _, one = read(model, OnePass())

    _, three = read(model, Shortlist(3))

    first, rest = costs(model)
    is_pattern = isinstance(model.network.rule.label, Pattern)
    more = first + rest if is_pattern else HIDDEN[0] + rest
    assert three.multiply_adds == one.multiply_adds + 200 * 3 * more


@pytest.mark.parametrize("reading", [PerLabel(), OnePass(), Shortlist(2)])
def test_scores_do_not_depend_on_the_batch(model, reading):
    whole, _ = read(model, reading, batch=200)

    for batch in (1, 7, 64):
        assert read(model, reading, batch)[0].tobytes() == whole.tobytes()


REFUSED = {
    "per label without labels": (Readout(), PerLabel(), "PerLabel: .*without a label, in one pass"),
    "one pass of a readout": (Readout(), OnePass(), "OnePass: .*without a label, in one pass"),
    "a shortlist of a readout": (Readout(), Shortlist(2), "Shortlist: expected a rule with the la"),
    "one pass without heads": (Contrast(negatives=WrongLabel()), OnePass(), "softmax heads"),
    "a list without heads": (Contrast(negatives=WrongLabel()), Shortlist(2), "read it by PerLabel"),
    "more classes than there are": (hinton(), Shortlist(5), "at most the network's 4 classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_readout_that_makes_no_sense_is_refused_with_the_reason(case):
    rule, reading, words = REFUSED[case]

    with pytest.raises(ConfigError, match=words):
        reading.check(Network.dense(12, (9, 9), 4, rule))


@pytest.mark.parametrize("most", [1, 0, -2, 2.0, True, "3"])
def test_a_list_of_less_than_two_is_refused(most):
    with pytest.raises(ConfigError, match="at least 2 classes"):
        Shortlist(most)
