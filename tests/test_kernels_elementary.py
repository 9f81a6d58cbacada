"""exp, log and what is made of them, against NumPy's in float64."""

import numpy as np
import pytest
import reference
from checks import not_in_library

from ffedge.kernels.elementary import exp, log, log1p, sigmoid, softplus

pytestmark = pytest.mark.kernels


def ulps(actual, wanted):
    """Largest distance in units of the last place of float32."""
    actual, wanted = np.array(actual, np.float64), np.array(wanted)
    return (np.abs(actual - wanted) / np.spacing(np.abs(wanted).astype(np.float32))).max()


def test_exp_is_within_two_units_in_the_last_place():
    x = -np.logspace(-7, 1.94, 999).astype(np.float32)

    assert ulps([exp(value) for value in x], np.exp(x.astype(np.float64))) <= 2


def test_log_is_within_two_units_in_the_last_place():
    x = np.concatenate([np.logspace(-30, 30, 777), np.linspace(1.001, 20, 333)]).astype(np.float32)

    assert ulps([log(value) for value in x], np.log(x.astype(np.float64))) <= 2


def test_log1p_keeps_small_numbers():
    x = np.logspace(-12, 0, 777).astype(np.float32)

    assert ulps([log1p(value) for value in x], np.log1p(x.astype(np.float64))) <= 4


@pytest.mark.parametrize("x", [-87.4, -1e4, -np.inf, np.nan])
def test_exp_is_zero_where_it_would_be_denormal(x):
    assert exp(np.float32(x)) == 0


def test_the_fixed_points_are_exact():
    assert (exp(np.float32(0)), log(np.float32(1)), log1p(np.float32(0))) == (1, 0, 0)


@not_in_library
@pytest.mark.parametrize("value", [-200.0, -20.0, -1.0, -1e-4, 0.0, 1e-4, 1.0, 20.0, 200.0])
def test_softplus_and_sigmoid_neither_overflow_nor_lose_digits(value):
    value = np.float32(value)

    assert softplus(value) == pytest.approx(np.logaddexp(0, value), rel=1e-5, abs=1e-30)
    assert sigmoid(value) == pytest.approx(reference.sigmoid(value), rel=1e-5, abs=1e-30)
