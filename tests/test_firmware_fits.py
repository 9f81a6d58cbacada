"""Which boards a training fits on, and the change that makes it fit."""

import re

import pytest

from ffedge.errors import ConfigError
from ffedge.firmware.boards import BOARDS
from ffedge.firmware.fitting import needs
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from firmware_sim.fits import fit, fits, widest

RECIPE = Recipe(optimizer=SGD(0.01), batch_size=1)
BESIDE, CODE = 4096, 12_000


def network(*hidden):
    return Network.dense(784, hidden, 10, precision="int8")


def needed(net, board, beside_ram=BESIDE, code=CODE):
    return needs(net, RECIPE, board, beside_ram=beside_ram, code=code)


def test_every_board_is_judged_the_smallest_ram_first():
    found = fits(network(120, 120), RECIPE, BESIDE, CODE)

    assert {each.board for each in found} == set(BOARDS)
    assert found[0].board == "stm32l476"


def test_a_board_fits_to_the_last_byte_of_ram():
    board, net = BOARDS["nrf52840"], network(120, 120)
    room = board.ram_bytes - needed(net, board, beside_ram=0)[0]

    assert fit(net, RECIPE, room, CODE, board).fits
    short = fit(net, RECIPE, room + 1, CODE, board)

    assert (short.fits, short.ram_missing, short.flash_missing) == (False, 1, 0)


def test_a_board_fits_to_the_last_byte_of_flash():
    board, net = BOARDS["stm32f411"], network(32)
    room = board.flash_bytes - needed(net, board, code=0)[1]

    assert fit(net, RECIPE, BESIDE, room, board).fits
    short = fit(net, RECIPE, BESIDE, room + 1, board)

    assert (short.fits, short.ram_missing, short.flash_missing) == (False, 0, 1)


def test_the_change_that_is_offered_makes_it_fit():
    board = BOARDS["stm32l476"]

    wide = fit(network(200, 200), RECIPE, BESIDE, CODE, board)
    widths = re.search(r"--hidden ([\d,]+)", wide.change)[1]
    narrower = network(*map(int, widths.split(",")))

    assert not wide.fits
    assert fit(narrower, RECIPE, BESIDE, CODE, board).fits


def test_no_change_is_offered_where_none_helps():
    found = fit(network(64), RECIPE, BESIDE, BOARDS["stm32l476"].flash_bytes, BOARDS["stm32l476"])

    assert "No widths of these layers fit" in found.change


def test_a_core_without_floats_never_fits():
    found = fit(network(8), RECIPE, BESIDE, CODE, BOARDS["rp2040"])

    assert not found.fits
    assert found.change == "a Cortex-M0+ has no floats; take a Cortex-M4F, M7 or M33"


def test_the_widest_network_fits_and_the_next_width_would_not():
    board = BOARDS["nrf52840"]

    found = widest(network(1, 1), RECIPE, board, beside_ram=BESIDE, code=CODE)

    assert found.hidden == (224, 224)
    assert needed(found, board)[0] <= board.ram_bytes < needed(network(256, 256), board)[0]


def test_the_widest_network_is_refused_if_none_fits():
    board = BOARDS["nrf52840"]

    with pytest.raises(ConfigError, match="expected room for 2 layers of 8 units on nrf52840"):
        widest(network(1, 1), RECIPE, board, beside_ram=board.ram_bytes, code=CODE)
