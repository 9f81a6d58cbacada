"""The device without an emulator: power, flash and weights as on a board."""

import numpy as np
import pytest

from ffedge.errors import DeviceError
from ffedge.firmware.image import build
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.sources import load
from ffedge.trainer import Trainer
from firmware_sim.flash import PowerCut
from firmware_sim.model_device import ModelDevice


@pytest.fixture(scope="module")
def firmware():
    data, _ = load("digits")
    network = Network.dense(64, (20,), 10, precision="int8")
    recipe = Recipe(optimizer=SGD(0.01), batch_size=1, scaling="global")
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(data)
    model = Model(network, trainer.params, tuple(range(10)), (64,))
    return build(model, "stm32l4", recipe=recipe)


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_checkpoint_survives_the_power_and_the_rest_does_not(firmware):
    device, sample = ModelDevice(firmware), np.arange(64, dtype=np.uint8)
    first = device.weights()
    device.train(sample, 3)
    learned = device.weights()
    device.save()
    device.train(sample, 4)

    device.reboot()
    assert same(device.weights(), first)
    assert device.load() == 0
    assert same(device.weights(), learned)
    assert not same(first, learned)


def test_without_a_checkpoint_training_is_at_its_start(firmware):
    assert ModelDevice(firmware).load() != 0


def test_a_power_cut_ends_a_save_and_the_one_before_is_loaded(firmware):
    device, sample = ModelDevice(firmware), np.arange(64, dtype=np.uint8)
    device.train(sample, 3)
    device.save()
    learned = device.weights()
    device.train(sample, 5)
    device.flash.cut(7, "torn")

    with pytest.raises(PowerCut):
        device.save()
    device.reboot()

    assert device.load() == 0
    assert same(device.weights(), learned)


def test_flash_that_holds_something_else_is_an_error(firmware, monkeypatch):
    device = ModelDevice(firmware)
    monkeypatch.setattr(device.flash, "program", lambda *words: None)

    with pytest.raises(DeviceError, match="expected the flash to hold what was programmed"):
        device.save()


def test_rates_and_weights_can_be_replaced(firmware):
    device, other = ModelDevice(firmware), ModelDevice(firmware, seed=1)
    device.train(np.full(64, 9, np.uint8), 1)
    other.put_weights(device.weights())
    assert same(device.weights(), other.weights())

    rates = np.array([0, 40], np.int32)
    other.set_rates(rates)
    before = other.weights()
    other.train(np.full(64, 9, np.uint8), 1)
    assert same(before, other.weights())
