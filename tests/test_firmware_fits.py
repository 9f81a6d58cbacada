"""Which boards a training fits on, and the change that makes it fit."""

import pytest

from ffedge.errors import ConfigError
from ffedge.firmware.boards import BOARDS
from ffedge.firmware.table import plan_device
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from firmware_sim.fits import checkpoint_bytes, fit, fits, widest

RECIPE = Recipe(optimizer=SGD(0.01), batch_size=1)
BESIDE, CODE = 4096, 12_000


def network(*hidden):
    return Network.dense(784, hidden, 10, precision="int8")


def test_every_board_is_judged_the_smallest_ram_first():
    found = fits(network(120, 120), RECIPE, BESIDE, CODE)

    assert {each.board for each in found} == set(BOARDS)
    assert found[0].board == "stm32l476"


def test_a_board_fits_to_the_last_byte_of_ram():
    board, net = BOARDS["nrf52840"], network(120, 120)
    room = board.ram_bytes - plan_device(net, RECIPE).peak

    assert fit(net, RECIPE, room, CODE, board).fits
    short = fit(net, RECIPE, room + 1, CODE, board)

    assert (short.fits, short.ram_missing, short.flash_missing) == (False, 1, 0)


def test_a_board_fits_to_the_last_byte_of_flash():
    board, net = BOARDS["stm32f411"], network(32)
    slots = checkpoint_bytes(plan_device(net, RECIPE), board, 1)

    exact = fit(net, RECIPE, BESIDE, board.flash_bytes - slots, board)
    short = fit(net, RECIPE, BESIDE, board.flash_bytes - slots + 1, board)

    assert slots == 2 * board.page_bytes
    assert exact.fits
    assert (short.ram_missing, short.flash_missing) == (0, 1)


def test_the_change_that_is_offered_makes_it_fit():
    board = BOARDS["stm32l476"]

    wide = fit(network(200, 200), RECIPE, BESIDE, CODE, board)
    widths = [int(width) for width in wide.change.removeprefix("--hidden ").split(",")]

    assert not wide.fits
    assert fit(network(*widths), RECIPE, BESIDE, CODE, board).fits
    assert widths == [96, 96]


def test_no_change_is_offered_where_none_helps():
    found = fit(network(64), RECIPE, BESIDE, BOARDS["stm32l476"].flash_bytes, BOARDS["stm32l476"])

    assert found.change == "no width of these layers; use another board"


def test_the_widest_network_is_refused_if_none_is_allowed():
    with pytest.raises(ConfigError, match="expected room for 2 layers of 8 units at least"):
        widest(network(1, 1), RECIPE, lambda net, plan: False)
