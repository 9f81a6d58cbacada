"""The firmware linker: what is kept, where it goes, what is refused; the code runs in unicorn."""

import struct

import pytest
from emulated import microcontroller
from thumb import thumb_object

from ffedge.firmware.cores import CORES
from ffedge.firmware.elf32 import Program
from ffedge.firmware.object32 import Object32
from ffedge.firmware.relocations32 import relocate32
from ffedge.lowering.relocations import LinkError

MAIN = """
@table = constant [4 x i32] [i32 3, i32 5, i32 7, i32 11], section ".rodata.table"
@start = global i32 100
@sum = global i32 0
@chosen = constant ptr @twice, section ".rodata.chosen"
@_outside = external global i32
declare i32 @far(i32)
define internal i32 @twice(i32 %x) noinline section ".text.twice" {
  %y = shl i32 %x, 1
  %z = call i32 @far(i32 %y)
  ret i32 %z
}
define i32 @main() section ".text.main" {
  %f = load volatile ptr, ptr @chosen
  %p = getelementptr [4 x i32], ptr @table, i32 0, i32 2
  %x = load volatile i32, ptr %p
  %y = call i32 %f(i32 %x)
  %s = load volatile i32, ptr @start
  %r = add i32 %y, %s
  store volatile i32 %r, ptr @sum
  %o = add i32 %r, ptrtoint (ptr @_outside to i32)
  ret i32 %o
}
define i32 @idle() section ".text.idle" { ret i32 1 }
"""
FAR = """
define i32 @far(i32 %x) section ".text.far" {
  %y = add i32 %x, 1000
  ret i32 %y
}
"""
PLACES = {
    "vectors": 0, "code": 0x1000, "constants": 0x4000, "model": 0x5000,
    "data": 0x20000000, "bss": 0x20000100,
}  # fmt: skip


def program(core="m4f", roots=("main",)):
    objects = [("main.o", thumb_object(MAIN, core)), ("far.o", thumb_object(FAR, core))]
    return Program(objects, roots, ["_outside"])


@pytest.mark.parametrize("core", CORES)
def test_calls_pointers_constants_and_variables_of_two_objects_meet(core):
    microcontroller("unicorn")
    import unicorn
    from unicorn import arm_const

    linked = program(core).link(PLACES, {"_outside": 50_000})
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.mem_map(0, 1 << 16)
    uc.mem_map(0x20000000, 1 << 12)
    for kind, content in linked.parts.items():
        uc.mem_write(PLACES[kind], content)
    uc.reg_write(arm_const.UC_ARM_REG_SP, 0x20001000)
    uc.reg_write(arm_const.UC_ARM_REG_LR, 0xF001)

    uc.emu_start(linked.symbols["main"], 0xF000, count=1000)

    # far(twice(table[2])) + start, then the address from outside.
    assert struct.unpack("<I", uc.mem_read(linked.symbols["sum"], 4))[0] == 1014 + 100
    assert uc.reg_read(arm_const.UC_ARM_REG_R0) == 1114 + 50_000


def test_only_what_the_roots_reach_is_kept():
    names = {section.name for section in program().sections}

    assert {".text.main", ".text.twice", ".text.far", ".rodata.table"} <= names
    assert ".text.idle" not in names
    assert ".text.idle" in {s.name for s in program(roots=("idle", "main")).sections}


def test_functions_have_bit_0_set_and_data_has_not():
    symbols = program().link(PLACES, {"_outside": 0}).symbols

    assert symbols["main"] & 1
    assert symbols["far"] & 1
    assert symbols["table"] % 4 == 0
    assert symbols["sum"] >= PLACES["bss"]


def test_zeros_take_no_bytes_in_flash():
    linked = program().link(PLACES, {"_outside": 0})

    assert program().sizes["bss"] == 4
    assert set(linked.parts) == {"vectors", "code", "constants", "model", "data"}
    assert linked.parts["data"] == struct.pack("<i", 100)


def test_the_same_objects_give_the_same_bytes():
    first, second = program(), program()

    assert first.link(PLACES, {"_outside": 8}) == second.link(PLACES, {"_outside": 8})
    # Linking does not wear the program out: other addresses, then the first ones again.
    other = {kind: place + 64 for kind, place in PLACES.items()}
    assert first.link(other, {"_outside": 8}).parts != first.link(PLACES, {"_outside": 8}).parts
    assert first.link(PLACES, {"_outside": 8}) == second.link(PLACES, {"_outside": 8})


def test_what_is_missing_or_doubled_is_refused_by_name():
    main, far = thumb_object(MAIN), thumb_object(FAR)

    with pytest.raises(LinkError, match=r"main\.o: expected nothing from outside, .* need of far"):
        Program([("main.o", main)], ["main"], ["_outside"])
    with pytest.raises(LinkError, match=r"two\.o: expected one far, got a second one"):
        Program([("one.o", far), ("two.o", far)], ["far"])
    with pytest.raises(LinkError, match="expected the symbol reset in an object, got none"):
        Program([("far.o", far)], ["reset"])
    with pytest.raises(LinkError, match=r"far\.o: expected far from the memory map"):
        Program([("far.o", far)], ["far"], ["far"])


def test_a_weak_definition_gives_way():
    weak = FAR.replace("define i32", "define weak i32").replace("1000", "2000")
    objects = [("weak.o", thumb_object(weak)), ("far.o", thumb_object(FAR))]

    linked = [
        Program(turn, ["far"]).link(PLACES).parts["code"] for turn in (objects, objects[::-1])
    ]

    assert linked[0] == linked[1] == Program(objects[1:], ["far"]).link(PLACES).parts["code"]


