"""What a process takes before it trains: Python, NumPy, the kernels, ffedge; from a fresh one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .kernels import provider
from .memory import process_bytes

#: Resident bytes are read after each of these imports.
STAGES = {
    "interpreter": "import os, sys, json",
    "numpy": "import numpy",
    "kernels": "from ffedge.kernels import provider\n"
    "if provider.NAME == 'jit':\n    from ffedge.kernels import jit",
    "ffedge": "import ffedge.trainer",
}

_SCRIPT = """\
import resource
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
found = {{}}
{stages}
print(json.dumps(found))
"""

_SECONDS = 60.0


def import_bytes() -> dict[str, int]:
    """Resident bytes that each of ``STAGES`` adds, in a new process of the same environment.

    All 0 where /proc is missing or the process fails.
    """
    nothing = dict.fromkeys(STAGES, 0)
    if process_bytes() == 0 or not sys.executable:
        return nothing
    stages = "\n".join(f"{code}\nfound[{name!r}] = resident()" for name, code in STAGES.items())
    folders = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, folders)), "FFEDGE_KERNELS": provider.NAME,
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(stages=stages)], capture_output=True, text=True,
            env=environment, timeout=_SECONDS, check=True,
        )  # fmt: skip
        after = [int(json.loads(done.stdout)[name]) for name in STAGES]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return nothing
    before = [0, *after[:-1]]
    return {
        name: max(b - a, 0) for name, a, b in zip(STAGES, before, after, strict=True)
    }  # fmt: skip


def split(imports: dict[str, int], compiled: int, peak: int) -> dict[str, int | str]:
    """The ``process`` of a profile. compiled: resident bytes that compiling kernels added.

    "training" is all that is left of the peak: arena, data and whatever else there was.
    """
    shares = dict(imports)
    if any(shares.values()):
        shares["kernels"] += compiled
    rest = max(peak - sum(shares.values()), 0) if any(shares.values()) else 0
    return {**shares, "training": rest, "peak": peak, "kernels_by": provider.NAME}
