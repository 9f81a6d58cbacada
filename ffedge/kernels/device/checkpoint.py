"""The checkpoint in flash: two slots, of which one is whole at every moment.

A slot is a whole number of pages; slot 1 follows slot 0. It is a row of 32-bit little-endian
words (a word of the flash, the least that can be programmed, is one of them or two):

    word 0      MAGIC, the letters FFCK
         1      FORMAT
         2      fingerprint of network and board: another one's checkpoint is foreign
         3      sequence number, one more than that of the slot before, modulo 2**32
         4      A, words from the arena
         5      B, update counters
         6      A words: the ranges of the arena, one after the other; then B counters
     6 + A + B  one word of ones if that is odd
         E      CRC-32 (the zip one) of words 0..E-1; on 8-byte words followed by ones
     E + 1 or 2 commit: zeros, one word of the flash. The rest of the slot is not used.

A slot is *whole* if its CRC is right, and *committed* if any bit of the commit word is zero.
It is erased, all its pages whatever they read as, then programmed from word 0 on, each word once;
words of ones are left as the erase made them. The commit word is programmed after the slot was
read back and found whole, so its first zero bit says that everything before it has settled.

The word that a power cut interrupts may read as anything, and differently each time. Hence:
``load`` takes the whole slot with the newest sequence number; ``save`` writes over the other one,
but over the newest itself if that is not committed: it may not be whole when next looked at,
while the other one, last touched before it, still is. The arithmetic is unsigned 32-bit.

The kernels only say what to do: the caller erases and programs, on a device by its own
functions, in a simulation by the model of a flash.
"""

from __future__ import annotations

import numpy as np

from ..provider import kernel

#: Without Numba's run-time system: counting references would cost more than these short loops.
BARE = {"_nrt": False}

MAGIC = np.uint32(0x4B434646)
FORMAT = 1

#: What an erased word reads as.
ERASED = np.uint32(0xFFFFFFFF)

#: Words before the arena's.
HEADER = 6
SEQUENCE = 3

# Layout, uint32 (9,): the first six are the header as it is written, but for the sequence number.
RANGE_WORDS, COUNTERS, WORD, PAGE, SLOT = 4, 5, 6, 7, 8
LAYOUT_WORDS = 9

# State of a save, uint32 (10,). The caller reads the last three.
TARGET, ERASED_WORDS, NEXT, CRC, RANGE, TAKEN, NUMBER, ADDRESS, LOW, HIGH = range(10)
STATE_WORDS = 10

#: What ``save_next`` returns.
DONE, ERASE, PROGRAM, FAILED = 0, 1, 2, 3

#: What ``load`` returns.
LOADED, EMPTY, DAMAGED, FOREIGN = 0, 1, 2, 3

#: What ``examine`` returns.
BLANK, BROKEN, STRANGE, WHOLE = 0, 1, 2, 3

#: CRC-32 of the 16 values of four bits.
_NIBBLES = np.array(
    [
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158,
        0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4,
        0xA00AE278, 0xBDBDF21C,
    ],
    np.uint32,
)  # fmt: skip


@kernel(**BARE)
def crc_word(crc, word):
    """Take four more bytes, those of a little-endian uint32, into a CRC-32 (uint32)."""
    crc = np.uint32(crc ^ word)
    for _ in range(8):
        crc = np.uint32(_NIBBLES[crc & np.uint32(15)] ^ np.uint32(crc >> np.uint32(4)))
    return crc


@kernel(**BARE)
def newer(first, second):
    """Whether sequence number ``first`` comes after ``second``, both uint32: within 2**31."""
    ahead = (np.int64(first) - np.int64(second)) & np.int64(0xFFFFFFFF)
    return ahead != 0 and ahead < 0x80000000


@kernel(**BARE)
def data_end(flash, start, layout):
    """Where the CRC of the slot at word ``start`` lies; -1 if its lengths do not fit the slot."""
    # The CRC and the commit word take two words of the flash.
    room = layout[SLOT] - np.uint32(HEADER) - np.uint32(2) * layout[WORD]
    taken, counters = flash[start + RANGE_WORDS], flash[start + COUNTERS]
    if taken > room or counters > room - taken:
        return np.int32(-1)
    words = np.int32(taken) + np.int32(counters) + np.int32(HEADER)
    words = np.int32(words + (words & np.int32(1)))
    if np.uint32(words) > room + np.uint32(HEADER):
        return np.int32(-1)
    return np.int32(np.int32(start) + words)


