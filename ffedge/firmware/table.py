"""A network as the device program reads it: the arena's plan, the table of layers, the rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..buffers import model_needs, parameters
from ..buffers_int8 import learning_needs, step_needs
from ..errors import ConfigError
from ..kernels.device import program
from ..kernels.int8.group import SCORE_EXP
from ..kernels.int8.input import INPUT_EXP
from ..layers import OUTPUT_EXP, forward_shift, readout_exponent, weight_exponent
from ..network import Network
from ..plan import END, Need, Plan, place
from ..recipe import Recipe
from ..rules import Group, Readout
from ..run_int8 import fixed_point, group_factors, group_rate, layer_seed

Array = np.ndarray[Any, Any]

#: What only a host needs: it fetches batches, learns the scaler, and updates by many samples.
_HOST_ONLY = ("input.", "moments", "chosen", "labels")
_BATCH_ONLY = (".xt", ".delta", ".sums")


def check(network: Network, recipe: Recipe) -> None:
    """Refuse what the device program cannot run. Raises ConfigError."""
    rule = network.rule
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
        name, row = f"layer{i}", table[program.HEAD + i * program.ROW :]
        weight = parameters(network, i)["weight"]
        weight_fall = 15 - weight_exponent(layer.in_features) + INPUT_EXP
        readout_exp = 0 if isinstance(rule, Group) else readout_exponent(layer.out_features)
        columns = {
            program.INPUTS: layer.in_features,
            program.QUADS: weight.shape[1],
            program.PANELS: weight.shape[0],
            program.WIDTH: layer.out_features,
            program.WEIGHT: place_of[f"{name}.weight"],
            program.BIAS: place_of[f"{name}.bias"],
            program.READOUT: place_of.get(f"{name}.readout", -1),
            program.OUT: place_of[f"{name}.out"],
            program.ROW_TERMS: place_of[f"{name}.row"],
            program.INPUT_WORDS: place_of[f"{name}.input_words"],
            program.UNIT_WORDS: place_of[f"{name}.unit_words"],
            program.STARTS: place_of.get(f"{name}.groups", -1),
            program.FACTORS: place_of.get(f"{name}.factors", -1),
            program.SHARES: place_of.get(f"{name}.shares", -1),
            program.SHIFT: forward_shift(layer.in_features),
            program.SCORES_EXP: SCORE_EXP if isinstance(rule, Group) else OUTPUT_EXP + readout_exp,
            program.DELTA_EXP: weight_fall + readout_exp,
            program.READOUT_EXP: 15 - readout_exp + OUTPUT_EXP,
        }
        if not isinstance(rule, Group):
            votes = network.score_exponent
            columns[program.SCORE_SHIFT] = votes - OUTPUT_EXP - readout_exp
        for column, value in columns.items():
            row[column] = value
        row[program.SEED] = np.uint32(layer_seed(recipe.seed, i)).view(np.int32)
    return table


def make_rates(network: Network, rate: float) -> Array:
    """Mantissa and exponent of learning rate ``rate`` for each layer, int32 (2 * layers,)."""
    rule = network.rule
    rates: list[int] = []
    for layer in network.layers:
        if isinstance(rule, Group):
            smallest = int(np.diff(rule.starts(layer.out_features, network.classes)).min())
            rates += group_rate(rule, rate, smallest)
        else:
            rates += fixed_point(rate)
    return np.array(rates, np.int32)


def constants(network: Network) -> dict[str, Array]:
    """Contents of the arena that never change: the group rule's, by buffer."""
    rule = network.rule
    found: dict[str, Array] = {}
    if isinstance(rule, Group):
        for i, layer in enumerate(network.layers):
            starts = np.array(rule.starts(layer.out_features, network.classes), np.int32)
            sizes = np.diff(starts)
            found[f"layer{i}.groups"] = starts
            found[f"layer{i}.factors"] = group_factors(rule, sizes)
            found[f"layer{i}.shares"] = np.array(sizes.min() * 2**15 // sizes, np.int32)
    return found


def fill_arena(arena: Array, plan: Plan, network: Network, params: Mapping[str, Array]) -> None:
    """Write weights and constants into a device's arena, uint8 (plan.peak,)."""
    contents = {**params, **constants(network)}
    for buffer in plan.buffers:
        if buffer.name in contents:
            content = np.ascontiguousarray(contents[buffer.name], buffer.spec.dtype)
            end = buffer.offset + buffer.spec.nbytes
            arena[buffer.offset : end] = content.reshape(-1).view(np.uint8)
