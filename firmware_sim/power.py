"""Campaigns that cut the power, and what became of the weights.

``Campaign`` lives through every cut in compiled loops (``lives``): it takes what training makes of
a state from a table. ``survive`` lives one life on a ``Device``, the host's or an emulated one, and
really trains again what was lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from ffedge.errors import ConfigError
from ffedge.firmware.store import Store
from ffedge.kernels.device import checkpoint

from . import cells, lives
from .bad_checkpoints import RIGHT, WAYS
from .flash import Flash, PowerCut

Array = np.ndarray[Any, Any]

#: (operation after the power-up, from 1 on; mode: 0 before, 1 after, 2 torn, 3 unstable)
Cut = tuple[int, int]


class Device(Protocol):
    """What a campaign asks of a device; ``host.HostDevice`` is one."""

    flash: Flash

    def reset(self) -> None:
        """Power up: nothing is left in RAM, training is at its start."""

    def load(self) -> int:
        """The status of ``checkpoint.load``; after anything but LOADED training is at its start."""

    def learned(self) -> int:
        """Samples learned so far, from the counters."""

    def train(self, first: int, count: int) -> None:
        """Learn that many samples, from number ``first`` on."""

    def save(self) -> int:
        """The last code of ``checkpoint.save_next``. Raises PowerCut."""

    def saved_bytes(self) -> bytes:
        """All bytes that a checkpoint holds, as they stand in RAM."""


@dataclass(frozen=True, slots=True)
class Result:
    """How the lives of a campaign ended.

    what: which cuts, on which level. way: RIGHT's name or a known-bad one's. cuts: that happened.
    identical: final bytes are those of the uncut run, and at every power-up a state no older than
    the last completed save came back. lost: an older one, or none. not_identical: a state that
    the uncut run never had. failure: the first bad life's cuts and seed, or "".
    """

    what: str
    way: str
    lives: int
    cuts: int
    identical: int
    lost: int
    not_identical: int
    broke_flash_rules: int
    save_failed: int
    seconds: float
    failure: str

    @property
    def clean(self) -> bool:
        """Whether power was cut at all and nothing was lost."""
        return self.cuts > 0 and self.identical == self.lives


class Campaign:
    """Cuts in the compiled loops.

    states: uint32 (stages + 1, payload words), what a checkpoint holds at the start and at each
    save of the uncut run. seed: of everything random.
    Raises ConfigError if there are no saves, or states of another size.
    """

    def __init__(self, store: Store, states: Array, *, seed: int = 0) -> None:
        if states.ndim != 2 or len(states) < 2 or 4 * states.shape[1] != store.payload_bytes:
            raise ConfigError(
                f"Campaign: expected the start and at least one save of {store.payload_bytes:,} B,"
                f" got an array of shape {states.shape}"
            )
        self.store, self.states, self.seed = store, states, seed
        self.layout, self.table = store.layout, store.table
        #: Operations on the flash in the uncut run, and at most in one save.
        self.operations = self._uncut()
        self.per_save = store.slot_bytes // store.page_bytes + store.used_bytes // store.word_bytes

    def _workspace(self) -> tuple[Any, ...]:
        size = max((part.offset + part.nbytes for part in self.store.ranges), default=0)
        return (
            np.zeros(size // 4, np.uint32), self.table, np.zeros(self.store.counters, np.uint32),
            self.layout, self.states, np.zeros(checkpoint.STATE_WORDS, np.uint32),
        )  # fmt: skip

    def _cells(self) -> cells.Cells:
        store = self.store
        return cells.make(
            store.nbytes // 4, store.page_bytes // 4, store.word_bytes // 4, 1, 10_000, self.seed
        )

    def _uncut(self) -> int:
        chip = self._cells()
        none = np.zeros((0, 2), np.int64)
        ending, _, _ = lives.live(chip, *self._workspace(), none, RIGHT, 0, False)
        if ending != lives.IDENTICAL:
            raise ConfigError(
                "Campaign: expected an uncut run to end well, got "
                f"{lives.ENDINGS[ending]}; are all states different?"
            )
        return int(chip.facts[cells.OPERATIONS])

    def single(self, way: str = "right") -> Result:
        """One cut, at every operation and in every mode."""
        return self._sweeps("every operation x 4 modes", way, 0, 1)

    def nested(self, way: str = "right", *, every: int = 1) -> Result:
        """The same, and in each case a second cut at every operation up to behind the next save.

        every: take each so many-th first operation only.
        """
        # The next save, and the erases of the one after it.
        seconds = self.per_save + self.store.slot_bytes // self.store.page_bytes + 1
        some = "" if every == 1 else f" (one of {every})"
        return self._sweeps(f"every operation{some} x 4 modes, twice", way, seconds, every)

    def random(self, number: int = 10_000, *, most: int = 4, way: str = "right") -> Result:
        """``number`` lives of 1 to ``most`` cuts anywhere."""

        def work(part: int, endings: Array, failure: Array) -> None:
            count = number // _PARTS + (part < number % _PARTS)
            lives.wander(
                self._cells(), *self._workspace(), np.zeros((most, 2), np.int64), count,
                self.operations, _number(way), self.seed + 100_003 * part, endings, failure,
            )  # fmt: skip

        return self._all(f"random, up to {most} cuts", way, range(_PARTS), most, work)

    def _sweeps(self, what: str, way: str, seconds: int, every: int) -> Result:
        def work(first: int, endings: Array, failure: Array) -> None:
            lives.sweep(
                self._cells(), self._cells(), *self._workspace(), np.zeros((2, 2), np.int64),
                first, seconds, _number(way), self.seed, endings, failure,
            )  # fmt: skip

        return self._all(what, way, range(1, self.operations + 1, every), 2, work)

    def _all(
        self, what: str, way: str, parts: Sequence[int], most: int,
        work: Callable[[int, Array, Array], None],
    ) -> Result:  # fmt: skip
        """Run ``work`` on every part, on all cores (the loops hold no lock); add up."""
        began = time.perf_counter()
        endings = np.zeros((len(parts), 6), np.int64)
        failures = np.zeros((len(parts), 2 * most + 1), np.int64)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(work, parts, endings, failures))
        seconds = time.perf_counter() - began
        bad = failures[failures[:, 0] > 0]
        failure = ""
        if len(bad):
            pairs = bad[0, :-1].reshape(-1, 2).tolist()
            failure = _describe([(at, mode) for at, mode in pairs if at], int(bad[0, -1]))
        return _result(f"model: {what}", way, endings.sum(axis=0), seconds, failure)


#: Parts of a random campaign: a fixed number, so that its lives do not depend on the cores.
_PARTS = 16


def _number(way: str) -> int:
    if way not in WAYS:
        raise ConfigError(f"campaign: expected a way of {', '.join(WAYS)}, got {way!r}")
    return WAYS.index(way)


def _describe(cuts: Iterable[Cut], seed: int) -> str:
    return ", ".join(f"{cells.MODES[mode]} at {at}" for at, mode in cuts) + f"; seed {seed}"


def _result(what: str, way: str, endings: Array, seconds: float, failure: str) -> Result:
    identical, lost, different, broke, failed, cuts = endings.tolist()
    return Result(
        what=what, way=way, lives=identical + lost + different + broke + failed, cuts=cuts,
        identical=identical, lost=lost, not_identical=different, broke_flash_rules=broke,
        save_failed=failed, seconds=round(seconds, 3), failure=failure,
    )  # fmt: skip


def record(device: Device, stages: int, per_stage: int) -> list[bytes]:
    """``saved_bytes`` at the start and after each stage of a run without saves and cuts."""
    device.flash.restart(0)
    device.reset()
    states = [device.saved_bytes()]
    for stage in range(stages):
        device.train(stage * per_stage, per_stage)
        states.append(device.saved_bytes())
    return states


def as_words(states: Sequence[bytes]) -> Array:
    """Recorded states as ``Campaign`` takes them."""
    return np.stack([np.frombuffer(state, np.uint32) for state in states])


def survive(
    device: Device, states: Sequence[bytes], per_stage: int, cuts: Sequence[Cut], seed: int = 0
) -> tuple[int, int]:
    """One life with these cuts on a new flash: (how it ended, cuts that happened).

    Everything is really trained, from what was really loaded. See ``lives`` for the endings.
    """
    device.flash.restart(seed)
    waiting, happened, complete, last = list(cuts), 0, 0, len(states) - 1
    while True:
        at, mode = waiting[0] if waiting else (0, 0)
        device.flash.cut(at, cells.MODES[mode])
        device.reset()
        device.load()
        stage, rest = divmod(device.learned(), per_stage)
        if rest or stage > last or device.saved_bytes() != states[stage]:
            return lives.DIFFERENT, happened
        if stage < complete:
            return lives.LOST, happened
        try:
            while stage < last:
                device.train(stage * per_stage, per_stage)
                stage += 1
                if device.save() != checkpoint.DONE:
                    return lives.FAILED, happened
                complete = stage
        except PowerCut:
            happened += 1
            waiting = waiting[1:]
            continue
        break
    if device.saved_bytes() != states[last]:
        return lives.DIFFERENT, happened
    device.flash.cut(0, "before")
    device.reset()
    device.load()
    return (lives.LOST if device.learned() < complete * per_stage else lives.IDENTICAL), happened


def survive_all(
    device: Device, states: Sequence[bytes], per_stage: int, cuts: Iterable[Sequence[Cut]],
    *, what: str, seed: int = 0,
) -> Result:  # fmt: skip
    """``survive`` for every list of cuts."""
    began = time.perf_counter()
    endings, failure = np.zeros(6, np.int64), ""
    for number, own in enumerate(cuts):
        ending, happened = survive(device, states, per_stage, own, seed + number)
        endings[ending] += 1
        endings[lives.CUTS] += happened
        if ending != lives.IDENTICAL and not failure:
            failure = _describe(own, seed + number)
    return _result(what, "right", endings, time.perf_counter() - began, failure)


def random_cuts(number: int, operations: int, *, most: int = 4, seed: int = 0) -> Iterator[
    list[Cut]
]:  # fmt: skip
    """``number`` lists of 1 to ``most`` cuts within ``operations`` of each power-up."""
    random = np.random.default_rng(seed)
    for _ in range(number):
        count = int(random.integers(1, most + 1))
        places = random.integers(1, operations + 1, count).tolist()
        yield list(zip(places, random.integers(0, 4, count).tolist(), strict=True))


def table(results: Sequence[Result]) -> str:
    """The results as lines of text; none for none."""
    if not results:
        return ""
    wide = max(len(result.what) for result in results)
    head = ("lives", "cuts", "identical", "lost", "not identical", "other", "seconds")
    lines = [f"{'power cut at':{wide}}  {'checkpoint':12}" + "".join(f"{h:>14}" for h in head)]
    for r in results:
        other = r.broke_flash_rules + r.save_failed
        counts = (r.lives, r.cuts, r.identical, r.lost, r.not_identical, other)
        numbers = "".join(f"{count:14,}" for count in counts)
        lines.append(f"{r.what:{wide}}  {r.way:12}{numbers}{r.seconds:14.1f}")
    return "\n".join(lines)


def describe(results: Iterable[Result]) -> list[dict[str, Any]]:
    """A description made of JSON types."""
    return [asdict(result) | {"clean": result.clean} for result in results]


def campaigns(
    *, page_bytes: int = 256, word_bytes: int = 4, saves: int = 3, random: int = 10_000,
    seed: int = 0, say: Callable[[str], None] = lambda words: None,
) -> list[Result]:  # fmt: skip
    """All campaigns on a small network, without an emulator; then those ways that must lose.

    Every operation in four modes, once and twice; ``random`` lives of up to 4 cuts; every operation
    again with really trained weights. Raises ConfigError for pages or words that no flash has.
    """
    from .host import small_device

    device = small_device(page_bytes, word_bytes, seed=seed)
    states = record(device, saves, _SAMPLES)
    campaign = Campaign(device.store, as_words(states), seed=seed)
    say("cutting at every operation, and twice")
    results = [campaign.single(), campaign.nested(), campaign.random(random)]
    cuts = every_cut(campaign.operations)
    what = "host, really trained: every operation x 4 modes"
    results.append(survive_all(device, states, _SAMPLES, cuts, what=what, seed=seed))
    say("cutting where saves are known to be bad")
    for way in WAYS[1:]:
        # These lose only where a second cut meets what the first one left.
        hidden = way in ("trust-blank", "newest-stays")
        results.append(campaign.nested(way, every=3) if hidden else campaign.single(way))
    return results


def as_promised(results: Iterable[Result]) -> bool:
    """Whether the right way lost nothing and every known-bad one lost something."""
    return all(result.clean == (result.way == WAYS[RIGHT]) for result in results)


def every_cut(operations: int) -> list[list[Cut]]:
    """One cut at each operation, in each mode."""
    modes = range(len(cells.MODES))
    return [[(at, mode)] for at in range(1, operations + 1) for mode in modes]


#: Samples between two saves.
_SAMPLES = 8
