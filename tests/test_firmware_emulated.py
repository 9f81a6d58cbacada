"""Power cuts on the emulated device, at operations of its flash and between its instructions."""

import json

import pytest

from ffedge.errors import ConfigError, DeviceError
from firmware_sim.__main__ import main
from firmware_sim.emulated import cut_at_instructions, cut_at_operations
from firmware_sim.power_cuts import cut_power, small_device
from tests.emulated import microcontroller


def device(board="nrf52840", rule="readout", emulator="icicle"):
    microcontroller(emulator)
    return small_device(board, rule, emulator=emulator, seed=3)


@pytest.mark.parametrize("board", ["nrf52840", "stm32l476"])
def test_a_cut_at_every_operation_in_every_mode_leaves_the_old_or_the_new_state(board):
    found = cut_at_operations(device(board), 4)

    assert found.cuts > 4 * 50
    assert found.clean
    assert found.old > found.new > 0


def test_a_firmware_that_writes_over_its_only_slot_is_found_out(monkeypatch):
    emulated = device()
    show, slots = emulated.device._show_flash, emulated.flash.nbytes // 2

    def both_slots_are_one(address, nbytes):
        show(address, nbytes)
        if address == emulated.flash.address and nbytes == 2 * slots:
            # The other slot, which the save should spare, reads as erased from the start.
            emulated.device.emulator.write(address, b"\xff" * slots)

    monkeypatch.setattr(emulated.device, "_show_flash", both_slots_are_one)
    found = cut_at_operations(emulated, 4, every=20)

    assert not found.clean
    assert found.lost > 0


@pytest.mark.parametrize("rule", ["readout", "group"])
def test_a_cut_between_instructions_costs_no_more_than_the_stage_in_hand(rule):
    emulated = device(rule=rule)

    found = cut_at_instructions(emulated, 3, every=499)

    assert found.cuts > 30
    assert found.clean
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


@pytest.fixture
def without_model(monkeypatch):
    """The command's campaigns without an emulator have tests of their own."""
    monkeypatch.setattr("firmware_sim.power.campaigns", lambda **_: [])


def test_the_command_counts_cuts_and_says_whether_all_is_well(capsys, without_model):
    microcontroller("icicle")
    words = ["power-cuts", "--board", "nrf52840", "--every", "9", "--every-instruction", "4999"]
    words += ["--random", "600"]

    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(words) == 0

    assert found["as_promised"]
    assert set(found["board"]) == {"flash operations", "instructions"}
    assert all(cuts["clean"] and cuts["lost"] == 0 for cuts in found["board"].values())
    (lives,) = found["campaigns"]
    assert lives["identical"] == lives["lives"] == 30
    assert lives["cuts"] > 30
    assert "0 times neither" in capsys.readouterr().out


def test_the_command_fails_where_something_is_lost(capsys, monkeypatch, without_model):
    microcontroller("icicle")
    monkeypatch.setattr("firmware_sim.emulated._find", lambda device, states: -1)

    code = main(
        ["power-cuts", "--board", "nrf52840", "--every", "30", "--every-instruction", "9999",
         "--random", "0"]
    )  # fmt: skip

    assert code == 1
    assert ", 0 times the new one" in capsys.readouterr().out


def test_without_a_board_no_emulator_is_asked_for(capsys, without_model, monkeypatch):
    monkeypatch.setattr("firmware_sim.emulator.choose", lambda name=None: 1 / 0)

    assert main(["power-cuts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "campaigns": [], "board": {}, "as_promised": True,
    }  # fmt: skip


def test_cuts_at_less_than_every_operation_are_refused():
    with pytest.raises(ConfigError, match="expected steps of at least 1 and random lives"):
        cut_power("nrf52840", every=0)


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="power-cuts: expected one of"):
        small_device("nrf52840", "hebb")
