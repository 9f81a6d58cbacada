"""The cells of a NOR flash, and what an interrupted operation leaves in them. Compiled loops.

An erase sets a page to ones, a program clears bits of one word (4 or 8 bytes). Every operation
has a number, from 1 on; at ``facts[CUT]`` the power fails, in one of four modes:

    BEFORE    nothing has happened yet
    AFTER     it is complete
    TORN      some of the bits that should change have changed
    UNSTABLE  the bits that should change read at random until the page is erased

What share of bits is torn, and the chance of an unstable bit to read as it should, are drawn from
0, 1/8 .. 1: the latter anew for a page at every power-up, as cells drift, so that a word may read
right after one power-up and wrong after the next. Unstable bits are drawn again by ``refresh``.

On 8-byte words, which carry an error-correcting code, an interrupted word may be "corrected" in
one more bit, and a word that does not read as erased cannot be programmed.
A page erased more often than its endurance keeps some bits at zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ffedge.kernels.device.checkpoint import BARE
from ffedge.kernels.provider import kernel
from ffedge.kernels.random import bits

BEFORE, AFTER, TORN, UNSTABLE = range(4)
MODES = ("before", "after", "torn", "unstable")

#: What an operation returns.
OK, CUT_OFF, REFUSED = 0, 1, 2

# Places in ``facts``.
(
    OPERATIONS, CUT, MODE, SEED, DRAWS, ERASES, PROGRAMS, WIDTH, PAGE, LIMIT, ENDURANCE,
) = range(11)  # fmt: skip
FACTS = 11

ONES = np.uint32(0xFFFFFFFF)


class Cells(NamedTuple):
    """A flash of W 32-bit words in P pages.

    now      uint32 (W,)  what reading gives at the moment
    settled  uint32 (W,)  what it gives where nothing is loose; else what it should give
    loose    uint32 (W,)  bits that read at random
    writes   uint8  (W,)  how often a word was programmed since it was erased, at its first word
    wear     int32  (P,)  erases
    shaky    uint8  (P,)  1 if a word of the page may be loose
    chance   uint8  (P,)  eighths, of a loose bit to read as it should
    facts    int64  (11,) counters, the next cut and the geometry, see the names above
    """

    now: Any
    settled: Any
    loose: Any
    writes: Any
    wear: Any
    shaky: Any
    chance: Any
    facts: Any


def make(words: int, page: int, width: int, limit: int, endurance: int, seed: int) -> Cells:
    """Erased cells; sizes in 32-bit words. limit: programs of a word between erases."""
    facts = np.zeros(FACTS, np.int64)
    facts[[SEED, WIDTH, PAGE, LIMIT, ENDURANCE]] = seed, width, page, limit, endurance
    pages = words // page
    return Cells(
        np.full(words, ONES), np.full(words, ONES), np.zeros(words, np.uint32),
        np.zeros(words, np.uint8), np.zeros(pages, np.int32), np.zeros(pages, np.uint8),
        np.zeros(pages, np.uint8), facts,
    )  # fmt: skip


@kernel(**BARE)
def draw(cells):
    """32 random bits, the next ones of the seed."""
    cells.facts[DRAWS] += 1
    return bits(cells.facts[SEED], cells.facts[DRAWS])


@kernel(**BARE)
def some(cells, eighths):
    """32 bits (uint32), each set with a chance of ``eighths`` / 8 (int, 0..8)."""
    if eighths == 8:
        return ONES
    found = np.uint32(0)
    for place in range(3):
        random = draw(cells)
        if (eighths >> place) & 1:
            found = np.uint32(found | random)
        else:
            found = np.uint32(found & random)
    return found


@kernel(**BARE)
def reread(cells, page):
    """Let the loose bits of a page read as something else."""
    size = cells.facts[PAGE]
    for at in range(page * size, (page + 1) * size):
        loose = cells.loose[at]
        if loose != 0:
            right = some(cells, np.int64(cells.chance[page]))
            loose = np.uint32(loose & np.uint32(~right))
        cells.now[at] = np.uint32(cells.settled[at] ^ loose)


@kernel(**BARE)
def refresh(cells, power_up):
    """Draw what all loose bits read as; at a power-up (bool) also their pages' chances."""
    for page in range(cells.shaky.shape[0]):
        if cells.shaky[page]:
            if power_up:
                cells.chance[page] = draw(cells) % np.uint32(9)
            reread(cells, page)


@kernel(**BARE)
def starts(cells):
    """Count an operation; its mode if power fails during it, else -1."""
    cells.facts[OPERATIONS] += 1
    return cells.facts[MODE] if cells.facts[OPERATIONS] == cells.facts[CUT] else np.int64(-1)


