"""The functions that unicorn calls for each block of code and each store, compiled by Numba.

They share one int64 array, the record: a head of facts; then two rows of one number for each
halfword of flash and one more. A block of n halfwords at place i adds 1 to row 0 at i and takes 1
at i + n, so that the running sum says how often a halfword was executed; row 1 marks beginnings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import cfunc
from numba import types as untyped_types

Array = np.ndarray[Any, Any]

# Numba has type hints for users only, not for what is used here.
types: Any = untyped_types
carray: Any = vars(numba)["carray"]

# Places in the head. The last two: the lowest and highest place of flash that a block touched.
_BASE, _COUNT, _LEFT, _LOWEST, _HIGHEST, _BEGIN, _END = range(7)
_HEAD = 8
_NO_LIMIT = 1 << 62


class Record:
    """What the hooks keep for flash of ``nbytes`` at ``address``.

    code: gives the bytes of flash, from an address on, so many.
    """

    def __init__(self, address: int, nbytes: int, code: Callable[[int, int], bytes]) -> None:
        count = nbytes // 2 + 1
        self._address, self._count, self._code = address, count, code
        self.array = np.zeros(_HEAD + 2 * count, np.int64)
        self.array[[_BASE, _COUNT, _LEFT]] = address, count, _NO_LIMIT
        self.array[[_LOWEST, _BEGIN]] = _NO_LIMIT
        self._known, self._first = 0, np.zeros(0, bool)
        self._span = (0, 0)

    def set_limit(self, limit: int | None) -> None:
        """Stop the emulator after ``limit`` halfwords of code."""
        self.array[_LEFT] = _NO_LIMIT if limit is None else limit

    @property
    def written(self) -> tuple[int, int]:
        """Lowest and highest address written."""
        return int(self.array[_LOWEST]), int(self.array[_HIGHEST])

    def total(self) -> int:
        """Instructions executed."""
        return int(self._often().sum())

    def executions(self) -> Array:
        """int64 (halfwords of flash,): how often each instruction ran, at its first halfword."""
        found = np.zeros(self._count - 1, np.int64)
        often = self._often()
        found[self._span[0] : self._span[1]] = often
        return found

    def _often(self) -> Array:
        """``executions`` of the span of flash that was executed.

        Instructions begin where a block does, and follow each other as long as code was executed,
        so that constants between functions are never taken for them.
        """
        if self.array[_END] == 0:
            return np.zeros(0, np.int64)
        low, high = int(self.array[_BEGIN]), int(self.array[_END])
        rows = self.array[_HEAD:].reshape(2, self._count)[:, low:high]
        often = np.cumsum(rows[0])
        begins = np.flatnonzero(rows[1])
        if self._known != len(begins) or self._span != (low, high):
            code = np.frombuffer(self._code(self._address + 2 * low, 2 * (high - low)), np.uint16)
            self._first = _first_halfwords(code, begins, often)
            self._known, self._span = len(begins), (low, high)
        found: Array = np.where(self._first, often, 0)
        return found


def _first_halfwords(code: Array, begins: Array, often: Array) -> Array:
    wide = (code >> 11) >= 0b11101
    first = np.zeros(len(code), bool)
    for begin in begins.tolist():
        at = begin
        while at < len(code) and often[at] and not first[at]:
            first[at] = True
            at += 2 if wide[at] else 1
    return first


@functools.cache
def on_block() -> Any:
    """``void f(engine, address, size, record)``, before each block."""
    import ctypes

    import llvmlite.binding as llvm
    from unicorn.unicorn_py3.unicorn import uclib

    stop_address = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
    llvm.add_symbol("uc_emu_stop", stop_address)
    stop = types.ExternalFunction("uc_emu_stop", numba.int32(types.voidptr))

    @cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.CPointer(types.int64)))
    def count_block(engine, address, size, record):  # type: ignore[no-untyped-def]
        head = carray(record, _HEAD)
        count = head[_COUNT]
        rows = carray(record, _HEAD + 2 * count)
        first = (np.int64(address) - head[_BASE]) >> 1
        length = np.int64(size) >> 1
        if head[_LEFT] < length:
            stop(engine)
        else:
            head[_LEFT] -= length
            if first >= 0 and first + length < count:
                rows[_HEAD + first] += 1
                rows[_HEAD + first + length] -= 1
                rows[_HEAD + count + first] = 1
                head[_BEGIN] = min(head[_BEGIN], first)
                head[_END] = max(head[_END], first + length)

    return count_block


@functools.cache
def on_write() -> Any:
    """``void f(engine, kind, address, size, value, record)``, before each store."""

    @cfunc(
        types.void(
            types.voidptr, types.int32, types.uint64, types.int32, types.int64,
            types.CPointer(types.int64),
        )
    )  # fmt: skip
    def note_write(engine, kind, address, size, value, record):  # type: ignore[no-untyped-def]
        head = carray(record, _HEAD)
        place = np.int64(address)
        head[_LOWEST] = min(head[_LOWEST], place)
        head[_HIGHEST] = max(head[_HIGHEST], place + np.int64(size) - 1)

    return note_write
