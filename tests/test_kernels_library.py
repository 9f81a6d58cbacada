"""Calling a compiled library: what a file must be, and what a call takes. Needs no library."""

import ctypes
import gc
import os
import struct
import zlib

import numpy as np
import pytest

from ffedge.errors import ConfigError
from ffedge.kernels import foreign, library, library_file, signatures
from ffedge.kernels.library_file import NotOursError
from ffedge.lowering.elf import link

RETURN = {  # code that returns 0, and the ELF machine
    "x86_64": bytes.fromhex("31c0c3"),
    "aarch64": bytes.fromhex("00008052c0035fd6"),
}


def tiny_object(architecture, code=None, name="int8.generic.0"):
    """A relocatable object with one function, written by hand."""
    code = RETURN[architecture] if code is None else code
    strings = b"\0" + name.encode() + b"\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0, len(code))
    labels = b"\0.text\0"
    parts = [code, symbols, strings, labels]
    offsets, at = [], 64
    for part in parts:
        offsets.append(at)
        at += -(-len(part) // 8) * 8
    body = b"".join(part + bytes(-len(part) % 8) for part in parts)
    rows = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 6, 0, offsets[0], len(code), 0, 0, 16, 0),
        struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, offsets[1], len(symbols), 3, 1, 8, 24),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, offsets[2], len(strings), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, offsets[3], len(labels), 0, 0, 1, 0),
    ]
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, library_file.MACHINES[architecture], 1,
        0, 0, at, 0, 64, 0, 0, 64, 5, 4,
    )  # fmt: skip
    return head + body + b"".join(rows)


def note(architecture="x86_64", **changes):
    facts = {
        "checksum": "00000000", "architecture": architecture, "target": "test",
        "sources": library.sources_digest(), "built-with": "hand",
    } | changes  # fmt: skip
    lines = [library_file.INTERFACE, *(f"{key} {value}" for key, value in facts.items())]
    lines += ["paths int8 generic", "paths float sse neon", "kernel int8.delta.peak i4[1] -> i8"]
    return "\n".join([*lines, ""]).encode()


def tiny_library(architecture="x86_64", **changes):
    objects = [("tiny", tiny_object(architecture))]
    linked = link(objects, architecture, ["int8.generic.0"], note(architecture, **changes))
    return library_file.seal(linked)


@pytest.fixture
def place(tmp_path):
    def write(data):
        path = tmp_path / "library.so"
        path.write_bytes(data)
        path.chmod(0o644)
        return path

    tmp_path.chmod(0o700)
    return write


def test_a_library_says_what_it_is(place):
    facts = library_file.read(place(tiny_library("aarch64")))

    assert (facts.architecture, facts.target) == ("aarch64", "test")
    assert facts.sources == library.sources_digest()
    assert facts.kernels == (("int8.delta.peak", ("i4[1]",), ("i8",)),)
    assert facts.paths == {"int8": ("generic",), "float": ("sse", "neon")}


def test_any_changed_byte_is_found_before_loading(place):
    data = tiny_library()
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 0x40
        with pytest.raises(NotOursError):
            library_file.read(place(bytes(changed)))


def test_any_cut_is_found_before_loading(place):
    data = tiny_library()
    for size in range(0, len(data), 13):
        with pytest.raises(NotOursError):
            library_file.read(place(data[:size]))


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01" + bytes(100)])
def test_other_files_are_refused(place, data):
    with pytest.raises(NotOursError):
        library_file.read(place(data))


def searched(path, monkeypatch):
    monkeypatch.setattr(library, "places", lambda: [path])
    found = library.search()
    assert found.library is None
    return found.reasons


def test_a_stale_library_is_refused_with_the_reason(place, monkeypatch):
    stale = tiny_library(library.cpu.architecture(), sources="0" * 16)

    assert "made from other kernel sources" in searched(place(stale), monkeypatch)


def test_a_library_of_another_architecture_is_refused(place, monkeypatch):
    other = {"x86_64": "aarch64"}.get(library.cpu.architecture(), "x86_64")

    assert f"it is for {other}" in searched(place(tiny_library(other)), monkeypatch)


@pytest.mark.parametrize("level", ["file", "folder"])
def test_a_library_that_others_may_write_to_is_refused(place, monkeypatch, level):
    path = place(tiny_library(library.cpu.architecture()))
    (path if level == "file" else path.parent).chmod(0o777)

    assert "others may write" in searched(path, monkeypatch)


def test_the_linked_library_can_be_loaded_and_called(place):
    path = place(tiny_library(library.cpu.architecture()))

    assert ctypes.CDLL(str(path))["int8.generic.0"](None) == 0


@pytest.mark.parametrize("word", ["u1[2]", "i8", "f4", "b1", "f8[3]"])
def test_words_for_types_are_read(word):
    code, ndim = signatures.split(word)

    assert word.startswith(code)
    assert ndim == (int(word[3]) if "[" in word else 0)


@pytest.mark.parametrize("word", ["", "i9", "u1[0]", "u1", "x[2]", "i8[10]"])
def test_other_words_are_not(word):
    with pytest.raises(ValueError, match="expected a type"):
        signatures.split(word)


