"""The compiled library of this machine: where it is looked for, and what is refused.

Looked for in order: the file that ``FFEDGE_LIBRARY`` names, the package's own folder, the
user's cache. A file is used only if its interface, kernel sources and architecture are these,
and only from folders that nobody else may write to (the package's own is trusted as its code is).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import cpu
from .folders import candidates, digest_of, ours
from .foreign import Overload, caller
from .library_file import LibraryFile, NotOursError, read
from .twin import twin

#: Folder of the libraries that come with the package.
PACKAGED = Path(__file__).parent.parent / "libraries"


class Library:
    """A loaded library: the paths of this machine in it, and its kernels."""

    def __init__(self, facts: LibraryFile) -> None:
        self.facts, self.path = facts, facts.path
        has = cpu.features()
        self.int8_paths = _shared(facts, "int8", cpu.INT8_PATHS, has)
        self.float_paths = _shared(facts, "float", cpu.FLOAT_PATHS, has)
        if not (self.int8_paths and self.float_paths):
            raise NotOursError("it holds no vector path that this processor can run")
        wanted = cpu.forced(cpu.INT8_WORDS)
        self.int8_path = wanted if wanted in self.int8_paths else self.int8_paths[0]
        wanted = cpu.forced()
        self.float_path = wanted if wanted in self.float_paths else self.float_paths[0]
        self._loaded = ctypes.CDLL(str(facts.path))
        self._places: dict[str, list[int]] = {}
        for number, (name, _, _) in enumerate(facts.kernels):
            self._places.setdefault(name, []).append(number)

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The library's version of a kernel's Python function, or Numba's if it holds none."""
        name = f"{function.__module__.removeprefix('ffedge.kernels.')}.{function.__name__}"
        if name not in self._places:
            return twin(function)
        family = family_of(name)
        path = self.int8_path if family == "int8" else self.float_path

        def overloads() -> list[Overload]:
            made = []
            for number in self._places[name]:
                _, words, results = self.facts.kernels[number]
                symbol = self._loaded[f"{family}.{path}.{number}"]
                made.append(Overload(function, symbol, words, results))
            return made

        return caller(function, overloads)


def family_of(name: str) -> str:
    """Which vector paths a kernel comes in: those of "int8" or of "float"."""
    return "int8" if name.startswith("int8.") else "float"


def _shared(
    facts: LibraryFile, family: str, known: dict[str, dict[str, tuple[str, ...]]],
    has: Iterable[str],
) -> tuple[str, ...]:  # fmt: skip
    runs = cpu.runnable(known[facts.architecture], has)
    return tuple(path for path in runs if path in facts.paths[family])


class Search:
    """What the search for a library found: the library, and why others were not taken."""

    def __init__(self) -> None:
        self.library: Library | None = None
        #: (path, reason) of every file that is there and was refused.
        self.refused: list[tuple[Path, str]] = []

    @property
    def reasons(self) -> str:
        """In words why there is no library."""
        if not self.refused:
            return "none was found"
        return "; ".join(f"{path}: {reason}" for path, reason in self.refused)


def file_name(architecture: str) -> str:
    """What the libraries in the package and in the cache are called."""
    return f"ffedge-{architecture}.so"


def sources_digest() -> str:
    """Digest of the kernels' sources and of the table of their types."""
    return digest_of(Path(__file__).parent, "")


def cache_folder_name() -> str:
    """Folder of the cache for libraries of these sources."""
    return f"runtime-{sources_digest()[:12]}"


def places() -> list[Path]:
    """The files that may be the library of this machine, first come first served."""
    chosen = os.environ.get("FFEDGE_LIBRARY")
    name = file_name(cpu.architecture())
    found = [Path(chosen).absolute()] if chosen else []
    found.append(PACKAGED / name)
    found += [folder / name for folder in candidates(cache_folder_name())]
    return found


def search() -> Search:
    """Look for the library of this machine and these sources."""
    result = Search()
    for path in places():
        if not path.is_file():
            if str(path) == os.environ.get("FFEDGE_LIBRARY"):
                result.refused.append((path, "there is no such file"))
            continue
        try:
            result.library = _load(path)
            break
        except NotOursError as error:
            result.refused.append((path, str(error)))
        except OSError as error:
            result.refused.append((path, f"it cannot be loaded: {error}"))
    return result


def _load(path: Path) -> Library:
    if path.parent != PACKAGED:
        for place in (path, path.parent):
            if not ours(place.resolve(), (os.geteuid(), 0)):
                raise NotOursError(f"others may write to {place}; `chmod go-w` it")
    facts = read(path)
    if facts.architecture != cpu.architecture():
        raise NotOursError(f"it is for {facts.architecture}, this machine is {cpu.architecture()}")
    if facts.sources != sources_digest():
        raise NotOursError("it was made from other kernel sources; build it anew")
    return Library(facts)
