"""Units that stand out: value by the oracle, transposed Jacobian by finite differences."""

import numpy as np
import pytest
import reference
from checks import assert_close, assert_rows

from ffedge.activations import ACTIVATIONS, Standout
from ffedge.errors import ConfigError
from ffedge.kernels.provider import LIBRARY

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")

SHAPES = [(1, 3), (4, 16), (5, 33)]


def sums_of(rows, width):
    return np.random.default_rng([rows, width]).normal(size=(rows, width)) + 0.3


@pytest.mark.parametrize("offset", [0.0, 0.7])
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_value_and_derivative_equal_the_oracle(rows, width, offset):
    Z, E = sums_of(rows, width), np.random.default_rng(1).normal(size=(rows, width))
    out, sums = reference.pack_rows(Z), np.zeros_like(reference.pack_rows(Z))
    delta, unit = reference.pack_rows(E), Standout(offset)

    unit.apply(out, rows, width, sums)
    unit.gate(delta, rows, width, out, sums)

    assert_rows(out, rows, reference.standout(Z, offset))
    assert_close(reference.unpack_rows(sums, rows, width), Z, 1e-6)

    def value(Z):
        return (reference.standout(Z, offset) * E).sum()

    assert_rows(delta, rows, reference.central_differences(value, Z), 1e-4)


def test_equal_units_are_all_silent():
    out = reference.pack_rows(np.full((1, 20), 2.0))
    delta = reference.pack_rows(np.ones((1, 20)))

    Standout(0.5).apply(out, 1, 20, out.copy())
    Standout(0.5).gate(delta, 1, 20, out, reference.pack_rows(np.full((1, 20), 2.0)))

    assert not out.any()
    assert not delta.any()


@pytest.mark.parametrize("offset", [-0.1, 3.1, float("nan")])
def test_an_offset_out_of_range_is_refused(offset):
    with pytest.raises(ConfigError, match=r"Standout: expected offset in 0\.\.3"):
        Standout(offset)


def test_it_is_known_by_its_name():
    assert ACTIVATIONS["standout"] is Standout
