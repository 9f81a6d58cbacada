"""Where compiled kernels are kept, and that nobody else's are run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from checks import assert_allocates_nothing, child_environment

from ffedge.kernels import provider

jit = pytest.importorskip("ffedge.kernels.jit", reason="needs numba")

pytestmark = pytest.mark.kernels

PROGRAM = """
from ffedge.kernels.jit import CACHE_FOLDER
from ffedge.kernels.random import uniform
print(CACHE_FOLDER, uniform(3, 4))
"""

#: Nobody, not even root, can make a folder there.
NOWHERE = "/dev/null/nowhere"


def run_child(**environment):
    places = {"HOME": NOWHERE, "XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None}
    environment = places | {"NUMBA_DISABLE_JIT": "0", "FFEDGE_KERNELS": "jit"} | environment
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=child_environment(**environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder, value = done.stdout.split()
    assert float(value) == pytest.approx(reference.uniform(3, 4), abs=1e-12)
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder for each candidate in turn; none exists yet."""
    names = ("numba", "xdg", "home", "temporary")
    found = {name: tmp_path / name for name in names}
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(found["numba"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(found["xdg"]))
    monkeypatch.setenv("HOME", str(found["home"]))
    monkeypatch.setenv("TMPDIR", str(found["temporary"]))
    return found


def test_kernels_are_cached_where_numba_is_told(places):
    folder = jit.cache_folder()

    assert folder.parent == places["numba"] / "ffedge"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_without_numbas_folder_the_users_cache_is_taken(places, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR")

    own = jit.cache_folder()
    monkeypatch.delenv("XDG_CACHE_HOME")
    usual = jit.cache_folder()

    assert own.parent == places["xdg"] / "ffedge"
    assert usual.parent == places["home"] / ".cache" / "ffedge"


def test_the_temporary_folder_is_taken_where_no_other_can_be_made(places, monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, NOWHERE)

    folder = jit.cache_folder()

    assert folder.parent == places["temporary"] / f"ffedge-{os.geteuid()}"


def test_a_relative_folder_is_not_used(places, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "relative")

    assert jit.cache_folder().parent == places["xdg"] / "ffedge"


def test_no_folder_at_all_is_no_error(places, monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, NOWHERE)

    assert jit.cache_folder() is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("level", ["folder", "parent"])
def test_a_folder_that_others_may_write_to_is_not_used(places, mode, level):
    first = jit.cache_folder()
    (first if level == "folder" else first.parent).chmod(mode)

    second = jit.cache_folder()

    assert second.parent == places["xdg"] / "ffedge"


def test_a_folder_that_belongs_to_somebody_else_is_not_used(places, monkeypatch):
    jit.cache_folder()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert jit.cache_folder() is None


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_the_folder_is_private_whatever_the_umask(places, umask):
    before = os.umask(umask)
    try:
        folder = jit.cache_folder()
    finally:
        os.umask(before)

    assert folder.parent == places["numba"] / "ffedge"
    assert not (folder.stat().st_mode | folder.parent.stat().st_mode) & 0o077


def test_looking_for_a_folder_leaves_no_file_behind(places):
    folder = jit.cache_folder()

    assert list(folder.iterdir()) == []


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the kernels that the digest is taken of."""
    folder = tmp_path / "kernels"
    shutil.copytree(Path(jit.__file__).parent, folder, ignore=shutil.ignore_patterns("__*"))
    monkeypatch.setattr(jit, "__file__", str(folder / "jit.py"))
    return folder


def test_the_folders_name_changes_with_any_kernel_source(places, sources):
    (sources / "deeper").mkdir()
    (sources / "deeper" / "new.py").touch()
    files = list(sources.rglob("*.py"))
    names = {jit.cache_folder().name}
    for path in files:
        path.write_text(path.read_text() + "\n")

        names.add(jit.cache_folder().name)

    assert len(names) == 1 + len(files)


def test_the_folders_name_stays_while_the_sources_do(places, sources):
    assert jit.cache_folder() == jit.cache_folder()


def test_the_folders_name_changes_with_the_vector_path_and_numba(places, monkeypatch):
    monkeypatch.delenv("FFEDGE_SIMD", raising=False)
    usual = jit.cache_folder().name

    monkeypatch.setenv("FFEDGE_SIMD", "generic")
    forced = jit.cache_folder().name
    monkeypatch.setattr(jit.numba, "__version__", "0.0.0")
    newer = jit.cache_folder().name

    assert len({usual, forced, newer}) == 3


def test_a_read_only_package_without_any_folder_still_runs():
    folder = run_child(NUMBA_CACHE_DIR=NOWHERE, XDG_CACHE_HOME=NOWHERE, TMPDIR=NOWHERE)

    assert folder == "None"


def test_kernels_are_compiled_into_the_temporary_folder_and_read_from_there(tmp_path):
    folder = Path(run_child(NUMBA_CACHE_DIR=NOWHERE, TMPDIR=str(tmp_path)))
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb*")}
    again = Path(run_child(NUMBA_CACHE_DIR=NOWHERE, TMPDIR=str(tmp_path)))

    assert folder.parent == tmp_path / f"ffedge-{os.geteuid()}"
    assert any(path.name.startswith("random.uniform") for path in kept)
    assert again == folder
    assert kept == {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb*")}


@provider.kernel()
def _makes_an_array(size):
    return np.zeros(size, np.float32).sum()


@pytest.mark.skipif(provider.NAME != "jit", reason="needs the JIT")
def test_an_array_made_inside_a_kernel_is_seen():
    assert_allocates_nothing(lambda: _makes_an_array(10))
    with pytest.raises(AssertionError):
        assert_allocates_nothing(lambda: _makes_an_array(10_000))
