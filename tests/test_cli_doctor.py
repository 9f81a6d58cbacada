"""``ffedge doctor`` and ``ffedge build-runtime``."""

import json
import subprocess
import sys

import pytest
from checks import child_environment

from ffedge.cli import main
from ffedge.kernels import provider
from ffedge.lowering import background


def report(capsys):
    assert main(["doctor", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_doctor_says_who_runs_the_kernels_and_why(capsys):
    found = report(capsys)

    assert found["kernels"]["provider"] == provider.NAME
    assert found["kernels"]["reason"] == provider.CHOICE.reason
    assert set(found["packages"]) >= {"numpy", "numba", "onnx", "torch"}
    assert all(set(cache) == {"path", "exists", "writable", "private"} for cache in found["caches"])


def test_doctor_prints_the_same_as_text(capsys):
    assert main(["doctor"]) == 0

    text = capsys.readouterr().out
    assert f"kernels   {provider.NAME}: " in text
    assert "package   numpy " in text


def child(*words, **environment):
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ffedge", *words],
        env=child_environment(**environment), capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_doctor_imports_nothing_that_is_heavy():
    done = child("doctor")

    assert done.returncode == 0
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"numba", "llvmlite", "onnx", "onnxruntime", "torch", "sklearn"}


def test_doctor_works_where_no_kernels_can_be_had(tmp_path):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF")

    done = child(
        "doctor", "--json", FFEDGE_KERNELS="library", FFEDGE_LIBRARY=str(broken),
        XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path), NUMBA_CACHE_DIR=None,
    )  # fmt: skip

    assert done.returncode == 2
    kernels = json.loads(done.stdout)["kernels"]
    assert kernels["provider"] is None
    assert f"{broken}: it is no 64-bit ELF file" in kernels["reason"]


def test_a_command_without_kernels_fails_in_words(tmp_path):
    done = child("plan", "4-4-2", FFEDGE_KERNELS="library", XDG_CACHE_HOME=str(tmp_path),
                 FFEDGE_LIBRARY=str(tmp_path / "no.so"), TMPDIR=str(tmp_path),
                 NUMBA_CACHE_DIR=None)  # fmt: skip

    assert done.returncode == 2
    assert "no.so: there is no such file; run `ffedge build-runtime`" in done.stderr


def test_build_runtime_needs_an_output_for_another_architecture(capsys):
    other = "x86-64" if background.cpu.architecture() != "x86_64" else "pi4"

    assert main(["build-runtime", "--target", other]) == 2

    assert "expected --output for a library of" in capsys.readouterr().err


def test_build_runtime_refuses_a_folder_that_is_not_there(capsys, tmp_path):
    assert main(["build-runtime", "-o", str(tmp_path / "no" / "x.so")]) == 2

    assert "create it" in capsys.readouterr().err


def test_build_runtime_refuses_an_unknown_target(capsys):
    assert main(["build-runtime", "--target", "z80"]) == 2

    assert "z80" in capsys.readouterr().err


@pytest.mark.parametrize(
    "environment",
    [{"FFEDGE_BUILD_RUNTIME": "0", "FFEDGE_KERNELS": ""}, {"FFEDGE_KERNELS": "jit"}],
)
def test_nothing_is_built_in_the_background_where_that_is_not_wanted(monkeypatch, environment):
    monkeypatch.delenv("FFEDGE_BUILD_RUNTIME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert background.begin() is None


def test_a_library_is_built_for_the_next_run(monkeypatch, tmp_path):
    monkeypatch.delenv("FFEDGE_BUILD_RUNTIME", raising=False)
    monkeypatch.delenv("FFEDGE_KERNELS", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(provider, "NAME", "jit")
    started = []
    monkeypatch.setattr(background.subprocess, "Popen", lambda words, **_: started.append(words))

    path = background.begin()

    assert path.parent.parent == tmp_path / "ffedge"
    assert started[0][-3:] == ["-m", "ffedge.lowering.background", str(path)]


def test_two_builders_do_not_meet(tmp_path):
    import fcntl

    path = tmp_path / "ffedge-any.so"
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert background.build_into(path) is False
    assert not path.exists()
