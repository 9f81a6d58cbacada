"""Who runs the kernels, and what is said where nobody can."""

import subprocess
import sys

import pytest
from checks import child_environment

from ffedge.errors import ConfigError, MissingDependencyError
from ffedge.kernels import cpu, provider

NOTHING = "/dev/null/nowhere"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in ("FFEDGE_KERNELS", "FFEDGE_LIBRARY", "NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(provider, "find_spec", lambda name: object())
    found = provider.search()
    found.library, found.refused = None, []
    monkeypatch.setattr(provider, "search", lambda: found)
    return found


def without_numba(monkeypatch):
    monkeypatch.setattr(provider, "find_spec", lambda name: None)


def test_without_a_library_numba_runs_them():
    choice = provider.choose()

    assert (choice.name, choice.reason) == ("jit", "no compiled library: none was found")


def test_with_neither_plain_python_runs_them(monkeypatch):
    without_numba(monkeypatch)

    assert provider.choose().name == "python"


def test_a_library_comes_first(nothing_set):
    class Fake:
        path = "somewhere"

    nothing_set.library = Fake()

    assert provider.choose().name == "library"


def test_a_library_that_was_passed_over_is_named_beside_the_one_in_use(nothing_set):
    class Fake:
        path = "second.so"

    nothing_set.library = Fake()
    nothing_set.refused.append(("first.so", "it is damaged"))

    choice = provider.choose()

    assert choice.name == "library"
    assert "second.so was made from these kernels; not taken: first.so: it is damaged" in (
        choice.reason
    )


def test_a_refused_library_gives_way_and_says_why(nothing_set):
    nothing_set.refused.append(("somewhere.so", "it is damaged"))

    choice = provider.choose()

    assert choice.name == "jit"
    assert "somewhere.so: it is damaged" in choice.reason


@pytest.mark.parametrize("word", ["jit", "python"])
def test_the_environment_forces_a_provider(monkeypatch, word):
    monkeypatch.setenv("FFEDGE_KERNELS", word)

    assert provider.choose().name == word


def test_a_forced_library_that_is_not_there_is_an_error(monkeypatch, nothing_set):
    monkeypatch.setenv("FFEDGE_KERNELS", "library")
    nothing_set.refused.append(("old.so", "it was made from other kernel sources"))

    with pytest.raises(ConfigError, match=r"old\.so: it was made from other kernel sources"):
        provider.choose()


def test_a_forced_jit_without_numba_is_an_error(monkeypatch):
    monkeypatch.setenv("FFEDGE_KERNELS", "jit")
    without_numba(monkeypatch)

    with pytest.raises(MissingDependencyError, match="numba"):
        provider.choose()


def test_an_unknown_provider_is_an_error(monkeypatch):
    monkeypatch.setenv("FFEDGE_KERNELS", "gpu")

    with pytest.raises(ConfigError, match="expected one of library, jit, python, got 'gpu'"):
        provider.choose()


def test_numbas_own_switch_means_plain_python(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")

    assert provider.choose().name == "python"


def test_plain_python_warns_once_unless_numba_was_switched_off():
    def warnings(**environment):
        done = subprocess.run(
            [sys.executable, "-c", "import ffedge.kernels.int8.step, ffedge.kernels.batch"],
            env=child_environment(**environment), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr.count("RuntimeWarning: ffedge runs its kernels in plain Python")

    assert warnings(FFEDGE_KERNELS="python") == 1
    assert warnings(FFEDGE_KERNELS="jit", NUMBA_DISABLE_JIT="1") == 0


X86 = "processor: 0\nflags\t\t: fpu sse4_2 abm bmi1 avx512_vnni avx_vnni pni\n"
ARM = "processor : 0\nFeatures\t: fp asimd evtstrm crc32 asimddp\n"


def test_features_of_x86_have_llvms_names():
    assert {"sse4.2", "lzcnt", "bmi", "avx512vnni", "avxvnni", "sse3"} <= cpu.parse(X86)


def test_features_of_arm_have_llvms_names():
    assert {"neon", "dotprod", "crc32"} <= cpu.parse(ARM)


def test_only_what_every_processor_has_counts():
    little = ARM.replace(" asimddp", "")

    assert "dotprod" not in cpu.parse(ARM + "\n" + little)


@pytest.mark.parametrize("text", ["", "flags", "flags:", "model: x\n", "\0\xff"])
def test_a_strange_cpuinfo_means_no_features(text):
    assert cpu.parse(text) == frozenset()


def test_llvm_and_linux_see_the_same_processor():
    llvm = pytest.importorskip("llvmlite.binding")

    known = {
        name
        for family in (cpu.INT8_PATHS, cpu.FLOAT_PATHS)
        for needs in family.get(cpu.architecture(), {}).values()
        for name in needs
    }

    assert known & cpu.features() == known & cpu.seen_by_llvm(llvm.get_host_cpu_features())
