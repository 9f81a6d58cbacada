"""icicle-emu: small, fast, counts instructions exactly and stops at any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffedge.errors import MissingDependencyError

from .emulator import Memory, Stop

_NEVER = 1 << 60


class IcicleEmulator:
    """A core by icicle-emu, of the instruction set ARMv7E-M, which all cores here share.

    Raises MissingDependencyError where the package is not installed.
    """

    name = "icicle"
    exact_limits = True

    def __init__(self) -> None:
        try:
            import icicle
        except ImportError:
            raise MissingDependencyError("icicle-emu", "emu", "the emulator icicle") from None
        self._icicle: Any = icicle
        self._vm: Any = None
        self._memories: tuple[Memory, ...] = ()

    def map(self, memories: Sequence[Memory], stops: Mapping[int, int]) -> None:
        """Lay out the memory; a bkpt stops by itself, wherever it is."""
        if self._memories != tuple(memories):
            self._memories = tuple(memories)
            self._start()
        # A new machine would translate all code again, which takes a quarter of a second.
        self._vm.icount = 0
        for memory in memories:
            if memory.ram:
                self._vm.mem_write(memory.address, bytes(memory.nbytes))

    def _start(self) -> None:
        self._vm = self._icicle.Icicle("thumbv7em")
        rights = self._icicle.MemoryProtection
        for memory in self._memories:
            kind = rights.ReadWrite if memory.ram else rights.ExecuteRead
            self._vm.mem_map(memory.address, memory.nbytes, kind)

    def write(self, address: int, data: bytes) -> None:
        """Write to RAM or flash; only code that changes is translated again."""
        if self.read(address, len(data)) == data:
            return
        try:
            self._vm.mem_write(address, data)
        except self._icicle.MemoryException:
            # What has been translated cannot be changed.
            contents = [(m.address, self.read(m.address, m.nbytes)) for m in self._memories]
            self._start()
            for first, content in [*contents, (address, data)]:
                self._vm.mem_write(first, content)

    def read(self, address: int, nbytes: int) -> bytes:
        """What the memory holds."""
        return bytes(self._vm.mem_read(address, nbytes))

    def get(self, register: str) -> int:
        """A register."""
        return int(self._vm.pc if register == "pc" else self._vm.reg_read(register))

    def set(self, register: str, value: int) -> None:
        """Set a register."""
        if register == "pc":
            self._vm.pc = value
        else:
            self._vm.reg_write(register, value)

    def run(self, limit: int | None = None) -> Stop:
        """Run; ``limit`` is exact."""
        vm = self._vm
        vm.icount_limit = _NEVER if limit is None else vm.icount + limit
        # Not enums of Python's: their names are all they show.
        status = str(vm.run()).split(".")[-1]
        code, pc = str(vm.exception_code).split(".")[-1], int(vm.pc)
        if code == "SoftwareBreakpoint":
            return Stop("hal", pc, number=int(vm.exception_value))
        if status == "InstructionLimit":
            return Stop("limit", pc)
        return Stop("fault", pc, message=f"{code} at {vm.exception_value:#010x}")

    @property
    def instructions(self) -> int:
        """Executed since ``map``, each bkpt included."""
        return int(self._vm.icount)

    def close(self) -> None:
        """Give the memory back."""
        self._vm, self._memories = None, ()
