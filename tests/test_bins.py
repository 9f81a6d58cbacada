"""Bins of a number: where their centres lie, and what probabilities over them say."""

import numpy as np
import pytest

from ffedge.bins import (
    Even,
    Quantiles,
    ascending,
    deviation,
    expected,
    interval,
    looked_at,
    place,
    quantile,
)
from ffedge.errors import ConfigError, DataError


def test_even_bins_leave_the_margin_outside_the_targets():
    centres = place(Even(margin=1.0), np.array([2.0, 5.0, 10.0]), 7)

    assert centres.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert centres.dtype == np.float32


def test_without_a_margin_the_extremes_are_centres():
    assert place(Even(margin=0.0), np.array([2.0, 10.0]), 5).tolist() == [2, 4, 6, 8, 10]


def test_quantiles_hold_equal_shares_of_the_targets():
    targets = np.random.default_rng(0).exponential(size=10_000)

    centres = place(Quantiles(), targets, 10)

    middles = (centres[1:] + centres[:-1]) / 2
    counts = np.bincount(np.searchsorted(middles, targets), minlength=10)
    assert counts.min() > 700
    assert counts.max() < 1300
    assert np.diff(centres)[0] < np.diff(centres)[-1] / 5


def test_equal_quantiles_are_moved_apart():
    centres = place(Quantiles(), np.array([0.0] * 50 + [1.0] * 50), 8)

    assert ascending(centres)
    assert np.allclose(centres, [0] * 4 + [1] * 4, atol=0.01)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e6])
@pytest.mark.parametrize("spacing", [Even(), Quantiles()])
def test_bins_of_a_constant_lie_closely_around_it(spacing, value):
    centres = place(spacing, np.full(9, value, np.float32), 12)

    assert ascending(centres)
    assert np.allclose(centres, value, rtol=1e-3, atol=1e-6)


def test_targets_that_float32_cannot_divide_are_refused():
    with pytest.raises(DataError, match="expected targets that float32 can divide into 16 bins"):
        place(Even(), np.array([1e9, 1e9 + 300]), 16)


@pytest.mark.parametrize("margin", [-0.1, 8.1, float("nan")])
def test_a_margin_out_of_range_is_refused(margin):
    with pytest.raises(ConfigError, match=r"expected margin in 0\.\.8, got"):
        Even(margin)


def test_margins_that_leave_no_two_bins_are_refused():
    with pytest.raises(ConfigError, match="at least 6 bins for a margin of 2 on either side"):
        place(Even(margin=2.0), np.array([0.0, 1.0]), 5)


@pytest.mark.parametrize(
    ("centres", "wanted"),
    [([1, 2, 3], True), ([1, 1, 3], False), ([1, 3, 2], False), ([1, 2, np.inf], False)],
)
def test_centres_must_ascend(centres, wanted):
    assert ascending(np.array(centres, np.float32)) == wanted


def test_targets_are_looked_at_by_row_and_sparingly():
    targets = np.arange(200_000, dtype=np.float32)

    assert looked_at(targets, np.array([5, 3])).tolist() == [5, 3]
    found = looked_at(targets, None)
    assert len(found) <= 1 << 16
    assert (found[0], np.diff(found).max()) == (0, 4)


CENTRES = np.array([0, 10, 20], np.float32)


def test_expected_value_and_deviation_are_those_of_the_distribution():
    chances = np.array([[1.0, 0, 0], [0.5, 0, 0.5], [0.25, 0.5, 0.25]])

    assert expected(chances, CENTRES).tolist() == [0, 10, 10]
    assert np.allclose(deviation(chances, CENTRES), [0, 10, np.sqrt(50)])


def test_quantiles_of_a_prediction_lie_evenly_within_a_bin():
    chances = np.array([[0.25, 0.5, 0.25]])

    found = [quantile(chances, CENTRES, share)[0] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]

    assert found == [-5, 5, 10, 15, 25]


def test_an_interval_holds_its_share_of_the_probability():
    assert interval(np.array([[0.25, 0.5, 0.25]]), CENTRES, 0.5).tolist() == [[5, 15]]


@pytest.mark.parametrize("coverage", [0, 1, -0.5, "0.9", True, float("nan")])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    with pytest.raises(ConfigError, match="interval: expected coverage above 0 and below 1, got"):
        interval(np.ones((1, 3)) / 3, CENTRES, coverage)
