"""Kernels that the compiled library does not hold, run by Numba beside it.

The library holds what the usual rules call; it has no room for all of them. The first call of
another kernel loads the kernel modules a second time, as the package ``ffedge._numba_kernels``,
where ``provider`` chooses Numba: what a kernel calls must be compiled by Numba as well. Numba and
its memory come only then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import MissingDependencyError

#: Name of the second package; the modules' own imports are relative, so they find each other.
PACKAGE = "ffedge._numba_kernels"


def _package() -> None:
    """Make the second package, whose modules are the same files."""
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE, __doc__)
        package.__path__ = [str(Path(__file__).parent)]
        sys.modules[PACKAGE] = package


def twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands for a kernel's Python function: Numba's version, made on the first call.

    Raises MissingDependencyError from that call where Numba is not installed.
    """
    compiled: list[Callable[..., Any]] = []

    def call(*arguments: Any) -> Any:
        if not compiled:
            if find_spec("numba") is None:
                raise MissingDependencyError(
                    "numba",
                    "jit",
                    f"{function.__name__}, which the compiled library does not hold,",
                )
            _package()
            module = function.__module__.replace("ffedge.kernels", PACKAGE, 1)
            compiled.append(getattr(import_module(module), function.__name__))
        return compiled[0](*arguments)

    update_wrapper(call, function)
    call.py_func = function  # type: ignore[attr-defined]
    return call
