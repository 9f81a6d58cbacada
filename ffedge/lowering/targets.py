"""The machines that a library can be built for.

A library holds every vector path of its architecture whatever the target; the target is the
processor that LLVM schedules the code for.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from ..kernels import cpu
from ..kernels.library_file import MACHINES


@dataclass(frozen=True)
class Target:
    """``tuned_for``: LLVM's name of a processor."""

    name: str
    architecture: str
    tuned_for: str


_NAMED = (
    Target("pi-zero2", "aarch64", "cortex-a53"),
    Target("pi3", "aarch64", "cortex-a53"),
    Target("pi4", "aarch64", "cortex-a72"),
    Target("pi5", "aarch64", "cortex-a76"),
    Target("aarch64", "aarch64", "cortex-a72"),
    Target("x86-64", "x86_64", "haswell"),
    Target("x86-64-v2", "x86_64", "nehalem"),
    Target("x86-64-v3", "x86_64", "haswell"),
    Target("x86-64-v4", "x86_64", "icelake-server"),
)

TARGETS = {target.name: target for target in _NAMED}

NAMES = ("host", *TARGETS)


def named(name: str) -> Target:
    """The target of a name. Raises ConfigError for an unknown one, or an unknown host."""
    if name != "host":
        if name not in TARGETS:
            raise ConfigError(f"target: expected one of {', '.join(NAMES)}, got {name!r}")
        return TARGETS[name]
    machine = cpu.architecture()
    if machine not in MACHINES:
        raise ConfigError(
            f"target host: expected a machine of {' or '.join(MACHINES)}, got {machine}; "
            "such machines run the kernels by Numba or in plain Python"
        )
    import llvmlite.binding as llvm

    return Target("host", machine, llvm.get_host_cpu_name())
