"""Trainings that lose their power, and what became of them.

A life trains, saves after every step, is cut off, starts again, loads, goes on, until it is done.
After every load the state must be one that the uncut run went through, bit for bit, and no older
than the newest whose save had returned; in the end it must be the uncut run's last one.
"""

from __future__ import annotations

import copy
import errno
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crash_disk import BYTES, KILL, MODES, NAMES, NOTHING, TORN, CrashDisk, Cut, Fault, Point

#: How a life ends. REFUSED: files were there, and load would have none of them.
ENDINGS = IDENTICAL, LOST, NOT_IDENTICAL, REFUSED = (
    "identical", "lost", "not_identical", "refused",
)  # fmt: skip

#: A process has ended before its work was done.
CUT = "cut"


class Ended(Exception):  # noqa: N818
    """A process cannot go on: its ending."""


class Campaign:
    """A training that is cut off. ``process`` is one process of it, from start to end.

    It tells the life what it attempts to save and what is saved, as numbers that grow, and raises
    Ended. OSError: it could not even start.
    """

    def process(self, life: Life) -> None:
        raise NotImplementedError

    def operations(self) -> list[tuple[str, str]]:
        """(kind, file name) of every operation of the uncut run."""
        disk = CrashDisk()
        ending = Life(self, disk).start()
        assert ending == IDENTICAL, ending
        return disk.log

    def live(
        self, cuts: Iterable[Point], seed: int, faults: Sequence[Fault] = (), *,
        last: str = NOTHING,
    ) -> Life:  # fmt: skip
        """One life, from an empty disk to the last step; ``last``: what happens after the end.

        faults: of the first process only.
        """
        disk = CrashDisk(seed)
        disk.faults = faults
        life = Life(self, disk)
        for point in cuts:
            disk.cut_at(point)
            life.start()
            if life.ending != CUT:
                break
            life.cuts += not disk.on
            disk.faults = ()
            disk.restart(point.mode)
        while life.ending == CUT:
            life.start()
            disk.faults = ()
        if life.ending == IDENTICAL:
            # What was saved last must be there.
            disk.faults = ()
            disk.restart(last)
            life.start()
        return life


@dataclass
class Life:
    """completed: newest state whose save has returned. attempted: newest that was to be saved.

    damaged: bits were flipped; an older state, or a refusal, is all that can be asked for.
    """

    campaign: Campaign
    disk: CrashDisk
    ending: str = CUT
    cuts: int = 0
    completed: int = 0
    attempted: int = 0
    damaged: bool = False

    def start(self) -> str:
        """A process from its start to its end; its ending."""
        try:
            self.campaign.process(self)
            self.ending = IDENTICAL
        except (Cut, OSError):
            self.ending = CUT
        except Ended as ended:
            self.ending = str(ended)
        return self.ending

    def loaded(self, number: int) -> None:
        """The state that came back, 0: none; raises Ended if more is owed."""
        if self.damaged:
            # To begin anew without a word would hide the damage.
            owed = min(1, self.completed)
        else:
            owed = self.completed
        if number < owed:
            raise Ended(LOST)

    def attempts(self, number: int) -> None:
        """A save begins."""
        self.attempted = max(self.attempted, number)

    def saved(self, number: int) -> None:
        """A save has returned."""
        self.completed = max(self.completed, number)


@dataclass
class Tally:
    """Endings of lives. failure: how to have the first bad one again."""

    endings: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    cuts: int = 0
    failure: str = ""

    def add(self, life: Life, *what: object) -> None:
        """Count a life."""
        self.lives += 1
        self.cuts += life.cuts
        self.endings[life.ending] += 1
        if life.ending != IDENTICAL and not self.failure:
            self.failure = f"{life.ending}: {what}"

    @property
    def clean(self) -> bool:
        """Whether all is as if nothing had happened."""
        return self.lives == self.endings[IDENTICAL] > 0


def points(operations: int, modes: Iterable[str], *, after: bool = True) -> Iterator[Point]:
    """Before and after every operation, in every mode."""
    for number in range(1, operations + 1):
        for mode in modes:
            yield Point(number, mode)
            if after:
                yield Point(number, mode, after=True)


def singles(
    campaign: Campaign, modes: Iterable[str] = MODES, *, seeds: int = 1, last: str = NOTHING
) -> Tally:
    """One cut before and after every operation of the uncut run; TORN ones ``seeds`` times."""
    tally = Tally()
    for point in points(len(campaign.operations()), modes):
        for seed in range(seeds if point.mode == TORN else 1):
            tally.add(campaign.live([point], seed, last=last), point, seed)
    return tally


#: What two cuts do, one after the other.
SOME_PAIRS = ((KILL, NOTHING), (NOTHING, NOTHING), (TORN, TORN))
ALL_PAIRS = tuple(itertools.product(MODES, MODES))


def pairs(
    campaign: Campaign, modes: Iterable[tuple[str, str]] = SOME_PAIRS, *, every: int = 1
) -> Tally:
    """A second cut before every operation that follows the first; one of ``every`` first ones."""
    tally, operations = Tally(), len(campaign.operations())
    for one, other in modes:
        for number in range(1, operations + 2, every):
            for again in itertools.count(1):
                cuts = [Point(number, one), Point(again, other)]
                seed = 1009 * number + again
                life = campaign.live(cuts, seed)
                tally.add(life, cuts, seed)
                if life.cuts < 2:
                    break
    return tally


