"""The model of a flash: what it refuses, what an interrupted operation leaves, wear and cost."""

import numpy as np
import pytest

from ffedge.errors import ConfigError, DeviceError
from ffedge.firmware.boards import board_named
from ffedge.kernels.device.checkpoint import DONE, FAILED, LOADED
from firmware_sim.flash import Flash, PowerCut
from firmware_sim.host import small_device

BASE = 0x0800_0000
ONES = b"\xff" * 4


def flash(word_bytes=4, **options):
    return Flash(1024, 256, word_bytes, address=BASE, **options)


def interrupted(operation, mode, seed, word_bytes=4):
    """A flash whose power failed in ``operation(flash)``, and is back."""
    chip = flash(word_bytes, seed=seed)
    chip.program(BASE + 256, 0x0F0F0F0F)
    chip.cut(1, mode)
    with pytest.raises(PowerCut):
        operation(chip)
    chip.boot()
    return chip


def test_programming_clears_bits_and_erasing_sets_a_page():
    chip = flash(writes_per_word=2)

    chip.program(BASE + 256, 0xFFFF00FF)
    chip.program(BASE + 256, 0x0FFFFFFF)
    chip.program(BASE + 512, 0)

    assert chip.read(BASE + 252, 12) == ONES + bytes([0xFF, 0, 0xFF, 0x0F]) + ONES
    chip.erase(BASE + 256)
    assert chip.read(BASE, 512) == b"\xff" * 512
    assert chip.read(BASE + 512, 4) == bytes(4)
    assert chip.wear.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "operation",
    [
        lambda chip: chip.erase(BASE + 4),
        lambda chip: chip.erase(BASE + 1024),
        lambda chip: chip.erase(BASE - 256),
        lambda chip: chip.program(BASE + 2, 0),
        lambda chip: chip.program(BASE + 1024, 0),
        lambda chip: chip.program(BASE, 0),
        lambda chip: chip.read(BASE + 1021, 4),
        lambda chip: chip.read(BASE - 1, 4),
    ],
)
def test_what_is_no_page_no_word_or_already_programmed_is_refused(operation):
    chip = flash()
    chip.program(BASE, 0x12345678)

    with pytest.raises(DeviceError, match=r"^flash: expected to .* 0x08000000\.\.0x08000400"):
        operation(chip)
    assert chip.read(BASE, 4) == bytes([0x78, 0x56, 0x34, 0x12])
    assert chip.operations == 1


def test_an_eight_byte_word_is_programmed_whole_and_only_when_it_reads_erased():
    chip = flash(8, writes_per_word=2)
    chip.program(BASE + 8, 1, 2)

    assert chip.read(BASE + 8, 8) == bytes([1, 0, 0, 0, 2, 0, 0, 0])
    for address in (BASE + 8, BASE + 20):
        with pytest.raises(DeviceError):
            chip.program(address, 0, 0)


def program_zero(chip):
    chip.program(BASE, 0x00FF00FF)


def erase_page(chip):
    chip.erase(BASE + 256)


@pytest.mark.parametrize("operation", [program_zero, erase_page])
@pytest.mark.parametrize("mode", ["before", "after"])
def test_before_does_nothing_and_after_does_all(operation, mode):
    chip = interrupted(operation, mode, 0)

    done = mode == "after"
    zero = bytes([0xFF, 0, 0xFF, 0]) if done and operation is program_zero else ONES
    page = ONES if done and operation is erase_page else b"\x0f" * 4
    assert chip.read(BASE, 4) == zero
    assert chip.read(BASE + 256, 4) == page


