"""From kernels to a library: one process per vector path, then the linker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ..atomic import atomic_write
from ..errors import ConfigError, MissingDependencyError
from ..kernels import cpu
from ..kernels.library import sources_digest
from ..kernels.library_file import INTERFACE, seal
from ..kernels.signatures import read_table
from .elf import link
from .environment import LOWERING, package_path
from .targets import Target

Lowered = tuple[dict[int, list[str]], bytes]


@dataclass(frozen=True)
class Built:
    """The library's bytes and what is in it."""

    data: bytes
    target: Target
    kernels: int
    paths: tuple[str, ...]


def build(
    target: Target,
    progress: Callable[[str], None] = lambda text: None,
    *,
    has: Iterable[str] | None = None,
) -> Built:
    """A library of all kernels for ``target``; the same sources give the same bytes.

    progress: called with the name of each vector path before it is lowered
    has: None for all vector paths; else the features of one processor, for its best path only

    Raises MissingDependencyError without Numba, ConfigError if the kernels cannot be lowered.
    """
    for package in ("numba", "llvmlite"):
        if find_spec(package) is None:
            raise MissingDependencyError(package, "jit", "building a library of kernels")
    exports = [(name, words) for name, all_ in sorted(read_table().items()) for words in all_]
    families = {"int8": cpu.INT8_PATHS, "float": cpu.FLOAT_PATHS}
    results: dict[int, list[str]] = {}
    objects, symbols, lines = [], [], []
    for family, paths in families.items():
        known = tuple(paths[target.architecture])
        if has is not None:
            known = cpu.runnable(paths[target.architecture], has)[:1]
        lines.append(f"paths {family} {' '.join(known)}")
        for path in known:
            progress(f"{family} {path}")
            found, data = _lower(family, path, target)
            results.update(found)
            objects.append((f"{family}.{path}", data))
            symbols += [f"{family}.{path}.{number}" for number in found]
    for number, (name, words) in enumerate(exports):
        lines.append(f"kernel {name} {' '.join(words)} -> {' '.join(results[number])}".rstrip())
    head = [
        INTERFACE, "checksum 00000000", f"architecture {target.architecture}",
        f"target {target.name}", f"sources {sources_digest()}",
        f"built-with numba {version('numba')}, llvmlite {version('llvmlite')}",
    ]  # fmt: skip
    note = "\n".join([*head, *lines, ""]).encode()
    data = seal(link(objects, target.architecture, symbols, note))
    names = tuple(name for name, _ in objects)
    return Built(data, target, len({name for name, _ in exports}), names)


def write(built: Built, path: str | os.PathLike[str]) -> None:
    """Put the library at ``path``, whole or not at all; only the owner may write to it."""
    with atomic_write(path) as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(built.data)


def _lower(family: str, path: str, target: Target) -> Lowered:
    """(results by the function's number, object) of one vector path, from its own process."""
    with tempfile.TemporaryDirectory(prefix="ffedge-lowering-") as folder:
        output = Path(folder) / "kernels.o"
        done = subprocess.run(
            [
                sys.executable, "-m", "ffedge.lowering.lower", family, path,
                target.architecture, target.tuned_for, str(output),
            ],
            env=os.environ | LOWERING | {
                "FFEDGE_SIMD": path,
                "PYTHONPATH": package_path(),
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise ConfigError(
                f"build-runtime: expected {family} kernels for {path}, got an error: {last[0]}"
            )
        lines = [line.split() for line in done.stdout.splitlines()]
        return {int(line[0]): line[1:] for line in lines}, output.read_bytes()
