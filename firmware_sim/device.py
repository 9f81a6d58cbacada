"""A board with firmware in it: takes commands as the boot protocol says, and can lose its power.

The firmware asks by ``bkpt`` what to do and says so when it is done; between the two the sample,
the label and the rates lie in its mailbox. Flash is ``flash.Flash`` where the checkpoint lies, so
it wears, takes time and tears; the emulator's memory shows what it reads as.
"""

from __future__ import annotations

import bisect
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ffedge.errors import ConfigError, DeviceError
from ffedge.firmware.startup import (
    DONE,
    ERASE,
    FAULT,
    HAL,
    LOAD,
    NEXT,
    PREDICT,
    PROGRAM,
    SAVE,
    SET_RATES,
    TRAIN,
)

from . import energy
from .emulator import Emulator, Memory, Profiler, Stop, choose
from .flash import Flash, PowerCut

if TYPE_CHECKING:
    from ffedge.firmware.image import Firmware

Array = np.ndarray[Any, Any]

#: Names of the protocol's commands, by number.
COMMANDS = ("halt", "train", "predict", "save", "load", "set_rates")

#: The system control space, where the start-up code switches the FPU on.
SYSTEM = Memory(0xE000_E000, 4096, ram=True)

#: No command takes as many instructions: a program that does has lost its way.
PATIENCE = 4_000_000_000


