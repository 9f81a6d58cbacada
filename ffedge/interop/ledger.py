"""A book of memory blocks alive: each counted once, by what it is for, with the peak of the sum.

Knows no library: a block is any object that can be referred to weakly and lives as long as its
bytes do, such as PyTorch's storages.
"""

from __future__ import annotations

import weakref
from typing import Any

#: What a block is for, in the order of the tables; one that was never named is the last.
KINDS = ("weights", "gradients", "optimizer state", "activations", "workspace")


class Ledger:
    """``total`` bytes alive now, ``peak`` bytes at the worst moment and ``at_peak`` by kind.

    making: the kind given to blocks that are met for the first time.
    """

    def __init__(self) -> None:
        self.making = KINDS[-1]
        self.total = self.peak = 0
        self.by_kind = dict.fromkeys(KINDS, 0)
        self.at_peak = dict.fromkeys(KINDS, 0)
        self._alive: dict[int, tuple[Any, str, int]] = {}

    def meet(self, block: Any, nbytes: int) -> None:
        """Count ``block`` until it dies, unless it is counted already."""
        key = id(block)
        if key in self._alive:
            return
        self._alive[key] = (weakref.ref(block, lambda _: self._forget(key)), self.making, nbytes)
        self._add(self.making, nbytes)

    def name(self, block: Any, nbytes: int, kind: str) -> None:
        """Say what ``block`` is for; it is counted from now on if it was not."""
        self.meet(block, nbytes)
        key = id(block)
        reference, before, nbytes = self._alive[key]
        self._alive[key] = (reference, kind, nbytes)
        self._add(before, -nbytes)
        self._add(kind, nbytes)

    def _forget(self, key: int) -> None:
        _, kind, nbytes = self._alive.pop(key)
        self._add(kind, -nbytes)

    def _add(self, kind: str, nbytes: int) -> None:
        self.by_kind[kind] += nbytes
        self.total += nbytes
        # Of equal moments the last: by then everything has its name.
        if self.total >= self.peak:
            self.peak, self.at_peak = self.total, dict(self.by_kind)
