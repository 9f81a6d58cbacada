"""The C library's heap, which keeps what was freed in it, and gives it to the next who asks.

Whoever limits a process's memory does not hear of that: after a compiler has run, megabytes can be
had without asking the system. ``filled_holes`` takes them away for a while.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Free blocks below this size are left to the interpreter; larger ones come from the system.
BLOCK = 32 << 10

#: mallopt's name for the size from which on a block is a mapping of its own (malloc.h), and its
#: first value.
_M_MMAP_THRESHOLD, _USUAL_THRESHOLD = -3, 128 << 10

_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Info(ctypes.Structure):
    """``struct mallinfo2``: hblks: blocks with a mapping of their own, fordblks: free bytes."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS.split())


@contextmanager
def filled_holes() -> Iterator[int]:
    """Take what is free in the heap, in blocks of ``BLOCK`` bytes or more; yields the bytes taken.

    Inside, whoever wants that much gets it from the system. Nothing is written to what is taken: it
    is not resident. Only with glibc 2.33 and later; elsewhere it takes nothing.
    """
    gc.collect()
    library = _glibc()
    if library is None:
        yield 0
        return
    library.mallopt(_M_MMAP_THRESHOLD, BLOCK)
    library.malloc_trim(0)
    taken: list[int] = []
    try:
        yield _take(library, taken)
    finally:
        for block in taken:
            library.free(block)
        library.mallopt(_M_MMAP_THRESHOLD, _USUAL_THRESHOLD)


def _take(library: ctypes.CDLL, taken: list[int]) -> int:
    """Fill ``taken`` with blocks, largest first; their bytes together."""
    free: int = library.mallinfo2().fordblks
    size, total = 1 << max(free, 1).bit_length(), 0
    while size >= BLOCK:
        mapped = library.mallinfo2().hblks
        # Another allocator in glibc's place would go on for ever: no more than there was.
        block = library.malloc(size) if total + size <= free else None
        if block is not None and library.mallinfo2().hblks == mapped:
            taken.append(block)
            total += size
            continue
        library.free(block)
        size //= 2
    return total


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it has what is needed."""
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Info
        library.malloc.restype = ctypes.c_void_p
        library.malloc.argtypes = [ctypes.c_size_t]
        library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
        library.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
        library.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError, TypeError):  # the last on Windows
        return None
    return library
