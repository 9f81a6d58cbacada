"""Train on a board that is not here, beside the same training on this machine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.defaults import choose_optimizer, choose_parts, choose_scaling
from ffedge.errors import ConfigError, DeviceError
from ffedge.firmware.boards import Board, board_named
from ffedge.firmware.image import Firmware, build
from ffedge.firmware.layout import STACK_BYTES, beside_memory
from ffedge.model import Model
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES
from ffedge.sources import Dataset, load

from . import energy, picture
from .device import Device
from .emulator import choose
from .fits import fits, widest
from .lockstep import LockstepTrainer
from .model_device import ModelDevice, NoEmulator
from .report import Part, Report

Array = np.ndarray[Any, Any]

#: Updates on the device, and samples it predicts, unless more are asked for: about a minute.
DEVICE_STEPS, TEST_SAMPLES = 4000, 2000

#: Bytes of flash kept for code when widths are chosen.
_CODE = 16 * 1024

#: The share of the data kept for the test where they bring none.
_TEST_SHARE = 0.2

#: The level without an emulator.
MODEL = NoEmulator.name

AnyDevice = Device | ModelDevice


def simulate(
    board: str,
    data: str | Path,
    *,
    epochs: int = 2,
    hidden: Sequence[int] | None = None,
    rule: str = "readout",
    rate: float | None = None,
    scaling: str | None = None,
    seed: int = 0,
    emulator: str | None = None,
    device_steps: int = DEVICE_STEPS,
    test_samples: int = TEST_SAMPLES,
    label: str | None = None,
    data_dir: str | None = None,
    picture_file: str | Path | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Report:
    """Train an int8 network by ``rule`` on ``board`` and on the host; compare the two.

    data: as for ``ffedge train``: digits, mnist, or a file. hidden: widths; for None two equal
    ones that fill the board's RAM. scaling: as for ``ffedge train``; for None chosen. epochs:
    passes over the data. device_steps: updates that the device makes itself, 0 for none; the rest
    is the host's, whose weights it then takes over. test_samples: that the device predicts, from
    the first on. emulator: a name of ``EMULATORS``, "model" for none, None for the first that is
    installed. say: told about the progress.
    Raises ConfigError, BudgetError, DataError, ExportError as planning, reading and building do,
    DeviceError if the firmware fails.
    """
    chosen = board_named(board)
    cpu = None if emulator == MODEL else choose(emulator)
    if device_steps < 0 or test_samples < 1:
        raise ConfigError(
            "simulate: expected device_steps >= 0 and test_samples >= 1, got "
            f"{device_steps} and {test_samples}"
        )
    if picture_file is not None and not Path(picture_file).absolute().parent.is_dir():
        raise ConfigError(
            f"simulate: expected a folder for the picture {picture_file}, got none; make it first"
        )
    say(f"reading {data}")
    rest, test = load(str(data), label=label, data_dir=data_dir)
    if test is None:
        rest, test = rest.split(_TEST_SHARE, 0)
    trainer = _trainer(chosen, rest, hidden, rule, rate, scaling, epochs, seed, device_steps, say)
    trainer.learn_scaling(rest)
    model = Model(trainer.network, trainer.params, rest.classes, rest.feature_shape)
    say(f"building {trainer.network.text} for {chosen.title}")
    firmware = build(model, chosen, recipe=trainer.recipe)
    device = ModelDevice(firmware, seed=seed) if cpu is None else Device(firmware, cpu, seed=seed)
    trainer.device = device if device_steps else None
    _train(trainer, rest, say)
    steps = device.runs["train"]
    kernels, cycles = _measure(device, steps)
    resumed, saved = _save_and_restart(device, say)
    if steps < trainer.recipe.epochs * rest.n_samples:
        device.put_weights(trainer.params)
    tested = min(test_samples, test.n_samples)
    right, same = _test(device, model, test, tested, say)
    report = _report(
        device, trainer, rest.name, right, tested, trainer.identical and same, resumed, saved,
        kernels, cycles,
    )  # fmt: skip
    if picture_file is not None:
        Path(picture_file).write_text(draw(firmware))
    device.close()
    return report


def _trainer(
    board: Board, data: Dataset, hidden: Sequence[int] | None, rule: str, rate: float | None,
    scaling: str | None, epochs: int, seed: int, device_steps: int, say: Callable[[str], None],
) -> LockstepTrainer:  # fmt: skip
    if rule not in NAMED_RULES:
        raise ConfigError(f"simulate: expected one of {', '.join(NAMED_RULES)}, got {rule!r}")
    scaling, kind = scaling or choose_scaling(data), NAMED_RULES[rule]
    optimizer = choose_optimizer(kind, "int8", data.width, 1, rate)
    recipe = Recipe(optimizer=optimizer, batch_size=1, epochs=epochs, scaling=scaling, seed=seed)
    network = Network.dense(
        data.width, (1, 1) if hidden is None else tuple(hidden), len(data.classes), kind,
        precision="int8", input_parts=choose_parts(data, scaling),
    )  # fmt: skip
    if hidden is None:
        beside = beside_memory(data.width, len(network.layers), STACK_BYTES)
        network = widest(network, recipe, board, beside_ram=beside, code=_CODE)
    return LockstepTrainer(
        network, recipe, device_steps=device_steps,
        watch=lambda done: say(f"{done:,} steps on the device"),
    )  # fmt: skip


def _train(trainer: LockstepTrainer, data: Dataset, say: Callable[[str], None]) -> None:
    for progress in trainer.train(data):
        say(f"epoch {progress.epoch} of {progress.epochs}: {100 * progress.accuracy:.1f} % right")
    trainer.finish()


def _measure(device: AnyDevice, steps: int) -> tuple[dict[str, float], float | None]:
    """(instructions a step by function, cycles a step), as far as the emulator knows."""
    if not steps or device.emulator.instructions is None:
        return {}, None
    each = round(device.spent["train"] / steps)
    profile = device.profile()
    if profile is None:
        return {}, energy.cycles(device.board, each)
    functions, kinds = profile
    # Nothing but steps, and a few changes of the rates, since the device booted.
    total = energy.cycles(device.board, sum(kinds.values()), kinds)
    kernels: Counter[str] = Counter()
    for name, count in functions.items():
        # LLVM numbers the copies that it specialises.
        kernels[re.sub(r"\.\d+$", "", name.removeprefix("ff."))] += count
    return {name: count / steps for name, count in kernels.items()}, total / steps


def _save_and_restart(
    device: AnyDevice, say: Callable[[str], None]
) -> tuple[bool | None, dict[str, float] | None]:
    """Save, lose the RAM, load: whether the same came back, and what the save cost."""
    if device.flash is None:
        return None, None
    say("saving, switching off and on, loading")
    before = device.weights()
    first_seconds, operations = device.flash.seconds, device.flash.operations
    joules, wear = device.flash.joules, device.flash.wear.sum()
    device.save()
    erases = float(device.flash.wear.sum() - wear)
    cost = {
        "erases": erases,
        "programs": device.flash.operations - operations - erases,
        "seconds": device.flash.seconds - first_seconds,
        "joules": device.flash.joules - joules,
    }
    device.reboot()
    if device.load() != 0:
        raise DeviceError("simulate: expected a checkpoint after the restart, got none", status=1)
    after = device.weights()
    return all(np.array_equal(before[name], after[name]) for name in before), cost


def _test(
    device: AnyDevice, model: Model, test: Dataset, count: int, say: Callable[[str], None]
) -> tuple[float, bool]:
    """(share that the device predicts right, whether it predicts what the host does)."""
    rows = np.arange(count) if test.rows is None else test.rows[:count]
    features = np.ascontiguousarray(test.features[rows])
    expected = Predictor(model).codes(features)
    found = np.empty(count, np.int64)
    for i, sample in enumerate(features):
        found[i] = device.predict(sample)
        if i % 100 == 0:
            say(f"{i:,} of {count:,} test samples")
    return float((found == test.labels[rows]).mean()), bool(np.array_equal(found, expected))


def _report(
    device: AnyDevice, trainer: LockstepTrainer, data: str, accuracy: float, tested: int,
    identical: bool, resumed: bool | None, saved: dict[str, float] | None,
    kernels: dict[str, float], cycles: float | None,
) -> Report:  # fmt: skip
    firmware, board = device.firmware, device.board
    parts = [Part(p.name, p.kind, p.address, p.nbytes) for p in firmware.sections]
    ram = [p for p in parts if board.ram_address <= p.address < board.ram_end]
    flash = [p for p in parts if p not in ram]
    used = firmware.ram_bytes
    steps, predictions = device.runs["train"], device.runs["predict"]
    counts = device.emulator.instructions is not None
    seconds = None if cycles is None else energy.seconds(board, cycles)
    return Report(
        board=board.name, core=board.core.title, network=trainer.network.text,
        rule=trainer.network.rule.name, data=data, emulator=device.emulator.name,
        epochs=trainer.recipe.epochs, steps=trainer.run.samples_seen, device_steps=steps,
        test_samples=tested, test_accuracy=accuracy, host_identical=identical, resumed=resumed,
        ram_bytes=used, ram_available=board.ram_bytes, stack_bytes=device.stack_used,
        stack_available=sum(p.nbytes for p in ram if p.kind == "stack"),
        flash_bytes=firmware.flash_bytes, flash_available=board.flash_bytes,
        code_bytes=firmware.code_bytes,
        instructions_per_step=device.spent["train"] / steps if steps and counts else None,
        instructions_per_prediction=device.spent["predict"] / predictions if counts else None,
        cycles_per_step=cycles, seconds_per_step=seconds,
        energy_per_step_joule=None if cycles is None else energy.joules(board, cycles),
        samples_per_second=None if seconds is None else 1 / seconds,
        save=saved, ram_map=ram, flash_map=flash, arena=firmware.plan.by_category(),
        kernels=kernels, estimates=list(board.estimates),
        fits=[
            each.describe()
            for each in fits(
                trainer.network, trainer.recipe, used - firmware.data.memory.nbytes,
                firmware.code_bytes,
            )
        ],
    )  # fmt: skip


def draw(firmware: Firmware) -> str:
    """The SVG of the RAM of ``firmware`` over a step."""
    board, layers = firmware.board, len(firmware.network.layers)
    arena = next(p.address for p in firmware.sections if p.kind == "arena") - board.ram_address
    others = [
        (p.name, p.kind if p.kind in ("stack", "mailbox") else "data",
         p.address - board.ram_address, p.nbytes)
        for p in firmware.sections
        if board.ram_address <= p.address < board.ram_end and p.kind not in ("arena", "unused")
    ]  # fmt: skip
    found = picture.blocks(firmware.plan, layers + 1, arena, others)
    return picture.draw(
        found,
        layers,
        board.ram_bytes,
        f"RAM of {board.name} over a step of {firmware.network.text}",
    )
