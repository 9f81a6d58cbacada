"""Kernels compiled by Numba when they are first called, and where compiled ones are cached.

Numba chooses a function's cache folder when it is decorated and raises there if none is
writable: a package on a read-only disk, run by a user without HOME, could not be imported.
It also hashes a function's own source only, so that an edited vector primitive would leave
stale machine code behind. Both are cured by a folder of our own, named after the sources.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from .folders import digest_of, first_private

# Numba makes the attributes of its config when it is loaded, and hides some of njit's options.
njit: Any = numba.njit
config: Any = numba.config


def cache_folder() -> Path | None:
    """The folder for compiled kernels; ``None`` if no place can be written to.

    Its name changes with any kernel source, Numba, the forced SIMD path and the package's name.
    """
    salt = f"{numba.__version__} {os.environ.get('FFEDGE_SIMD', '')} {__package__}"
    return first_private(f"kernels-{digest_of(Path(__file__).parent, salt)[:12]}")


CACHE_FOLDER = None if config.DISABLE_JIT else cache_folder()


def compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """``numba.njit`` with ffedge's settings: no GIL, no Python errors, cached on disk."""
    before = config.CACHE_DIR
    if CACHE_FOLDER is not None:
        config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        result: Callable[..., Any] = njit(
            cache=CACHE_FOLDER is not None, nogil=True, error_model="numpy", **options
        )(function)
    finally:
        config.CACHE_DIR = before
    return result


def to_be_lowered(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The same without run-time system: a kernel that allocates does not even compile."""
    settings = {"_nrt": False, "no_cpython_wrapper": True} | options
    result: Callable[..., Any] = njit(nogil=True, error_model="numpy", **settings)(function)
    return result