@pytest.mark.parametrize("mode", ["torn", "unstable"])
def test_an_interrupted_operation_changes_some_of_the_bits_that_it_should(mode):
    words, pages = set(), set()
    for seed in range(60):
        word = int.from_bytes(interrupted(program_zero, mode, seed).read(BASE, 4), "little")
        assert word & 0x00FF00FF == 0x00FF00FF
        words.add(word)
        page = int.from_bytes(interrupted(erase_page, mode, seed).read(BASE + 256, 4), "little")
        assert page & 0x0F0F0F0F == 0x0F0F0F0F
        pages.add(page)

    assert {0xFFFFFFFF, 0x00FF00FF} < words
    assert {0xFFFFFFFF, 0x0F0F0F0F} < pages
    assert min(len(words), len(pages)) > 20


@pytest.mark.parametrize("operation", [program_zero, erase_page])
def test_torn_bits_stay_as_they_are_and_unstable_ones_change_until_erased(operation):
    for mode, most in (("torn", 1), ("unstable", 1000)):
        seen = []
        for seed in range(20):
            chip = interrupted(operation, mode, seed)
            readings = set()
            for _ in range(10):
                readings.add(chip.read(BASE, 1024))
                chip.boot()
            seen.append(len(readings))
            chip.erase(BASE)
            chip.erase(BASE + 256)
            chip.refresh()
            assert chip.read(BASE, 512) == b"\xff" * 512
        assert max(seen) <= most
        assert mode == "torn" or max(seen) > 5


def test_an_interrupted_eight_byte_word_may_be_wrong_in_a_bit_that_was_not_to_change():
    wrong = 0
    for seed in range(40):
        word = interrupted(lambda c: c.program(BASE, 0xFFFFFFFE), "torn", seed, 8).read(BASE, 8)
        wrong += int.from_bytes(word, "little") | 1 != 2**64 - 1

    assert wrong > 20


def test_nothing_works_between_a_cut_and_the_next_power_up():
    chip = flash()
    chip.cut(1, "before")
    with pytest.raises(PowerCut):
        chip.erase(BASE)

    with pytest.raises(DeviceError, match="power is off"):
        chip.program(BASE, 0)
    chip.boot()
    chip.program(BASE, 0)


def test_the_same_seed_tears_the_same_bits():
    def torn(seed):
        return interrupted(erase_page, "torn", seed).read(BASE + 256, 256)

    assert torn(5) == torn(5)
    assert torn(5) != torn(6)


def test_seconds_and_joules_are_those_of_the_board():
    board = board_named("nrf52840")
    chip = Flash.of(board, 2 * board.page_bytes)

    chip.erase(board.flash_end - board.page_bytes)
    chip.program(board.flash_end - 4, 0)

    assert chip.seconds == board.erase_seconds + board.program_seconds
    assert chip.joules == pytest.approx(chip.seconds * 52e-6 * 64 * 3.0)


def test_a_worn_page_keeps_zeros_and_a_save_says_so_instead_of_losing_the_old_one():
    device = small_device()
    endurance, pages = 3, device.store.slot_bytes // device.store.page_bytes
    device.flash = Flash(device.store.nbytes, 256, endurance=endurance)
    device.reset()
    codes = []
    for number in range(2 * endurance):
        device.train(number, 1)
        codes.append(device.save())
    kept = device.saved_bytes()
    device.train(2 * endurance, 1)
    codes.append(device.save())

    assert codes == [DONE] * (2 * endurance) + [FAILED]
    assert device.flash.wear.tolist() == [endurance + 1] * pages + [endurance] * pages
    device.reset()
    assert device.load() == LOADED
    assert device.saved_bytes() == kept


def test_words_are_a_view_that_cannot_be_written_to():
    chip = flash()
    words = chip.words

    chip.program(BASE + 8, 7)

    assert words[2] == 7
    with pytest.raises(ValueError, match="read-only"):
        words[0] = np.uint32(0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((1024, 256, 2), "words of 4 or 8 bytes"),
        ((1024, 100, 4), "pages of a multiple of 8, got 4 and 100"),
        ((1000, 256, 4), "whole pages of 256 B, got 1,000 B"),
        ((0, 256, 4), "whole pages"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Flash(*options)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="before, after, torn, unstable, got 1 and 'gone'"):
        flash().cut(1, "gone")
