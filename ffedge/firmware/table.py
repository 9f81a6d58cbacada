"""A network as the device program reads it: the arena's plan, the table of layers, the rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..buffers import model_needs, parameters
from ..buffers_int8 import learning_needs, step_needs
from ..errors import ConfigError
from ..kernels.device import program
from ..network import Network
from ..plan import END, Buffer, Need, Plan, place
from ..recipe import Recipe
from ..rules import Group, Readout
from ..scales_int8 import constants, layer_seed, rate_of, scales_of, smallest_group

Array = np.ndarray[Any, Any]

#: What only a host needs: it fetches batches, learns the scaler, and updates by many samples.
_HOST_ONLY = ("input.", "moments", "chosen", "labels")
_BATCH_ONLY = (".xt", ".delta", ".sums")


def check(network: Network, recipe: Recipe) -> None:
    """Refuse what the device program cannot run. Raises ConfigError."""
    rule = network.rule
    if rule.numeric:
        raise ConfigError(
            f"firmware: expected a classifier, got a regression (rule {rule.name}), which has no "
            "int8 form: boards learn from class codes"
        )
    if network.precision != "int8" or not isinstance(rule, Readout | Group):
        raise ConfigError(
            "firmware: expected an int8 network with the readout or the group rule, got "
            f"{network.precision} and {rule.name}; train with --precision int8, or convert the "
            "model by `ffedge quantize`"
        )
    if recipe.batch_size != 1 or recipe.schedule != "sweep" or recipe.optimizer.state:
        raise ConfigError(
            "firmware: expected batches of one sample, the schedule sweep and the optimiser sgd, "
            f"got {recipe.batch_size}, {recipe.schedule} and {recipe.optimizer.name}"
        )


def plan_device(network: Network, recipe: Recipe) -> Plan:
    """Every buffer of training by single samples on a device; the scaler stays in flash."""
    check(network, recipe)
    depth = len(network.layers)
    needs: list[Need] = [
        *model_needs(network),
        *step_needs(network, 1, [0] * depth),
        *learning_needs(network, 1, 1, [(0, END)] * depth),
    ]
    kept = [
        need for need in needs
        if not need.name.startswith(_HOST_ONLY) and not need.name.endswith(_BATCH_ONLY)
    ]  # fmt: skip
    return place(kept)


def make_table(network: Network, recipe: Recipe, plan: Plan) -> Array:
    """The device program's table, int32; see ``kernels.device.program``."""
    place_of = {buffer.name: buffer.offset for buffer in plan.buffers}
    rule, specs = network.rule, {buffer.name: buffer.spec for buffer in plan.buffers}
    assert isinstance(rule, Readout | Group)
    table = np.zeros(program.HEAD + len(network.layers) * program.ROW, np.int32)
    head = {
        program.LAYERS: len(network.layers),
        program.FEATURES: network.features,
        program.PARTS: network.input_parts,
        program.CLASSES: network.classes,
        program.SQUARED: isinstance(rule, Group) and rule.squared,
        program.SMOOTHING: round(rule.smoothing * 2**15),
        program.INPUT: place_of["input"],
        program.INPUT_ROW: specs["input"].shape[1],
        program.LENGTH: place_of["length"],
        program.SCORES: place_of["scores"],
        program.TOTAL: place_of["total"],
        program.ERRORS: place_of["errors"],
        program.LISTED: place_of["listed"],
    }
    for column, value in head.items():
        table[column] = value
    for i, layer in enumerate(network.layers):
        name, width = f"layer{i}", layer.out_features
        row = table[program.HEAD + i * program.ROW :]
        weight = parameters(network, i)["weight"]
        scales = scales_of(network, i)
        columns = {
            program.INPUTS: layer.in_features,
            program.QUADS: weight.shape[1],
            program.PANELS: weight.shape[0],
            program.WIDTH: width,
            program.WEIGHT: place_of[f"{name}.weight"],
            program.BIAS: place_of[f"{name}.bias"],
            program.READOUT: place_of.get(f"{name}.readout", -1),
            program.OUT: place_of[f"{name}.out"],
            program.ROW_TERMS: place_of[f"{name}.row"],
            program.INPUT_WORDS: place_of[f"{name}.input_words"],
            program.UNIT_WORDS: place_of[f"{name}.unit_words"],
            program.STARTS: place_of.get(f"groups{width}", -1),
            program.FACTORS: place_of.get(f"factors{width}", -1),
            program.SHARES: place_of.get(f"shares{width}", -1),
            program.SHIFT: scales.shift,
            program.SCORES_EXP: scales.score,
            program.SCORE_SHIFT: scales.vote,
            program.DELTA_EXP: scales.delta,
            program.READOUT_EXP: scales.readout,
        }
        for column, value in columns.items():
            row[column] = value
        row[program.SEED] = np.uint32(layer_seed(recipe.seed, i)).view(np.int32)
    return table


def make_rates(network: Network, rate: float) -> Array:
    """Mantissa and exponent of learning rate ``rate`` for each layer, int32 (2 * layers,)."""
    rates: list[int] = []
    for i in range(len(network.layers)):
        rates += rate_of(network.rule, rate, smallest_group(network, i))
    return np.array(rates, np.int32)


def first_contents(
    network: Network, plan: Plan, params: Mapping[str, Array]
) -> Iterator[tuple[Buffer, Array]]:
    """What a device's arena holds before the first step: weights and constants, in its order.

    Raises ConfigError for parameters of another shape, or not of whole words.
    """
    contents = {**params, **constants(network)}
    for buffer in plan.buffers:
        if buffer.name in contents:
            content = np.ascontiguousarray(contents[buffer.name], buffer.spec.dtype)
            if content.nbytes % 4 or content.shape != buffer.spec.shape:
                raise ConfigError(
                    f"firmware: expected {buffer.name} of shape {buffer.spec.shape} in whole "
                    f"words, got {content.shape}"
                )
            yield buffer, content