@kernel(**BARE)
def examine(flash, start, layout):
    """What the slot at word ``start`` is: BLANK, BROKEN, STRANGE (whole, not ours) or WHOLE.

    flash   uint32 (2 * SLOT,)  read  both slots
    layout  uint32 (9,)         read

    No word outside of the slot is read, whatever stands in it.
    """
    if flash[start] == ERASED:
        return np.int32(BLANK)
    end = data_end(flash, start, layout)
    if flash[start] != MAGIC or end < 0:
        return np.int32(BROKEN)
    crc = ERASED
    for i in range(start, end):
        crc = crc_word(crc, flash[i])
    if flash[end] != np.uint32(~crc):
        return np.int32(BROKEN)
    for i in range(HEADER):
        if i != SEQUENCE and flash[start + i] != layout[i]:
            return np.int32(STRANGE)
    return np.int32(WHOLE)


@kernel(**BARE)
def newest(flash, layout):
    """(slot with the newest whole checkpoint or -1, whether the other slot is whole too, status).

    status: what ``load`` says if no slot is whole.
    """
    found, both, status = np.int32(-1), False, np.int32(EMPTY)
    for slot in range(2):
        start = np.int32(slot) * np.int32(layout[SLOT])
        kind = examine(flash, start, layout)
        if kind == WHOLE:
            both = found == 0
            if not both or newer(flash[start + SEQUENCE], flash[SEQUENCE]):
                found = np.int32(slot)
        elif kind == STRANGE:
            status = np.int32(FOREIGN)
        elif kind == BROKEN and status == EMPTY:
            status = np.int32(DAMAGED)
    return found, both, status


@kernel(**BARE)
def copy_slot(flash, start, ranges, layout, arena, counters):
    """Copy the whole slot at word ``start`` into RAM; false if it reads differently by now."""
    crc, at = ERASED, np.int32(start)
    for i in range(HEADER):
        crc = crc_word(crc, flash[at + i])
    at = np.int32(at + HEADER)
    for r in range(ranges.shape[0]):
        first, count = np.int32(ranges[r, 0] >> 2), np.int32(ranges[r, 1] >> 2)
        for i in range(count):
            word = flash[at + i]
            crc = crc_word(crc, word)
            arena[first + i] = word
        at = np.int32(at + count)
    for i in range(counters.shape[0]):
        word = flash[at + i]
        crc = crc_word(crc, word)
        counters[i] = word
    at = np.int32(at + counters.shape[0])
    if (at - start) & 1:
        crc = crc_word(crc, flash[at])
        at = np.int32(at + 1)
    return flash[at] == np.uint32(~crc)


@kernel(**BARE)
def load(flash, ranges, layout, arena, counters):
    """Bring the newest whole checkpoint back: LOADED, EMPTY, DAMAGED or FOREIGN.

    flash     uint32 (2 * SLOT,)  read
    ranges    int32  (R, 2)       read     byte offset in the arena and bytes, multiples of 4
    layout    uint32 (9,)         read     of these ranges and counters, see ``firmware.store``
    arena     uint32 (any,)       written  the ranges only, and only if a slot is whole
    counters  uint32 (B,)         written  likewise

    After anything but LOADED training starts anew, from freshly set weights and counters.
    """
    slot, both, status = newest(flash, layout)
    if slot < 0:
        return status
    for turn in range(2 if both else 1):
        start = np.int32(slot ^ turn) * np.int32(layout[SLOT])
        if copy_slot(flash, start, ranges, layout, arena, counters):
            return np.int32(LOADED)
    return np.int32(DAMAGED)


