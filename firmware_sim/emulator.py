"""What the simulation asks of an emulator of Cortex-M cores, and which of them is here.

An emulator holds flash and RAM, runs from the address in ``pc`` and stops at a ``bkpt``
instruction, whose number says what the firmware wants. It knows no peripherals and no interrupts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ffedge.errors import ConfigError, MissingDependencyError

Array = np.ndarray[Any, Any]

#: In the order of preference: exact and small, with a profile, outside of Python.
EMULATORS = ("icicle", "unicorn", "qemu")


@dataclass(frozen=True, slots=True)
class Memory:
    """``nbytes`` at ``address``: RAM, or flash, which the program reads and executes only."""

    address: int
    nbytes: int
    ram: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ended.

    kind: "hal", a bkpt of number ``number``, not yet passed; "limit", the instructions are used
    up; "fault", the program did what it must not, as ``message`` says. pc: where, thumb bit clear.
    """

    kind: str
    pc: int
    number: int = -1
    message: str = ""


class Emulator(Protocol):
    """One board's core and memory.

    name: as in ``EMULATORS``. exact_limits: whether ``run`` stops at precisely ``limit``
    instructions; else at the end of the block of instructions in hand.
    """

    name: str
    exact_limits: bool

    def map(self, memories: Sequence[Memory], stops: Mapping[int, int]) -> None:
        """Lay out the memory. stops: address of each bkpt and its number.

        RAM holds zeros; flash too, or what it held if the memory is the same again.
        """

    def write(self, address: int, data: bytes) -> None:
        """Write to RAM or flash, as a programming adapter does."""

    def read(self, address: int, nbytes: int) -> bytes:
        """What the memory holds."""

    def get(self, register: str) -> int:
        """A register: r0..r12, sp, lr, pc."""

    def set(self, register: str, value: int) -> None:
        """Set a register; ``pc`` without the thumb bit."""

    def run(self, limit: int | None = None) -> Stop:
        """Run from ``pc`` until something happens, at most ``limit`` instructions."""

    @property
    def instructions(self) -> int | None:
        """Executed since ``map``; None if this emulator does not count."""

    def close(self) -> None:
        """Give the memory back."""


@runtime_checkable
class Profiler(Protocol):
    """An emulator that knows how often each instruction was executed."""

    def executions(self) -> Array:
        """int64 (flash bytes / 2,), see ``UnicornEmulator.executions``."""


def choose(name: str | None = None) -> Emulator:
    """The emulator of that name; of those installed the first in ``EMULATORS`` for None.

    Raises ConfigError for an unknown name or a QEMU that is not installed,
    MissingDependencyError, which names the extra, for a Python package that is not.
    """
    if name is not None and name not in EMULATORS:
        raise ConfigError(f"emulator: expected one of {', '.join(EMULATORS)}, got {name!r}")
    if name is not None:
        return _make(name)
    for candidate in EMULATORS:
        try:
            return _make(candidate)
        except (ConfigError, MissingDependencyError):
            continue
    raise MissingDependencyError(
        "icicle-emu", "emu", "running firmware (`--emulator model` needs none, and proves less)"
    )


def _make(name: str) -> Emulator:
    if name == "icicle":
        from .icicle import IcicleEmulator

        return IcicleEmulator()
    if name == "unicorn":
        from .unicorn_emu import UnicornEmulator

        return UnicornEmulator()
    from .qemu import QemuEmulator

    return QemuEmulator()
