"""The device: commands, power, flash and faults, with a firmware of 80 instructions."""

import numpy as np
import pytest

from ffedge.errors import ConfigError, DeviceError
from firmware_sim.device import SAVE, TRAIN, Device
from firmware_sim.flash import PowerCut
from tests.emulated import microcontroller
from tests.toy_firmware import STACK_BYTES, toy_firmware


@pytest.fixture(params=["icicle", "unicorn", "qemu"])
def device(request):
    device = Device(toy_firmware(), microcontroller(request.param))
    yield device
    device.close()


@pytest.fixture
def exact():
    """On the emulator that can stop at any instruction."""
    device = Device(toy_firmware(), microcontroller("icicle"))
    yield device
    device.close()


def sample(first):
    return np.array([first], np.uint8)


def weights(device):
    return device.weights()["layer0.weight"].tolist()


def test_training_and_predicting_do_what_the_firmware_does(device):
    answers = [device.train(sample(3), 1), device.train(sample(5), 1), device.train(sample(4), 2)]

    assert weights(device) == [0, 8, 4, 0]
    assert answers == [True, False, False]
    assert device.predict(sample(1)) == 8


def test_a_save_survives_the_loss_of_power_and_the_ram_does_not(device):
    device.train(sample(7), 3)
    device.save()
    device.train(sample(1), 0)

    device.reboot()
    after = weights(device)
    status = device.load()

    assert after == [0, 0, 0, 0]
    assert status == 0
    assert weights(device) == [0, 0, 0, 7]


def test_nothing_is_loaded_from_flash_that_was_never_written(device):
    assert device.load() == 1


def test_weights_can_be_put_in_from_outside(device):
    device.put_weights({"layer0.weight": np.array([9, 8, 7, 6], np.uint8)})

    assert device.predict(sample(2)) == 7


def test_the_stack_that_was_used_is_known_by_its_paint(device):
    assert device.stack_used == 0

    device.train(sample(0), 0)

    assert device.stack_used == 16 < STACK_BYTES


def test_the_stack_that_was_used_before_a_restart_counts(device):
    device.train(sample(0), 0)
    device.power_off()
    assert device.stack_used == 16

    device.power_on()

    assert device.stack_used == 16


def test_instructions_are_counted_by_command(exact):
    exact.train(sample(1), 0)
    exact.train(sample(1), 0)
    exact.predict(sample(0))

    assert exact.runs == {"train": 2, "predict": 1}
    # bx lr; three loads; compare and branch for each command; the work; bl and bkpt.
    assert exact.spent["train"] == 2 * (1 + 3 + 2 + 14 + 2 - 1)
    assert exact.spent["predict"] == 1 + 3 + 4 + 5 + 2 - 1


def test_flash_is_erased_and_programmed_for_a_save(exact):
    exact.save()
    exact.save()

    assert exact.flash.wear.tolist() == [2]
    assert exact.flash.operations == 4
    assert exact.flash.seconds == pytest.approx(2 * (85e-3 + 41e-6))


@pytest.mark.parametrize(("operation", "status"), [(1, 0), (2, 1)])
def test_power_fails_at_an_operation_of_the_flash(exact, operation, status):
    exact.train(sample(5), 0)
    exact.save()
    exact.flash.cut(operation, "before")

    with pytest.raises(PowerCut):
        exact.save()
    with pytest.raises(DeviceError, match="got one that is switched off"):
        exact.train(sample(1), 0)
    exact.power_on()

    # Cut before the erase the old save is there; before the program, an erased page.
    assert exact.load() == status


def test_power_fails_after_a_number_of_instructions(exact):
    exact.instructions_left = 24

    exact.train(sample(1), 0)
    with pytest.raises(PowerCut):
        exact.command(TRAIN)
    exact.power_on()

    assert weights(exact) == [0, 0, 0, 0]
    assert exact.train(sample(1), 0)


def test_a_power_cut_at_every_instruction_of_a_save_leaves_a_device_that_boots(exact):
    exact.train(sample(5), 0)
    exact.save()
    seen = set()
    for limit in range(1, exact.spent["save"]):
        exact.power_on()
        exact.instructions_left = limit
        with pytest.raises(PowerCut):
            exact.command(SAVE)
        exact.power_on()
        seen.add(exact.load())

    assert seen <= {0, 1}
    assert 1 in seen


@pytest.mark.parametrize("emulator", ["icicle", "unicorn"])
def test_a_store_below_the_ram_is_a_full_stack(emulator):
    firmware = toy_firmware(wild=0x2000_0000 - 8)
    device = Device(firmware, microcontroller(emulator))

    with pytest.raises(DeviceError, match=r"WriteUnmapped at 0x1ffffff8 in set .*stack is full"):
        device.set_rates(np.zeros((1, 2), np.int32))


def test_a_store_behind_the_ram_is_a_fault_of_the_firmware(exact):
    firmware = toy_firmware(wild=0x2004_0000)
    device = Device(firmware, microcontroller("icicle"))

    with pytest.raises(DeviceError, match=r"at 0x20040000 in set .*the firmware is at fault"):
        device.set_rates(np.zeros((1, 2), np.int32))


def test_a_sample_of_another_width_is_refused(exact):
    with pytest.raises(ConfigError, match=r"expected a sample of 1 features, got .* shape \(3,\)"):
        exact.train(np.zeros(3, np.uint8), 0)


def test_a_label_that_the_firmware_refuses_is_an_error(exact):
    with pytest.raises(DeviceError, match="expected status 0 of train, got -1"):
        exact.train(sample(0), 9)


def test_unicorn_tells_functions_and_kinds_of_instructions():
    device = Device(toy_firmware(), microcontroller("unicorn"))
    device.train(sample(1), 0)
    device.train(sample(1), 1)

    functions, kinds = device.profile()

    assert functions["train"] == 2 * 14
    # push, pop, three loads and a store in each, and three loads of constants in the loop.
    assert kinds["memory"] == 2 * (6 + 3)
    assert sum(functions.values()) == sum(kinds.values())


def test_an_emulator_without_a_profile_says_so(exact):
    assert exact.profile() is None
