"""Processors that are not here. Without them a test skips by name; where
FFEDGE_REQUIRE_EMULATORS is set it fails instead. Of those for microcontrollers, pip installs
icicle and unicorn: FFEDGE_REQUIRE_MICROCONTROLLERS asks for these two; QEMU stays optional.
"""

import os
import shutil
from pathlib import Path

import pytest

from tools.arm_root import default_folder


def _missing(words, variable="FFEDGE_REQUIRE_EMULATORS"):
    if os.environ.get(variable):
        pytest.fail(f"{words}, and {variable} is set")
    pytest.skip(words)


def x86_emulator() -> str:
    """qemu's user mode for x86-64; takes ``-cpu NAME`` and a command."""
    found = shutil.which("qemu-x86_64")
    return found or _missing("qemu-x86_64 is not installed (Debian: apt install qemu-user)")


def arm_python(processor: str, *, numba: bool = True) -> Path:
    """Python on cortex-a53, cortex-a72 or cortex-a76; without numba for the compiled library."""
    name = f"python-{processor}{'' if numba else '-no-numba'}"
    command = default_folder() / "usr" / "bin" / name
    if not command.exists():
        _missing(f"no {name} (python tools/arm_root.py makes it)")
    return command


def microcontroller(name: str):
    """The emulator of that name for Cortex-M cores: icicle, unicorn or qemu."""
    from ffedge.errors import ConfigError, MissingDependencyError
    from firmware_sim.emulator import choose

    try:
        return choose(name)
    except (ConfigError, MissingDependencyError) as error:
        by_pip = "FFEDGE_REQUIRE_MICROCONTROLLERS" if name != "qemu" else ""
        return _missing(str(error), by_pip)