@kernel(**BARE)
def erase(cells, at):
    """Erase the page that begins at word ``at`` (int): OK, CUT_OFF or REFUSED (not a page)."""
    size = cells.facts[PAGE]
    if at < 0 or at % size or at >= cells.now.shape[0]:
        return REFUSED
    mode, page = starts(cells), at // size
    if mode == BEFORE:
        return CUT_OFF
    cells.facts[ERASES] += 1
    cells.wear[page] += 1
    if mode >= TORN:
        eighths = np.int64(draw(cells) % np.uint32(9))
        for i in range(at, at + size):
            # Nobody counts: the part would let itself be programmed, only not hold it.
            cells.writes[i] = 0
            if mode == TORN:
                cells.settled[i] = np.uint32(cells.settled[i] | some(cells, eighths))
            else:
                cells.loose[i] = np.uint32(cells.loose[i] | np.uint32(~cells.settled[i]))
                cells.settled[i] = ONES
                cells.shaky[page] = 1
        reread(cells, page)
        return CUT_OFF
    worn = cells.wear[page] > cells.facts[ENDURANCE]
    for i in range(at, at + size):
        stuck = np.uint32(some(cells, 1) & some(cells, 1)) if worn else np.uint32(0)
        cells.now[i] = cells.settled[i] = np.uint32(~stuck)
        cells.loose[i] = 0
        cells.writes[i] = 0
    cells.shaky[page] = 0
    return CUT_OFF if mode == AFTER else OK


@kernel(**BARE)
def program(cells, at, low, high):
    """Program the flash word at word ``at`` with ``low`` and, if it is 8 bytes wide, ``high``.

    at: int. low, high: uint32. Returns OK, CUT_OFF, or REFUSED: not a word of the flash, or
    programmed before, as often as the part allows.
    """
    width = cells.facts[WIDTH]
    if at < 0 or at % width or at >= cells.now.shape[0] or cells.writes[at] >= cells.facts[LIMIT]:
        return REFUSED
    if width == 2 and (cells.now[at] != ONES or cells.now[at + 1] != ONES):
        return REFUSED
    mode, page = starts(cells), at // cells.facts[PAGE]
    if mode == BEFORE:
        return CUT_OFF
    cells.facts[PROGRAMS] += 1
    cells.writes[at] += 1
    broken = mode >= TORN
    eighths = np.int64(draw(cells) % np.uint32(9)) if broken else np.int64(0)
    for half in range(width):
        i = at + half
        value = low if half == 0 else high
        fall = np.uint32(cells.settled[i] & np.uint32(~value))
        if mode == TORN:
            fall = np.uint32(fall & some(cells, eighths))
        else:
            cells.loose[i] = np.uint32(cells.loose[i] & value)
        cells.settled[i] = np.uint32(cells.settled[i] ^ fall)
        if mode == UNSTABLE:
            cells.loose[i] = np.uint32(cells.loose[i] | fall)
    if mode == UNSTABLE:
        cells.shaky[page] = 1
        cells.chance[page] = eighths
    if broken and width == 2:
        miscorrect(cells, at, mode)
    if broken or cells.shaky[page]:
        reread(cells, page)
    else:
        for i in range(at, at + width):
            cells.now[i] = cells.settled[i]
    return CUT_OFF if mode >= 0 else OK


@kernel(**BARE)
def miscorrect(cells, at, mode):
    """One bit of an interrupted 8-byte word is wrong, or wrong at times."""
    place = draw(cells)
    bit = np.uint32(np.uint32(1) << (place & np.uint32(31)))
    i = at + np.int64((place >> np.uint32(5)) & np.uint32(1))
    if mode == TORN:
        cells.settled[i] = np.uint32(cells.settled[i] ^ bit)
    else:
        cells.loose[i] = np.uint32(cells.loose[i] | bit)


@kernel(**BARE)
def restart(cells, seed):
    """A new part: erased, without wear, drawing from ``seed`` (int)."""
    for i in range(cells.now.shape[0]):
        cells.now[i] = cells.settled[i] = ONES
        cells.loose[i] = 0
        cells.writes[i] = 0
    for page in range(cells.wear.shape[0]):
        cells.wear[page] = 0
        cells.shaky[page] = 0
    for place in (OPERATIONS, CUT, MODE, DRAWS, ERASES, PROGRAMS):
        cells.facts[place] = 0
    cells.facts[SEED] = seed


@kernel(**BARE)
def copy(source, target):
    """Make ``target`` what ``source`` is; both of the same geometry."""
    for i in range(source.now.shape[0]):
        target.now[i] = source.now[i]
        target.settled[i] = source.settled[i]
        target.loose[i] = source.loose[i]
        target.writes[i] = source.writes[i]
    for page in range(source.wear.shape[0]):
        target.wear[page] = source.wear[page]
        target.shaky[page] = source.shaky[page]
        target.chance[page] = source.chance[page]
    for place in range(FACTS):
        target.facts[place] = source.facts[place]
