"""Kernels called in a compiled library through ctypes, with the Python signature of the kernel.

A call fills a *record*, one 8-byte slot for each argument, and passes its address: the addresses
of the arrays' *descriptors* (data, then the shape), then the scalars. Results come back in the
record, from slot 0. Making a descriptor costs as much as a small kernel, so each array's is kept
for as long as the array lives: found by its ``id``, dropped by a weak reference in the moment
the array goes, before another can take its ``id``. Only in-place changes of an array's shape
would escape that; ffedge makes none. ctypes releases the interpreter's lock during the call.

The Python function of each kernel is written out as text and compiled, because at batch size 1
calls count: one line of look-ups takes a third of the time of any loop over the arguments.
"""

from __future__ import annotations

import ctypes
import operator
import struct
import weakref
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from ..errors import ConfigError
from .signatures import split

#: Slots of a record; no kernel has more arguments or results.
SLOTS = 64

Record = tuple[bytearray, ctypes.c_void_p, Any]

#: By (dtype code, dimensions): address of the descriptor by the array's id.
_tables: dict[tuple[str, int], dict[int, int]] = {}

#: What keeps a descriptor: the weak reference and its memory, by the array's id.
_kept: dict[int, tuple[Any, Any]] = {}

#: Records that no call is using.
_free: list[Record] = []

_SOURCE = """\
def call({parameters}):
    try:
        entry = _pop()
    except IndexError:
        entry = _new_record()
    record, address, _ = entry
    try:
        _pack(record, 0, {slots})
    except (KeyError, TypeError, _struct_error):
        _append(entry)
        return _again(({parameters},))
    if _function(address):
        raise _failed
    {fetch}
    _append(entry)
    return {result}
"""


def _new_record() -> Record:
    record = bytearray(8 * SLOTS)
    # Holding the buffer keeps the bytes where they are.
    view = (ctypes.c_char * len(record)).from_buffer(record)
    return record, ctypes.c_void_p(ctypes.addressof(view)), view


