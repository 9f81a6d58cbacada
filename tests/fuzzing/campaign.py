"""Many inputs in child processes that are limited by the system and watched from outside.

Input number n of a target is a function of the seed, the target's name and n alone, so a crash can
be made again. A child that dies or stands still is found out by its parent, which makes the input
again and goes on behind it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from . import judge
from .mutations import mutate
from .targets import Target, memory_folder, place

#: Seconds of real time that one input may take; the judge's own bound is processor time.
STANDSTILL = 60.0

#: Of so many inputs one has its Python allocations counted, which doubles its time.
TRACED = 8

#: Inputs that a child takes at once.
_BLOCK = 200

#: Inputs after which a process is replaced: what the harness itself keeps in it, about 1 KB each,
#: would be taken for a reader's leak in the end.
_RENEWED = 40_000

_LIMIT = 1 << 62

#: Bytes that the system lets a reader have while its allocations are counted.
_COUNTED = 2 << 30


@dataclass(frozen=True, slots=True)
class Crash:
    """What happened to input ``number`` of ``target``."""

    target: str
    number: int
    what: str
    trace: str
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Result:
    """executions: of each target. refused: those of them that ended in an FFEdgeError."""

    executions: dict[str, int]
    refused: dict[str, int]
    crashes: list[Crash]
    seconds: float


class _Shared(ctypes.Structure):
    """What a child tells its parent without a message: the input in hand (-1: none), since when."""

    _fields_ = (("number", ctypes.c_int64), ("since", ctypes.c_double))


def make_input(seed: int, name: str, number: int, target: Target) -> bytes:
    """The input; the seeds themselves come first."""
    good = target.seeds()
    if number < len(good):
        return good[number].prefix + good[number].data
    return mutate(random.Random(f"{seed}:{name}:{number}"), good)


def run(
    targets: Mapping[str, Target], *, executions: int | None = None, seconds: float | None = None,
    seed: int = 0, jobs: int = 1, first: int = 0, standstill: float = STANDSTILL,
    tell: Callable[[Result], bool] | None = None,
) -> Result:  # fmt: skip
    """At most ``executions`` inputs, in turn for all targets, for at most ``seconds``.

    first: number of the first, of all targets together. tell: is told the counts every second or
    so; if it answers False, nothing new is begun.
    """
    if executions is None and seconds is None:
        executions = 1000
    last = first + (_LIMIT if executions is None else executions)
    started = time.monotonic()
    names = list(targets)
    for target in targets.values():
        target.seeds()
    result = Result(dict.fromkeys(names, 0), dict.fromkeys(names, 0), [], 0.0)
    folder = Path(tempfile.mkdtemp(prefix="ffedge-fuzz-", dir=memory_folder()))
    crew = [_Child(dict(targets), seed, folder / str(n)) for n in range(max(1, jobs))]
    waiting: list[tuple[int, int]] = []
    following = first
    told, over = started, False
    try:
        while True:
            over = over or (seconds is not None and time.monotonic() - started >= seconds)
            for child in crew:
                if child.block is None and not over and (waiting or following < last):
                    if not waiting:
                        waiting.append((following, min(following + _BLOCK, last)))
                        following = waiting[0][1]
                    child.give(waiting.pop())
            busy = [child for child in crew if child.block is not None]
            if not busy:
                break
            wait([child.pipe for child in busy], timeout=0.5)
            for child in busy:
                rest = child.listen(result, names, standstill)
                if rest is not None:
                    waiting.append(rest)
            result.seconds = time.monotonic() - started
            if tell is not None and time.monotonic() - told > 1.0:
                told = time.monotonic()
                over = over or not tell(result)
    finally:
        for child in crew:
            child.end()
        shutil.rmtree(folder, ignore_errors=True)
    result.seconds = time.monotonic() - started
    return result


class _Child:
    """A process that reads inputs, and what its parent knows of it."""

    def __init__(self, targets: dict[str, Target], seed: int, folder: Path) -> None:
        self._targets, self._seed, self._folder = targets, seed, folder
        self._shared = multiprocessing.get_context("fork").RawValue(_Shared)
        self.block: tuple[int, int] | None = None
        self._read = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._shared.number = -1
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(self._targets, self._seed, self._folder, theirs, self._shared),
            daemon=True,
        )  # fmt: skip
        self._process.start()
        theirs.close()

    def give(self, block: tuple[int, int]) -> None:
        """Inputs first..last-1."""
        if self._read >= _RENEWED:
            self.end()
            self._start()
            self._read = 0
        self.block = block
        self._read += block[1] - block[0]
        self.pipe.send(block)

    def listen(self, result: Result, names: list[str], standstill: float) -> tuple[int, int] | None:
        """Take in what the child says; the rest of its block if it died or had to be ended."""
        assert self.block is not None
        number = self._shared.number
        still = number >= 0 and time.monotonic() - self._shared.since > standstill
        alive = True
        try:
            while self.pipe.poll():
                kind, content = self.pipe.recv()
                if kind == "crash":
                    result.crashes.append(content)
                    continue
                for name, (count, refused) in content.items():
                    result.executions[name] += count
                    result.refused[name] += refused
                self.block = None
                return None
        except (EOFError, ConnectionError):
            alive = False
        if alive and not still:
            return None
        number = self._shared.number
        self._process.kill() if still else None
        self._process.join()
        code = self._process.exitcode
        what = "hang: no end within its time" if still else f"the process died, exit code {code}"
        block, self.block = self.block, None
        self.pipe.close()
        if number < 0:
            raise RuntimeError(f"a fuzzing process died between two inputs, exit code {code}")
        name = names[number % len(names)]
        own = number // len(names)
        data = make_input(self._seed, name, own, self._targets[name])
        result.crashes.append(Crash(name, own, what, "", data))
        for done in range(block[0], number + 1):
            result.executions[names[done % len(names)]] += 1
        self._start()
        return (number + 1, block[1]) if number + 1 < block[1] else None

    def end(self) -> None:
        """No more inputs."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.pipe.close()


def _work(
    targets: dict[str, Target], seed: int, folder: Path, pipe: Connection, shared: Any
) -> None:
    # The parent decides when to stop; a terminal's interrupt reaches all of them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    folder.mkdir(parents=True, exist_ok=True)
    place.folder = folder
    # What readers spool without being told where.
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    names = list(targets)
    judge.watch_process(folder)
    parent = os.getppid()
    while True:
        try:
            while not pipe.poll(2.0):
                # Siblings hold the other end as well, so a dead parent does not close it.
                if os.getppid() != parent:
                    return
            first, last = pipe.recv()
        except EOFError:
            return
        counts = {name: [0, 0] for name in names}
        for number in range(first, last):
            name = names[number % len(names)]
            own = number // len(names)
            data = make_input(seed, name, own, targets[name])
            shared.since = time.monotonic()
            shared.number = number
            # A reader that hides a lack of memory is found out where memory is counted instead.
            traced = own % TRACED == 0
            leak = judge.limit_memory(_COUNTED if traced else judge.allowance(len(data)))
            verdict = judge.examine(targets[name].read, data, traced=traced)
            judge.lift_memory_limit()
            shared.number = -1
            what = verdict.crash or leak
            if what is not None:
                pipe.send(("crash", Crash(name, own, what, verdict.trace, data)))
            counts[name][0] += 1
            counts[name][1] += verdict.refused
        pipe.send(("done", counts))
