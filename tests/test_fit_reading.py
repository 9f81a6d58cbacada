"""Margins and intervals from held-out data: what is allowed is kept, and what can be is saved."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from read_models import data, trained_model

from ffedge.errors import ConfigError, DataError
from ffedge.fit_reading import fit_early_exit, fit_interval, running_totals
from ffedge.predict import Predictor
from ffedge.reading import EarlyExit, Interval
from ffedge.sources import from_arrays

CASES = [("readout", "float32"), ("group", "float32"), ("readout", "int8")]


@pytest.fixture(params=CASES, ids="-".join)
def model(request):
    return trained_model(request.param[0], precision=request.param[1])


def held_out():
    return data(samples=300, seed=3)


def right_of(model, reading):
    samples = held_out()
    predictor = Predictor(model, reading=reading)
    return predictor.codes(samples.features) == samples.labels, predictor.share


@pytest.mark.parametrize("lose", [0.0, 0.01, 0.05])
def test_early_exit_spoils_no_more_samples_than_allowed(model, lose):
    full, _ = right_of(model, None)

    fitted = fit_early_exit(model, held_out(), lose=lose)

    right, share = right_of(model, fitted.reading)
    assert (full & ~right).sum() <= lose * 300
    assert fitted.samples == 300
    assert fitted.full_accuracy == full.mean()
    assert fitted.accuracy == right.mean()
    assert fitted.share == pytest.approx(share)


def test_early_exit_saves_more_where_more_may_be_lost(model):
    shares = [fit_early_exit(model, held_out(), lose=lose).share for lose in (0.0, 0.02, 0.1)]

    assert 1.0 > shares[0] >= shares[1] >= shares[2]


def test_early_exit_is_close_to_the_best_margins_that_there_are():
    """Against every pair of margins on a grid, none of which may save much more."""
    model = trained_model()
    totals, labels = running_totals(model, held_out())
    ranked = np.sort(totals[:-1], axis=2)
    margins = ranked[:, :, -1] - ranked[:, :, -2]
    right = totals.argmax(axis=2) == labels
    grid = [np.quantile(row, np.linspace(0, 1, 40)) for row in margins]
    shares = []
    for pair in product(*grid):
        leaves = margins > np.array(pair)[:, None]
        layer = np.vstack([leaves, np.ones(300, bool)]).argmax(axis=0)
        if (right[-1] & ~right[layer, np.arange(300)]).sum() <= 6:
            costs = np.cumsum([n.in_features * n.out_features + 5 * n.out_features
                               for n in model.network.layers])  # fmt: skip
            shares.append(costs[layer].mean() / costs[-1])

    fitted = fit_early_exit(model, held_out(), lose=0.02)

    assert fitted.share < min(shares) + 0.03


def test_interval_is_the_best_of_all(model):
    found = {
        (first, last): right_of(model, Interval(first, last))[0].mean()
        for last in range(3)
        for first in range(last + 1)
    }

    fitted = fit_interval(model, held_out())

    ends = (fitted.reading.first, fitted.reading.last)
    assert found[ends] == max(found.values()) == pytest.approx(fitted.accuracy)
    assert ends == next(e for e, accuracy in found.items() if accuracy == max(found.values()))
    assert fitted.share == pytest.approx(right_of(model, fitted.reading)[1])


def test_interval_takes_fewer_layers_where_that_may_cost_accuracy(model):
    assert fit_interval(model, held_out(), lose=0.5).reading == Interval(0, 0)


def test_fitting_ignores_the_read_out_that_the_model_has(model):
    plain = fit_interval(model, held_out())

    again = fit_interval(replace(model, reading=Interval(0, 0)), held_out())

    assert again == plain


@pytest.mark.parametrize("fit", [fit_early_exit, fit_interval])
def test_rules_whose_layers_do_not_vote_are_refused(fit):
    with pytest.raises(ConfigError, match="one label at a time"):
        fit(trained_model("hinton"), held_out())


@pytest.mark.parametrize("lose", [-0.1, 0.6, float("nan")])
def test_an_impossible_share_is_refused(lose):
    with pytest.raises(ConfigError, match=r"share to lose in 0\.\.0\.5"):
        fit_early_exit(trained_model(), held_out(), lose=lose)


def test_one_layer_has_no_early_exit():
    with pytest.raises(ConfigError, match="nothing to leave out"):
        fit_early_exit(trained_model(hidden=(20,)), held_out())


def test_data_of_other_classes_are_refused():
    samples = held_out()
    named = from_arrays(samples.features, np.array(list("abcde"))[samples.labels])

    with pytest.raises(DataError, match="the model's classes"):
        fit_early_exit(trained_model(), named)


def test_margins_are_numbers_that_a_file_can_hold(model):
    fitted = fit_early_exit(model, held_out())

    assert isinstance(fitted.reading, EarlyExit)
    assert all(m is None or type(m) is float for m in fitted.reading.margins)
