"""The report: JSON as it is, text for people, and the picture of the RAM."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

from ffedge.firmware.table import plan_device
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from firmware_sim import picture
from firmware_sim.report import Part, Report

REPORT = Report(
    board="nrf52840", core="Cortex-M4F", network="64-96-96-10", rule="readout", data="digits",
    emulator="unicorn", epochs=2, steps=2874, device_steps=1600, test_samples=360,
    test_accuracy=0.9, host_identical=True, resumed=True, ram_bytes=40_000, ram_available=262_144,
    stack_bytes=200, stack_available=1024, flash_bytes=60_000, flash_available=1 << 20,
    code_bytes=9_000, instructions_per_step=1e5, instructions_per_prediction=3e4,
    cycles_per_step=1.4e5, seconds_per_step=1.4e5 / 64e6, energy_per_step_joule=2.184e-5,
    samples_per_second=457.1, save={"erases": 5, "programs": 4000, "seconds": 0.6, "joules": 0.006},
    ram_map=[Part("stack", "stack", 0x2000_0000, 1024)],
    flash_map=[Part("code", "code", 0, 9_000)], arena={"weights": 20_000},
    kernels={"ff_train": 9e4, "memcpy": 1e4},
    fits=[
        {"board": "stm32l476", "fits": False, "ram_missing": 5, "flash_missing": 0,
         "change": "--hidden 64,64"},
        {"board": "nrf5340", "fits": True, "ram_missing": 0, "flash_missing": 0, "change": ""},
    ],
    estimates=["ua_per_mhz"],
)  # fmt: skip


def test_json_holds_what_was_promised():
    found = json.loads(json.dumps(REPORT.describe()))

    assert set(found) >= {
        "test_accuracy", "ram_bytes", "stack_bytes", "flash_bytes", "instructions_per_step",
        "energy_per_step_joule", "host_identical", "emulator",
    }  # fmt: skip
    assert found["ram_map"][0] == {
        "name": "stack", "kind": "stack", "address": 0x2000_0000, "nbytes": 1024,
    }  # fmt: skip


def test_text_tells_people_the_same():
    text = REPORT.text()

    assert "90.00 % of 360 test samples right" in text
    assert "the host's, byte for byte, after 1,600 of 2,874 steps" in text
    assert "2.19 ms, 21.8 uJ" in text
    assert "90.0 %  ff_train" in text
    assert "stm32l476  no: 5 B of RAM missing: --hidden 64,64" in text
    assert "without a document: ua_per_mhz" in text


def test_a_difference_from_the_host_is_not_hidden():
    text = dataclasses.replace(REPORT, host_identical=False, resumed=False).text()

    assert "NOT the host's" in text
    assert "NOT the same after a restart" in text


def test_an_emulator_that_does_not_count_leaves_the_figures_out():
    bare = dataclasses.replace(
        REPORT, instructions_per_step=None, cycles_per_step=None, kernels={}, save=None
    )

    assert "instructions" not in bare.text()


def test_the_picture_shows_every_buffer_where_and_when_it_lives():
    network = Network.dense(64, (96, 48), 10, precision="int8")
    plan = plan_device(network, Recipe(optimizer=SGD(0.1), batch_size=1))

    found = picture.blocks(plan, 3, 2048, [("stack", "stack", 0, 1024)])
    svg = picture.draw(found, 2, 65_536, "RAM <of> a board")
    root = ElementTree.fromstring(svg)
    titles = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    places = {block.name: block for block in found}

    assert "RAM <of> a board" in titles
    assert len(titles) == 1 + len(plan.buffers) + 1
    assert places["layer0.out"].start == 1
    assert places["layer0.out"].end == 2
    assert places["layer1.weight"].first >= 2048
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_buffers_that_share_bytes_are_drawn_in_different_columns():
    network = Network.dense(64, (96, 48, 48), 10, precision="int8")
    plan = plan_device(network, Recipe(optimizer=SGD(0.1), batch_size=1))

    found = picture.blocks(plan, 4, 0, [])

    for a in found:
        for b in found:
            if a is not b and a.first < b.first + b.nbytes and b.first < a.first + a.nbytes:
                assert a.end < b.start or b.end < a.start, (a.name, b.name)
