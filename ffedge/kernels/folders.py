"""Where compiled code may lie: in folders that are the user's alone, since it is trusted code."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def digest_of(folder: Path, salt: str) -> str:
    """16 hex digits that change with ``salt`` and all that the kernels of ``folder`` are made from.

    Two checksums of 32 bits: they find a stale copy. Nobody is kept out by them, and hashlib
    would bring OpenSSL, a tenth of the process's memory.
    """
    crc, adler = zlib.crc32(salt.encode()), 1
    paths = [*folder.rglob("*.py"), *folder.rglob("*.txt"), *folder.parent.glob("tensor.py")]
    for path in sorted(paths):
        data = path.read_bytes()
        crc, adler = zlib.crc32(data, crc), zlib.adler32(data, adler)
    return f"{crc:08x}{adler:08x}"


def ours(place: Path, owners: tuple[int, ...]) -> bool:
    """Whether ``place`` belongs to one of ``owners`` and nobody else may write to it."""
    try:
        found = place.stat()
    except OSError:
        return False
    return found.st_uid in owners and not found.st_mode & _WRITABLE_BY_OTHERS


def private(folder: Path) -> bool:
    """Create ``folder``; true if it is ours alone and can be written to.

    So must its parent be: whoever may write there can put another folder in its place.
    """
    try:
        for place in (folder.parent, folder):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return all(ours(place, (os.geteuid(),)) for place in (folder.parent, folder))


def candidates(name: str) -> list[Path]:
    """Folders ``name`` that a cache may be in, best first; none is looked at or made.

    In order: ``NUMBA_CACHE_DIR``, ``XDG_CACHE_HOME`` or ``~/.cache``, the temporary folder.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    found = [Path(chosen) / "ffedge" / name] if chosen else []
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    found.append(Path(home) / "ffedge" / name)
    # Not tempfile's answer, which would bring a megabyte of modules into every process.
    temporary = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), "/tmp")
    found.append(Path(temporary) / f"ffedge-{os.geteuid()}" / name)
    return [folder for folder in found if folder.is_absolute()]


def first_private(name: str) -> Path | None:
    """The first of ``candidates`` that is, or can be made, a private folder."""
    return next((folder for folder in candidates(name) if private(folder)), None)
