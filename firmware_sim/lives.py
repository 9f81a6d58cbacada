"""Lives of a device that saves its work while the power fails: the inner loops of a campaign.

A life learns in stages: state 0 is untrained, state s + 1 is what training makes of state s, and
every state from 1 on is saved. ``states`` holds the saved words of each, from one uncut run. A
life goes through them: save, lose power, lose the RAM, load, look which state came back, go on.
Since a state is all that the rest of the training depends on (``host`` proves it by really
training), a life whose RAM holds exactly the last state in the end has lost nothing.
"""

from __future__ import annotations

import numpy as np

from ffedge.kernels.device import checkpoint
from ffedge.kernels.device.checkpoint import BARE
from ffedge.kernels.provider import kernel

from . import cells as flash
from .bad_checkpoints import (
    COMMIT_FIRST,
    TRUST_BLANK,
    believe,
    choose,
    program_commit,
    reads_blank,
)

#: How a life ends; the last only where it was to stop at a cut.
IDENTICAL, LOST, DIFFERENT, BROKE_RULES, FAILED, STOPPED = range(6)
ENDINGS = ("identical", "lost", "not_identical", "broke_flash_rules", "save_failed")

#: Where the cuts that happened are counted, behind the endings.
CUTS = 5


@kernel(**BARE)
def put(words, table, arena, counters):
    """Write a state's words, uint32, to their places in RAM."""
    at = 0
    for r in range(table.shape[0]):
        first, count = table[r, 0] >> 2, table[r, 1] >> 2
        for i in range(count):
            arena[first + i] = words[at + i]
        at += count
    for i in range(counters.shape[0]):
        counters[i] = words[at + i]


@kernel(**BARE)
def holds(words, table, arena, counters):
    """Whether the RAM holds a state, bit for bit."""
    at = 0
    for r in range(table.shape[0]):
        first, count = table[r, 0] >> 2, table[r, 1] >> 2
        for i in range(count):
            if arena[first + i] != words[at + i]:
                return False
        at += count
    same = True
    for i in range(counters.shape[0]):
        same = same and counters[i] == words[at + i]
    return same


@kernel(**BARE)
def save(cells, arena, table, counters, layout, state, bad):
    """One save, operation by operation: OK, CUT_OFF, REFUSED, or -1 if it gave up."""
    # Nothing reads what is loose between here and the end: the target is erased first.
    flash.refresh(cells, False)
    checkpoint.save_begin(cells.now, layout, state)
    choose(cells.now, layout, state, bad)
    commit = np.int64(state[checkpoint.TARGET] + layout[checkpoint.RANGE_WORDS])
    commit += np.int64(layout[checkpoint.COUNTERS]) + checkpoint.HEADER
    commit += (commit & 1) + np.int64(layout[checkpoint.WORD])
    waits = bad == COMMIT_FIRST
    while True:
        code = checkpoint.save_next(cells.now, arena, table, counters, layout, state)
        if code == checkpoint.DONE:
            return flash.OK
        if code == checkpoint.FAILED:
            return -1
        at = np.int64(state[checkpoint.ADDRESS])
        if code == checkpoint.ERASE:
            if bad == TRUST_BLANK and reads_blank(cells.now, at, layout):
                continue
            status = flash.erase(cells, at)
        else:
            if waits:
                waits = False
                status = program_commit(cells, commit)
                if status != flash.OK:
                    return status
            if bad == COMMIT_FIRST and at == commit:
                continue
            status = flash.program(cells, at, state[checkpoint.LOW], state[checkpoint.HIGH])
        if status != flash.OK:
            return status


@kernel(**BARE)
def wake(cells, arena, table, counters, layout, states, bad):
    """Power is back and the RAM is gone: the state that was loaded, 0 if none, -1 if unknown."""
    flash.refresh(cells, True)
    for i in range(arena.shape[0]):
        arena[i] = flash.draw(cells) if i < 8 else np.uint32(0x5A5A5A5A)
    for i in range(counters.shape[0]):
        counters[i] = np.uint32(0x5A5A5A5A)
    if bad == COMMIT_FIRST:
        status = believe(cells.now, table, layout, arena, counters)
    else:
        status = checkpoint.load(cells.now, table, layout, arena, counters)
    if status != checkpoint.LOADED:
        put(states[0], table, arena, counters)
        return 0
    for found in range(states.shape[0]):
        if holds(states[found], table, arena, counters):
            return found
    return -1


