"""Emulators keep one promise: the same little program does the same in each of them."""

import struct

import pytest

from ffedge.errors import ConfigError, MissingDependencyError
from ffedge.firmware.boards import BOARDS
from firmware_sim.emulator import EMULATORS, Memory, choose
from firmware_sim.gdb_remote import _expanded
from firmware_sim.qemu import machine_for
from tests.emulated import microcontroller

FLASH, RAM = 0x0800_0000, 0x2000_0000
MEMORIES = (Memory(FLASH, 64 << 10, ram=False), Memory(RAM, 16 << 10, ram=True))

#: r0 = 5, r1 = 7, r0 += r1; bkpt #3; then a loop of r1 rounds that adds 3 to r0; bkpt #4.
PROGRAM = struct.pack("<9H", 0x2005, 0x2107, 0x1840, 0xBE03, 0x3003, 0x3901, 0xD1FC, 0xBE04, 0xE7FE)
STOPS = {FLASH + 6: 3, FLASH + 14: 4}
STORE = struct.pack("<2H", 0x6001, 0xE7FE)  # str r1, [r0]
SPIN = struct.pack("<H", 0xE7FE)


@pytest.fixture(params=EMULATORS)
def emulator(request):
    emulator = microcontroller(request.param)
    yield emulator
    emulator.close()


@pytest.fixture(params=["icicle", "unicorn"])
def guarded(request):
    """An emulator that knows the limits of memory and of instructions."""
    emulator = microcontroller(request.param)
    yield emulator
    emulator.close()


def boot(emulator, program, stops=STOPS):
    emulator.map(MEMORIES, stops)
    emulator.write(FLASH, program)
    emulator.set("pc", FLASH)


def test_a_run_stops_at_each_bkpt_and_goes_on_behind_it(emulator):
    boot(emulator, PROGRAM)

    first = emulator.run()
    sum_ = emulator.get("r0")
    emulator.set("r0", 100)
    emulator.set("pc", first.pc + 2)
    second = emulator.run()

    assert (first.kind, first.number, first.pc, sum_) == ("hal", 3, FLASH + 6, 12)
    assert (second.kind, second.number, second.pc) == ("hal", 4, FLASH + 14)
    assert emulator.get("r0") == 100 + 7 * 3


def test_memory_holds_what_was_written_into_flash_and_ram(emulator):
    boot(emulator, PROGRAM)
    data = bytes(range(256)) * 10

    emulator.write(FLASH + 0x1000, data)
    emulator.write(RAM + 3, data)

    assert emulator.read(FLASH + 0x1000, len(data)) == data
    assert emulator.read(RAM + 3, len(data)) == data


def test_instructions_are_counted_exactly(guarded):
    boot(guarded, PROGRAM)

    stop = guarded.run()
    before = guarded.instructions
    guarded.set("pc", stop.pc + 2)
    guarded.run()

    assert before == 4
    assert guarded.instructions == 4 + 7 * 3 + 1


@pytest.mark.parametrize("address", [RAM - 4, RAM + (16 << 10), FLASH + 0x100])
def test_a_store_outside_of_ram_is_a_fault_with_its_address(guarded, address):
    boot(guarded, STORE)
    guarded.set("r0", address)

    stop = guarded.run()

    assert (stop.kind, stop.pc) == ("fault", FLASH)
    assert f"at {address:#010x}" in stop.message
    assert "Write" in stop.message


def test_a_program_that_never_ends_is_stopped_by_its_limit(guarded):
    boot(guarded, SPIN)

    stop = guarded.run(1000)

    assert (stop.kind, stop.pc) == ("limit", FLASH)
    assert guarded.instructions <= 1000


def test_a_second_map_forgets_code_memory_and_count(emulator):
    boot(emulator, PROGRAM)
    emulator.write(RAM, b"old")
    emulator.run()

    boot(emulator, struct.pack("<4H", 0x2009, 0x2109, 0xBE05, 0xE7FE), {FLASH + 4: 5})
    stop = emulator.run()

    assert (stop.kind, stop.number, emulator.get("r0")) == ("hal", 5, 9)
    assert emulator.instructions in (3, None)
    assert emulator.read(RAM, 3) == bytes(3)


def test_icicle_forgets_a_half_done_it_block():
    emulator = microcontroller("icicle")
    block = struct.pack("<5H", 0x4280, 0xBF1C, 0x2001, 0x2002, 0xBE01)  # cmp; itt ne; two moves
    boot(emulator, PROGRAM)
    emulator.write(FLASH + 0x100, block)
    emulator.set("pc", FLASH + 0x100)
    emulator.run(3)

    boot(emulator, PROGRAM)
    emulator.run()

    assert emulator.get("r0") == 12


def test_icicle_stops_at_every_instruction_and_goes_on_from_there():
    emulator = microcontroller("icicle")
    boot(emulator, PROGRAM)

    places = [emulator.run(1).pc - FLASH for _ in range(3)]

    assert places == [2, 4, 6]
    assert emulator.run(1).kind == "hal"


def test_unicorn_counts_executions_of_every_instruction():
    emulator = microcontroller("unicorn")
    boot(emulator, PROGRAM)

    stop = emulator.run()
    emulator.set("pc", stop.pc + 2)
    emulator.run()

    assert emulator.executions()[:9].tolist() == [1, 1, 1, 1, 7, 7, 7, 1, 0]


def test_unicorn_traces_the_span_of_ram_that_is_written():
    from firmware_sim.unicorn_emu import UnicornEmulator

    microcontroller("unicorn")
    emulator = UnicornEmulator(trace=True)
    boot(emulator, struct.pack("<4H", 0x6001, 0x6081, 0xBE00, 0xE7FE))
    emulator.set("r0", RAM + 0x40)

    emulator.run()

    assert emulator.written == (RAM + 0x40, RAM + 0x4B)


def test_qemu_refuses_a_limit_of_instructions():
    emulator = microcontroller("qemu")

    with pytest.raises(ConfigError, match="expected no limit of instructions with qemu, got 5"):
        emulator.run(5)


def test_qemu_has_machines_for_boards_with_an_m4_only_where_memory_is_the_same():
    def memories(name):
        board = BOARDS[name]
        return (
            Memory(board.flash_address, board.flash_bytes, ram=False),
            Memory(board.ram_address, board.ram_bytes, ram=True),
        )

    assert machine_for(memories("nrf52840")).name == "mps2-an386"
    assert machine_for(memories("stm32f411")).name == "netduinoplus2"
    with pytest.raises(ConfigError, match="at 0x10000100"):
        machine_for(memories("rp2040"))


def test_run_lengths_of_the_remote_protocol_are_undone():
    assert _expanded('0*"f* ') == "0" * 6 + "f" * 4


def test_an_unknown_emulator_is_refused():
    with pytest.raises(ConfigError, match="expected one of icicle, unicorn, qemu, got 'renode'"):
        choose("renode")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("icicle", "icicle", "emu"), ("unicorn", "unicorn", "emu-trace")],
)
def test_a_missing_emulator_names_the_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(__import__("sys").modules, module, None)

    with pytest.raises(MissingDependencyError, match=rf"ffedge\[{extra}\]"):
        choose(name)


def test_without_any_emulator_the_smallest_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "icicle", None)
    monkeypatch.setitem(__import__("sys").modules, "unicorn", None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingDependencyError, match=r"ffedge\[emu\]"):
        choose()
