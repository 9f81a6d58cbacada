"""The emulated device as campaigns of power cuts take it, and cuts between any two instructions.

Where the power fails at an operation of the flash, ``power.survive`` asks for the same methods of
this device and of the host's own. Here it also fails at an instruction: RAM is lost at any moment
of a save, of a step, or of the boot itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffedge.errors import DeviceError
from ffedge.firmware.startup import SAVE
from ffedge.kernels.device import checkpoint
from ffedge.sources import Dataset

from .cells import MODES
from .device import Device
from .flash import Flash, PowerCut
from .power import record

Array = np.ndarray[Any, Any]


class EmulatedDevice:
    """``device`` learning the samples of ``data`` in order, again from the first after the last.

    Raises DeviceError if its firmware keeps no checkpoint.
    """

    def __init__(self, device: Device, data: Dataset) -> None:
        if device.flash is None:
            raise DeviceError("campaign: expected firmware with a checkpoint, got none", status=1)
        self.device, self.data = device, data
        self.flash: Flash = device.flash
        self._store = device.firmware.data.store

    def reset(self) -> None:
        """Power up: the RAM holds noise, training is at its start."""
        self.device.reboot()

    def load(self) -> int:
        """The status of ``checkpoint.load``."""
        return self.device.load()

    def learned(self) -> int:
        """Samples learned, by the first layer's counter."""
        return int(self._counters()[0])

    def train(self, first: int, count: int) -> None:
        """Learn samples ``first`` to ``first + count - 1``."""
        data = self.data
        for number in range(first, first + count):
            place = number % data.n_samples
            row = place if data.rows is None else data.rows[place]
            self.device.train(data.features[row], int(data.labels[row]))

    def save(self) -> int:
        """Write a checkpoint; DONE or FAILED. Raises PowerCut."""
        self.device.show_time_passed()
        return checkpoint.FAILED if self.device.command(SAVE) else checkpoint.DONE

    def saved_bytes(self) -> bytes:
        """All that a checkpoint holds, as it stands in RAM."""
        device = self.device
        buffers = device.firmware.buffers
        parts = [device.emulator.read(buffers[p.name], p.nbytes) for p in self._store.ranges]
        return b"".join(parts) + self._counters().tobytes()

    def _counters(self) -> Array:
        device = self.device
        at, nbytes = device.firmware.buffers["counters"], 4 * self._store.counters
        return np.frombuffer(device.emulator.read(at, nbytes), "<u4")


@dataclass(frozen=True, slots=True)
class Cuts:
    """What became of a device whose power failed, each time once.

    cuts: that happened. old, new: after how many of them the state before, or that of the save
    in hand, came back. lost: neither did. resumed: of them all, ended with the uncut run's bytes.
    """

    cuts: int
    old: int
    new: int
    lost: int
    resumed: int

    @property
    def clean(self) -> bool:
        """Whether nothing was lost and everything went on to the same bytes."""
        return self.cuts == self.old + self.new == self.resumed > 0 == self.lost


#: One that is saved, one in which the power fails, and one more.
_STAGES = 3

#: Called before the stage in hand, to arrange for the power to fail.
Arrange = Callable[[], None]


def cut_at_operations(device: EmulatedDevice, per_stage: int, *, every: int = 1) -> Cuts:
    """Cut the power at every ``every``-th operation of a save's flash, in all four modes.

    A stage is ``per_stage`` samples. The device learns and saves one, goes on with the second,
    loses power there, boots, loads, and finishes the second and a third.
    """
    states, _, operations = _measured(device, per_stage)

    def arrange(place: int, mode: str) -> Arrange:
        return lambda: device.flash.cut(place, mode)

    cuts = [arrange(n, mode) for n in range(1, operations + 1, every) for mode in MODES]
    return _live(device, states, per_stage, cuts)


def cut_at_instructions(device: EmulatedDevice, per_stage: int, *, every: int) -> Cuts:
    """The same between instructions: at every ``every``-th one of learning and saving a stage.

    Needs an emulator with exact limits (icicle). Raises DeviceError otherwise.
    """
    emulator = device.device.emulator
    if not emulator.exact_limits:
        raise DeviceError(
            f"campaign: expected an emulator that stops at any instruction, got {emulator.name}; "
            "take icicle",
            status=1,
        )
    states, instructions, _ = _measured(device, per_stage)

    def arrange(limit: int) -> Arrange:
        def set_limit() -> None:
            device.device.instructions_left = limit

        return set_limit

    cuts = [arrange(limit) for limit in range(1, instructions, every)]
    return _live(device, states, per_stage, cuts)


def _live(
    device: EmulatedDevice, states: Sequence[bytes], per_stage: int, cuts: Sequence[Arrange]
) -> Cuts:
    found, happened, resumed = Counter[int](), 0, 0
    for number, arrange in enumerate(cuts):
        device.flash.restart(number)
        device.reset()
        _stage(device, 0, per_stage)
        arrange()
        try:
            _stage(device, 1, per_stage)
        except PowerCut:
            happened += 1
        device.device.instructions_left = None
        device.flash.cut(0, MODES[0])
        device.reset()
        device.load()
        stage = _find(device, states)
        found[stage] += 1
        if stage >= 0:
            for rest in range(stage, len(states) - 1):
                _stage(device, rest, per_stage)
            resumed += device.saved_bytes() == states[-1]
    return Cuts(happened, found[1], found[2], len(cuts) - found[1] - found[2], resumed)


def _measured(device: EmulatedDevice, per_stage: int) -> tuple[list[bytes], int, int]:
    """(the states of an uncut run, instructions and flash operations of its second stage)."""
    states = record(device, _STAGES, per_stage)
    device.flash.restart(0)
    device.reset()
    _stage(device, 0, per_stage)
    before, operations = device.device.emulator.instructions or 0, device.flash.operations
    _stage(device, 1, per_stage)
    after = device.device.emulator.instructions or 0
    return states, after - before, device.flash.operations - operations


def _stage(device: EmulatedDevice, stage: int, per_stage: int) -> None:
    device.train(stage * per_stage, per_stage)
    if device.save() != checkpoint.DONE:
        raise DeviceError("campaign: expected a save to succeed, got a failure", status=1)


def _find(device: EmulatedDevice, states: Sequence[bytes]) -> int:
    """The number of the state that the device is in; -1 for none of them."""
    now = device.saved_bytes()
    return states.index(now) if now in states else -1
