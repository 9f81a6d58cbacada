"""The fixed-point numbers of an int8 network: the same for the host's run, a device and exports.

A real value is its integer times 2**-e; see ``run_int8`` for which e. What follows from network,
rule and learning rate is here, and nowhere else.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .kernels.int8.group import FACTOR_EXP, SCORE_EXP
from .kernels.int8.input import INPUT_EXP
from .layers import OUTPUT_EXP, forward_shift, readout_exponent, weight_exponent
from .network import Network
from .rules import Group, Readout, Rule

Array = np.ndarray[Any, Any]


class Scales(NamedTuple):
    """Exponents of one layer.

    shift: by which the forward product falls. score: of the layer's scores. vote: by which they
    rise in the layers' total. delta, readout: added to the rate's own for the steps of the
    weights and of M (0 where there is none).
    """

    shift: int
    score: int
    vote: int
    delta: int
    readout: int


def scales_of(network: Network, index: int) -> Scales:
    """The exponents of layer ``index`` of an int8 network."""
    layer = network.layers[index]
    shift, fall = forward_shift(layer.in_features), 15 - weight_exponent(layer.in_features)
    if isinstance(network.rule, Group):
        return Scales(shift, SCORE_EXP, 0, fall + INPUT_EXP, 0)
    own = readout_exponent(layer.out_features)
    score = OUTPUT_EXP + own
    votes = network.score_exponent - score
    return Scales(shift, score, votes, fall + INPUT_EXP + own, 15 - own + OUTPUT_EXP)


def layer_seed(seed: int, index: int) -> int:
    """The stream of the random numbers of a layer's updates, 0..2**32-1."""
    return (seed + 0x9E3779B9 * index) % 2**32


def fixed_point(value: float) -> tuple[int, int]:
    """(mantissa, exponent) with ``value`` = mantissa * 2**-exponent, mantissa in 2**14..2**15.

    Exact to 15 bits: a learning rate as the integer kernels take it.
    """
    fraction, power = math.frexp(value)
    return round(fraction * 2**15), 15 - power


def rate_of(rule: Rule, rate: float, smallest: int) -> tuple[int, int]:
    """``fixed_point`` of a learning rate in the terms of the rule's deltas.

    smallest: units of the layer's smallest group, see ``smallest_group``.
    """
    return group_rate(rule, rate, smallest) if isinstance(rule, Group) else fixed_point(rate)


def group_rate(rule: Group, rate: float, smallest: int) -> tuple[int, int]:
    """Rate in the terms of ``group_delta``: times the goodness's slope at the smallest group."""
    slope = float(rule.factor) / smallest * (2.0 / 2**OUTPUT_EXP if rule.squared else 1.0)
    return fixed_point(rate * slope)


def group_sizes(network: Network, index: int) -> Array:
    """Units of each class's group in a layer, int (C,)."""
    assert isinstance(network.rule, Group)
    width = network.layers[index].out_features
    return np.diff(network.rule.starts(width, network.classes))


def smallest_group(network: Network, index: int) -> int:
    """Units of the smallest of them; 0 where the rule has no groups."""
    return 0 if isinstance(network.rule, Readout) else int(group_sizes(network, index).min())


def group_factors(rule: Group, sizes: Array) -> Array:
    """``kernels.int8.group``'s factors, int64 (C,): sharpness / |group| in the scores' units."""
    power = 2 if rule.squared else 1
    scale = float(rule.factor) * 2.0 ** (SCORE_EXP + FACTOR_EXP - power * OUTPUT_EXP)
    return np.array([math.floor(scale / size + 0.5) for size in sizes], np.int64)


def constants(network: Network) -> dict[str, Array]:
    """Contents of the buffers that never change, by name: the group rule's, none with another.

    Layers of one width share theirs.
    """
    rule, found = network.rule, dict[str, Array]()
    if isinstance(rule, Group):
        for i, layer in enumerate(network.layers):
            sizes = group_sizes(network, i)
            starts = rule.starts(layer.out_features, network.classes)
            width = layer.out_features
            found[f"groups{width}"] = np.array(starts, np.int32)
            found[f"factors{width}"] = group_factors(rule, sizes)
            found[f"shares{width}"] = np.array(sizes.min() * 2**15 // sizes, np.int32)
    return found
