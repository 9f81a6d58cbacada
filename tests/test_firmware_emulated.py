"""Power cuts on the emulated device, at operations of its flash and between its instructions."""

import numpy as np
import pytest

from ffedge.errors import DeviceError
from ffedge.firmware.image import build
from ffedge.kernels.device import checkpoint
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import from_arrays, load
from ffedge.trainer import Trainer
from firmware_sim.cells import MODES
from firmware_sim.device import Device
from firmware_sim.emulated import EmulatedDevice, cut_at_instructions
from firmware_sim.flash import PowerCut
from tests.emulated import microcontroller


def device(board="nrf52840", rule=None, emulator="icicle"):
    """16 pixels, 8 units, 3 classes."""
    digits, _ = load("digits")
    chosen = np.flatnonzero(digits.labels < 3)[:60]
    pixels = np.ascontiguousarray(digits.features[chosen][:, 24:40])
    data = from_arrays(pixels, digits.labels[chosen], classes=range(3))
    network = Network.dense(16, (8,), 3, rule or Readout(), precision="int8")
    recipe = Recipe(optimizer=SGD(0.3), batch_size=1, seed=3)
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(data)
    model = Model(network, trainer.params, data.classes, data.feature_shape)
    firmware = build(model, board, recipe=recipe)
    return EmulatedDevice(Device(firmware, microcontroller(emulator)), data)


@pytest.mark.parametrize("board", ["nrf52840", "stm32l476"])
def test_a_cut_at_every_operation_in_every_mode_leaves_the_old_or_the_new_state(board):
    emulated = device(board)
    emulated.flash.restart(0)
    emulated.reset()
    emulated.train(0, 4)
    emulated.save()
    old = emulated.saved_bytes()
    operations = emulated.flash.operations
    emulated.train(4, 4)
    emulated.save()
    new, operations = emulated.saved_bytes(), emulated.flash.operations - operations
    found = []

    for place in range(1, operations + 1):
        for mode in MODES:
            emulated.flash.restart(place)
            emulated.reset()
            emulated.train(0, 4)
            emulated.save()
            emulated.train(4, 4)
            emulated.flash.cut(place, mode)
            with pytest.raises(PowerCut):
                emulated.save()
            emulated.flash.cut(0, mode)
            emulated.reset()
            assert emulated.load() == checkpoint.LOADED
            found.append(emulated.saved_bytes())

    assert operations > 50
    assert set(found) == {old, new}
    assert found[:4] == [old] * 4


@pytest.mark.parametrize("rule", [Readout(), Group(squared=True)])
def test_a_cut_between_instructions_costs_no_more_than_the_stage_in_hand(rule):
    emulated = device(rule=rule)

    found = cut_at_instructions(emulated, 3, every=499)

    assert found.cuts > 30
    assert found.lost == 0
    assert found.old + found.new == found.cuts
    assert found.resumed == found.cuts
    assert found.old > 0


def test_cuts_between_instructions_need_an_exact_emulator():
    emulated = device(emulator="unicorn")

    with pytest.raises(DeviceError, match="that stops at any instruction, got unicorn"):
        cut_at_instructions(emulated, 3, every=499)


def test_a_device_knows_how_much_it_has_learned_after_a_restart():
    emulated = device()
    emulated.reset()
    emulated.train(58, 5)
    emulated.save()

    emulated.reset()
    blank = emulated.learned()
    emulated.load()

    assert (blank, emulated.learned()) == (0, 5)
