"""What a process takes before it trains, and where a training would fit."""

import json

import numpy as np
import pytest
from test_profiling import DATA, trainer_of

from ffedge.firmware.boards import BOARDS
from ffedge.memory import process_bytes
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.profiling.fits import COMPUTERS, SYSTEM_BYTES, fits
from ffedge.profiling.measure import measure
from ffedge.profiling.process import resident_bytes, split, warm_up, warm_up_described
from ffedge.recipe import Recipe


def test_without_proc_the_split_is_zero(monkeypatch):
    monkeypatch.setattr("ffedge.profiling.process.process_bytes", lambda: 0)
    trainer = trainer_of()

    shares = resident_bytes(trainer.network, trainer.recipe, DATA)

    assert set(shares.values()) == {0}
    assert split(shares, 5)["training"] == 0


def test_a_process_that_fails_is_no_error(monkeypatch):
    monkeypatch.setattr("ffedge.profiling.process.sys.executable", "/nowhere/python")
    trainer = trainer_of()

    assert set(resident_bytes(trainer.network, trainer.recipe, DATA).values()) == {0}


def test_the_process_split_is_measured_apart_from_this_process():
    if not process_bytes():
        pytest.skip("this system does not tell")
    trainer = trainer_of()

    before = resident_bytes(trainer.network, trainer.recipe, DATA)
    block = np.ones(64 << 20, np.uint8)
    after = resident_bytes(trainer.network, trainer.recipe, DATA)

    for name, count in before.items():
        assert after[name] == pytest.approx(count, abs=16 << 20), name
    assert block.nbytes > sum(abs(after[name] - before[name]) for name in before)


def test_kernels_are_warm_after_a_warm_up():
    trainer = trainer_of("hinton")
    warm_up(trainer.network, trainer.recipe, DATA)

    found = measure(trainer, DATA)

    # Compiling one kernel alone would make a hundred times as much.
    assert found.step < 8192


def test_made_up_data_stand_in_for_the_real_ones_in_another_process(monkeypatch):
    trainer = trainer_of(precision="int8", batch_size=4)
    seen = []
    monkeypatch.setattr("ffedge.profiling.process.warm_up", lambda *given: seen.append(given))
    told = {
        "network": trainer.network.describe(), "recipe": trainer.recipe.describe(),
        "samples": 90, "dtype": "float32",
    }  # fmt: skip

    warm_up_described(json.dumps(told))

    network, recipe, data = seen[0]
    assert (network, recipe) == (trainer.network, trainer.recipe)
    assert (data.n_samples, data.width, data.features.dtype) == (8, 7, np.float32)


def test_every_board_and_computer_is_judged():
    trainer = trainer_of(precision="int8")

    rows = fits(trainer.network, trainer.recipe, 100 << 20)

    assert {row["name"] for row in rows} == set(BOARDS) | {name for name, *_ in COMPUTERS}
    judged = {row["name"]: row for row in rows}
    assert judged["nrf52840"]["fits"]
    assert 0 < judged["nrf52840"]["needed_bytes"] < judged["nrf52840"]["memory_bytes"]
    assert not judged["rp2040"]["fits"]
    assert "no floats" in judged["rp2040"]["note"]


def test_what_a_board_lacks_is_said():
    network = Network.dense(784, (500, 500), 10, precision="int8")

    rows = {row["name"]: row for row in fits(network, Recipe(SGD(0.1)), 100 << 20)}

    assert "of RAM missing" in rows["stm32l476"]["note"]
    assert not rows["stm32l476"]["fits"]


def test_float32_fits_no_board_and_says_why():
    trainer = trainer_of()

    rows = [row for row in fits(trainer.network, trainer.recipe, 1) if row["name"] in BOARDS]

    assert not any(row["fits"] for row in rows)
    assert all(row["needed_bytes"] is None and "int8" in row["note"] for row in rows)


@pytest.mark.parametrize(("more", "fit"), [(0, True), (1, False)])
def test_a_computer_fits_to_the_last_byte(more, fit):
    trainer = trainer_of()
    name, _, memory = COMPUTERS[0]

    rows = fits(trainer.network, trainer.recipe, memory - SYSTEM_BYTES + more)

    assert next(row for row in rows if row["name"] == name)["fits"] is fit
