"""A library for this machine, built into the user's cache beside the user's own work.

``begin`` starts a process of its own, at the lowest priority, and returns at once; ``ffedge
train`` calls it when it is done, so that the next run starts in a tenth of a second and needs a
quarter of the memory. Only the vector paths that this machine would choose are built. Two
processes at a time cannot meet: the second finds the lock taken and ends. The library appears
whole or not at all. ``FFEDGE_BUILD_RUNTIME=0`` switches all of it off.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ..kernels import cpu, provider
from ..kernels.folders import first_private
from ..kernels.library import cache_folder_name, file_name
from ..kernels.library_file import MACHINES


def wanted() -> Path | None:
    """Where a library should be built for later runs; None if there is no reason to, or no way.

    There is none if the kernels are not compiled by Numba now, or if that was forced.
    """
    if os.environ.get("FFEDGE_BUILD_RUNTIME", "") == "0" or os.environ.get("FFEDGE_KERNELS"):
        return None
    if provider.NAME != "jit" or cpu.architecture() not in MACHINES:
        return None
    if find_spec("llvmlite") is None:
        return None
    folder = first_private(cache_folder_name())
    return None if folder is None else folder / file_name(cpu.architecture())


def begin() -> Path | None:
    """Start building, if that is wanted; returns where the library will be."""
    path = wanted()
    if path is None:
        return None
    subprocess.Popen(
        [sys.executable, "-m", "ffedge.lowering.background", str(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, close_fds=True,
    )  # fmt: skip
    return path


def build_into(path: Path) -> bool:
    """Build for this machine unless another process is at it; false if so."""
    from .build import build, write
    from .targets import named

    with open(path.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        if not path.exists():
            write(build(named("host"), has=cpu.features()), path)
    return True


if __name__ == "__main__":
    os.nice(19)
    build_into(Path(sys.argv[1]))
