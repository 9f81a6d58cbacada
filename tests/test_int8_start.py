"""Starting weights on the grid."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import PLAIN_PYTHON

from ffedge.kernels.int8.start import fill_readout, fill_weights, to_s8
from ffedge.layers import readout_exponent, weight_exponent

pytestmark = pytest.mark.kernels

WIDTHS = (1, 5, 33) if PLAIN_PYTHON else (1, 3, 4, 5, 15, 16, 17, 33)


@pytest.mark.parametrize("inputs", WIDTHS)
@pytest.mark.parametrize("units", WIDTHS)
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_weights_equal_the_oracle_and_leave_the_padding_zero(inputs, units, seed):
    scale = np.float32(15.3)
    weight = np.full((oracle.panels(units), -(-inputs // 4), 16, 4), 99, np.int8)

    fill_weights(seed, inputs, units, scale, 0, weight)

    wanted = oracle.initial_weights(seed, inputs, units, scale)
    assert weight.tolist() == oracle.pack_weights(wanted).tolist()


def test_weights_are_filled_in_slices_as_they_are_at_once():
    whole, sliced = (np.empty((5, 2, 16, 4), np.int8) for _ in range(2))

    fill_weights(3, 7, 70, np.float32(16.0), 0, whole)
    for first in (0, 2, 4):
        fill_weights(3, 7, 70, np.float32(16.0), first, sliced[first : first + 2])

    assert sliced.tobytes() == whole.tobytes()


@pytest.mark.parametrize("classes", [2, 10, 17])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_readout_equals_the_oracle_and_leaves_the_padding_zero(classes, width):
    scale = np.float32(14.1)
    readout = np.full((classes, oracle.panels(width) * 16), 99, np.int8)

    fill_readout(7, width, scale, readout)

    wanted = oracle.initial_weights(7, classes, width, scale)
    assert readout[:, :width].tolist() == wanted.tolist()
    assert not readout[:, width:].any()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.0, 0), (0.5, 1), (-0.5, 0), (1.5, 2), (-1.5, -1), (126.6, 127), (127.5, 127),
     (1e30, 127), (-127.4, -127), (-127.6, -127), (-1e30, -127)],
)  # fmt: skip
def test_halves_round_up_and_the_ends_saturate(value, wanted):
    assert to_s8(np.float32(value)) == wanted


def test_the_start_has_the_moments_of_its_docstring():
    inputs, units = (100, 8) if PLAIN_PYTHON else (784, 64)
    scale = np.float32(16.0)
    weight = np.zeros((oracle.panels(units), inputs // 4, 16, 4), np.int8)

    fill_weights(3, inputs, units, scale, 0, weight)

    values = oracle.unpack_weights(weight, inputs, units).ravel() / 16
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    assert abs(values.var() - 1 - 1 / 12 / 16**2) < 4 * np.sqrt(2 / values.size)


@pytest.mark.parametrize("width", [1, 2, 5, 8, 64, 500, 784, 4096, 131_071])
@pytest.mark.parametrize(
    ("exponent", "same", "deviations"),
    [(weight_exponent, oracle.weight_exponent, 3), (readout_exponent, oracle.readout_exponent, 8)],
)
def test_the_grid_spans_as_many_deviations_of_the_start_as_it_says(
    exponent, same, deviations, width
):
    step = 2.0 ** -exponent(width)

    assert exponent(width) == same(width)
    span = 127 * step * np.sqrt(width)
    assert deviations / np.sqrt(2) <= span <= deviations * np.sqrt(2)
    if deviations == 8:  # the generator's largest number is 4.9: no readout starts clipped
        assert span > 4.9
