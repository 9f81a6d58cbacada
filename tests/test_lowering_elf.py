"""The linker: what the result looks like to the system, and what is refused by name."""

import itertools
import struct

import pytest
from test_kernels_library import RETURN, note, tiny_object

from ffedge.lowering import relocations
from ffedge.lowering.elf import PAGE, link
from ffedge.lowering.relocations import LinkError, relocate

NAME = "int8.generic.0"


def segments(data):
    """(type, flags, offset, address, bytes, alignment) of each program header."""
    (start,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    found = []
    for i in range(count):
        kind, flags, offset, address, _, size, memory, align = struct.unpack_from(
            "<IIQQQQQQ", data, start + 56 * i
        )
        assert size == memory
        found.append((kind, flags, offset, address, size, align))
    return found


def tiny(architecture):
    return link(
        [("tiny", tiny_object(architecture))], architecture, [NAME], note(architecture)
    )  # fmt: skip


@pytest.mark.parametrize("architecture", RETURN)
def test_segments_start_in_pages_of_their_own_and_none_is_writable_code(architecture):
    loaded = [found for found in segments(tiny(architecture)) if found[0] == 1]

    page = PAGE[architecture]
    pages = []
    for _, flags, offset, address, size, align in loaded:
        assert align == page
        assert offset % page == address % page
        assert flags & 3 != 3
        pages.append(range(address // page, (address + size - 1) // page + 1))
    assert all(a.stop <= b.start for a, b in itertools.pairwise(pages))


def test_aarch64_pages_may_be_64_kib():
    assert PAGE["aarch64"] == 0x10000


@pytest.mark.parametrize("architecture", RETURN)
def test_the_stack_is_not_executable(architecture):
    stack = [found for found in segments(tiny(architecture)) if found[0] == 0x6474E551]

    assert len(stack) == 1
    assert not stack[0][1] & 1


@pytest.mark.parametrize("architecture", RETURN)
def test_the_same_objects_give_the_same_bytes(architecture):
    assert tiny(architecture) == tiny(architecture)


def test_a_missing_export_is_refused_by_name():
    with pytest.raises(LinkError, match=r"int8\.generic\.1"):
        link([("tiny", tiny_object("x86_64"))], "x86_64", ["int8.generic.1"], b"")


def test_a_symbol_defined_twice_is_refused_by_name():
    objects = [("one", tiny_object("x86_64")), ("two", tiny_object("x86_64"))]

    with pytest.raises(LinkError, match=r"two: expected one int8\.generic\.0"):
        link(objects, "x86_64", [NAME], b"")


def test_code_of_another_architecture_is_refused():
    with pytest.raises(LinkError, match="expected code for x86_64"):
        link([("tiny", tiny_object("aarch64"))], "x86_64", [NAME], b"")


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x02\x01" + bytes(58)])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(LinkError, match="relocatable ELF object"):
        link([("broken", data)], "x86_64", [], b"")


# Words of AArch64 as an assembler writes them: (instruction before, kind, place, target, after).
KNOWN = [
    (0x94000000, 283, 0x1000, 0x1010, 0x94000004),  # bl .+16
    (0x14000000, 282, 0x1010, 0x1000, 0x17FFFFFC),  # b .-16
    (0x90000000, 275, 0x1000, 0x5123, 0x90000020),  # adrp x0, 4 pages on
    (0x90000000, 275, 0x5000, 0x1000, 0x90FFFFE0 | 0),  # adrp x0, 4 pages back
    (0x91000000, 277, 0, 0x5123, 0x91048C00),  # add x0, x0, #0x123
    (0xF9400000, 286, 0, 0x5128, 0xF9409400),  # ldr x0, [x0, #0x128]
    (0x3DC00000, 299, 0, 0x5120, 0x3DC04800),  # ldr q0, [x0, #0x120]
    (0x54000000, 280, 0x1000, 0x1008, 0x54000040),  # b.eq .+8
]


@pytest.mark.parametrize(("before", "kind", "place", "target", "after"), KNOWN)
def test_fields_of_aarch64_are_written(before, kind, place, target, after):
    data = bytearray(struct.pack("<I", before))

    relocate("aarch64", kind, data, 0, place, target, "object")

    assert f"{struct.unpack('<I', data)[0]:08x}" == f"{after:08x}"


@pytest.mark.parametrize("distance", [-(2**31), -1, 0, 2**31 - 1])
def test_fields_of_x86_are_written(distance):
    data = bytearray(8)

    relocate("x86_64", 2, data, 2, 2**40, 2**40 + distance, "object")

    assert struct.unpack_from("<i", data, 2)[0] == distance
    assert data[:2] + data[6:] == bytes(4)


@pytest.mark.parametrize(
    ("architecture", "kind", "place", "target"),
    [
        ("x86_64", 2, 0, 2**31), ("x86_64", 4, 2**31 + 1, 0), ("aarch64", 283, 0, 2**27),
        ("aarch64", 280, 0, 2**20), ("aarch64", 283, 0, 2), ("aarch64", 299, 0, 8),
        ("aarch64", 261, 0, 2**31), ("aarch64", 275, 0, 2**33),
    ],
)  # fmt: skip
def test_what_does_not_reach_is_refused(architecture, kind, place, target):
    with pytest.raises(LinkError, match="object: expected"):
        relocate(architecture, kind, bytearray(8), 0, place, target, "object")


@pytest.mark.parametrize(
    ("architecture", "kind"), [("x86_64", 1), ("x86_64", 42), ("aarch64", 257), ("aarch64", 311)]
)
def test_other_relocations_are_refused_by_number(architecture, kind):
    with pytest.raises(LinkError, match=f"got type {kind} of {architecture}"):
        relocate(architecture, kind, bytearray(8), 0, 0, 0, "object")


def test_link_errors_are_config_errors():
    assert relocations.LinkError.exit_code == 2
