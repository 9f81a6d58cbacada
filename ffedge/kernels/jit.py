"""The decorator of every kernel, and where compiled kernels are cached.

Numba chooses a function's cache folder when it is decorated and raises there if none is
writable: a package on a read-only disk, run by a user without HOME, could not be imported.
It also hashes a function's own source only, so that an edited vector primitive would leave
stale machine code behind. Both are cured by a folder of our own, named after the sources.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import njit

# Numba makes the attributes of this module when it is loaded.
config: Any = numba.config

#: Float kernels may reorder sums and fuse multiply-adds (9 times faster); NaN and infinity
#: keep their meaning. Never used where bits are promised.
REORDER = {"reassoc", "contract", "nsz"}

#: True where NUMBA_DISABLE_JIT=1 makes every kernel a plain Python function.
PLAIN_PYTHON = bool(config.DISABLE_JIT)


def _sources_digest() -> str:
    """Twelve hex digits that change with any kernel source, Numba or the forced SIMD path."""
    digest = hashlib.sha256(f"{numba.__version__} {os.environ.get('FFEDGE_SIMD', '')}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _private(folder: Path) -> bool:
    """Create ``folder``; true if it is ours alone, since cached machine code is trusted code.

    So must its parent be: whoever may write there can put another folder in its place.
    """
    try:
        for place in (folder.parent, folder):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = [place.stat() for place in (folder.parent, folder)]
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    writable_by_others = stat.S_IWGRP | stat.S_IWOTH
    return all(s.st_uid == os.geteuid() and not s.st_mode & writable_by_others for s in found)


def cache_folder() -> Path | None:
    """The folder for compiled kernels; ``None`` if no place can be written to.

    In order: ``NUMBA_CACHE_DIR``, ``XDG_CACHE_HOME`` or ``~/.cache``, the temporary folder.
    """
    name = f"kernels-{_sources_digest()}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [Path(chosen) / "ffedge" / name] if chosen else []
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    candidates.append(Path(home) / "ffedge" / name)
    # A disk that is read-only throughout has no temporary folder either.
    with contextlib.suppress(OSError):
        candidates.append(Path(tempfile.gettempdir()) / f"ffedge-{os.geteuid()}" / name)
    return next(
        (folder for folder in candidates if folder.is_absolute() and _private(folder)), None
    )


CACHE_FOLDER = None if PLAIN_PYTHON else cache_folder()


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` with ffedge's settings: no GIL, no Python errors, cached on disk."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before = config.CACHE_DIR
        if CACHE_FOLDER is not None:
            config.CACHE_DIR = str(CACHE_FOLDER)
        try:
            compiled: Callable[..., Any] = njit(
                cache=CACHE_FOLDER is not None, nogil=True, error_model="numpy", **options
            )(function)
        finally:
            config.CACHE_DIR = before
        return compiled

    return decorate