def test_a_line_stands_for_every_choice():
    name, lines = signatures.expand("batch.fetch f4|u1[2] i4|i8[1] i8")

    assert name == "batch.fetch"
    assert lines == [
        ("f4[2]", "i4[1]", "i8"), ("f4[2]", "i8[1]", "i8"),
        ("u1[2]", "i4[1]", "i8"), ("u1[2]", "i8[1]", "i8"),
    ]  # fmt: skip


# Calls, into a C function made from a Python one.


def scale(array, factor, offset):
    """The kernel that the fake stands for."""


@pytest.fixture
def fake():
    seen = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    def function(record):
        slots = (ctypes.c_int64 * 3).from_address(record)
        descriptor = (ctypes.c_int64 * 3).from_address(slots[0])
        seen.append((*descriptor, slots[1], struct.pack("q", slots[2])))
        slots[0] = 7
        return 0

    overload = foreign.Overload(scale, function, ("i2[2]", "i8", "f4"), ("i8",))
    return foreign.caller(scale, lambda: [overload]), seen


def test_a_call_passes_address_shape_and_scalars(fake):
    call, seen = fake
    array = np.zeros((3, 5), np.int16)

    result = [call(array, 2**63 + 1, np.float32(0.5)), call(array, True, 1)]

    assert result == [7, 7]
    address = array.ctypes.data
    assert seen[0] == (address, 3, 5, 1 - 2**63, struct.pack("d", 0.5))
    assert seen[1] == (address, 3, 5, 1, struct.pack("d", 1.0))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2), np.int32), "got i4[2]"),
        (np.zeros(4, np.int16), "got i2[1]"),
        (np.zeros((4, 4), np.int16).T[:, ::2], "not C-contiguous"),
        (np.zeros((2, 2), ">i2"), "got >i2[2]"),
        (np.zeros(9, np.uint8)[1:].view(np.int16).reshape(2, 2), "not aligned"),
        ([[1, 2]], "got list"),
    ],
)
def test_an_array_of_another_type_is_refused_by_kernel_and_name(fake, array, words):
    with pytest.raises(ConfigError, match="scale: expected array of type i2") as caught:
        fake[0](array, 1, 1.0)

    assert words in str(caught.value)


@pytest.mark.parametrize("value", [1.5, "1", None, 2**64, np.zeros(1, np.int64)])
def test_a_scalar_that_is_no_integer_is_refused(fake, value):
    with pytest.raises(ConfigError, match="scale"):
        fake[0](np.zeros((1, 1), np.int16), value, 1.0)


def test_the_wrong_number_of_arguments_is_a_type_error(fake):
    with pytest.raises(TypeError, match="scale"):
        fake[0](np.zeros((1, 1), np.int16), 1)


def test_descriptors_go_with_their_arrays(fake):
    call, _ = fake
    gc.collect()
    before = len(foreign._kept)

    for size in range(1, 50):
        call(np.zeros((size, 2), np.int16), 1, 1.0)

    # Others, of tests before this one, may go meanwhile.
    assert len(foreign._kept) <= before


def test_an_array_is_not_kept_alive(fake):
    import weakref

    array = np.zeros((3, 3), np.int16)
    fake[0](array, 1, 1.0)
    alive = weakref.ref(array)
    del array

    assert alive() is None


def test_overloads_are_chosen_by_type(fake):
    calls = []

    def function(name):
        @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
        def call(record):
            calls.append(name)
            return 0

        return call

    def kernel(array):
        """Two types."""

    functions = {word: function(word) for word in ("u1[1]", "f4[1]")}
    overloads = [foreign.Overload(kernel, functions[word], (word,), ()) for word in functions]
    call = foreign.caller(kernel, lambda: overloads)
    small, real = np.zeros(3, np.uint8), np.zeros(3, np.float32)

    for array in (small, real, real, small):
        assert call(array) is None
    with pytest.raises(ConfigError, match=r"f4\[1\] or u1\[1\], got i8\[1\]"):
        call(np.zeros(3, np.int64))

    assert calls == ["u1[1]", "f4[1]", "f4[1]", "u1[1]"]


def test_a_kernel_that_is_not_exported_says_so():
    with pytest.raises(ConfigError, match="record_signatures"):
        foreign.caller(scale, list)(np.zeros((1, 1), np.int16), 1, 1.0)


def test_the_checksum_covers_all_but_itself():
    data = tiny_library()
    at = data.index(b"\nchecksum ") + 10

    expected = zlib.crc32(data[:at] + b"0" * 8 + data[at + 8 :])

    assert data[at : at + 8] == f"{expected:08x}".encode()


def test_the_cache_is_searched_last(monkeypatch, tmp_path):
    monkeypatch.setenv("FFEDGE_LIBRARY", str(tmp_path / "mine.so"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    first, second, *rest = library.places()

    assert first == tmp_path / "mine.so"
    assert second.parent == library.PACKAGED
    assert rest[0].is_relative_to(os.environ.get("NUMBA_CACHE_DIR", str(tmp_path)))