class Overload:
    """One compiled function, for one signature: ``call`` takes the kernel's arguments."""

    def __init__(
        self, kernel: Callable[..., Any], function: Any, words: tuple[str, ...],
        results: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.words = [split(word) for word in words]
        self._arrays = [i for i, (_, ndim) in enumerate(self.words) if ndim]
        scalars = [i for i, (_, ndim) in enumerate(self.words) if not ndim]
        self._tables = {i: _tables.setdefault(self.words[i], {}) for i in self._arrays}
        names = kernel.__code__.co_varnames[: len(words)]
        formats = ["d" if self.words[i][0][0] == "f" else "q" for i in scalars]
        codes = ["d" if word[0] == "f" else "?7x" if word == "b1" else "q" for word in results]
        function.restype = ctypes.c_int
        scope: dict[str, Any] = {
            "_pop": _free.pop, "_append": _free.append, "_new_record": _new_record,
            "_struct_error": struct.error, "_function": function, "_again": self._again,
            "_pack": struct.Struct("=" + "q" * len(self._arrays) + "".join(formats)).pack_into,
            "_unpack": struct.Struct("=" + "".join(codes)).unpack_from,
            "_failed": ConfigError(f"{kernel.__name__}: expected no exception, got one"),
        }  # fmt: skip
        scope |= {f"_table{i}": table for i, table in self._tables.items()}
        slots = [f"_table{i}[id({names[i]})]" for i in self._arrays]
        source = _SOURCE.format(
            parameters=", ".join(names), slots=", ".join(slots + [names[i] for i in scalars]),
            fetch="found = _unpack(record)" if codes else "found = None",
            result="found[0]" if len(codes) == 1 else "found",
        )  # fmt: skip
        exec(source, scope)
        self.call: Callable[..., Any] = scope["call"]
        #: Called with arguments that do not fit; set by ``caller``.
        self.refuse: Callable[[tuple[Any, ...]], Any] = tuple

    def fits(self, arguments: tuple[Any, ...]) -> bool:
        """Whether every array has the type of its place."""
        return all(_type_of(arguments[i]) == self.words[i] for i in self._arrays)

    def prepared(self, arguments: tuple[Any, ...]) -> list[Any]:
        """The same arguments, arrays known and scalars as plain numbers. Raises TypeError."""
        ready = list(arguments)
        for i, (code, ndim) in enumerate(self.words):
            if not ndim:
                ready[i] = _plain(arguments[i], code)
            elif id(arguments[i]) not in self._tables[i]:
                _describe(arguments[i], self._tables[i])
        return ready

    def _again(self, arguments: tuple[Any, ...]) -> Any:
        if not self.fits(arguments):
            return self.refuse(arguments)
        try:
            ready = self.prepared(arguments)
        except (TypeError, ValueError):
            return self.refuse(arguments)
        return self.call(*ready)


def caller(
    kernel: Callable[..., Any], make: Callable[[], list[Overload]]
) -> Callable[..., Any]:  # fmt: skip
    """The function that stands for ``kernel`` and chooses among its overloads.

    They are made on the first call: a process calls few of the kernels, and each one's functions
    take some ten thousand bytes.
    """
    overloads: list[Overload] = []
    last: Callable[..., Any] = lambda *arguments: choose(arguments)  # noqa: E731

    def choose(arguments: tuple[Any, ...]) -> Any:
        nonlocal last
        wanted = kernel.__code__.co_argcount
        if len(arguments) != wanted:
            raise TypeError(f"{kernel.__name__}: expected {wanted} arguments, got {len(arguments)}")
        if not overloads:
            overloads.extend(make())
            for overload in overloads:
                overload.refuse = choose
        for overload in overloads:
            if overload.fits(arguments):
                try:
                    ready = overload.prepared(arguments)
                except (TypeError, ValueError):
                    continue
                last = overload.call
                return overload.call(*ready)
        raise ConfigError(_refusal(kernel, overloads, arguments))

    def call(*arguments: Any) -> Any:
        return last(*arguments)

    update_wrapper(call, kernel)
    # As Numba's dispatchers have it.
    call.py_func = kernel  # type: ignore[attr-defined]
    return call


def _describe(array: np.ndarray[Any, Any], table: dict[int, int]) -> None:
    key = id(array)
    descriptor = (ctypes.c_int64 * (1 + array.ndim))(array.ctypes.data, *array.shape)

    def forget(_: Any) -> None:
        table.pop(key, None)
        _kept.pop(key, None)

    _kept[key] = (weakref.ref(array, forget), descriptor)
    table[key] = ctypes.addressof(descriptor)


def _type_of(value: Any) -> tuple[str, int] | None:
    """Dtype code and dimensions of an array that a kernel can read; None for others."""
    if not isinstance(value, np.ndarray) or not value.dtype.isnative:
        return None
    if not (value.flags.c_contiguous and value.flags.aligned):
        return None
    return value.dtype.str[1:], value.ndim


def _plain(value: Any, code: str) -> Any:
    """``value`` as a Python number for a slot of dtype ``code``. Raises TypeError."""
    if isinstance(value, np.ndarray):
        raise TypeError
    if code[0] == "f":
        return float(value)
    number = int(value) if isinstance(value, np.bool_) else operator.index(value)
    if not -(2**63) <= number < 2**64:
        raise TypeError
    # 64 bits of a counter are what they are, with or without a sign.
    return number - 2**64 if number >= 2**63 else number


def _refusal(
    kernel: Callable[..., Any], overloads: list[Overload], arguments: tuple[Any, ...]
) -> str:
    name = f"{kernel.__module__}.{kernel.__name__}"
    if not overloads:
        return (
            f"{name}: expected a kernel that the compiled library exports, got one it does not; "
            "tools/record_signatures.py adds it to the table"
        )
    names = kernel.__code__.co_varnames
    for i, argument in enumerate(arguments):
        wanted = {
            code + (f"[{ndim}]" if ndim else "")
            for code, ndim in (overload.words[i] for overload in overloads)
        }
        is_array = isinstance(argument, np.ndarray) or "[" in min(wanted)
        if is_array and _word(argument) not in wanted:
            return (
                f"{name}: expected {names[i]} of type {' or '.join(sorted(wanted))}, got "
                f"{_word(argument)}; the compiled library knows no other"
            )
    got = ", ".join(_word(argument) for argument in arguments)
    return f"{name}: expected arguments of the compiled library's types, got {got}"


def _word(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    word = f"{value.dtype.str.lstrip('<|=')}[{value.ndim}]"
    layout = "" if value.flags.c_contiguous else ", not C-contiguous"
    return word + layout + ("" if value.flags.aligned else ", not aligned")
