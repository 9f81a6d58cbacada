"""Numbers within bounds: what is taken, and what is refused in words."""

from types import SimpleNamespace

import pytest

from ffedge.errors import ConfigError
from ffedge.ranges import number_in, whole_in


@pytest.mark.parametrize("value", [0, 0.5, 1.0])
def test_numbers_up_to_both_bounds_are_taken(value):
    number_in(SimpleNamespace(rate=value), "rate", 0.0, 1.0)


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf"), True, "0.5", None])
def test_other_values_are_refused_with_the_bounds(value):
    with pytest.raises(ConfigError) as refusal:
        number_in(SimpleNamespace(rate=value), "rate", 0.0, 1.0)

    assert str(refusal.value) == f"SimpleNamespace: expected rate in 0..1, got {value!r}"


@pytest.mark.parametrize("value", [2.0, True, "3", None])
def test_a_whole_number_is_an_int_and_nothing_else(value):
    with pytest.raises(ConfigError) as refusal:
        whole_in(SimpleNamespace(bits=value), "bits", 1, 16)

    assert str(refusal.value) == f"SimpleNamespace: expected bits a whole number, got {value!r}"


def test_whole_numbers_have_bounds_as_well():
    whole_in(SimpleNamespace(bits=16), "bits", 1, 16)
    with pytest.raises(ConfigError, match=r"expected bits in 1\.\.16, got 17"):
        whole_in(SimpleNamespace(bits=17), "bits", 1, 16)
