"""unicorn: counts how often every instruction is executed, and the RAM that is touched."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ffedge.errors import MissingDependencyError

from . import unicorn_hooks as hooks
from .emulator import Memory, Stop

_PAGE = 4096
_BKPT, _EXCEPTION_BKPT = 0xBE, 7
_FAULTS = {
    19: "ReadUnmapped", 20: "WriteUnmapped", 21: "FetchUnmapped",
    22: "WritePerm", 23: "ReadPerm", 24: "FetchPerm",
}  # fmt: skip

Array = np.ndarray[Any, Any]


class UnicornEmulator:
    """A core by unicorn, with a count of executions for every halfword of flash.

    trace: also keep the lowest and highest RAM address written; several times slower.
    Raises MissingDependencyError where the package is not installed.
    """

    name = "unicorn"
    exact_limits = False

    def __init__(self, *, trace: bool = False) -> None:
        try:
            import unicorn
            import unicorn.arm_const as arm
            import unicorn.unicorn_const as constants
        except ImportError:
            raise MissingDependencyError("unicorn", "emu-trace", "the emulator unicorn") from None
        self._unicorn: Any = unicorn
        self._constants: Any = constants
        self._trace = trace
        self._stopped: int | None = None
        self._fault = ""
        names = [*(f"r{i}" for i in range(13)), "sp", "lr", "pc"]
        self._registers = {name: getattr(arm, f"UC_ARM_REG_{name.upper()}") for name in names}

    def map(self, memories: Sequence[Memory], stops: Mapping[int, int]) -> None:
        """Lay out the memory in whole pages of 4 KiB."""
        k = self._constants
        self._uc = self._unicorn.Uc(k.UC_ARCH_ARM, k.UC_MODE_THUMB | k.UC_MODE_MCLASS)
        for memory in memories:
            first = memory.address // _PAGE * _PAGE
            nbytes = -(-(memory.address + memory.nbytes) // _PAGE) * _PAGE - first
            rights = k.UC_PROT_READ | (k.UC_PROT_WRITE if memory.ram else k.UC_PROT_EXEC)
            self._uc.mem_map(first, nbytes, rights)
        flash = next(memory for memory in memories if not memory.ram)
        self._record = hooks.Record(flash.address, flash.nbytes, self.read)
        self._kept: list[Any] = []
        self._add_native(k.UC_HOOK_BLOCK, hooks.on_block)
        if self._trace:
            self._add_native(k.UC_HOOK_MEM_WRITE, hooks.on_write)
        self._forget()
        self._uc.hook_add(k.UC_HOOK_INTR, self._interrupt)
        self._uc.hook_add(k.UC_HOOK_MEM_INVALID, self._invalid)

    def _add_native(self, kind: int, make: Any) -> None:
        """Hook a compiled function in: a Python one would take 50 times as long."""
        from unicorn.unicorn_py3.unicorn import uclib

        function, handle = make(), ctypes.c_size_t()
        library: Any = ctypes.CDLL(uclib._name)
        status = library.uc_hook_add(
            self._uc._uch, ctypes.byref(handle), ctypes.c_int(kind),
            ctypes.c_void_p(function.address), ctypes.c_void_p(self._record.array.ctypes.data),
            ctypes.c_uint64(1), ctypes.c_uint64(0),
        )  # fmt: skip
        assert status == 0, status
        self._kept += [function, handle]

    def _interrupt(self, uc: Any, number: int, _: Any) -> None:
        pc = self.get("pc")
        word = int.from_bytes(self.read(pc, 2), "little")
        if number == _EXCEPTION_BKPT and word >> 8 == _BKPT:
            self._stopped = word & 0xFF
        else:
            self._fault = f"exception {number}"
        uc.emu_stop()

    def _invalid(self, uc: Any, kind: int, address: int, size: int, value: int, _: Any) -> bool:
        self._fault = f"{_FAULTS.get(kind, f'access of kind {kind}')} at {address:#010x}"
        return False

    def write(self, address: int, data: bytes) -> None:
        """Write to RAM or flash."""
        self._uc.mem_write(address, data)

    def read(self, address: int, nbytes: int) -> bytes:
        """What the memory holds."""
        return bytes(self._uc.mem_read(address, nbytes))

    def get(self, register: str) -> int:
        """A register."""
        value = int(self._uc.reg_read(self._registers[register]))
        return value & ~1 if register == "pc" else value

    def set(self, register: str, value: int) -> None:
        """Set a register."""
        self._uc.reg_write(self._registers[register], value | (register == "pc"))

    def _forget(self) -> None:
        self._stopped, self._fault = None, ""

    def run(self, limit: int | None = None) -> Stop:
        """Run; ``limit`` counts halfwords of code, a block at a time."""
        self._forget()
        self._record.set_limit(limit)
        try:
            self._uc.emu_start(self.get("pc") | 1, 0xFFFF_FFFE)
        except self._unicorn.UcError as error:
            self._fault = self._fault or str(error)
        pc = self.get("pc")
        if self._fault:
            return Stop("fault", pc, message=self._fault)
        if self._stopped is not None:
            return Stop("hal", pc, number=self._stopped)
        return Stop("limit", pc)

    @property
    def instructions(self) -> int:
        """Executed since ``map``, each bkpt included."""
        return self._record.total()

    def executions(self) -> Array:
        """int64 (flash bytes / 2,): how often each instruction was executed, at its first halfword.

        The halfword at place i lies at the start of flash + 2 * i.
        """
        return self._record.executions()

    @property
    def written(self) -> tuple[int, int] | None:
        """Lowest and highest address written outside flash; None without ``trace``."""
        return self._record.written if self._trace else None

    def close(self) -> None:
        """Give the memory back."""
        self._uc = None
