"""The environment of a process that lowers kernels for another machine."""

from __future__ import annotations

import os
from pathlib import Path

#: Numba and LLVM must not optimise for the machine that builds.
LOWERING = {
    "FFEDGE_KERNELS": "lowering",
    "NUMBA_OPT": "0",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_SLP_VECTORIZE": "0",
    "NUMBA_DISABLE_JIT": "0",
    "NUMBA_DEBUGINFO": "0",
    "NUMBA_BOUNDSCHECK": "0",
    # Numba's names for types contain hashes.
    "PYTHONHASHSEED": "0",
}


def package_path() -> str:
    """PYTHONPATH by which such a process finds this very package."""
    package = Path(__file__).resolve().parent.parent.parent
    return os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
