"""The boards table: its figures fit together, and each has a source or says it has none."""

import dataclasses

import llvmlite.binding as llvm
import pytest

from ffedge.errors import ConfigError
from ffedge.firmware.boards import BOARDS, board_named
from ffedge.firmware.cores import CORES

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

FLOATS = """
target triple = "{triple}"
define float @f(float %x, float %y) {{
  %a = fmul float %x, %y
  %b = fadd float %a, %x
  %c = call float @llvm.sqrt.f32(float %b)
  %d = call float @llvm.floor.f32(float %c)
  ret float %d
}}
declare float @llvm.sqrt.f32(float)
declare float @llvm.floor.f32(float)
"""


@pytest.fixture(params=sorted(BOARDS))
def board(request):
    return BOARDS[request.param]


def assembly(core):
    target = llvm.Target.from_triple(core.triple)
    machine = target.create_target_machine(cpu=core.cpu, features=core.features, opt=2)
    return machine.emit_assembly(llvm.parse_assembly(FLOATS.format(triple=core.triple)))


def test_there_are_boards_of_four_cores():
    assert {board.core.name for board in BOARDS.values()} == {"m0plus", "m4f", "m7", "m33"}
    assert len(BOARDS) >= 9


def test_the_last_two_pages_of_flash_can_be_erased(board):
    assert board.flash_end % board.page_bytes == 0
    assert 2 * board.page_bytes < board.flash_bytes


def test_ram_and_flash_lie_apart_and_are_aligned(board):
    assert board.ram_address % 1024 == board.ram_bytes % 1024 == 0
    # VTOR ignores the lowest seven bits of a vector table's address.
    assert board.flash_address % 128 == 0
    assert board.flash_end <= board.ram_address


def test_words_are_those_the_checkpoint_can_write(board):
    assert board.word_bytes in (4, 8)
    assert board.page_bytes % board.word_bytes == 0


def test_figures_have_a_source_or_are_named_as_estimates(board):
    fields = {field.name for field in dataclasses.fields(board)}

    assert board.sources
    assert set(board.estimates) <= fields


def test_times_and_currents_are_those_of_microcontrollers(board):
    assert 1e-3 < board.erase_seconds < 3
    assert 1e-6 < board.program_seconds < 1e-3
    assert 20 < board.ua_per_mhz < 1000
    assert 1.7 < board.volts < 3.7


def test_an_unknown_board_is_refused_with_the_known_names():
    with pytest.raises(ConfigError, match=r"expected one of nano33ble, .*samd51, .* got 'uno'"):
        board_named("uno")


@pytest.mark.parametrize("name", ["m4f", "m7", "m33"])
def test_floats_are_computed_in_registers_without_the_instructions_of_fpv5(name):
    text = assembly(CORES[name])

    assert "vsqrt.f32" in text
    assert "vrint" not in text


@pytest.mark.parametrize("name", ["m0plus", "m3"])
def test_cores_without_an_fpu_call_for_float_arithmetic(name):
    assert "__aeabi_fmul" in assembly(CORES[name])
