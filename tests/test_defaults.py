"""What ffedge chooses by itself: always something that works, never above the budget."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.buffers import plan_training
from ffedge.defaults import WIDTHS, choose_batch, choose_epochs, choose_hidden, choose_scaling
from ffedge.errors import BudgetError, ConfigError
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES
from ffedge.sources import from_arrays, load


@pytest.mark.parametrize(
    ("samples", "batch"), [(1, 8), (128, 8), (320, 20), (1024, 64), (10**6, 64)]
)
def test_small_sets_get_small_batches(samples, batch):
    assert choose_batch(samples) == batch


@given(st.integers(1, 10**9))
def test_epochs_stay_between_their_bounds(samples):
    assert 10 <= choose_epochs(samples, choose_batch(samples)) <= 200


def test_epochs_make_about_five_thousand_updates():
    epochs = choose_epochs(6400, 64)

    assert epochs * 100 == 5000


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_data_of_mostly_zeros_are_scaled_together(dtype):
    X = np.zeros((500, 10), dtype)
    X[:, :3] = 7
    dense, negative = X.copy(), X.copy()
    dense[:, :5] = 7
    negative[3, 0] = -1 if dtype != np.uint8 else 0
    labels = np.arange(500) % 2

    scalings = [choose_scaling(from_arrays(data, labels)) for data in (X, dense, negative)]

    assert scalings[:2] == ["global", "standard"]
    assert scalings[2] == ("standard" if dtype != np.uint8 else "global")


def test_scaling_looks_at_the_rows_of_a_split_only():
    X = np.zeros((20, 4), np.float32)
    X[:10] = -1.0
    data = from_arrays(X, np.arange(20) % 2)
    zeros = replace(data, rows=np.arange(10, 20, dtype=np.int32))

    assert (choose_scaling(data), choose_scaling(zeros)) == ("standard", "global")


def test_the_digits_are_scaled_feature_by_feature():
    assert choose_scaling(load("digits")[0]) == "standard"


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 800), st.integers(2, 12), st.sampled_from(sorted(NAMED_RULES)),
    st.integers(30_000, 20_000_000),
)  # fmt: skip
def test_the_widest_layers_that_fit_are_chosen(features, classes, rule, budget):
    recipe = Recipe(batch_size=16)

    def peak(width):
        network = Network.dense(features, (width, width), classes, NAMED_RULES[rule])
        return plan_training(network, recipe).peak

    try:
        width, same = choose_hidden(features, classes, NAMED_RULES[rule], recipe, budget)
    except BudgetError as error:
        assert error.budget == budget  # noqa: PT017
        assert peak(12) > budget
    else:
        assert width == same
        assert peak(width) <= budget
        wider = WIDTHS[WIDTHS.index(width) - 1]
        assert width == WIDTHS[0] or peak(wider) > budget


def test_without_a_budget_the_widest_are_chosen():
    assert choose_hidden(10, 3, NAMED_RULES["readout"], Recipe(), None) == (500, 500)


def test_a_hopeless_budget_is_refused_in_words():
    with pytest.raises(BudgetError, match=r"budget is 1,000 B: .* B missing. Largest buffers"):
        choose_hidden(784, 10, NAMED_RULES["readout"], Recipe(), 1000)


def test_more_classes_than_units_are_refused_in_words():
    with pytest.raises((ConfigError, BudgetError), match="one per class"):
        choose_hidden(4, 600, NAMED_RULES["group"], Recipe(), 1 << 30)
