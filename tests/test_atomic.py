"""Files that appear whole or not at all."""

import os
import stat

import pytest

from ffedge.atomic import atomic_write


def test_the_file_appears_with_its_content_and_nothing_else_is_left(tmp_path):
    with atomic_write(tmp_path / "model") as file:
        file.write(b"new")
        assert not (tmp_path / "model").exists()

    assert (tmp_path / "model").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_no_temporary_one(tmp_path, error):
    (tmp_path / "model").write_bytes(b"old")

    def write_half():
        with atomic_write(tmp_path / "model") as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(error):
        write_half()

    assert (tmp_path / "model").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, call):
    (tmp_path / "model").write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"), atomic_write(tmp_path / "model") as file:
        file.write(b"new")

    assert (tmp_path / "model").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_the_file_is_on_disk_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle):
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        size = os.fstat(handle).st_size
        calls.append(f"fsync {kind}" + (f" of {size} B" if kind == "file" else ""))
        fsync(handle)

    def record_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic_write(tmp_path / "model") as file:
        file.write(b"12345")

    assert calls == ["fsync file of 5 B", "rename", "fsync folder"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "model").write_bytes(b"old")

    with atomic_write(tmp_path / "model") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "model").read_bytes() == b"old"

    assert (tmp_path / "model").read_bytes() == b"new"


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "model"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_an_unwritable_folder_is_an_os_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError), atomic_write(tmp_path / "model"):
            pass
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("path", ["", ".", "/", "folder"])
def test_a_folder_in_place_of_the_file_is_an_os_error(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()

    with pytest.raises(IsADirectoryError), atomic_write(path) as file:
        file.write(b"x")

    assert os.listdir(tmp_path) == ["folder"]


def test_a_new_file_has_the_users_usual_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "model"):
            pass
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640
