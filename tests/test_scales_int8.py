"""The fixed-point numbers of an int8 network against the oracle's."""

import numpy as np
import pytest
import reference_int8 as oracle
from checks import repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.network import Network
from ffedge.rules import Group, Readout
from ffedge.scales_int8 import (
    constants,
    fixed_point,
    group_factors,
    group_rate,
    rate_of,
    scales_of,
    smallest_group,
)


@repeatable(300)
@given(st.floats(1e-300, 1e6) | st.floats(1e-6, 100) | st.just(0.0))
def test_fixed_point_is_exact_to_15_bits(value):
    mantissa, exponent = fixed_point(value)

    assert (mantissa, exponent) == oracle.fixed_point(value)
    if value:
        assert 2**14 <= mantissa <= 2**15
        assert abs(mantissa * 2.0**-exponent / value - 1) <= 2.0**-15


@pytest.mark.parametrize("value", [2.0**e for e in range(-40, 8)] + [3 * 2.0**-9, 32_767 / 2**20])
def test_fixed_point_of_15_bits_is_exact(value):
    mantissa, exponent = fixed_point(value)

    assert mantissa * 2.0**-exponent == value


@repeatable(30)
@given(st.integers(2, 20), st.integers(0, 40), st.booleans(), st.floats(0.001, 1000))
def test_factors_and_rate_are_the_oracles(classes, more, squared, sharpness):
    rule = Group(squared=squared, sharpness=sharpness)
    starts = rule.starts(classes + more, classes)
    sizes = np.diff(starts)
    factors, shares, slope = oracle.group_units(starts, squared, float(np.float32(sharpness)))

    assert starts == oracle.starts(classes + more, classes)
    assert group_factors(rule, sizes).tolist() == factors.tolist()
    assert group_rate(rule, 0.3, int(sizes.min())) == oracle.fixed_point(0.3 * slope)
    assert ((sizes.min() * 2**15) // sizes).tolist() == shares.tolist()


def test_the_constants_of_a_network_are_those_of_its_groups():
    rule = Group(squared=True)
    network = Network.dense(9, (20, 13), 3, rule, precision="int8")

    found = constants(network)

    for i, width in enumerate((20, 13)):
        starts = rule.starts(width, 3)
        factors, shares, _ = oracle.group_units(starts, True, float(rule.factor))
        assert found[f"groups{width}"].tolist() == starts
        assert found[f"factors{width}"].tolist() == factors.tolist()
        assert found[f"shares{width}"].tolist() == shares.tolist()
        assert smallest_group(network, i) == np.diff(starts).min()
        assert rate_of(rule, 0.1, smallest_group(network, i)) == group_rate(
            rule, 0.1, int(np.diff(starts).min())
        )


def test_a_readout_has_no_constants_and_its_rate_is_the_rates_own():
    network = Network.dense(9, (20,), 3, Readout(), precision="int8")

    assert constants(network) == {}
    assert smallest_group(network, 0) == 0
    assert rate_of(network.rule, 0.3, 0) == fixed_point(0.3)


def test_a_layers_exponents_are_those_of_the_oracles_step():
    e, f = oracle.weight_exponent(30), oracle.readout_exponent(500)
    shift = oracle.INPUT_EXP + e - oracle.OUTPUT_EXP
    network = Network.dense(30, (500,), 4, Readout(), precision="int8")
    found = scales_of(network, 0)
    assert (found.shift, found.score) == (shift, oracle.OUTPUT_EXP + f)
    assert found.delta == 15 + f + oracle.INPUT_EXP - e
    assert found.readout == 15 + oracle.OUTPUT_EXP - f

    network = Network.dense(30, (500,), 4, Group(), precision="int8")
    found = scales_of(network, 0)
    assert (found.shift, found.score) == (shift, oracle.SCORE_EXP)
    assert found.delta == 15 + oracle.INPUT_EXP - e


@pytest.mark.parametrize("rule", [Readout(), Group()])
def test_layers_vote_in_one_unit(rule):
    network = Network.dense(30, (500, 16), 4, rule, precision="int8")

    units = {scales_of(network, i).score + scales_of(network, i).vote for i in range(2)}

    assert units == {network.score_exponent}
    assert min(scales_of(network, i).vote for i in range(2)) == 0
