"""Whole runs: real firmware on an emulated board, beside the host."""

import json
from xml.etree import ElementTree

import pytest

from ffedge.errors import BudgetError, ConfigError, DeviceError
from ffedge.firmware.image import build
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.sources import load
from ffedge.trainer import Trainer
from firmware_sim.__main__ import main
from firmware_sim.device import Device
from firmware_sim.simulate import simulate
from tests.emulated import microcontroller

PROMISED = {
    "test_accuracy", "ram_bytes", "stack_bytes", "flash_bytes", "instructions_per_step",
    "energy_per_step_joule", "host_identical", "emulator",
}  # fmt: skip


@pytest.mark.parametrize(
    ("board", "rule", "emulator"),
    [
        ("nrf52840", "readout", "icicle"), ("nrf5340", "group", "icicle"),
        ("stm32f746", "readout", "unicorn"), ("stm32l476", "group", "unicorn"),
        ("stm32f411", "readout", "qemu"), ("samd51", "group", "qemu"),
    ],
)  # fmt: skip
def test_a_device_trains_saves_and_predicts_as_the_host_does(board, rule, emulator):
    microcontroller(emulator)

    report = simulate(
        board, "digits", epochs=1, hidden=(24, 17), rule=rule, emulator=emulator,
        device_steps=64, test_samples=40,
    )  # fmt: skip

    assert report.host_identical
    assert report.resumed
    assert (report.device_steps, report.steps) == (64, 1438)
    assert report.emulator == emulator
    assert 0 < report.stack_bytes < report.stack_available
    assert 0 < report.code_bytes < 16 * 1024 < report.flash_bytes
    assert sum(part.nbytes for part in report.ram_map) == report.ram_available
    assert sum(part.nbytes for part in report.flash_map) == report.flash_available
    assert (report.instructions_per_step is None) == (emulator == "qemu")
    assert bool(report.kernels) == (emulator == "unicorn")


@pytest.mark.parametrize("rule", ["readout", "group", "group-mean"])
def test_the_model_alone_does_the_same_without_an_emulator(rule, monkeypatch):
    monkeypatch.setattr("firmware_sim.simulate.choose", lambda name: 1 / 0)

    report = simulate(
        "nrf52840", "digits", epochs=1, hidden=(24, 17), rule=rule, emulator="model",
        device_steps=64, test_samples=40,
    )  # fmt: skip

    assert report.host_identical
    assert report.resumed
    assert report.emulator == "model"
    assert report.stack_bytes is report.instructions_per_step is None
    assert "stack unknown of 1,024 B used" in report.text()


def test_emulators_agree_on_instructions_and_their_kinds_on_kernels():
    microcontroller("icicle")
    microcontroller("unicorn")
    few = {"epochs": 1, "hidden": (20,), "device_steps": 32, "test_samples": 20}

    fast = simulate("nrf52840", "digits", emulator="icicle", **few)
    profiled = simulate("nrf52840", "digits", emulator="unicorn", **few)

    assert fast.instructions_per_step == profiled.instructions_per_step
    assert fast.instructions_per_prediction == profiled.instructions_per_prediction
    assert fast.stack_bytes == profiled.stack_bytes
    assert fast.test_accuracy == profiled.test_accuracy
    # The changes of the rates are counted with the kernels, and take little.
    steps = sum(profiled.kernels.values())
    assert profiled.instructions_per_step < steps < 1.02 * profiled.instructions_per_step
    assert fast.cycles_per_step == pytest.approx(profiled.cycles_per_step, rel=0.15)


def test_the_command_prints_one_object_and_draws_the_ram(tmp_path, capsys):
    microcontroller("icicle")
    picture = tmp_path / "ram.svg"

    code = main(
        ["run", "--board", "nrf52840", "--data", "digits", "--epochs", "1", "--hidden", "24",
         "--device-steps", "32", "--test-samples", "20", "--json", "--picture", str(picture)]
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out)

    assert code == 0
    assert set(found) >= PROMISED
    assert found["host_identical"] is True
    titles = [node.text or "" for node in ElementTree.parse(picture).iter() if "title" in node.tag]
    assert any(title.startswith("layer0.weight: ") for title in titles)
    assert any(title.startswith("stack: ") for title in titles)


def test_a_device_that_learns_something_else_is_found_out(monkeypatch, capsys):
    microcontroller("icicle")
    train = Device.train

    def train_wrongly(self, sample, label):
        return train(self, sample, (label + 1) % 10)

    monkeypatch.setattr(Device, "train", train_wrongly)
    code = main(
        ["run", "--board", "nrf52840", "--data", "digits", "--epochs", "1", "--hidden", "24",
         "--device-steps", "32", "--test-samples", "20"]
    )  # fmt: skip

    assert code == 1
    assert "NOT the host's" in capsys.readouterr().out


def test_a_device_that_predicts_something_else_is_found_out(monkeypatch):
    microcontroller("icicle")
    predict = Device.predict
    monkeypatch.setattr(Device, "predict", lambda self, sample: (predict(self, sample) + 1) % 10)

    report = simulate(
        "nrf52840", "digits", epochs=1, hidden=(24,), device_steps=32, test_samples=20
    )  # fmt: skip

    assert not report.host_identical


def test_a_network_too_large_for_the_board_is_refused_with_the_bytes_missing():
    microcontroller("icicle")

    with pytest.raises((ConfigError, BudgetError), match="B missing"):
        simulate("stm32l476", "digits", hidden=(500, 500))


def test_without_widths_the_network_fills_the_board():
    microcontroller("icicle")

    report = simulate("stm32l476", "digits", epochs=1, device_steps=16, test_samples=10)

    assert report.network == "64-224-224-10"
    assert 0.85 * report.ram_available < report.ram_bytes <= report.ram_available


@pytest.mark.parametrize("emulator", ["icicle", "unicorn"])
def test_a_stack_that_is_too_small_faults_at_once(emulator):
    data, _ = load("digits")
    network = Network.dense(64, (24,), 10, precision="int8")
    recipe = Recipe(optimizer=SGD(0.02), batch_size=1)
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(data)
    model = Model(network, trainer.params, data.classes, data.feature_shape)
    roomy = Device(build(model, "nrf52840", recipe=recipe), microcontroller(emulator))
    roomy.train(data.features[0], 1)
    used = roomy.stack_used

    firmware = build(model, "nrf52840", recipe=recipe, stack_bytes=256)
    device = Device(firmware, microcontroller(emulator))

    assert used > 256
    with pytest.raises(DeviceError, match="stack is full"):
        device.train(data.features[0], 1)
