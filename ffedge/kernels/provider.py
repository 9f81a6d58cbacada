"""Who runs the kernels: a compiled library, Numba, or Python; decided once, at import.

``FFEDGE_KERNELS`` forces "library", "jit" or "python". Without it: plain Python if
NUMBA_DISABLE_JIT is set, else a compiled library made from these very sources (``library.py``
says where it is looked for), else Numba, else plain Python with a warning. All three give the
same int8 bits. "lowering" is set by ``ffedge.lowering`` alone, in a process that runs no kernel.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ..errors import ConfigError, MissingDependencyError
from .library import Library, Search, search
from .twin import PACKAGE

#: Float kernels may reorder sums and fuse multiply-adds (9 times faster); NaN and infinity
#: keep their meaning. Never used where bits are promised.
REORDER = {"reassoc", "contract", "nsz"}

PROVIDERS = ("library", "jit", "python")


class Choice:
    """What was chosen and why; ``found`` lists the libraries looked at, if any were."""

    def __init__(self, name: str, reason: str, found: Search | None = None) -> None:
        self.name, self.reason, self.found = name, reason, found

    @property
    def library(self) -> Library | None:
        """The library in use."""
        return self.found.library if self.name == "library" and self.found else None


def choose() -> Choice:
    """The provider of this process. Raises ConfigError if what is forced cannot be had."""
    forced = os.environ.get("FFEDGE_KERNELS", "")
    if forced == "lowering":
        return Choice("lowering", "the kernels are being lowered")
    if forced not in ("", *PROVIDERS):
        raise ConfigError(f"FFEDGE_KERNELS: expected one of {', '.join(PROVIDERS)}, got {forced!r}")
    if forced == "python":
        return Choice("python", "FFEDGE_KERNELS=python")
    switched_off = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
    if forced != "library" and switched_off:
        return Choice("python", "NUMBA_DISABLE_JIT is set")
    if forced == "jit":
        if find_spec("numba") is None:
            raise MissingDependencyError("numba", "jit", "FFEDGE_KERNELS=jit")
        return Choice("jit", "FFEDGE_KERNELS=jit")
    found = search()
    if found.library is not None:
        refused = f"; not taken: {found.reasons}" if found.refused else ""
        reason = f"{found.library.path} was made from these kernels{refused}"
        return Choice("library", reason, found)
    if forced == "library":
        raise ConfigError(
            f"FFEDGE_KERNELS=library: expected a compiled library, got none; {found.reasons}; "
            "run `ffedge build-runtime`"
        )
    if find_spec("numba") is not None:
        return Choice("jit", f"no compiled library: {found.reasons}", found)
    return Choice("python", f"no compiled library ({found.reasons}) and no numba", found)


#: These very modules, loaded once more beside a library: see ``twin``.
_IS_TWIN = __name__.startswith(PACKAGE)

CHOICE = Choice("jit", "the compiled library does not hold it") if _IS_TWIN else choose()

#: "library", "jit", "python" or "lowering".
NAME = CHOICE.name

LIBRARY = CHOICE.library

#: True where every kernel is a plain Python function.
PLAIN_PYTHON = NAME == "python"

#: True where Numba sees the kernels, so that the vector primitives must be its intrinsics.
COMPILES = NAME in ("jit", "lowering")

if PLAIN_PYTHON and CHOICE.reason != "NUMBA_DISABLE_JIT is set":
    warnings.warn(
        f"ffedge runs its kernels in plain Python, some hundred times slower: {CHOICE.reason}; "
        "install numba, or build a library with `ffedge build-runtime` where there is one",
        RuntimeWarning,
        stacklevel=2,
    )


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The decorator of every kernel; ``options`` are ``numba.njit``'s."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if NAME == "jit":
            from .jit import compiled

            return compiled(function, options)
        if NAME == "lowering":
            from .jit import to_be_lowered

            return to_be_lowered(function, options)
        if LIBRARY is not None and function.__module__.startswith("ffedge.kernels."):
            return LIBRARY.kernel(function)
        return function

    return decorate
