"""Kernels called in a compiled library through ctypes, with the Python signature of the kernel.

A call fills a *record*, one 8-byte slot for each argument, and passes its address: the addresses
of the arrays' *descriptors* (data, then the shape), then the scalars. Results come back in the
record, from slot 0. Making a descriptor costs as much as a small kernel, so each array's is kept
for as long as the array lives: found by its ``id``, dropped by a weak reference in the moment
the array goes, before another can take its ``id``. Only in-place changes of an array's shape
would escape that; ffedge makes none.

Looked for in order: the file that ``FFEDGE_LIBRARY`` names, the package's own folder, the
user's cache. A file is used only if its interface, kernel sources and architecture are these,
and only from folders that nobody else may write to (the package's own is trusted as its code is).
"""

from __future__ import annotations

import ctypes
import os
import struct
import weakref
from collections.abc import Callable, Iterable
from operator import getitem, itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import cpu
from .folders import candidates, digest_of, ours
from .library_file import LibraryFile, NotOurs, read
from .signatures import split

#: Folder of the libraries that come with the package.
PACKAGED = Path(__file__).parent.parent / "libraries"

#: Slots of a record; no kernel has more arguments or results.
_SLOTS = 64

#: By (dtype code, dimensions): address of the descriptor by the array's id.
_tables: dict[tuple[str, int], dict[int, int]] = {}

#: What keeps a descriptor: the weak reference and its memory, by the array's id.
_kept: dict[int, tuple[Any, Any]] = {}

#: Records that no call is using.
_free: list[tuple[Any, ctypes.c_void_p]] = []


class Overload:
    """One compiled function and how its arguments lie in the record."""

    def __init__(self, function: Any, words: tuple[str, ...], results: tuple[str, ...]) -> None:
        self.words = [split(word) for word in words]
        arrays = [i for i, (_, ndim) in enumerate(self.words) if ndim]
        scalars = [i for i, (_, ndim) in enumerate(self.words) if not ndim]
        self.arrays, self.scalars = arrays, scalars
        self.tables = [_tables.setdefault(self.words[i], {}) for i in arrays]
        formats = ["d" if self.words[i][0][0] == "f" else "q" for i in scalars]
        self.pack = struct.Struct("=" + "q" * len(arrays) + "".join(formats)).pack_into
        codes = ["d" if word[0] == "f" else "?7x" if word == "b1" else "q" for word in results]
        unpack = struct.Struct("=" + "".join(codes)).unpack_from
        self.unpack: Callable[[Any], Any] | None = unpack if len(codes) > 1 else None
        if len(codes) == 1:
            self.unpack = lambda record: unpack(record)[0]
        function.restype = ctypes.c_int
        self.parts = (
            _chooser(arrays), _chooser(scalars), self.tables, self.pack, function, self.unpack,
            len(words),
        )  # fmt: skip

    def fits(self, arguments: tuple[Any, ...]) -> bool:
        """Whether every array has the type of its place."""
        return all(
            isinstance(arguments[i], np.ndarray)
            and (arguments[i].dtype.str[1:], arguments[i].ndim) == self.words[i]
            and arguments[i].dtype.isnative
            and arguments[i].flags.c_contiguous
            and arguments[i].flags.aligned
            for i in self.arrays
        )

    def describe(self, arguments: tuple[Any, ...]) -> None:
        """Make the descriptors that are missing."""
        for i, table in zip(self.arrays, self.tables, strict=True):
            if id(arguments[i]) not in table:
                _describe(arguments[i], table)

    def plain(self, arguments: tuple[Any, ...]) -> list[Any]:
        """The scalars as Python numbers that fit the record."""
        return [_plain(arguments[i], self.words[i][0]) for i in self.scalars]