def test_addresses_must_be_there_and_aligned():
    with pytest.raises(LinkError, match="expected an address for code, a multiple of"):
        program().link(PLACES | {"code": 0x1002}, {"_outside": 0})
    with pytest.raises(LinkError, match=r"expected an address for bss.* got None"):
        program().link({k: v for k, v in PLACES.items() if k != "bss"}, {"_outside": 0})
    with pytest.raises(LinkError, match="for each name announced, got none of _outside"):
        program().link(PLACES)


def test_code_beyond_reach_is_refused():
    with pytest.raises(LinkError, match=r"link_far\.o, \.text\.main: expected a distance"):
        # A function at 0 called from 32 MiB away: as absolute symbol, so no layout is needed.
        Program(
            [("link_far.o", thumb_object(
                "@far = external global i8\ndefine i32 @main() section \".text.main\" {\n"
                "  %x = call i32 @far(i32 1)\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"
            ))], ["main"], ["far"],
        ).link(PLACES | {"code": 0x2000000}, {"far": 1})  # fmt: skip


@pytest.mark.parametrize("core", ["m0plus", "m4f"])
def test_damaged_objects_are_refused_and_never_crash(core):
    data = thumb_object(MAIN, core)
    refused = 0
    for cut in range(0, len(data), 7):
        with pytest.raises(LinkError):
            Object32(data[:cut], "cut.o")
    for at in range(0, len(data)):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        objects = [("broken.o", bytes(broken)), ("far.o", thumb_object(FAR, core))][: 1 + at % 2]
        try:
            Program(objects, ["main"], ["_outside"]).link(PLACES, {"_outside": 0})
        except LinkError:
            refused += 1
    assert refused > len(data) // 4


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01" + bytes(58)])
def test_what_is_no_arm_object_is_refused(data):
    with pytest.raises(LinkError, match="32-bit relocatable Arm object"):
        Object32(data, "odd.o")


# As an assembler writes them: (halfwords before, kind, place, target, halfwords after).
KNOWN = [
    ((0xF7FF, 0xFFFE), 10, 0x1000, 0x1010, (0xF000, 0xF806)),  # bl .+16
    ((0xF7FF, 0xFFFE), 10, 0x1010, 0x1000, (0xF7FF, 0xFFF6)),  # bl .-16
    ((0xF7FF, 0xBFFE), 30, 0x1000, 0x801000, (0xF3FF, 0xB7FE)),  # b.w .+8 MiB
    ((0xF43F, 0xAFFE), 51, 0x1000, 0x1104, (0xF000, 0x8080)),  # beq.w .+0x104
    ((0xE7FE,), 102, 0x1000, 0x1000, (0xE7FE,)),  # b .
    ((0xD0FE,), 103, 0x1000, 0x1010, (0xD006,)),  # beq .+16
    ((0xF240, 0x0000), 47, 0, 0x2000ABCC, (0xF64A, 0x30CC)),  # movw r0, #0xabcc
    ((0xF2C0, 0x0000), 48, 0, 0x2000ABCC, (0xF2C2, 0x0000)),  # movt r0, #0x2000
    ((0xF240, 0x0004), 47, 0, 0x2000ABCC, (0xF64A, 0x30D0)),  # movw r0, with an addend of 4
    ((0xF240, 0x0000), 49, 0x1000, 0x2000ABCC, (0xF649, 0x30CC)),  # movw r0, relative
    ((0xF2C0, 0x0000), 50, 0x1000, 0x2000ABCC, (0xF2C2, 0x0000)),  # movt r0, relative
]


@pytest.mark.parametrize(("before", "kind", "place", "target", "after"), KNOWN)
def test_fields_of_thumb_are_written(before, kind, place, target, after):
    data = bytearray(struct.pack(f"<{len(before)}H", *before))
    branch = kind in (10, 30, 51, 102, 103)

    relocate32(kind, data, 0, place, target, int(branch), None, "object")

    found = struct.unpack(f"<{len(before)}H", data)
    assert [f"{half:04x}" for half in found] == [f"{half:04x}" for half in after]


def test_words_take_the_addend_of_the_field_or_of_the_record():
    data = bytearray(struct.pack("<4i", 8, 8, -4, 8))

    relocate32(2, data, 0, 0x1000, 0x4000, 1, None, "object")
    relocate32(2, data, 4, 0x1004, 0x4000, 0, 12, "object")
    relocate32(3, data, 8, 0x1008, 0x1000, 0, None, "object")
    relocate32(42, data, 12, 0x100C, 0x1000, 1, 0, "object")

    assert struct.unpack("<3i", data[:12]) == (0x4009, 0x400C, -12)
    assert struct.unpack("<I", data[12:])[0] == 0x7FFFFFF5


@pytest.mark.parametrize(
    ("kind", "target"),
    [(10, 1 << 24), (30, 1 << 25), (51, 1 << 20), (102, 4096), (103, 512), (42, 1 << 30)],
)
def test_what_does_not_reach_is_refused(kind, target):
    with pytest.raises(LinkError, match="object: expected a distance"):
        relocate32(kind, bytearray(4), 0, 0, target + 8, 1, 0, "object")


@pytest.mark.parametrize("kind", [1, 5, 6, 9, 21, 26, 38, 41, 96])
def test_other_relocations_are_refused_by_number(kind):
    with pytest.raises(LinkError, match=f"got type {kind} of arm"):
        relocate32(kind, bytearray(4), 0, 0, 0, 0, None, "object")


def test_a_branch_to_data_and_a_field_outside_are_refused():
    with pytest.raises(LinkError, match="expected a branch to Thumb code"):
        relocate32(10, bytearray(4), 0, 0, 64, 0, None, "object")
    with pytest.raises(LinkError, match="a section of 4 B, got one at 2"):
        relocate32(2, bytearray(4), 2, 0, 0, 0, None, "object")
