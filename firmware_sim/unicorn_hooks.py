"""The functions that unicorn calls for each block of code and each store, compiled by Numba.

They share one int64 array, the record: a head of facts; then two rows of one number for each
halfword of flash and one more. A block of n halfwords at place i adds 1 to row 0 at i and takes 1
at i + n, so that the running sum says how often a halfword was executed; row 1 marks beginnings.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import cfunc
from numba import types as untyped_types

Array = np.ndarray[Any, Any]

# Numba has type hints for users only, not for what is used here.
types: Any = untyped_types
carray: Any = vars(numba)["carray"]

# Places in the head.
_BASE, _COUNT, _LEFT, _LOWEST, _HIGHEST = range(5)
_HEAD = 8
_NO_LIMIT = 1 << 62


def make_record(address: int, nbytes: int) -> Array:
    """An empty record for flash of ``nbytes`` at ``address``."""
    count = nbytes // 2 + 1
    record = np.zeros(_HEAD + 2 * count, np.int64)
    record[[_BASE, _COUNT, _LEFT, _LOWEST]] = address, count, _NO_LIMIT, _NO_LIMIT
    return record


def set_limit(record: Array, limit: int | None) -> None:
    """Stop the emulator after ``limit`` halfwords of code."""
    record[_LEFT] = _NO_LIMIT if limit is None else limit


def halfwords(record: Array) -> int:
    """Halfwords of flash."""
    return int(record[_COUNT]) - 1


def written(record: Array) -> tuple[int, int]:
    """Lowest and highest address written."""
    return int(record[_LOWEST]), int(record[_HIGHEST])


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


def executions(record: Array, code: Array) -> Array:
    """How often each instruction of ``code``, uint16 (n,), ran: int64 (n,), at its first halfword.

    Begins at every block that was entered and goes on as long as code was executed, so that
    constants between functions are never taken for instructions.
    """
    count = int(record[_COUNT])
    often = np.cumsum(record[_HEAD : _HEAD + count])[:-1]
    begins = np.flatnonzero(record[_HEAD + count :])
    wide = (code >> 11) >= 0b11101
    first = np.zeros(count - 1, bool)
    for begin in begins.tolist():
        at = begin
        while at < count - 1 and often[at] and not first[at]:
            first[at] = True
            at += 2 if wide[at] else 1
    return np.where(first, often, 0)
