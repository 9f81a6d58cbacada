"""The two-slot checkpoint on a flash that does as it is told; test_firmware_power cuts power."""

import struct
import zlib

import numpy as np
import pytest
from checks import repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.firmware.store import SavedRange, Store, newest
from ffedge.kernels.device import checkpoint
from ffedge.kernels.device.checkpoint import (
    DAMAGED,
    DONE,
    EMPTY,
    ERASE,
    FAILED,
    FOREIGN,
    LOADED,
    PROGRAM,
)

pytestmark = pytest.mark.kernels

ONES = 0xFFFFFFFF


class Device:
    """A store's flash and RAM, as arrays; every erase and program is noted and checked."""

    def __init__(self, store, seed=0, arena_bytes=400):
        random = np.random.default_rng(seed)
        self.store, self.table, self.layout = store, store.table, store.layout
        # What lies around the two slots must not be looked at.
        self.memory = random.integers(0, 2**32, 3 * store.nbytes // 4, np.uint32)
        self.flash = self.memory[store.nbytes // 4 :][: store.nbytes // 4]
        self.flash[:] = ONES
        self.arena = random.integers(0, 2**32, arena_bytes // 4, np.uint32)
        self.counters = random.integers(0, 2**32, store.counters, np.uint32)
        self.written, self.log = set(), []

    def save(self, most=None, keeps=lambda index: True):
        """Save, but only the first ``most`` operations; the last operation's code."""
        state = np.zeros(checkpoint.STATE_WORDS, np.uint32)
        checkpoint.save_begin(self.flash, self.layout, state)
        done = 0
        while True:
            code = checkpoint.save_next(
                self.flash, self.arena, self.table, self.counters, self.layout, state
            )
            if code in (DONE, FAILED) or done == most:
                return code
            at = int(state[checkpoint.ADDRESS])
            self.log.append((code, at))
            if code == ERASE:
                self.erase(at)
            else:
                assert code == PROGRAM
                values = [int(state[checkpoint.LOW]), int(state[checkpoint.HIGH])]
                self.program(at, values[: self.store.word_bytes // 4], keeps)
            done += 1

    def erase(self, at):
        page = self.store.page_bytes // 4
        assert at % page == 0
        self.flash[at : at + page] = ONES
        self.written -= set(range(at, at + page))

    def program(self, at, values, keeps):
        width = self.store.word_bytes // 4
        assert at % width == 0
        assert set(values) != {ONES}
        assert at not in self.written
        self.written.add(at)
        for i, value in enumerate(values):
            self.flash[at + i] &= value if keeps(at) else ONES

    def load(self):
        return checkpoint.load(self.flash, self.table, self.layout, self.arena, self.counters)

    def saved(self):
        """The bytes of every range, and the counters."""
        content = self.arena.tobytes()
        parts = {p.name: content[p.offset : p.offset + p.nbytes] for p in self.store.ranges}
        return parts, tuple(self.counters.tolist())

    def scramble(self, seed=1):
        random = np.random.default_rng(seed)
        for array in (self.arena, self.counters):
            array[:] = random.integers(0, 2**32, array.size, np.uint32)


def ranges(*sizes, gap=8):
    parts, offset = [], 4
    for number, size in enumerate(sizes):
        parts.append(SavedRange(f"part{number}", offset, size))
        offset += size + gap
    return tuple(parts)


def store_of(sizes=(40, 12), counters=2, page=64, word=4, fingerprint=0xC0FFEE):
    return Store(ranges(*sizes), counters, page, word, fingerprint)


stores = st.builds(
    store_of,
    st.lists(st.integers(0, 20).map(lambda words: 4 * words), max_size=4),
    st.integers(0, 3),
    st.sampled_from([8, 64, 512, 4096]),
    st.sampled_from([4, 8]),
    st.integers(0, ONES),
)


@repeatable(60)
@given(store=stores, saves=st.integers(1, 4), seed=st.integers(0, 99))
def test_what_was_saved_last_is_loaded_and_nothing_else_touched(store, saves, seed):
    device = Device(store, seed)
    around = device.memory.copy()
    for number in range(saves):
        device.scramble(number)
        assert device.save() == DONE
    before, saved = device.arena.copy(), device.saved()
    device.scramble(seed + 50)
    after = device.arena.copy()
    for part in store.ranges:
        words = slice(part.offset // 4, (part.offset + part.nbytes) // 4)
        after[words] = before[words]

    assert device.load() == LOADED
    assert device.saved() == saved
    assert device.arena.tolist() == after.tolist()
    slots = store.read(device.flash.tobytes())
    assert (newest(slots).ranges, newest(slots).counters) == saved
    assert newest(slots).sequence == saves
    assert {slot.status for slot in slots[: min(saves, 2)]} == {"committed"}
    words = store.nbytes // 4
    assert device.memory[:words].tolist() == around[:words].tolist()
    assert device.memory[2 * words :].tolist() == around[2 * words :].tolist()


@repeatable(30)
@given(store=stores)
def test_a_save_erases_every_page_of_its_slot_then_programs_each_word_once(store):
    device = Device(store)

    for number in range(3):
        device.log.clear()
        assert device.save() == DONE  # Device asserts that no word is programmed twice

        slot, page = store.slot_bytes // 4, store.page_bytes // 4
        start = number % 2 * slot
        erased = [at for code, at in device.log if code == ERASE]
        programmed = [at for code, at in device.log if code == PROGRAM]
        assert device.log[: len(erased)] == [(ERASE, at) for at in erased]
        assert erased == list(range(start, start + slot, page))
        assert programmed == sorted(programmed)
        assert programmed[-1] == start + (store.used_bytes - store.word_bytes) // 4


@pytest.mark.parametrize("word", [4, 8])
def test_the_bytes_are_those_of_the_format(word):
    store = store_of((8, 4), counters=2, page=64, word=word, fingerprint=0x01020304)
    device = Device(store)
    device.arena[1:3], device.arena[5] = (0x11111111, ONES), 0x33333333
    device.counters[:] = (7, 8)

    device.save()

    data = struct.pack("<4s5I", b"FFCK", 1, 0x01020304, 1, 3, 2)
    data += struct.pack("<5I", 0x11111111, ONES, 0x33333333, 7, 8) + b"\xff" * 4
    ones = b"\xff" * (word - 4)
    wanted = data + struct.pack("<I", zlib.crc32(data)) + ones + b"\0" * word
    assert device.flash.tobytes() == wanted.ljust(store.nbytes, b"\xff")
    assert store.used_bytes == len(wanted)


def test_words_of_ones_are_not_programmed():
    device = Device(store_of((40,), counters=0))
    device.arena[:] = ONES

    device.save()

    assert [at for code, at in device.log if code == PROGRAM] == [0, 1, 2, 3, 4, 5, 16, 17]


def test_the_sequence_number_wraps():
    device = Device(store_of())
    device.save()
    device.flash[checkpoint.SEQUENCE] = 0xFFFFFFFE
    repair(device, 0)

    device.save()
    assert device.store.read(device.flash.tobytes())[1].sequence == 0xFFFFFFFF
    device.save()
    device.scramble(9)
    device.save()
    wanted = device.saved()
    device.scramble(10)

    assert device.load() == LOADED
    assert device.saved() == wanted
    assert [slot.sequence for slot in device.store.read(device.flash.tobytes())] == [0, 1]


def repair(device, start):
    """Make the CRC of a changed slot right again."""
    end = device.store.used_bytes // 4 - 2 * (device.store.word_bytes // 4)
    device.flash[start + end] = zlib.crc32(device.flash[start : start + end].tobytes())


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [(1, 0, True), (0, 1, False), (5, 5, False), (0, ONES, True), (ONES, 0, False),
     (2**31, 1, True), (2**31, 0, False), (0, 2**31, False)],
)  # fmt: skip
def test_newer_counts_round_the_circle(first, second, wanted):
    assert checkpoint.newer(np.uint32(first), np.uint32(second)) == wanted


@pytest.mark.parametrize(("word", "change"), [(1, 2), (2, 9), (4, None), (5, None)])
def test_a_whole_checkpoint_of_another_layout_is_foreign(word, change):
    other = {4: store_of((44, 12)), 5: store_of((36, 12), counters=3)}.get(word, store_of())
    device, ours = Device(other), store_of()
    device.save()
    if change is not None:
        device.flash[word] = change
        repair(device, 0)
    device.store, device.table, device.layout = ours, ours.table, ours.layout
    before, counters = device.arena.copy(), np.zeros(2, np.uint32)

    device.counters = counters
    assert device.load() == FOREIGN
    assert device.arena.tolist() == before.tolist()
    assert counters.tolist() == [0, 0]
    assert ours.read(device.flash.tobytes())[0].status == "foreign"
    assert device.save() == DONE
    assert device.load() == LOADED


def test_an_empty_flash_says_so_and_leaves_the_ram_alone():
    device = Device(store_of())
    before = device.saved()

    assert device.load() == EMPTY
    assert device.saved() == before


@pytest.mark.parametrize("word", [4, 8])
def test_a_flipped_bit_anywhere_in_the_data_is_found(word):
    device = Device(store_of(word=word))
    device.save()
    old = device.saved()
    device.scramble()
    device.save()
    start = device.store.slot_bytes // 4
    end = start + (device.store.used_bytes - 2 * word) // 4

    for at in range(start, end + 1):
        for bit in (0, 31):
            device.flash[at] ^= 1 << bit
            assert device.load() == LOADED
            assert device.saved() == old
            device.flash[at] ^= 1 << bit
    device.flash[0] ^= 1
    device.flash[start] ^= 1
    assert device.load() == DAMAGED


@repeatable(200)
@given(
    store=stores,
    content=st.binary(min_size=8, max_size=64),
    lengths=st.tuples(*[st.sampled_from([0, 1, 2, 7, 16, 2**16, 2**30, 2**31, ONES])] * 2),
    magic=st.booleans(),
)
def test_hostile_slots_are_refused_alike_by_kernel_and_reader(store, content, lengths, magic):
    device = Device(store)
    raw = np.frombuffer((content * 600)[: store.nbytes // 4 * 4], np.uint32)
    device.flash[: raw.size] = raw
    for start in (0, store.slot_bytes // 4):
        if magic:
            device.flash[start] = checkpoint.MAGIC
            device.flash[start + 4 : start + 6] = lengths
    before = device.saved()

    status = device.load()

    statuses = {slot.status for slot in store.read(device.flash.tobytes())}
    known = {EMPTY: {"empty"}, DAMAGED: {"empty", "damaged"}}
    assert statuses <= known[status]
    assert device.saved() == before
    assert device.save() == DONE
    assert device.load() == LOADED


@pytest.mark.parametrize("taken", [200, 2**30, ONES])
def test_a_slot_that_claims_to_reach_beyond_itself_is_damaged_though_its_crc_is_right(taken):
    device = Device(store_of())
    words = device.store.slot_bytes // 4
    device.flash[words:][:6] = (checkpoint.MAGIC, 1, 0xC0FFEE, 1, taken, 0)
    start, claimed = device.store.nbytes // 4 + words, (6 + taken + taken % 2) % 2**32
    if claimed < 2 * words:  # into what follows the slots, where the right CRC stands
        data = device.memory[start : start + claimed].tobytes()
        device.memory[start + claimed] = zlib.crc32(data)

    assert device.load() == DAMAGED
    assert device.store.read(device.flash.tobytes())[1].status == "damaged"


@pytest.mark.parametrize("word", [4, 8])
def test_a_newest_slot_without_commit_is_loaded_but_written_over(word):
    device = Device(store_of(word=word))
    device.save()
    old = device.saved()
    device.scramble()
    operations = len(device.log)
    device.save(most=operations - 1)  # all but the commit word
    new = device.saved()

    assert device.load() == LOADED
    assert device.saved() == new
    device.log.clear()
    device.save(most=1)
    assert device.log == [(ERASE, device.store.slot_bytes // 4)]
    assert device.load() == LOADED
    assert device.saved() == old


def test_a_save_that_the_flash_does_not_hold_fails_and_keeps_the_old_checkpoint():
    device = Device(store_of())
    device.save()
    old = device.saved()
    device.scramble()
    lost = device.store.slot_bytes // 4 + 9

    assert device.save(keeps=lambda index: index != lost) == FAILED
    assert device.save(keeps=lambda index: index != lost) == FAILED
    assert device.load() == LOADED
    assert device.saved() == old


def test_a_slot_that_reads_differently_while_it_is_copied_is_not_taken():
    device = Device(store_of())
    device.save()
    arguments = (0, device.table, device.layout, device.arena, device.counters)

    assert checkpoint.copy_slot(device.flash, *arguments)
    device.flash[8] ^= 4
    assert not checkpoint.copy_slot(device.flash, *arguments)


def test_the_crc_is_the_zip_one():
    words = np.random.default_rng(0).integers(0, 2**32, 50, np.uint32)
    crc = np.uint32(ONES)

    for word in words:
        crc = np.uint32(checkpoint.crc_word(crc, word))

    assert int(crc) ^ ONES == zlib.crc32(words.tobytes())
