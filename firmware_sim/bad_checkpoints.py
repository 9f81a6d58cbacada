"""Ways to save that look right and lose data: a campaign that passes them proves nothing."""

from __future__ import annotations

import numpy as np

from ffedge.kernels.device import checkpoint
from ffedge.kernels.device.checkpoint import BARE
from ffedge.kernels.provider import kernel

from . import cells as flash

#: RIGHT is the checkpoint as it is. ONE_SLOT: always the same slot. COMMIT_FIRST: the commit word
#: before the data, and believed. TRUST_BLANK: a page that reads blank is not erased.
#: NEWEST_STAYS: the older slot is written over even if the newest one is not committed.
RIGHT, ONE_SLOT, COMMIT_FIRST, TRUST_BLANK, NEWEST_STAYS = range(5)
WAYS = ("right", "one-slot", "commit-first", "trust-blank", "newest-stays")


@kernel(**BARE)
def choose(words, layout, state, bad):
    """Change the slot that ``save_begin`` chose."""
    if bad == ONE_SLOT:
        state[checkpoint.TARGET] = np.uint32(0)
    elif bad == NEWEST_STAYS:
        slot, _, _ = checkpoint.newest(words, layout)
        if slot >= 0:
            state[checkpoint.TARGET] = np.uint32(np.uint32(1 - slot) * layout[checkpoint.SLOT])


@kernel(**BARE)
def reads_blank(words, at, layout):
    """Whether the page at word ``at`` reads as erased."""
    for i in range(at, at + np.int64(layout[checkpoint.PAGE])):
        if words[i] != checkpoint.ERASED:
            return False
    return True


@kernel(**BARE)
def program_commit(cells, commit):
    """Program the commit word at word ``commit``."""
    return flash.program(cells, commit, np.uint32(0), np.uint32(0))


@kernel(**BARE)
def believe(words, table, layout, arena, counters):
    """``checkpoint.load`` by the commit word alone."""
    found = -1
    for slot in range(2):
        start = slot * np.int64(layout[checkpoint.SLOT])
        end = np.int64(layout[checkpoint.RANGE_WORDS]) + np.int64(layout[checkpoint.COUNTERS])
        end += checkpoint.HEADER
        end += (end & 1) + start
        if words[end + np.int64(layout[checkpoint.WORD])] != 0:
            continue
        number = words[start + checkpoint.SEQUENCE]
        if found < 0 or checkpoint.newer(number, words[checkpoint.SEQUENCE]):
            found = slot
    if found < 0:
        return checkpoint.EMPTY
    start = found * np.int64(layout[checkpoint.SLOT])
    checkpoint.copy_slot(words, start, table, layout, arena, counters)
    return checkpoint.LOADED
