"""Intervals and early exits: scores of the layers that ran, work that is really saved."""

import numpy as np
import pytest
from read_models import data, trained_model

from ffedge.buffers import plan_prediction
from ffedge.errors import ConfigError
from ffedge.fit_reading import running_totals
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.reading import EarlyExit, Everything, Interval, full_cost
from ffedge.rules import NAMED_RULES, Contrast, Readout, hinton

CASES = [("readout", "float32"), ("readout-frozen", "float32"), ("group", "float32"),
         ("prototypes", "float32"), ("side-channel", "float32"),
         ("group-mean", "float32"), ("readout", "int8"), ("group", "int8")]  # fmt: skip
NEVER = EarlyExit((None, None))


@pytest.fixture(params=CASES, ids="-".join)
def model(request):
    return trained_model(request.param[0], precision=request.param[1])


def totals_of(model):
    """Votes of the lowest 1, 2, 3 layers for every sample: (3, n, C)."""
    return running_totals(model, data())[0]


def margins_of(model, totals):
    """By how much the best class leads, in nats, (2, n), by a sort."""
    unit = 2.0**model.network.score_exponent if model.precision == "int8" else 1.0
    ranked = np.sort(totals[:-1].astype(np.float64), axis=2)
    return (ranked[:, :, -1] - ranked[:, :, -2]) / unit


def middle(model):
    """Margins that let about half of the samples go at each layer."""
    margins = margins_of(model, totals_of(model))
    return EarlyExit(tuple(float(np.float32(m)) for m in np.median(margins, axis=1)))


def read(model, reading, batch=64, features=None):
    """Scores, and the predictor that made them."""
    predictor = Predictor(model, batch=batch, reading=reading)
    return predictor.scores(data().features if features is None else features), predictor


def test_everything_is_what_the_rule_itself_scores(model):
    everything, _ = read(model, Everything())

    assert everything.tobytes() == totals_of(model)[-1].tobytes()
    assert read(model, None)[0].tobytes() == everything.tobytes()


def test_a_model_nobody_leaves_early_scores_as_everything_in_every_bit(model):
    scores, predictor = read(model, NEVER)

    assert scores.tobytes() == totals_of(model)[-1].tobytes()
    assert predictor.share == 1.0


@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_each_sample_scores_what_the_layers_below_its_exit_say_in_every_bit(model, batch):
    totals, reading = totals_of(model), middle(model)
    leaves = margins_of(model, totals) > np.array(reading.margins)[:, None]
    layer = np.vstack([leaves, np.ones(leaves.shape[1], bool)]).argmax(axis=0)
    assert set(layer) == {0, 1, 2}

    scores, predictor = read(model, reading, batch)

    assert scores.tobytes() == totals[layer, np.arange(len(layer))].tobytes()
    network, rule = model.network, model.network.rule
    costs = [n.in_features * n.out_features + rule.vote_cost(network, i)
             for i, n in enumerate(network.layers)]  # fmt: skip
    assert predictor.multiply_adds == int(np.cumsum(costs)[layer].sum())
    assert predictor.share == predictor.multiply_adds / (len(layer) * full_cost(network))


def test_layers_run_with_the_samples_that_are_left_only(model):
    predictor = Predictor(model, reading=middle(model))
    rows = {layer.index: 0 for layer in predictor.run.layers}
    for layer in predictor.run.layers:

        def counted(x, count, layer=layer, forward=layer.forward):
            rows[layer.index] += count
            forward(x, count)

        layer.forward = counted

    predictor.scores(data().features)

    assert rows[0] == 200 > rows[1] > rows[2] > 0


def test_early_exits_probabilities_are_the_mean_of_the_layers_that_ran(model):
    totals, reading = totals_of(model), EarlyExit((0.0, None))
    unit = 2.0**model.network.score_exponent if model.precision == "int8" else 1.0

    chances = Predictor(model, reading=reading).probabilities(data().features)

    sure = margins_of(model, totals)[0] > 0
    logits = np.where(sure[:, None], totals[0], totals[2] / 3) / unit
    wanted = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(chances, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (0, 2)])
def test_an_interval_is_the_sum_of_its_layers_votes(model, first, last):
    totals = totals_of(model)
    wanted = totals[last] - (totals[first - 1] if first else 0)

    scores, predictor = read(model, Interval(first, last))

    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    network, rule = model.network, model.network.rule
    cost = sum(n.in_features * n.out_features for n in network.layers[: last + 1])
    cost += sum(rule.vote_cost(network, i) for i in range(first, last + 1))
    assert predictor.multiply_adds == 200 * cost
    chances = predictor.probabilities(data().features)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-12)


def test_layers_above_an_interval_take_no_memory(model):
    short = Predictor(model, reading=Interval(0, 0))

    assert len(short.run.layers) == 1
    assert short.plan.peak < Predictor(model, reading=Everything()).plan.peak


def test_the_plan_names_the_buffers_of_an_early_exit(model):
    plan = plan_prediction(model.network, 16, reading=NEVER)

    names = {buffer.need.name for buffer in plan.buffers if "reading." in buffer.need.name}
    assert names == {f"reading.{n}" for n in ("answers", "ranked", "moved", "who", "depth")}


def test_the_margin_of_two_int8_scores_can_exceed_int32():
    from ffedge.reading.layers import leads

    total = np.array([[2**31 - 1, -(2**31)], [5, 7]], np.int32)

    assert leads(total, np.empty_like(total)).tolist() == [2**32 - 1, 2]


REFUSED = {
    "a rule with labels in the input": (hinton(), (9, 9), Interval(0, 0), "one label at a time"),
    "an exit from one": (hinton(), (9, 9), EarlyExit((1.0,)), "such as readout or group"),
    "a layer that is not there": (Readout(), (9, 9), Interval(0, 2), "at most 1 in a network of 2"),
    "one layer": (Readout(), (9,), EarlyExit((1.0,)), "nothing to leave out"),
    "too few margins": (Readout(), (9, 9, 9), EarlyExit((1.0,)), "expected 2 margins"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_readout_that_makes_no_sense_is_refused_with_the_reason(case):
    rule, hidden, reading, words = REFUSED[case]

    with pytest.raises(ConfigError, match=words):
        reading.check(Network.dense(12, hidden, 4, rule))


@pytest.mark.parametrize("margins", [(), [1.0], (-1.0,), (float("nan"),), (float("inf"),), ("1",),
                                     (True,)])  # fmt: skip
def test_impossible_margins_are_refused(margins):
    with pytest.raises(ConfigError, match="EarlyExit: expected"):
        EarlyExit(margins)


@pytest.mark.parametrize("ends", [(-1, 0), (2, 1), (0.0, 1), (True, 1), ("0", 1)])
def test_impossible_intervals_are_refused(ends):
    with pytest.raises(ConfigError, match="Interval: expected 0 <= first <= last"):
        Interval(*ends)


def test_every_rule_whose_layers_vote_says_so():
    votes = {word for word, rule in NAMED_RULES.items() if rule.layers_vote}

    assert {"readout", "readout-frozen", "group", "group-mean"} <= votes
    assert not any(isinstance(NAMED_RULES[word], Contrast) for word in votes)
