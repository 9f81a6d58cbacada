"""QEMU's system emulation, as a program of its own, driven by GDB's remote protocol.

A board of ours runs on a machine of QEMU's that has its core and whose memory lies at the same
addresses. Such a machine may have more RAM than the board: what goes too far is only found by
the other emulators. A fault of the core shows when its handler is reached.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ffedge.errors import ConfigError

from .emulator import Memory, Stop
from .gdb_remote import GdbRemote

_PROGRAM = "qemu-system-arm"
_SECONDS = 30.0

#: From here on lies what belongs to the core, and is there in every machine.
_SYSTEM = 0xE000_0000


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of QEMU's: where its flash and RAM lie and how large they are."""

    name: str
    flash: tuple[int, int]
    ram: tuple[int, int]

    def holds(self, memory: Memory) -> bool:
        """Whether it has this memory."""
        first, nbytes = self.ram if memory.ram else self.flash
        return first <= memory.address and memory.address + memory.nbytes <= first + nbytes


#: Of the Cortex-M4; it runs all that is made for an M7 or M33 here, but not the reverse.
MACHINES = (
    Machine("netduinoplus2", (0x0800_0000, 1 << 20), (0x2000_0000, 128 << 10)),
    Machine("mps2-an386", (0x0000_0000, 4 << 20), (0x2000_0000, 4 << 20)),
)


class QemuEmulator:
    """A core by qemu-system-arm. Raises ConfigError where it is not installed."""

    name = "qemu"
    exact_limits = False
    instructions = None

    def __init__(self) -> None:
        self._program = shutil.which(_PROGRAM)
        if self._program is None:
            raise ConfigError(
                f"emulator: expected {_PROGRAM} to be installed for qemu, got none on the path; "
                "Debian: apt install qemu-system-arm, or take icicle or unicorn"
            )
        self._process: subprocess.Popen[bytes] | None = None

    def map(self, memories: Sequence[Memory], stops: Mapping[int, int]) -> None:
        """Start the machine that has this memory, with breakpoints at ``stops``.

        Raises ConfigError if there is none.
        """
        self.close()
        machine = machine_for(memories)
        ours, theirs = socket.socketpair()
        assert self._program is not None
        self._process = subprocess.Popen(
            [self._program, "-machine", machine.name, "-nodefaults", "-nographic", "-S",
             "-serial", "none", "-chardev", f"socket,id=gdb,fd={theirs.fileno()}",
             "-gdb", "chardev:gdb"],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        ours.settimeout(_SECONDS)
        self._gdb = GdbRemote(ours)
        self._stops = dict(stops)
        # Its reset found no vector table and left the thumb bit clear.
        self._gdb.set("xpsr", 1 << 24)
        for address in stops:
            self._gdb.break_at(address)

    def write(self, address: int, data: bytes) -> None:
        """Write to RAM or flash."""
        self._gdb.write(address, data)

    def read(self, address: int, nbytes: int) -> bytes:
        """What the memory holds."""
        return self._gdb.read(address, nbytes)

    def get(self, register: str) -> int:
        """A register."""
        return self._gdb.get(register)

    def set(self, register: str, value: int) -> None:
        """Set a register."""
        self._gdb.set(register, value)

    def run(self, limit: int | None = None) -> Stop:
        """Run to the next breakpoint. Raises ConfigError for a ``limit``: QEMU has none."""
        if limit is not None:
            raise ConfigError(
                f"emulator: expected no limit of instructions with qemu, got {limit:,}; take icicle"
            )
        answer = self._gdb.resume()
        pc = self.get("pc") & ~1
        if answer[:3] == "T05" and pc in self._stops:
            return Stop("hal", pc, number=self._stops[pc])
        return Stop("fault", pc, message=f"stopped by {answer[:3]}")

    def close(self) -> None:
        """End the machine."""
        if self._process is None:
            return
        self._gdb.close()
        self._process.kill()
        self._process.communicate()
        self._process = None


def machine_for(memories: Sequence[Memory]) -> Machine:
    """The machine with these memories; ConfigError if QEMU has none."""
    for machine in MACHINES:
        if all(machine.holds(m) for m in memories if m.address < _SYSTEM):
            return machine
    wanted = ", ".join(f"{m.nbytes:,} B at {m.address:#010x}" for m in memories)
    raise ConfigError(
        f"emulator: expected a machine of QEMU's with {wanted}, got "
        f"{' and '.join(machine.name for machine in MACHINES)} only; take icicle or unicorn"
    )