@kernel(**BARE)
def save_begin(flash, layout, state):
    """Choose the slot that the next checkpoint goes to; ``save_next`` then does the work.

    flash   uint32 (2 * SLOT,)  read
    layout  uint32 (9,)         read
    state   uint32 (10,)        written
    """
    slot, both, _ = newest(flash, layout)
    number, target = np.uint32(0), np.int32(0)
    if slot >= 0:
        start = np.int32(slot) * np.int32(layout[SLOT])
        number = flash[start + SEQUENCE]
        commit = data_end(flash, start, layout) + np.int32(layout[WORD])
        blank = flash[commit] == ERASED
        if layout[WORD] == 2:
            blank = blank and flash[commit + 1] == ERASED
        target = slot if both and blank else np.int32(1) - slot
    for i in range(STATE_WORDS):
        state[i] = np.uint32(0)
    state[TARGET] = np.uint32(np.uint32(target) * layout[SLOT])
    state[NUMBER] = np.uint32((np.int64(number) + 1) & np.int64(0xFFFFFFFF))
    state[CRC] = ERASED


@kernel(**BARE)
def next_word(arena, ranges, counters, layout, state):
    """The next word of header, ranges, counters and padding, taken into the CRC."""
    i = np.int32(state[NEXT])
    behind = np.int32(layout[RANGE_WORDS]) + np.int32(HEADER)
    word = ERASED
    if i == SEQUENCE:
        word = state[NUMBER]
    elif i < HEADER:
        word = layout[i]
    elif i < behind:
        turn, taken = np.int32(state[RANGE]), np.int32(state[TAKEN])
        while taken == np.int32(ranges[turn, 1] >> 2):
            turn, taken = np.int32(turn + 1), np.int32(0)
        word = arena[np.int32(ranges[turn, 0] >> 2) + taken]
        state[RANGE], state[TAKEN] = np.uint32(turn), np.uint32(taken + 1)
    elif i - behind < counters.shape[0]:
        word = counters[i - behind]
    state[NEXT] = np.uint32(i + 1)
    state[CRC] = crc_word(state[CRC], word)
    return word


@kernel(**BARE)
def save_next(flash, arena, ranges, counters, layout, state):
    """The next operation on the flash: DONE, ERASE, PROGRAM or FAILED.

    flash     uint32 (2 * SLOT,)  read           as it is now
    arena     uint32 (any,)       read           unchanged since ``save_begin``
    ranges    int32  (R, 2)       read           byte offset in the arena and bytes
    counters  uint32 (B,)         read
    layout    uint32 (9,)         read
    state     uint32 (10,)        read, written

    ERASE: the page at word ``state[ADDRESS]`` of the two slots. PROGRAM: there ``state[LOW]``
    and, on 8-byte words, ``state[HIGH]`` behind it. FAILED: the flash does not hold what was
    programmed; the checkpoint of before is untouched.
    """
    if state[ERASED_WORDS] < layout[SLOT]:
        state[ADDRESS] = np.uint32(state[TARGET] + state[ERASED_WORDS])
        state[ERASED_WORDS] = np.uint32(state[ERASED_WORDS] + layout[PAGE])
        return np.int32(ERASE)
    width = np.int32(layout[WORD])
    end = np.int32(layout[RANGE_WORDS]) + np.int32(layout[COUNTERS]) + np.int32(HEADER)
    end = np.int32(end + (end & 1))
    while np.int32(state[NEXT]) <= end + width:
        i = np.int32(state[NEXT])
        state[ADDRESS] = np.uint32(state[TARGET] + state[NEXT])
        state[HIGH] = ERASED
        if i < end:
            state[LOW] = next_word(arena, ranges, counters, layout, state)
            if width == 2:
                state[HIGH] = next_word(arena, ranges, counters, layout, state)
        else:
            state[NEXT] = np.uint32(i + width)
            state[LOW] = np.uint32(~state[CRC])
            if i > end:
                if examine(flash, np.int32(state[TARGET]), layout) != WHOLE:
                    state[NEXT] = np.uint32(i)
                    return np.int32(FAILED)
                state[LOW], state[HIGH] = np.uint32(0), np.uint32(0)
        if state[LOW] != ERASED or state[HIGH] != ERASED:
            return np.int32(PROGRAM)
    return np.int32(DONE)
