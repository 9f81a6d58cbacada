"""The built image: its map, its start, and training that equals the host's byte for byte."""

import struct

import numpy as np
import pytest
from emulated import microcontroller

from ffedge.defaults import choose_optimizer
from ffedge.errors import ConfigError
from ffedge.firmware import image
from ffedge.firmware.boards import BOARDS
from ffedge.firmware.elf32_file import EXECUTABLE
from ffedge.firmware.image import build, device_recipe
from ffedge.firmware.layout import make_layout
from ffedge.firmware.model_data import model_data
from ffedge.model import Model
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import load
from ffedge.trainer import Trainer
from firmware_sim.device import Device

STEPS = 100

CASES = [
    ("nrf52840", Readout(), "icicle"), ("nrf52840", Readout(), "unicorn"),
    ("nrf52840", Group(), "icicle"), ("stm32f746", Readout(), "unicorn"),
    ("stm32f746", Group(), "icicle"), ("nrf5340", Readout(), "icicle"),
    ("nrf5340", Group(), "unicorn"), ("stm32l4", Readout(), "icicle"),
]  # fmt: skip


def host(rule=None, hidden=(32, 32)):
    """(trainer with scaler and first weights, its model, data): digits, untrained."""
    rule = Readout() if rule is None else rule
    data, _ = load("digits")
    network = Network.dense(64, hidden, 10, rule, precision="int8")
    optimizer = choose_optimizer(rule, "int8", 64, 1)
    recipe = Recipe(optimizer=optimizer, batch_size=1, scaling="global", seed=5)
    trainer = Trainer(network, recipe)
    trainer.run.initialize()
    trainer.run.begin_stage(None)
    trainer.learn_scaling(data)
    model = Model(network, trainer.params, data.classes, data.feature_shape).copy()
    return trainer, model, data


@pytest.fixture(scope="module")
def small():
    trainer, model, _ = host()
    return build(model, "nrf52840", recipe=trainer.recipe), model, trainer.recipe


def boot(firmware, emulator):
    return Device(firmware, microcontroller(emulator))


@pytest.mark.parametrize(("board", "rule", "emulator"), CASES)
def test_an_image_trains_as_the_host_does_byte_for_byte(board, rule, emulator):
    trainer, model, data = host(rule, (40, 40))
    device = boot(build(model, board, recipe=trainer.recipe), emulator)
    first = {name: array.tobytes() for name, array in device.weights().items()}

    for i in range(STEPS):
        trainer.run.fetch(data, i, 1)
        trainer.run.train_batch(1)
        device.train(data.features[i].astype(np.float32), int(data.labels[i]))

    assert {name: trainer.params[name].tobytes() for name in first} == {
        name: array.tobytes() for name, array in device.weights().items()
    }
    assert first["layer0.weight"] != device.weights()["layer0.weight"].tobytes()
    assert device.stack_used < 1024
    trainer.run.fetch(data, 500, 8)
    trainer.run.score_batch(8)
    wanted = trainer.run.total[:8].argmax(1).tolist()
    assert [device.predict(data.features[500 + i].astype(np.float32)) for i in range(8)] == wanted


def test_weights_counters_and_nothing_else_survive_a_reboot(small):
    firmware, _, _ = small
    device = boot(firmware, "icicle")
    sample = np.linspace(0, 16, 64, dtype=np.float32)
    for label in range(10):
        device.train(sample, label)
    device.save()
    trained = {name: array.tobytes() for name, array in device.weights().items()}
    count = device.emulator.read(firmware.buffers["counters"], 8)

    device.reboot()
    fresh = {name: array.tobytes() for name, array in device.weights().items()}
    assert device.emulator.read(firmware.buffers["counters"], 8) == bytes(8)
    assert device.load() == 0

    assert fresh != trained
    assert {name: array.tobytes() for name, array in device.weights().items()} == trained
    assert (
        device.emulator.read(firmware.buffers["counters"], 8) == count == struct.pack("<2I", 10, 10)
    )


def test_the_command_of_rates_replaces_them(small):
    firmware, _, _ = small
    device = boot(firmware, "icicle")
    first = device.emulator.read(firmware.buffers["rates"], 16)
    assert first == firmware.data.tables["ff_first_rates"].tobytes()

    device.set_rates(np.array([[20000, 18], [30000, 19]], np.int32))

    found = struct.unpack("<4i", device.emulator.read(firmware.buffers["rates"], 16))
    assert found == (20000, 18, 30000, 19)


def test_a_label_that_is_no_class_changes_nothing(small):
    firmware, _, _ = small
    device = boot(firmware, "icicle")
    before = {name: array.tobytes() for name, array in device.weights().items()}

    device._put("ff_mailbox_label", np.int32(10).tobytes())
    assert device.command(1) == -1

    assert {name: array.tobytes() for name, array in device.weights().items()} == before


def test_the_regions_fill_flash_and_ram_without_overlap(small):
    firmware, _, _ = small
    board = firmware.board
    at = board.flash_address
    for region in firmware.sections:
        if region.kind == "stack":
            assert at == board.flash_end
            at = board.ram_address
        assert region.address == at
        at += region.nbytes

    assert at == board.ram_end
    kinds = [region.kind for region in firmware.sections]
    assert kinds[:2] == ["vectors", "code"]
    assert kinds.index("checkpoint") == kinds.index("stack") - 1
    assert firmware.ram_bytes == board.ram_bytes - firmware.sections[-1].nbytes


