"""The model-only level: the device program on this machine, for those without an emulator.

Memory, tables, flash and checkpoint are the firmware's; the kernels are run by the host instead of
being machine code. So there are no instructions, no stack and no faults to report, and what it
proves is less: that the program's bits are the host's, not that the image's are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ffedge.errors import DeviceError
from ffedge.kernels.device import checkpoint, program
from ffedge.rules import Group

from .flash import Flash
from .host import save_into

if TYPE_CHECKING:
    from ffedge.firmware.image import Firmware

Array = np.ndarray[Any, Any]


class NoEmulator:
    """What a report asks of an emulator, where there is none."""

    name, instructions, exact_limits = "model", None, False


class ModelDevice:
    """``firmware`` without its code; the same methods as ``device.Device``."""

    #: Not known: this machine's stack is another.
    stack_used = None

    def __init__(self, firmware: Firmware, *, seed: int = 0) -> None:
        self.firmware, self.board, self.emulator = firmware, firmware.board, NoEmulator()
        data = firmware.data
        self._tables, self._memory = data.tables, data.memory
        self._bytes = np.zeros(data.memory.nbytes, np.uint8)
        self._arena = self._bytes[: data.plan.peak]
        layers = data.memory.layers
        self._counters = self._at(data.memory.counters, layers)
        self._rates = self._at(data.memory.rates, 2 * layers).view(np.int32)
        self.flash: Flash | None = Flash.of(self.board, data.store.nbytes, seed=seed)
        self.runs: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self._random = np.random.default_rng(seed)
        group = isinstance(firmware.network.rule, Group)
        self._train = program.train_group if group else program.train_readout
        self._predict = program.predict_group if group else program.predict_readout
        self.power_on()

    def _at(self, offset: int, words: int) -> Array:
        return self._bytes[offset : offset + 4 * words].view(np.uint32)

    def power_on(self) -> None:
        """RAM holds noise but for what the start-up code writes; flash what it held."""
        assert self.flash is not None
        self.flash.boot()
        self._bytes[:] = self._random.integers(0, 256, self._bytes.size, np.uint8)
        initial, at = self._tables["ff_initial"].view(np.uint8), 0
        for _, offset, nbytes in self.firmware.data.fills:
            self._bytes[offset : offset + nbytes] = initial[at : at + nbytes]
            at += nbytes
        self._counters[:], self._rates[:] = 0, self._tables["ff_first_rates"]

    def close(self) -> None:
        """Nothing to give back."""

    def reboot(self) -> None:
        """Power off and on again: RAM is lost."""
        self.power_on()

    def train(self, sample: Array, label: int) -> bool:
        """One update by one sample; whether the decision before it was right."""
        self.runs["train"] += 1
        return bool(self._train(
            self._arena, self._tables["ff_table"], self._tables["ff_scaler"], self._rates,
            self._counters, self._flat(sample), label,
        ))  # fmt: skip

    def predict(self, sample: Array) -> int:
        """The class code of one sample."""
        self.runs["predict"] += 1
        tables = self._tables
        return int(self._predict(
            self._arena, tables["ff_table"], tables["ff_scaler"], self._flat(sample)
        ))  # fmt: skip

    def _flat(self, sample: Array) -> Array:
        return np.ascontiguousarray(sample, np.float32).reshape(-1)

    def save(self) -> None:
        """Save the weights to flash. Raises DeviceError if they do not hold; PowerCut."""
        assert self.flash is not None
        store, arena = self.firmware.data.store, self._arena.view(np.uint32)
        status = save_into(self.flash, store, arena, self._counters)
        if status != checkpoint.DONE:
            raise DeviceError(
                "save: expected the flash to hold what was programmed, got other words; the "
                "checkpoint of before is still there", status=status,
            )  # fmt: skip

    def load(self) -> int:
        """Load the newest whole checkpoint; 0 if there was one."""
        assert self.flash is not None
        store = self.firmware.data.store
        arena = self._arena.view(np.uint32)
        return int(
            checkpoint.load(self.flash.words, store.table, store.layout, arena, self._counters)
        )

    def set_rates(self, rates: Array) -> None:
        """Replace the learning rates: int32 (2 * layers,)."""
        self._rates[:] = rates

    def weights(self) -> dict[str, Array]:
        """The parameters that training changes, as arrays of their own."""
        return {b.name: self._view(b).copy() for b in self._parameters}

    def put_weights(self, weights: dict[str, Array]) -> None:
        """Overwrite parameters by name."""
        for buffer in self._parameters:
            self._view(buffer)[:] = weights[buffer.name]

    @property
    def _parameters(self) -> list[Any]:
        return [b for b in self.firmware.plan.buffers if b.category == "weights"]

    def _view(self, buffer: Any) -> Array:
        flat = self._arena[buffer.offset : buffer.offset + buffer.spec.nbytes]
        view: Array = flat.view(buffer.spec.dtype).reshape(buffer.spec.shape)
        return view

    def profile(self) -> None:
        """No instructions, no profile."""
        return None
