"""The NumPy arrays that a training really holds, seen from outside: by reference and by allocation.

``owned_bytes`` walks from a trainer to every array it can reach. ``ArrayTrace`` listens to the
allocator, by tracemalloc, during a few passes: it sees what a step makes and drops again, and
what is kept anywhere else. Together they would find an array that no plan knows of.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterable
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Most bytes of Python's own numbers and tuples that a pass may make: what rises further within
#: one expression, where nobody can look, is an array.
PYTHON_BYTES = 8192

#: No array takes less, its Python object included.
_LEAST = 96

#: What is alive when a function is called is alive when it returns.
_ENDS = ("return", "c_return")

#: Looks at one pass, at most: should a kernel still be compiled in it, there would be millions.
_LOOKS = 500

_DOMAIN: int = np.lib.tracemalloc_domain

#: Through these everything would be reached.
_CLOSED = (ModuleType, FunctionType, BuiltinFunctionType, FrameType, type)


def owned_bytes(root: Any, *, without: Iterable[Array | None] = ()) -> int:
    """Bytes of all arrays that ``root`` reaches, each block once; views count by their owner.

    without: arrays that belong to somebody else, such as the data. Mapped files own nothing.
    Not followed: modules, classes and functions, so not what lies in global variables.
    """
    foreign = {id(_owner(array)) for array in without if array is not None}
    seen: dict[int, Any] = {id(root): root}
    waiting, total = [root], 0
    while waiting:
        for found in gc.get_referents(waiting.pop()):
            thing = _owner(found) if isinstance(found, np.ndarray) else found
            if id(thing) in seen or id(thing) in foreign or isinstance(thing, _CLOSED):
                continue
            seen[id(thing)] = thing
            if not isinstance(thing, np.ndarray):
                waiting.append(thing)
            elif thing.base is None:
                total += thing.nbytes
                if thing.dtype == object:  # the collector does not look into arrays
                    waiting.append(thing.tolist())
    return total


def _owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class ArrayTrace:
    """Listens to allocations between ``start`` and ``stop``, again and again.

    extra: most bytes of arrays made since ``start``. most: most bytes of any
    kind that one pass made, Python's numbers included. Where somebody else already runs
    tracemalloc, it is used as it is, and ``most`` stays 0: nobody's peak is reset.
    """

    def __init__(self) -> None:
        self.extra, self.most, self.on = 0, 0, False
        self._foreign = tracemalloc.is_tracing()
        self._base = _array_bytes() if self._foreign else 0
        self._before = self._looked = 0
        self._finely, self._looks = False, 0

    def start(self) -> None:
        """Listen, unless somebody's measurement has just begun."""
        if self.on or (tracemalloc.is_tracing() and not self._foreign):
            return
        if not self._foreign:
            tracemalloc.start()
        self.on = True
        self.begin()

    def begin(self, *, finely: bool = False) -> None:
        """A pass begins. finely: look after every call of a function, not only when asked."""
        self._before = self._looked = tracemalloc.get_traced_memory()[0]
        self._reset()
        if finely and sys.getprofile() is None:
            self._finely, self._looks = True, 0
            sys.setprofile(self._event)

    def look(self) -> int:
        """Bytes of any kind made since the pass began, at most since the last look."""
        current, peak = tracemalloc.get_traced_memory()
        if self._finely:  # nobody wants to look at looking
            sys.setprofile(None)
        self.extra = max(self.extra, _array_bytes() - self._base)
        self._looked = current
        self._reset()
        if self._finely:
            sys.setprofile(self._event)
        rise = 0 if self._foreign else max(peak - self._before, 0)
        self.most = max(self.most, rise)
        return rise

    def stop(self) -> None:
        """Stop listening; what was found stays."""
        self.end()
        if self.on and not self._foreign:
            tracemalloc.stop()
        self.on = False

    def end(self) -> None:
        """The pass is over."""
        if self._finely:
            sys.setprofile(None)
            self._finely = False

    def _reset(self) -> None:
        if not self._foreign:
            tracemalloc.reset_peak()

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        current = tracemalloc.get_traced_memory()[0]
        if current < self._looked:
            self._looked = current
        elif event in _ENDS and current - self._looked >= _LEAST and self.on:
            self.look()
            self._looks += 1
            if self._looks == _LOOKS:
                self.end()


def _array_bytes() -> int:
    """Bytes of the arrays that tracemalloc knows."""
    traces = tracemalloc.take_snapshot().traces
    return sum(trace.size for trace in traces if trace.domain == _DOMAIN)