class Device:
    """A board that runs ``firmware`` in ``emulator`` (the first one installed for None).

    Booted from the start. seed: of what RAM holds at power-up, and of the flash's accidents.
    """

    def __init__(
        self, firmware: Firmware, emulator: Emulator | None = None, *, seed: int = 0
    ) -> None:
        self.firmware, self.board = firmware, firmware.board
        self.emulator = choose() if emulator is None else emulator
        self._functions = sorted((a & ~1, n) for n, a in firmware.symbols.items())
        self._random = np.random.default_rng(seed)
        store = [part for part in firmware.sections if part.kind == "checkpoint"]
        nbytes = sum(part.nbytes for part in store)
        self.flash = Flash.of(self.board, nbytes, seed=seed) if nbytes else None
        #: Commands carried out, and instructions spent on each kind.
        self.runs: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        #: Power fails after so many more instructions; None for never. Exact with icicle only.
        self.instructions_left: int | None = None
        self.powered, self._paint, self._deepest = False, b"", 0
        self.power_on()

    # ---- power

    def power_on(self) -> None:
        """Boot: RAM holds noise, flash what it held. Raises DeviceError if the start fails."""
        board, emulator = self.board, self.emulator
        memories = (
            Memory(board.flash_address, board.flash_bytes, ram=False),
            Memory(board.ram_address, board.ram_bytes, ram=True),
            SYSTEM,
        )
        symbols = self.firmware.symbols
        stops = {symbols[n] & ~1: code for n, code in HAL.items() if n in symbols}
        emulator.map(memories, stops)
        for address, data in self.firmware.segments:
            emulator.write(address, data)
        emulator.write(board.ram_address, self._random.bytes(board.ram_bytes))
        if self.flash is not None:
            self.flash.boot()
            self._show_flash(self.flash.address, self.flash.nbytes)
        stack, entry = np.frombuffer(emulator.read(board.flash_address, 8), "<u4").tolist()
        emulator.set("sp", stack)
        emulator.set("pc", entry & ~1)
        self.powered = True
        self._run_to(NEXT)
        self._paint = emulator.read(self._stack[0], 4)
        self._booted = self._executions()

    def power_off(self) -> None:
        """RAM and registers are lost; flash is kept."""
        self._deepest = self.stack_used
        self.powered, self._paint = False, b""
        if self.flash is not None:
            self.flash.powered = False

    def close(self) -> None:
        """Power off for good and end the emulator."""
        self.power_off()
        self.emulator.close()

    def reboot(self) -> None:
        """Power off and on again."""
        self.power_off()
        self.power_on()

    # ---- commands

    def train(self, sample: Array, label: int) -> bool:
        """One update by one sample; whether the decision before it was right.

        sample: (features,) in raw units, uint8, int8, int16 or float32; the device gets float32.
        Raises DeviceError if the firmware refuses the label.
        """
        self._put_sample(sample)
        self._put("ff_mailbox_label", np.int32(label).tobytes())
        right = self.command(TRAIN)
        if right < 0:
            self._refuse_status("train", right)
        return bool(right)

    def predict(self, sample: Array) -> int:
        """The class code of one sample, as for ``train``."""
        self._put_sample(sample)
        return self.command(PREDICT)

    def save(self) -> None:
        """Save the weights to flash. Raises DeviceError with the firmware's status; PowerCut."""
        self.show_time_passed()
        self._refuse_status("save", self.command(SAVE))

    def load(self) -> int:
        """Load the newest whole checkpoint; the firmware's status, 0 if there was one."""
        return self.command(LOAD)

    def set_rates(self, rates: Array) -> None:
        """Replace the learning rates: int32 (2 * layers,), as ``firmware.table.make_rates``."""
        self._put("ff_mailbox_rates", np.ascontiguousarray(rates, "<i4").tobytes())
        self._refuse_status("set_rates", self.command(SET_RATES))

    def command(self, code: int) -> int:
        """Carry out a command whose arguments lie in the mailbox; its result, signed.

        Raises DeviceError for a fault of the program; PowerCut if the power fails meanwhile.
        """
        self._need_power()
        before = self.emulator.instructions
        self._answer(code)
        result = self._run_to(DONE)
        after = self.emulator.instructions
        self.runs[COMMANDS[code]] += 1
        if before is not None and after is not None:
            self.spent[COMMANDS[code]] += after - before
        self._answer(0)
        self._run_to(NEXT)
        return result - (1 << 32) if result >> 31 else result

    def show_time_passed(self) -> None:
        """Unstable bits of the flash may read differently from now on."""
        if self.powered and self.flash is not None:
            self.flash.refresh()
            self._show_flash(self.flash.address, self.flash.nbytes)

    # ---- memory

    def weights(self) -> dict[str, Array]:
        """The parameters that training changes, by the buffers' names, as arrays of their own."""
        return {name: self.buffer(name) for name in self._parameters}

    def put_weights(self, weights: dict[str, Array]) -> None:
        """Overwrite parameters by name, as a programming adapter would."""
        for name in self._parameters:
            self.emulator.write(self.firmware.buffers[name], weights[name].tobytes())

    def buffer(self, name: str) -> Array:
        """A buffer of the plan, as an array of its own."""
        spec = next(b.spec for b in self.firmware.plan.buffers if b.name == name)
        data = self.emulator.read(self.firmware.buffers[name], spec.nbytes)
        return np.frombuffer(data, spec.dtype).reshape(spec.shape).copy()

    @property
    def stack_used(self) -> int:
        """Most bytes of stack ever used, by the paint that is left; also before a restart."""
        if not self._paint:  # off, or on its way up
            return self._deepest
        first, nbytes = self._stack
        words = np.frombuffer(self.emulator.read(first, nbytes), "<u4")
        touched = np.flatnonzero(words != np.frombuffer(self._paint, "<u4")[0])
        now = nbytes - 4 * int(touched[0]) if len(touched) else 0
        return max(self._deepest, now)

    @property
    def _stack(self) -> tuple[int, int]:
        part = next(part for part in self.firmware.sections if part.kind == "stack")
        return part.address, part.nbytes

    @property
    def _parameters(self) -> list[str]:
        return [
            buffer.name
            for buffer in self.firmware.plan.buffers
            if buffer.category == "weights" and buffer.name in self.firmware.buffers
        ]

    def _put_sample(self, sample: Array) -> None:
        symbols = self.firmware.symbols
        features = (symbols["ff_mailbox_label"] - symbols["ff_mailbox_sample"]) // 4
        if sample.shape != (features,):
            raise ConfigError(
                f"device: expected a sample of {features:,} features, got an array of shape "
                f"{sample.shape}; build the firmware for data of this width"
            )
        self._put("ff_mailbox_sample", sample.astype("<f4").tobytes())

    def _need_power(self) -> None:
        if not self.powered:
            raise DeviceError(
                "device: expected it to be running, got one that is switched off or has failed; "
                "call power_on()",
                status=1,
            )

    def _put(self, symbol: str, data: bytes) -> None:
        self._need_power()
        self.emulator.write(self.firmware.symbols[symbol], data)

    def _show_flash(self, address: int, nbytes: int) -> None:
        assert self.flash is not None
        self.emulator.write(address, self.flash.read(address, nbytes))

    # ---- the program

    def _answer(self, value: int) -> None:
        emulator = self.emulator
        emulator.set("r0", value & 0xFFFF_FFFF)
        emulator.set("pc", emulator.get("lr") & ~1)

    def _run_to(self, wanted: int) -> int:
        """Serve the firmware until it stops at ``wanted``; its r0."""
        while True:
            stop = self._run()
            if stop.kind != "hal" or stop.number == FAULT:
                self._fail(stop)
            if stop.number == wanted:
                return self.emulator.get("r0")
            if stop.number in (ERASE, PROGRAM):
                self._answer(self._flash_operation(stop.number))
            else:
                self._fail(stop)

    def _run(self) -> Stop:
        left = self.instructions_left
        if left is None:
            unlimited = not self.emulator.exact_limits
            return self.emulator.run(None if unlimited else PATIENCE)
        before = self.emulator.instructions or 0
        stop = self.emulator.run(left)
        self.instructions_left = max(0, left - (self.emulator.instructions or 0) + before)
        if stop.kind == "limit":
            self.instructions_left = None
            self.power_off()
            raise PowerCut
        return stop

    def _flash_operation(self, number: int) -> int:
        emulator = self.emulator
        address = emulator.get("r0")
        try:
            if self.flash is None:
                return 1
            if number == ERASE:
                self.flash.erase(address)
                self._show_flash(address, self.flash.page_bytes)
            else:
                self.flash.program(address, emulator.get("r1"), emulator.get("r2"))
                self._show_flash(address, self.flash.word_bytes)
        except DeviceError as error:
            return error.status
        except PowerCut:
            self.power_off()
            raise
        return 0

    def _refuse_status(self, what: str, status: int) -> None:
        if status:
            raise DeviceError(
                f"device: expected status 0 of {what}, got {status}; see the firmware's header",
                status=status,
            )

    def _fail(self, stop: Stop) -> None:
        self.powered = False
        if stop.kind == "hal" and stop.number == FAULT:
            what = f"exception {self.emulator.get('r0')}"
        elif stop.kind == "hal":
            what = f"bkpt #{stop.number} out of turn"
        else:
            what = stop.message or f"more than {PATIENCE:,} instructions"
        bottom = self.board.ram_address
        hint = "the firmware is at fault, or its plan"
        if f"{bottom - 0x400:#010x}" <= what[-10:] < f"{bottom:#010x}":
            hint = "the stack is full: build the firmware with more"
        raise DeviceError(
            f"device: expected the firmware to go on, got {what} in {self.symbol_at(stop.pc)} "
            f"({stop.pc:#010x}); {hint}",
            status=1,
        )

    def profile(self) -> tuple[dict[str, int], dict[str, int]] | None:
        """Instructions executed since the boot, by function and by kind (``energy.KINDS``).

        None if the emulator does not tell.
        """
        often = self._executions()
        if often is None or self._booted is None:
            return None
        often -= self._booted
        first = self.board.flash_address
        code = np.frombuffer(self.emulator.read(first, 2 * len(often)), np.uint16)
        functions: Counter[str] = Counter()
        for place in np.flatnonzero(often).tolist():
            functions[self.symbol_at(first + 2 * place)] += int(often[place])
        return dict(functions), energy.instruction_kinds(code, often)

    def _executions(self) -> Array | None:
        if not isinstance(self.emulator, Profiler):
            return None
        return self.emulator.executions()

    def symbol_at(self, address: int) -> str:
        """The function that an address of flash lies in."""
        place = bisect.bisect_right(self._functions, (address, "\x7f")) - 1
        return self._functions[place][1] if place >= 0 else "no function"
