"""Two threads as a pipeline: the upper layers train on batch t - 1 while the lower train on t.

Forward-Forward's own kind of parallelism: no layer ever waits for one above, so the result is
the sequential run's, bit for bit. The only shared memory is a pair of hand-over slots, which
take turns; kernels release the interpreter's lock while they compute.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from .buffers_int8 import cut_of

if TYPE_CHECKING:
    from .run_int8 import Int8Run


class Pipeline:
    """The upper layers' thread and the two slots between the halves."""

    def __init__(self, run: Int8Run) -> None:
        self._run = run
        self.cut = cut_of(run.network)
        self._slots = [(run.arena[f"slot{i}"], run.arena[f"slot{i}.labels"]) for i in range(2)]
        self._free: SimpleQueue[int] = SimpleQueue()
        self._work: SimpleQueue[tuple[int, int, Any] | None] = SimpleQueue()
        self._error: BaseException | None = None
        for i in range(2):
            self._free.put(i)
        self._thread = threading.Thread(target=self._train_upper, name="ffedge-upper", daemon=True)
        self._thread.start()

    def train(self, count: int, rate: Any) -> None:
        """Train the lower layers on the fetched batch and hand it on."""
        run = self._run
        x = run.train_layers(0, self.cut, run.input, run.labels, count, rate)
        slot = self._free.get()
        if self._error is not None:
            self._free.put(slot)  # drain, which comes next, waits for both
        self._raise()
        activity, labels = self._slots[slot]
        np.copyto(activity[:count], x[:count])
        np.copyto(labels[:count], run.labels[:count])
        self._work.put((slot, count, rate))

    def _train_upper(self) -> None:
        run = self._run
        while (order := self._work.get()) is not None:
            slot, count, rate = order
            try:
                if self._error is None:
                    x, labels = self._slots[slot]
                    run.train_layers(self.cut, len(run.layers), x, labels, count, rate)
            except BaseException as error:
                self._error = error
            finally:
                self._free.put(slot)

    def drain(self) -> None:
        """Wait until the upper layers have caught up; raises what went wrong there."""
        for slot in [self._free.get() for _ in self._slots]:
            self._free.put(slot)
        self._raise()

    def close(self) -> None:
        """End the thread."""
        self._work.put(None)
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