def wander(campaign: Campaign, lives: int, seed: int, *, most: int = 4) -> Tally:
    """Up to ``most`` cuts a life at random, half of them while the cut before is recovered from.

    In one life of four something also fails: a sync, or all of a stretch of operations.
    """
    tally, operations = Tally(), len(campaign.operations())
    for number in range(seed, seed + lives):
        chance = random.Random(number)
        cuts = [
            Point(chance.randint(1, chance.choice((12, operations))), chance.choice(MODES))
            for _ in range(chance.randint(1, most))
        ]
        faults: list[Fault] = []
        if chance.random() < 0.25:
            first = chance.randint(1, operations)
            error = chance.choice((errno.EIO, errno.ENOSPC, errno.EACCES))
            faults = [Fault(first, first + chance.choice((0, 0, 3, 20)), error)]
        tally.add(campaign.live(cuts, number, faults), cuts, faults, number)
    return tally


def failing(
    campaign: Campaign, error: int, kinds: tuple[str, ...], *, lengths: Iterable[int] = (1,),
    modes: Iterable[str] = (KILL, NOTHING, TORN), later: Iterable[int] = (1, 2, 5, 9, 14),
) -> Tally:  # fmt: skip
    """Each operation of ``kinds`` fails, or ``lengths`` from it on; the process is cut, or not.

    The cut comes so many operations ``later``; or a kill, and a power cut in the next process,
    which has been deceived by what the first one left in memory.
    """
    tally = Tally()
    log = campaign.operations()
    for number, (kind, _) in enumerate(log, 1):
        if kind not in kinds:
            continue
        for length in lengths:
            faults = [Fault(number, number + length - 1, error, kinds)]
            tally.add(campaign.live([], number, faults), faults, number)
            for after, mode in itertools.product(later, modes):
                one = Point(number + after, mode)
                two = [Point(number + after, KILL), Point(after + 12, mode)]
                for cuts in ([one], two):
                    tally.add(campaign.live(cuts, number + after, faults), cuts, faults, number)
    return tally


def flips(campaign: Campaign, *, every: int = 1, seed: int = 0) -> Tally:
    """After the last save, a bit of one byte of a file is another; one byte of ``every``.

    The next load must notice: an older state, from which the training ends as it should, or
    CheckpointError, which ``Tally`` counts as "refused".
    """
    tally, chance = Tally(), random.Random(seed)
    disk = CrashDisk(seed)
    life = Life(campaign, disk)
    life.start()
    saved = life.attempted
    disk.restart(NOTHING)
    for path in disk.paths():
        for byte in range(chance.randrange(every), disk.size(path), every):
            own = copy.deepcopy(disk)
            own.flip(path, byte, chance.randrange(8))
            life = Life(campaign, own, completed=saved, attempted=saved, damaged=True)
            life.start()
            tally.add(life, path, byte)
    return tally


def unreadable(campaign: Campaign, error: int) -> Tally:
    """A process is killed anywhere, and the next one cannot open a file, this once.

    EIO may cost the newest state, as rot may; anything else, the right to read say, must cost none:
    whoever is refused can set that right and start again.
    """
    tally = Tally()
    for number in range(1, len(campaign.operations()) + 1):
        for operation in range(1, 8):
            disk = CrashDisk(number)
            life = Life(campaign, disk)
            disk.cut_at(Point(number, KILL, after=True))
            life.start()
            disk.restart(KILL)
            disk.faults = [Fault(operation, operation, error, ("open",))]
            life.damaged = error == errno.EIO
            life.start()
            disk.faults, life.damaged = (), False
            disk.restart(NOTHING)
            if life.ending in (CUT, REFUSED):
                life.start()
            tally.add(life, number, operation)
    return tally


#: Ways to test a campaign, by what happens.
KINDS: dict[str, Callable[[Campaign], Tally]] = {
    "killed": lambda campaign: singles(campaign, (KILL,), last=KILL),
    "power lost": lambda campaign: singles(campaign, (NOTHING,)),
    "names first": lambda campaign: singles(campaign, (NAMES,)),
    "bytes first": lambda campaign: singles(campaign, (BYTES,)),
    "torn": lambda campaign: singles(campaign, (TORN,), seeds=4),
    "killed, power lost": lambda campaign: pairs(campaign, [(KILL, NOTHING)]),
    "sync failed": lambda campaign: failing(campaign, errno.EIO, ("sync",)),
    "folder sync failed": lambda campaign: failing(campaign, errno.EIO, ("sync_folder",)),
    "disk full": lambda campaign: failing(
        campaign, errno.ENOSPC, ("create", "write", "sync"), lengths=(1, 7), modes=(NOTHING,),
        later=(1, 5, 14),
    ),
    "permission denied": lambda campaign: failing(
        campaign, errno.EACCES, ("create", "append", "rename", "remove", "open", "names"),
        modes=(NOTHING,), later=(1, 5, 14),
    ),
    "bit flipped": lambda campaign: flips(campaign, every=23),
}  # fmt: skip