@pytest.mark.parametrize("board", sorted(name for name in BOARDS if BOARDS[name].core.fpu))
def test_vectors_and_checkpoint_lie_where_the_board_wants_them(board):
    trainer, model, _ = host()
    firmware = build(model, board, recipe=trainer.recipe)
    (address, content), chosen = firmware.segments[0], firmware.board
    stack, reset = struct.unpack_from("<2I", content)

    assert address == chosen.flash_address
    assert stack == firmware.symbols["ff_stack_top"] == chosen.ram_address + 1024
    assert reset == firmware.entry == firmware.symbols["ff_reset_handler"]
    assert reset & 1
    store = next(region for region in firmware.sections if region.kind == "checkpoint")
    assert store.address % chosen.page_bytes == 0
    assert store.address + store.nbytes == chosen.flash_end
    assert firmware.code_bytes < 16 * 1024


def test_the_same_arguments_give_the_same_bytes(small):
    firmware, model, recipe = small

    again = build(model, "nrf52840", recipe=recipe)

    assert again.elf == firmware.elf
    assert again.segments == firmware.segments


def test_the_elf_file_holds_the_segments_and_the_symbols(small):
    firmware, _, _ = small
    data = firmware.elf
    kind, machine, _, entry, programs, headers, flags = struct.unpack_from("<HHIIIII", data, 16)
    (count,) = struct.unpack_from("<H", data, 44)
    content = bytearray(len(firmware.segments[0][1]))
    for i in range(count):
        _, offset, _, load, size, memory, _, _ = struct.unpack_from("<8I", data, programs + 32 * i)
        assert size in (0, memory)
        at = load - firmware.board.flash_address
        content[at : at + size] = data[offset : offset + size] if size else b""

    assert (kind, machine, entry) == (EXECUTABLE, 40, firmware.entry)
    assert flags == 0x5000400
    assert headers % 4 == 0
    assert bytes(content) == firmware.segments[0][1]
    assert b"ff_train_step\0" in data


def test_a_network_too_large_for_ram_is_refused_before_lowering(monkeypatch):
    _, model, _ = host(hidden=(350, 350))
    monkeypatch.setattr(image, "_lowered", lambda *_: pytest.fail("lowered"))

    with pytest.raises(
        ConfigError, match=r"98,304 B of RAM on stm32l476, .* missing\. It fits"
    ) as e:
        build(model, "stm32l476")
    widths = tuple(
        int(word) for word in str(e.value).split("--hidden ")[1].split(")")[0].split(",")
    )
    monkeypatch.undo()

    assert build(host(hidden=widths)[1], "stm32l476").ram_bytes <= 96 * 1024
    with pytest.raises(ConfigError, match="missing"):
        build(host(hidden=tuple(width + 16 for width in widths))[1], "stm32l476")


def test_flash_that_is_too_small_is_refused_to_the_byte(small):
    firmware, _, _ = small
    sizes = {"vectors": 64, "code": 1000, "constants": 8, "model": 8, "data": 0, "bss": 0}
    board, memory = firmware.board, firmware.data.memory
    most = board.flash_bytes - 64 - 1000 - 8 - 8

    def place(store):
        make_layout(
            board, sizes, dict.fromkeys(sizes, 4), stack_bytes=256, features=64, memory=memory,
            store_bytes=store, change=lambda: "Take less.",
        )  # fmt: skip

    place(most)
    with pytest.raises(ConfigError, match=r"of flash on nrf52840.*: 4 B missing\. Take less\."):
        place(most + 4)


@pytest.mark.parametrize("stack", [0, 100, 260, 1020])
def test_an_impossible_stack_is_refused(stack):
    with pytest.raises(ConfigError, match=f"multiple of 8 bytes, at least 256, got {stack}"):
        build(host()[1], "nrf52840", stack_bytes=stack)


def test_what_a_device_cannot_train_is_refused():
    network = Network.dense(64, (32,), 10)
    trainer = Trainer(network, Recipe(batch_size=1))
    model = Model(network, trainer.params, tuple(range(10)), (64,))

    with pytest.raises(ConfigError, match="expected an int8 network"):
        build(model, "nrf52840")
    with pytest.raises(ConfigError, match="expected a core with single-precision floats"):
        build(host()[1], "rp2040")
    with pytest.raises(ConfigError, match="expected batches of one sample"):
        build(host()[1], "nrf52840", recipe=Recipe(batch_size=2))
    with pytest.raises(ConfigError, match="board: expected one of"):
        build(host()[1], "nrf1")


def test_another_seed_or_scaler_makes_checkpoints_foreign():
    _, model, _ = host()
    recipe, board = device_recipe(model), BOARDS["nrf52840"]
    other = Recipe(optimizer=recipe.optimizer, batch_size=1, seed=1)
    moved = model.copy()
    moved.params["input.mean"][3] += 1

    marks = {
        model_data(m, r, b).store.fingerprint
        for m, r, b in [
            (model, recipe, board), (model, other, board), (moved, recipe, board),
            (model, recipe, BOARDS["samd51"]),
        ]
    }  # fmt: skip

    assert len(marks) == 4