@kernel(**BARE)
def live(cells, arena, table, counters, layout, states, state, cuts, bad, complete, stop):
    """(how it ended, cuts that happened, newest state whose save was completed).

    cells     the flash, of the two slots         read, written
    arena     uint32 (any,)                       written
    table     int32  (R, 2)                       read     as for ``checkpoint.load``
    counters  uint32 (B,)                         written
    layout    uint32 (9,)                         read
    states    uint32 (stages + 1, payload words)  read
    state     uint32 (10,)                        written  of a save
    cuts      int64  (cuts, 2)                    read     operation after the power-up, and mode
    bad       int                                 read     RIGHT or a known-bad way to save
    complete  int                                 read     likewise, from the life before
    stop      bool                                read     stop at the last cut

    LOST: a save had been completed, and an older state or none came back.
    """
    happened, last = 0, states.shape[0] - 1
    while True:
        cells.facts[flash.CUT] = 0
        if happened < cuts.shape[0]:
            cells.facts[flash.CUT] = cells.facts[flash.OPERATIONS] + cuts[happened, 0]
            cells.facts[flash.MODE] = cuts[happened, 1]
        now = wake(cells, arena, table, counters, layout, states, bad)
        if now < 0:
            return DIFFERENT, happened, complete
        if now < complete:
            return LOST, happened, complete
        status = flash.OK
        while now < last and status == flash.OK:
            now += 1
            put(states[now], table, arena, counters)
            status = save(cells, arena, table, counters, layout, state, bad)
            if status == flash.OK:
                complete = now
        if status == flash.REFUSED:
            return BROKE_RULES, happened, complete
        if status < 0:
            return FAILED, happened, complete
        if status == flash.OK:
            break
        happened += 1
        if stop and happened == cuts.shape[0]:
            return STOPPED, happened, complete
    if not holds(states[last], table, arena, counters):
        return DIFFERENT, happened, complete
    # What was saved last must still be there at the next power-up.
    cells.facts[flash.CUT] = 0
    if wake(cells, arena, table, counters, layout, states, bad) < complete:
        return LOST, happened, complete
    return IDENTICAL, happened, complete


@kernel(**BARE)
def sweep(
    cells, kept, arena, table, counters, layout, states, state, cuts, first, seconds, bad, seed,
    endings, failure,
):  # fmt: skip
    """Lives with a first cut at operation ``first`` and a second at each of 1..``seconds``.

    All four modes of both; with ``seconds`` = 0 only the one cut.
    kept     like cells    written  workspace: the flash after the first cut
    cuts     int64 (2, 2)  written  workspace
    endings  int64 (6,)    written  added to: lives by ending, and cuts that happened
    failure  int64 (5,)    written  cuts and seed of the first life that was not IDENTICAL
    """
    for mode in range(4):
        cuts[0, 0], cuts[0, 1] = first, mode
        number = seed + 4 * first + mode
        flash.restart(cells, number & 0xFFFFFFFF)
        ending, happened, complete = live(
            cells, arena, table, counters, layout, states, state, cuts[:1], bad, 0, seconds > 0
        )  # fmt: skip
        if ending != STOPPED:
            note(ending, happened, cuts[:1], number, endings, failure)
            continue
        flash.copy(cells, kept)
        for second in range(4 * seconds):
            cuts[1, 0], cuts[1, 1] = 1 + second // 4, second % 4
            flash.copy(kept, cells)
            cells.facts[flash.SEED] = (number + 1_000_003 * (second + 1)) & 0xFFFFFFFF
            ending, happened, _ = live(
                cells, arena, table, counters, layout, states, state, cuts[1:], bad, complete, False
            )  # fmt: skip
            note(ending, 1 + happened, cuts, number, endings, failure)


@kernel(**BARE)
def wander(
    cells, arena, table, counters, layout, states, state, cuts, lives, most, bad, seed,
    endings, failure,
):  # fmt: skip
    """``lives`` lives with 1 to all of ``cuts`` cuts, each within 1..``most``, drawn by ``seed``.

    cuts: int64 (cuts, 2), written. endings, failure: as for ``sweep``, failure (2 * cuts + 1,).
    """
    for number in range(lives):
        flash.restart(cells, (seed + number) & 0xFFFFFFFF)
        count = 1 + np.int64(flash.draw(cells)) % cuts.shape[0]
        for i in range(count):
            cuts[i, 0] = 1 + np.int64(flash.draw(cells)) % most
            cuts[i, 1] = np.int64(flash.draw(cells)) & 3
        own = cuts[:count]
        ending, happened, _ = live(
            cells, arena, table, counters, layout, states, state, own, bad, 0, False
        )  # fmt: skip
        note(ending, happened, own, cells.facts[flash.SEED], endings, failure)


@kernel(**BARE)
def note(ending, happened, cuts, seed, endings, failure):
    """Count a life; keep the cuts and the seed of the first bad one."""
    endings[ending] += 1
    endings[CUTS] += happened
    if ending != IDENTICAL and failure[0] == 0:
        for i in range(cuts.shape[0]):
            failure[2 * i], failure[2 * i + 1] = cuts[i, 0], cuts[i, 1]
        failure[failure.shape[0] - 1] = seed
