"""Which vector path a machine takes."""

import pytest
from checks import PLAIN_PYTHON

from ffedge.kernels import cpu
from ffedge.kernels.int8 import vector
from ffedge.kernels.int8.dot4 import PANELS, ROWS
from ffedge.kernels.int8.single import ROW_PANELS
from ffedge.kernels.int8.vector import SHAPES, available_paths, host_path
from ffedge.kernels.provider import LIBRARY

pytestmark = pytest.mark.kernels


@pytest.mark.skipif(LIBRARY is not None, reason="the library has chosen already")
@pytest.mark.parametrize("path", available_paths())
def test_the_environment_forces_a_path_this_machine_has(monkeypatch, path):
    monkeypatch.setenv("FFEDGE_SIMD", path)

    assert host_path() == path


def test_a_path_that_cannot_run_here_is_not_taken(monkeypatch):
    monkeypatch.setenv("FFEDGE_SIMD", "dotprod9")

    assert host_path() == available_paths()[0]


@pytest.mark.parametrize(("word", "path"), [("avx512", "avx512vnni"), ("sse", "ssse3")])
def test_the_float_kernels_words_force_their_int8_path(monkeypatch, word, path):
    monkeypatch.setattr(vector, "available_paths", lambda: ("first", path, "generic"))
    monkeypatch.setenv("FFEDGE_SIMD", word)

    assert host_path() == path


AVX2 = {*cpu.INT8_PATHS["x86_64"]["avx2"]}


@pytest.mark.parametrize(
    ("machine", "features", "paths"),
    [
        ("x86_64", {"ssse3"}, ("ssse3", "generic")),
        ("AMD64", AVX2, ("avx2", "ssse3", "generic")),
        ("AMD64", AVX2 - {"fma"}, ("ssse3", "generic")),
        ("x86_64", AVX2 | {"avxvnni"}, ("avxvnni", "avx2", "ssse3", "generic")),
        ("x86_64", {"avx512vnni", "ssse3"}, ("ssse3", "generic")),
        ("x86_64", {*cpu.INT8_PATHS["x86_64"]["avx512vnni"]},
         ("avx512vnni", "avx2", "ssse3", "generic")),
        ("aarch64", {"dotprod"}, ("dotprod", "neon", "generic")),
        ("arm64", set(), ("neon", "generic")),
        ("riscv64", {"avx2"}, ("generic",)),
    ],
)  # fmt: skip
@pytest.mark.skipif(LIBRARY is not None, reason="the library knows its own paths")
def test_paths_follow_the_processor(monkeypatch, machine, features, paths):
    import llvmlite.binding as llvm

    found = dict.fromkeys(features, True)
    monkeypatch.setattr(vector, "PLAIN_PYTHON", False)
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: found)
    monkeypatch.setattr(vector, "has_dot_product", lambda: "dotprod" in features)

    assert available_paths() == paths


def test_every_path_has_a_shape_whose_parts_fill_a_panel():
    assert set(available_paths()) <= SHAPES.keys()
    for lanes, rows, panels, row_panels in SHAPES.values():
        assert 16 % lanes == 0
        assert rows >= 1
        assert panels >= 1
        assert row_panels >= 1


def test_plain_python_takes_the_generic_shape():
    if PLAIN_PYTHON:
        assert vector.PATH == "generic"
    assert SHAPES[vector.PATH][1:] == (ROWS, PANELS, ROW_PANELS)
