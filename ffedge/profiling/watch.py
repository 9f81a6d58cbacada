"""An observer of a run's passes: seconds of every phase, and a look at the arrays now and then.

Between two looks it only reads the clock. Time from ``begin`` to the first ``enter`` is fetching;
from an ``enter`` to the next, or to ``end``, is the layer's.
"""

from __future__ import annotations

import threading
from time import perf_counter_ns, thread_time_ns

from ..run_int8 import AnyRun
from ..trainer import Trainer
from .arrays import PYTHON_BYTES, ArrayTrace

#: A look at the arrays in the first two passes of a stage, then in every ``EVERY``-th.
EVERY = 256


class StageRecord:
    """What was seen in one stage; lists by phase. seconds: whole, of training passes only.

    runtime: most bytes that a watched pass had made beside the arena when the phase ended.
    """

    def __init__(self, phases: int) -> None:
        self.nanoseconds = [0] * phases
        self.runtime = [0] * phases
        self.passes = 0


class PassWatch:
    """Put around ``run.visits`` by ``install``; whoever was there before is still told.

    passes_a_stage: training passes of a stage; the last one is the trainer's own to measure.
    """

    def __init__(self, trainer: Trainer, passes_a_stage: int) -> None:
        run: AnyRun = trainer.run
        self._run, self._inner = run, run.visits
        self._layerwise = trainer.recipe.schedule == "layerwise"
        self._phases = len(run.layers) + 1
        self._last = passes_a_stage - 1
        self.trace = ArrayTrace()
        stages = trainer.recipe.stages(len(run.layers))
        self.stages = {number: StageRecord(self._phases) for number in range(1, stages + 1)}
        self.step_bytes = self.steps = self.samples = 0
        self._batch = trainer.recipe.batch_size
        self._seen = run.samples_seen
        self._pending, self._zeros = [0] * self._phases, [0] * self._phases
        self._phase = self._since = 0
        self._stage = self.stages[1]
        self._open = self._watched = False
        # A second thread waits between its layers: there only the time it works counts.
        self._upper = _UpperThread(self) if trainer.recipe.threads > 1 else None

    def install(self) -> None:
        """Begin to watch."""
        self._run.visits = self if self._upper is None else self._upper

    def remove(self) -> None:
        """Stop watching; whoever was there before is alone again."""
        if self._open:
            self._settle()
        self.trace.stop()
        self._run.visits = self._inner

    def expect_stage(self) -> None:
        """A stage is about to begin: what it allocates before its first pass is looked at too."""
        if self._open:
            self._settle()
        self.trace.start()

    def begin(self) -> None:
        """Fetching begins."""
        if self._open:
            self._settle()
        self._open = True
        if self._layerwise:
            self._stage = self.stages[self._run.last_active + 1]
        passes = self._stage.passes
        if passes < 2 or passes % EVERY == 0:
            self._start_watching(passes)
        self._phase = 0
        self._since = perf_counter_ns()
        if self._inner is not None:
            self._inner.begin()

    def enter(self, index: int) -> None:
        """A layer begins."""
        now = perf_counter_ns()
        self._pending[self._phase] += now - self._since
        if self._watched:
            self._look()
            now = perf_counter_ns()
        self._phase, self._since = index + 1, now
        if self._inner is not None:
            self._inner.enter(index)

    def end(self) -> None:
        """The pass is over."""
        if self._inner is not None:
            self._inner.end()
        self._pending[self._phase] += perf_counter_ns() - self._since
        if not self._watched:
            return
        self._watched = False
        self.trace.end()
        self._look()
        # In a stage's first pass Python makes what it will keep, such as a second thread.
        if self._stage.passes > 0 or self._last == 0:
            self.step_bytes = max(self.step_bytes, self.trace.most)
        if self._stage.passes > 0 and self.trace.most > PYTHON_BYTES:
            self.trace.extra = max(self.trace.extra, self.trace.most)
        self.trace.most = 0
        self.trace.stop()

    def _look(self) -> None:
        rise = self.trace.look()
        if self._stage.passes > 0 or self._last == 0:
            runtime = self._stage.runtime
            runtime[self._phase] = max(runtime[self._phase], rise)

    def _settle(self) -> None:
        """Keep the last pass's times if it trained; a scoring pass sees no new samples."""
        self._open = False
        seen = self._run.samples_seen
        trained, self._seen = seen - self._seen, seen
        pending, stage = self._pending, self._stage
        if trained > 0:
            stage.passes += 1
            self.samples += trained
            self.steps += -(-trained // self._batch)
            sums = stage.nanoseconds
            for phase, spent in enumerate(pending):
                sums[phase] += spent
        pending[:] = self._zeros

    def _start_watching(self, passes: int) -> None:
        if passes == self._last and passes > 0:
            return
        if self.trace.on:
            self.trace.look()
        else:
            self.trace.start()
        self._watched = self.trace.on
        if self._watched:
            self.trace.begin(finely=passes == 0)


class _UpperThread:
    """Between a run of two threads and its watch: sorts out who speaks.

    The watch hears the thread that made it. Of the other one each layer is charged with the time
    its thread computed until it entered the next; the very last one stays open.
    """

    def __init__(self, watch: PassWatch) -> None:
        self._watch, self._main = watch, threading.get_ident()
        self._layer: int | None = None
        self._since = self._thread = 0

    def begin(self) -> None:
        """Always of the main thread."""
        self._watch.begin()

    def end(self) -> None:
        """Always of the main thread."""
        self._watch.end()

    def enter(self, index: int) -> None:
        """A layer begins, in one of the threads."""
        if threading.get_ident() == self._main:
            self._watch.enter(index)
            return
        now, thread = thread_time_ns(), threading.get_ident()
        if self._layer is not None and thread == self._thread:
            self._watch._stage.nanoseconds[self._layer + 1] += now - self._since
        self._layer, self._since, self._thread = index, now, thread
        if self._watch._inner is not None:
            self._watch._inner.enter(index)
