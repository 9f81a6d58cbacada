"""Process memory, beside and apart from the plan's bytes: interpreter, numpy, Numba, ffedge."""

from __future__ import annotations

import resource
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def process_peak_bytes() -> int:
    """Largest resident set of this process so far, in bytes (Linux: VmHWM)."""
    status = Path("/proc/self/status")
    try:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def process_bytes() -> int:
    """Resident set of this process now, in bytes; 0 where /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()


def reset_process_peak() -> bool:
    """Let ``process_peak_bytes`` count from now on; False where the system cannot (no /proc)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def process_written_bytes() -> int | None:
    """Bytes that this process has sent to storage so far; None where nobody counts them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    except (OSError, StopIteration, IndexError, ValueError):
        return None


class Watch:
    """What was allocated while watching, after the block.

    peak: most bytes alive at once. apart: the same of what ran under ``set_apart``, which peak
    leaves out.
    """

    peak = apart = 0

    def __init__(self) -> None:
        self._before = 0

    def begin(self, own: int = 0) -> int:
        """Count anew, ``own`` bytes being there already; how many there were before."""
        tracemalloc.reset_peak()
        alive = tracemalloc.get_traced_memory()[0]
        before, self._before = self._before, alive - own
        return alive - before

    def so_far(self) -> int:
        """Most bytes alive at once since ``begin``."""
        return tracemalloc.get_traced_memory()[1] - self._before


#: The watch of ``watch_allocations``, while there is one.
_watches: list[Watch] = []


@contextmanager
def watch_allocations() -> Iterator[Watch]:
    """Count what Python and NumPy (Numba's kernels included) allocate inside the block.

    A step that allocates no array still makes some hundred bytes of Python numbers and tuples.
    Counts nothing if tracemalloc already runs elsewhere.
    """
    watch = Watch()
    if tracemalloc.is_tracing():
        yield watch
        return
    tracemalloc.start()
    _watches.append(watch)
    try:
        watch.begin()
        yield watch
        watch.peak = max(watch.peak, watch.so_far())
    finally:
        _watches.pop()
        tracemalloc.stop()


@contextmanager
def set_apart() -> Iterator[None]:
    """What somebody else's function allocates inside is counted as theirs: ``Watch.apart``."""
    if not _watches:
        yield
        return
    watch = _watches[-1]
    watch.peak = max(watch.peak, watch.so_far())
    own = watch.begin()
    yield
    watch.apart = max(watch.apart, watch.so_far())
    watch.begin(own)
