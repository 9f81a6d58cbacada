"""Moves layers between the training file and the arena, told by the run which one it works on.

A layer that is not resident is read before it is entered and, if it learned, written when it is
left. With ``Streaming.ahead`` a thread reads the next layer while one computes, with ``behind`` it
also writes the last one; it does its jobs in their order. The plan's lifetimes say which bytes
may be touched when.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from .arena import Arena
from .network import Network
from .recipe import Recipe
from .streamed_layer import StreamedLayer
from .streaming import Streaming
from .training_file import TrainingFile

_READ, _READ_ALL, _WRITE = range(3)


class Streamer:
    """The ``Visits`` of a run whose layers lie in ``file``.

    learning: whether the active layers change in the passes to come. first: layer of such a pass;
    others begin at the bottom. last: layer of a pass.
    """

    def __init__(
        self, arena: Arena, file: TrainingFile, network: Network, recipe: Recipe,
        streaming: Streaming,
    ) -> None:  # fmt: skip
        self.file, self.streaming = file, streaming
        self._layers = [
            StreamedLayer(i, arena, file, network, recipe, streaming)
            if streaming.streams(i) else None
            for i in range(len(network.layers))
        ]  # fmt: skip
        self.learning = True
        self.first, self.last = 0, len(self._layers) - 1
        #: In layerwise the layer that learns, and it again if it stays in memory meanwhile.
        self._stage: int | None = None
        self._held: int | None = None
        self._at: int | None = None
        self._thread: _Thread | None = None

    # What the run says

    @contextmanager
    def only_reading(self) -> Iterator[None]:
        """No layer changes inside."""
        self.learning = False
        try:
            yield
        finally:
            self.learning = True

    def begin(self) -> None:
        """A pass begins; the one before is over."""
        self.end()
        self._read_ahead(self.first if self.learning else 0)

    def enter(self, index: int) -> None:
        """Bring in layer ``index`` and put away the one before."""
        if index == self._at:
            return
        self._leave()
        self._at = index
        layer = self._moving(index)
        if layer is not None and not (self._thread and self._thread.wait_for(index)):
            self._settle()
            _do(layer, self._reading(index), self._is_lower(index))
        self._read_ahead(index + 1)

    def end(self) -> None:
        """Put the last layer away; afterwards nothing is under way."""
        self._leave()
        self._settle()

    def bring(self, number: int, *, change: bool = False) -> None:
        """Have slice ``number`` of the entered layer's weight in memory; see ``StreamedLayer``."""
        assert self._at is not None
        layer = self._layers[self._at]
        assert layer is not None
        layer.bring(number, change=change, lower=self._is_lower(self._at))

    # What the trainer says

    def begin_stage(self, stage: int | None) -> None:
        """Layer ``stage`` (None: every layer) is about to learn."""
        self.flush()
        self._stage, self._held = stage, None
        self.last = len(self._layers) - 1 if stage is None else stage
        layer = None if stage is None else self._layers[stage]
        if layer is not None and not layer.sliced:
            layer.read()
            self._held = stage

    def flush(self) -> None:
        """Have all parameters in the file."""
        self.end()
        held = None if self._held is None else self._layers[self._held]
        if held is not None:
            held.write(kept=False)

    def made(self, index: int) -> None:
        """Layer ``index`` has its first parameters: write them, but for slices."""
        layer = self._layers[index]
        if layer is not None:
            layer.write(kept=False)

    def made_slice(self, index: int, number: int) -> None:
        """Slice ``number`` of its weight is in memory: write it."""
        layer = self._layers[index]
        assert layer is not None
        layer.write_slice(number)

    def suffix(self, index: int) -> str:
        """Of the buffers that layer ``index`` is in during this stage; see ``StreamedLayer``."""
        layer = self._layers[index]
        return "" if layer is None or not self._is_lower(index) else layer.suffix

    def reset(self, index: int) -> None:
        """What layer ``index`` keeps from step to step begins anew: write it."""
        layer = self._moving(index)
        if layer is not None:
            layer.write_kept()

    def moves(self, name: str) -> bool:
        """Whether parameter ``name`` of the model lies in the file."""
        index = name.split(".")[0].removeprefix("layer")
        return index.isdigit() and self._layers[int(index)] is not None

    @property
    def space(self) -> memoryview:
        """The largest window, to read through when training is over."""
        return max((layer.space for layer in self._layers if layer is not None), key=len)

    def close(self) -> None:
        """Let the thread go."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    # Between file and arena

    def _is_lower(self, index: int) -> bool:
        """Whether it has learned already, or does not yet, while another layer does."""
        return self._stage is not None and index != self._stage

    def _moving(self, index: int) -> StreamedLayer | None:
        """The layer if it moves in every pass."""
        return None if index == self._held else self._layers[index]

    def _reading(self, index: int) -> int:
        return _READ_ALL if self.learning and not self._is_lower(index) else _READ

    def _read_ahead(self, index: int) -> None:
        if not self.streaming.ahead or index > self.last:
            return
        layer = self._moving(index)
        if layer is not None and not layer.sliced:
            self._give(index, self._reading(index))

    def _leave(self) -> None:
        index, self._at = self._at, None
        layer = None if index is None else self._moving(index)
        if index is None or layer is None:
            return
        if self._reading(index) == _READ:
            layer.put_away()
        elif self.streaming.behind and not layer.sliced and index < self.last:
            self._give(index, _WRITE)
        else:
            layer.write()

    def _give(self, index: int, job: int) -> None:
        layer = self._layers[index]
        assert layer is not None
        if self._thread is None:
            self._thread = _Thread()
        self._thread.give(layer, job, self._is_lower(index))

    def _settle(self) -> None:
        if self._thread is not None:
            self._thread.wait_for(None)


def _do(layer: StreamedLayer, job: int, lower: bool) -> None:
    if job == _WRITE:
        layer.write()
    else:
        layer.read(kept=job == _READ_ALL, lower=lower)


#: A layer, what to do with it, and whether in its lower place.
_Job = tuple[StreamedLayer, int, bool]


class _Thread:
    """Does jobs one after the other; whoever waits for one gets the errors of all before."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: SimpleQueue[_Job | BaseException] = SimpleQueue()
        self._waiting = 0
        # It knows the queues only, and ends with whoever fills them.
        self._thread = threading.Thread(
            target=_work, args=(self._jobs, self._done), name="ffedge-disk", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, self._jobs.put, None)

    def give(self, layer: StreamedLayer, job: int, lower: bool) -> None:
        self._waiting += 1
        self._jobs.put((layer, job, lower))

    def wait_for(self, index: int | None) -> bool:
        """Wait until layer ``index`` has been read (None: until all is done); False: nobody asked.

        Raises what went wrong.
        """
        while self._waiting:
            done = self._done.get()
            self._waiting -= 1
            if isinstance(done, BaseException):
                raise done
            if done[0].index == index and done[1] != _WRITE:
                return True
        return False

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()


def _work(jobs: SimpleQueue[_Job | None], done: SimpleQueue[_Job | BaseException]) -> None:
    while (job := jobs.get()) is not None:
        try:
            _do(*job)
        except BaseException as error:
            done.put(error)
        else:
            done.put(job)
