"""``power-cuts``: cut an emulated board's power and see what becomes of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ffedge.errors import ConfigError
from ffedge.firmware.boards import board_named
from ffedge.firmware.image import build
from ffedge.model import Model
from ffedge.rules import NAMED_RULES

from .cells import MODES
from .device import Device
from .emulated import Cuts, EmulatedDevice, cut_at_instructions, cut_at_operations
from .emulator import choose
from .host import small_trainer
from .power import Result, random_cuts, record, survive_all

#: Samples between two saves.
_PER_STAGE = 4

#: Saves of a random life.
_STAGES = 3


def small_device(
    board: str, rule: str = "readout", *, emulator: str | None = None, seed: int = 0
) -> EmulatedDevice:
    """The network of ``host.small_trainer`` on a board: a save takes some fifty operations.

    Raises ConfigError for an unknown board, rule or emulator.
    """
    if rule not in NAMED_RULES:
        raise ConfigError(f"power-cuts: expected one of {', '.join(NAMED_RULES)}, got {rule!r}")
    cpu, chosen = choose(emulator), board_named(board)
    trainer, data = small_trainer(60, NAMED_RULES[rule], seed)
    model = Model(trainer.network, trainer.params, data.classes, data.feature_shape)
    firmware = build(model, chosen, recipe=trainer.recipe)
    return EmulatedDevice(Device(firmware, cpu, seed=seed), data)


def cut_power(
    board: str, *, rule: str = "readout", emulator: str | None = None, every: int = 1,
    every_instruction: int = 199, random: int = 500, seed: int = 0,
    say: Callable[[str], None] = lambda words: None,
) -> tuple[dict[str, Cuts], list[Result]]:  # fmt: skip
    """Cuts at operations of the flash, and between instructions where the emulator can.

    every, every_instruction: one of so many operations, in each of four modes, and instructions.
    random: lives with up to 4 cuts each, so that recovery and the next save are cut as well.
    Returns cuts by place, and the random lives.
    """
    if every < 1 or every_instruction < 1 or random < 0:
        raise ConfigError(
            "power-cuts: expected steps of at least 1 and random lives of at least 0, got "
            f"{every}, {every_instruction} and {random}"
        )
    device = small_device(board, rule, emulator=emulator, seed=seed)
    say(f"cutting at operations of the flash of {board}")
    found = {"flash operations": cut_at_operations(device, _PER_STAGE, every=every)}
    if device.device.emulator.exact_limits:
        say(f"cutting at every {every_instruction}. instruction")
        found["instructions"] = cut_at_instructions(device, _PER_STAGE, every=every_instruction)
    lives = []
    if random:
        say(f"{random:,} random lives")
        states = record(device, _STAGES, _PER_STAGE)
        # As many operations as the whole uncut run has.
        within = found["flash operations"].cuts * every // len(MODES)
        cuts = random_cuts(random, max(within, 1), seed=seed)
        what = f"{board}, really trained: random, up to 4 cuts"
        lives.append(survive_all(device, states, _PER_STAGE, cuts, what=what, seed=seed))
    device.device.close()
    return found, lives


def describe(found: dict[str, Cuts]) -> dict[str, Any]:
    """A description made of JSON types."""
    return {what: asdict(cuts) | {"clean": cuts.clean} for what, cuts in found.items()}


def text(found: dict[str, Cuts]) -> str:
    """For people."""
    lines = [
        f"{what:<17} {cuts.cuts:>6,} cuts: {cuts.old:,} times the state before came back, "
        f"{cuts.new:,} times the new one, {cuts.lost:,} times neither; {cuts.resumed:,} ended "
        "with the uncut run's bytes"
        for what, cuts in found.items()
    ]
    return "\n".join(lines)