def _chooser(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if len(places) == 1:
        place = places[0]
        return lambda arguments: (arguments[place],)
    return itemgetter(*places) if places else lambda arguments: ()


def _describe(array: np.ndarray[Any, Any], table: dict[int, int]) -> None:
    key = id(array)
    size = 1 + array.ndim
    descriptor = (ctypes.c_int64 * size)(array.ctypes.data, *array.shape)

    def forget(_: Any) -> None:
        table.pop(key, None)
        _kept.pop(key, None)

    _kept[key] = (weakref.ref(array, forget), descriptor)
    table[key] = ctypes.addressof(descriptor)


def _plain(value: Any, code: str) -> Any:
    """``value`` as a Python number for a slot of dtype ``code``. Raises TypeError."""
    if code[0] == "f":
        return float(value)
    if isinstance(value, bool | np.bool_):
        return int(value)
    number = value.__index__() if hasattr(value, "__index__") else None
    if number is None or not -(2**63) <= number < 2**64:
        raise TypeError
    # 64 bits of a counter are what they are, with or without a sign.
    return number - 2**64 if number >= 2**63 else number


def _new_record() -> tuple[Any, ctypes.c_void_p]:
    record = (ctypes.c_int64 * _SLOTS)()
    return record, ctypes.c_void_p(ctypes.addressof(record))


class LibraryKernel:
    """A kernel's function in the library; called as the kernel itself is."""

    def __init__(self, function: Callable[..., Any], overloads: list[Overload]) -> None:
        #: The Python function, as Numba's dispatchers have it.
        self.py_func = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self.__module__, self.__wrapped__ = function.__module__, function
        self._overloads = overloads
        self._parts = overloads[0].parts if overloads else None

    def __call__(self, *arguments: Any) -> Any:
        try:
            arrays, scalars, tables, pack, function, unpack, count = self._parts  # type: ignore[misc]
            record, address = _free.pop()
            pack(record, 0, *map(getitem, tables, map(id, arrays(arguments))), *scalars(arguments))
        except (KeyError, IndexError, TypeError, struct.error):
            return self._first_call(arguments)
        if len(arguments) != count or function(address) != 0:
            return self._refuse(arguments)
        result = None if unpack is None else unpack(record)
        _free.append((record, address))
        return result

    def _first_call(self, arguments: tuple[Any, ...]) -> Any:
        """The same for arguments not seen before; what cannot be called is refused in words."""
        for overload in self._overloads:
            if len(arguments) != len(overload.words) or not overload.fits(arguments):
                continue
            try:
                scalars = overload.plain(arguments)
            except (TypeError, ValueError):
                continue
            overload.describe(arguments)
            record, address = _free.pop() if _free else _new_record()
            addresses = [
                table[id(arguments[i])]
                for i, table in zip(overload.arrays, overload.tables, strict=True)
            ]
            overload.pack(record, 0, *addresses, *scalars)
            self._parts = overload.parts
            if overload.parts[4](address) != 0:
                return self._refuse(arguments)
            result = None if overload.unpack is None else overload.unpack(record)
            _free.append((record, address))
            return result
        return self._refuse(arguments)

    def _refuse(self, arguments: tuple[Any, ...]) -> Any:
        name = f"{self.__module__}.{self.__name__}"
        if not self._overloads:
            raise ConfigError(
                f"{name}: expected a kernel of the compiled library, got one that it does not "
                "export; add it with tools/record_signatures.py and rebuild"
            )
        wanted = " or ".join(
            " ".join(code + (f"[{ndim}]" if ndim else "") for code, ndim in overload.words)
            for overload in self._overloads[:4]
        )
        got = " ".join(_word(argument) for argument in arguments)
        raise ConfigError(f"{name}: expected arguments of types {wanted}, got {got}")


def _word(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    word = f"{value.dtype.str.lstrip('<|=')}[{value.ndim}]"
    flags = value.flags
    return word + ("" if flags.c_contiguous else " not C-contiguous") + (
        "" if flags.aligned else " not aligned"
    )  # fmt: skip


class Library:
    """A loaded library: the paths of this machine in it, and its kernels."""

    def __init__(self, facts: LibraryFile) -> None:
        self.facts, self.path = facts, facts.path
        has = cpu.features()
        self.int8_paths = _shared(facts, "int8", cpu.INT8_PATHS, has)
        self.float_paths = _shared(facts, "float", cpu.FLOAT_PATHS, has)
        wanted = cpu.forced(cpu.INT8_WORDS)
        self.int8_path = wanted if wanted in self.int8_paths else self.int8_paths[0]
        wanted = cpu.forced()
        self.float_path = wanted if wanted in self.float_paths else self.float_paths[0]
        self._loaded = ctypes.CDLL(str(facts.path))
        self._places: dict[str, list[int]] = {}
        for number, (name, _, _) in enumerate(facts.kernels):
            self._places.setdefault(name, []).append(number)

    def kernel(self, function: Callable[..., Any]) -> LibraryKernel:
        """The library's version of a kernel's Python function."""
        name = f"{function.__module__.removeprefix('ffedge.kernels.')}.{function.__name__}"
        family = family_of(name)
        path = self.int8_path if family == "int8" else self.float_path
        overloads = []
        for number in self._places.get(name, []):
            _, words, results = self.facts.kernels[number]
            symbol = self._loaded[f"{family}.{path}.{number}"]
            overloads.append(Overload(symbol, words, results))
        return LibraryKernel(function, overloads)


def family_of(name: str) -> str:
    """"int8" or "float": which vector paths a kernel comes in."""
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
    """SHA-256 of the kernels' sources and of the table of their types."""
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
        except NotOurs as error:
            result.refused.append((path, str(error)))
        except OSError as error:
            result.refused.append((path, f"it cannot be loaded: {error}"))
    return result


def _load(path: Path) -> Library:
    if path.parent != PACKAGED:
        for place in (path, path.parent):
            if not ours(place.resolve(), (os.geteuid(), 0)):
                raise NotOurs(f"others may write to {place}; `chmod go-w` it")
    facts = read(path)
    if facts.architecture != cpu.architecture():
        raise NotOurs(f"it is for {facts.architecture}, this machine is {cpu.architecture()}")
    if facts.sources != sources_digest():
        raise NotOurs("it was made from other kernel sources; build it anew")
    return Library(facts)
