"""The one allocation of a training run, and the named arrays in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .errors import BudgetError, ConfigError
from .plan import ALIGNMENT, Buffer, Plan, aligned

_CANARY = 0xA5

#: Bytes of the block beside the buffers: room to align its start, and the guard.
MARGIN = 2 * ALIGNMENT


class Arena:
    """All buffers of a plan in one block of memory, 64-byte aligned and zeroed.

    ``arena["layer0.weight"]`` is a view; nothing is ever allocated after construction. Buffers
    whose lifetimes do not meet share bytes, as the plan says. Behind the block lies a guard
    that ``check`` looks at: a kernel that wrote too far is found, not silently survived.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        total = plan.peak + MARGIN
        try:
            self._block = np.zeros(total, np.uint8)
        except (MemoryError, ValueError):  # the latter beyond the address space
            raise BudgetError(
                f"arena: expected {total:,} B from this machine, got a refusal; lower the layer "
                "widths or the batch size",
                required=total,
                budget=0,
            ) from None
        self._start = -self._block.ctypes.data % ALIGNMENT
        self._guard = self._block[self._start + plan.peak :]
        self._guard[:] = _CANARY
        self._views = {buffer.name: self._view(buffer) for buffer in plan.buffers}

    def _view(self, buffer: Buffer) -> np.ndarray[Any, Any]:
        first = self._start + buffer.offset
        flat = self._block[first : first + buffer.spec.nbytes]
        return flat.view(buffer.spec.dtype).reshape(buffer.spec.shape)

    def __getstate__(self) -> tuple[Plan, np.ndarray[Any, Any]]:
        return self.plan, self._block[self._start : self._start + self.plan.peak].copy()

    def __setstate__(self, state: tuple[Plan, np.ndarray[Any, Any]]) -> None:
        plan, content = state
        self.__init__(plan)  # type: ignore[misc]
        self._block[self._start : self._start + plan.peak] = content

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self._views[name]

    def __contains__(self, name: str) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    @property
    def words(self) -> np.ndarray[Any, Any]:
        """The whole block as a view of uint32, as a device's program sees its RAM."""
        return self._block[self._start : self._start + self.plan.peak].view(np.uint32)

    @property
    def measured_bytes(self) -> int:
        """Bytes from the block's start to the end of the farthest array, by their addresses."""
        origin = self._block.ctypes.data + self._start
        ends = (view.ctypes.data + view.nbytes - origin for view in self._views.values())
        return aligned(max(ends, default=0))

    def check(self) -> None:
        """Raise if anything was written behind the last buffer."""
        if (self._guard != _CANARY).any():
            raise ConfigError(
                "arena: expected the guard bytes untouched, got a write past the last buffer; "
                "this is a bug in a kernel, please report it with the plan"
            )
