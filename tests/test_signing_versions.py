"""The record of versions: up only, one content a version, never taken for empty when damaged."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from signed import write_keys

from ffedge.errors import SignatureError
from ffedge.signing import open_verified, sign, verify
from ffedge.signing.signature import Signature
from ffedge.signing.versions import MAX_ENTRIES, accepting

ROOT = Path(__file__).resolve().parent.parent
SEED = bytes(range(32))


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, SEED)


@pytest.fixture
def record(tmp_path):
    return tmp_path / "state" / "versions.json"


@pytest.fixture(autouse=True)
def folder(record):
    record.parent.mkdir()


@pytest.fixture
def deliver(tmp_path, keys, record):
    """Sign a version and hand it to the device; whether it was taken, or the words against it."""

    def run(version, content, name="digits.ffedge", key=keys):
        path = tmp_path / name
        path.write_bytes(content)
        sign(path, key[0], version=version)
        try:
            verify(path, key[1], record=record)
        except SignatureError as error:
            return str(error)
        return True

    return run


def newest(record):
    return {e["name"]: e["version"] for e in json.loads(record.read_text())["accepted"]}


def test_a_newer_version_is_accepted_and_an_older_one_refused(deliver, record):
    assert deliver(3, b"three") is True
    assert deliver(5, b"five") is True
    assert newest(record) == {"digits.ffedge": 5}

    for version, content in ((3, b"three"), (4, b"four"), (1, b"five")):
        words = deliver(version, content)
        assert f"expected version 5 or newer, got version {version}; version 5 was" in words
    assert newest(record) == {"digits.ffedge": 5}
    assert deliver(6, b"six") is True


def test_the_same_version_is_accepted_again_with_the_same_content_only(deliver, record):
    assert deliver(5, b"five") is True
    before = record.stat()

    assert deliver(5, b"five") is True
    assert "got other content under the same version" in deliver(5, b"FIVE")
    # Written over, it would be another file.
    assert (record.stat().st_ino, record.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_every_name_and_every_key_has_versions_of_its_own(deliver, record, tmp_path):
    other = write_keys(tmp_path, bytes(32), "other")

    assert deliver(5, b"five") is True
    assert deliver(1, b"one", name="faces.onnx") is True
    assert deliver(2, b"two", key=other) is True
    assert "expected version 2" in deliver(1, b"one", key=other)
    assert "expected version 5" in deliver(4, b"four")
    assert len(json.loads(record.read_text())["accepted"]) == 3


def test_a_file_that_is_refused_leaves_no_trace(deliver, keys, record, tmp_path):
    deliver(5, b"five")
    before = record.read_bytes()
    path = tmp_path / "digits.ffedge"
    path.write_bytes(b"nine")
    sign(path, keys[0], version=9)
    path.write_bytes(b"evil")

    with pytest.raises(SignatureError, match="expected the bytes that were signed"):
        verify(path, keys[1], record=record)

    assert record.read_bytes() == before


def test_a_file_that_cannot_be_used_does_not_lock_out_the_one_before_it(
    deliver, keys, record, tmp_path
):
    deliver(5, b"five")
    before = record.read_bytes()
    path = tmp_path / "digits.ffedge"
    path.write_bytes(b"of a format of the future")
    sign(path, keys[0], version=6)

    with pytest.raises(KeyError), open_verified(path, keys[1], record=record):
        raise KeyError

    assert record.read_bytes() == before
    with open_verified(path, keys[1], record=record):
        assert record.read_bytes() == before
    assert newest(record) == {"digits.ffedge": 6}


def test_an_older_version_is_refused_before_it_is_handed_out(deliver, keys, record, tmp_path):
    deliver(5, b"five")
    path = tmp_path / "digits.ffedge"
    sign(path, keys[0], version=4)

    with (
        pytest.raises(SignatureError, match="expected version 5 or newer"),
        open_verified(path, keys[1], record=record),
    ):
        pytest.fail("the file was handed out")


def damage(text):
    """Records that are none, by what is wrong."""
    facts = json.loads(text)
    entry = facts["accepted"][0]

    def record_of(**changes):
        return json.dumps(facts | changes, indent=1).encode() + b"\n"

    yield b""
    yield text[: len(text) // 2].encode()
    yield text.replace("\n", "").encode()
    yield text.encode() + b"\n"
    yield b"[" * 5000
    yield b"\xff" * 100
    yield b"[]\n"
    yield record_of(ffedge_versions=0)
    yield record_of(ffedge_versions=True)
    yield record_of(ffedge_versions="2")
    yield record_of(accepted=None)
    yield record_of(accepted=["key"])
    yield record_of(accepted=[entry, entry])
    yield record_of(accepted=[entry | {"version": 1}, entry])
    yield record_of(accepted=[entry | {"more": 1}])
    yield record_of(accepted=[entry | {"name": "\ud800"}])
    yield record_of(accepted=[entry | {"name": ["x"]}])
    yield record_of(accepted=[entry | {"key": "x"}])
    yield record_of(accepted=[entry | {"sha512": 1}])
    for version in (0, -1, 2**63, 5.0, True, "5", None):
        yield record_of(accepted=[entry | {"version": version}])


def test_a_damaged_record_is_refused_and_left_as_it_is(deliver, record):
    assert deliver(5, b"five") is True
    good = record.read_text()
    cases = list(damage(good))
    assert len(cases) == 26

    for content in cases:
        record.write_bytes(content)
        assert "expected a record of versions, got a damaged file" in deliver(6, b"six"), content
        assert record.read_bytes() == content
    record.write_text(good)
    assert deliver(6, b"six") is True


def test_a_record_of_a_newer_format_is_refused_by_its_number(deliver, record):
    record.write_text('{"ffedge_versions": 2, "names": {}}')

    assert "expected record format 1, got 2; a newer ffedge wrote it" in deliver(1, b"one")


def test_a_huge_record_is_refused_unread(deliver, record):
    record.touch()
    os.truncate(record, 2**33)

    assert "expected a record of versions of at most 2,048,000 B" in deliver(1, b"one")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_record_that_is_no_file_is_refused(deliver, record, make):
    make(record)

    assert "expected a record of versions, got a" in deliver(1, b"one")


def test_a_link_to_a_record_stays_a_link(deliver, record, tmp_path):
    (tmp_path / "real").mkdir()
    record.symlink_to(tmp_path / "real" / "versions")

    assert deliver(5, b"five") is True
    assert "expected version 5" in deliver(4, b"four")
    assert record.is_symlink()
    assert newest(tmp_path / "real" / "versions") == {"digits.ffedge": 5}


def test_a_link_that_leads_in_a_circle_is_no_empty_record(deliver, record):
    record.symlink_to(record)

    with pytest.raises(OSError, match="symbolic links"):
        deliver(1, b"one")


def test_a_record_in_no_folder_is_an_error_of_the_system(deliver, record):
    record.parent.rmdir()

    with pytest.raises(FileNotFoundError):
        deliver(1, b"one")


def test_a_version_that_cannot_be_remembered_is_not_accepted(deliver, record, monkeypatch):
    deliver(5, b"five")
    before, replace = record.read_bytes(), os.replace

    def fail(source, target):
        if Path(target).name == record.name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        deliver(6, b"six")
    monkeypatch.undo()

    assert record.read_bytes() == before
    assert os.listdir(record.parent) == [record.name]


def made(name, version, content="0"):
    return Signature(name, version, 1, content * 128, "a" * 64)


def test_a_full_record_takes_no_more_names_but_newer_versions(record):
    entries = [
        {"key": "a" * 64, "name": f"m{n:04}", "version": 1, "sha512": "0" * 128}
        for n in range(MAX_ENTRIES)
    ]
    text = json.dumps({"ffedge_versions": 1, "accepted": entries}, indent=1) + "\n"
    record.write_text(text)

    with (
        pytest.raises(SignatureError, match="got 1,000 names already"),
        accepting(record, made("another", 1)),
    ):
        pytest.fail("accepted")
    with accepting(record, made("m0500", 2)):
        pass

    assert newest(record)["m0500"] == 2
    assert len(newest(record)) == MAX_ENTRIES


def test_entries_of_the_longest_names_still_fit(record):
    for n in range(3):
        with accepting(record, made(f"{n}" + "𝕏" * 63, 2**63 - 1)):
            pass

    assert 3 * 1024 < record.stat().st_size < 3 * 2048
    assert len(newest(record)) == 3


def test_two_at_once_cannot_put_the_record_back(record):
    """The older version waits until the newer one is remembered, and is then refused."""
    inside, outcome = threading.Event(), []

    def older():
        inside.wait()
        try:
            with accepting(record, made("m", 5)):
                outcome.append("accepted")
        except SignatureError as error:
            outcome.append(str(error))

    other = threading.Thread(target=older)
    other.start()
    with accepting(record, made("m", 6)):
        inside.set()
        other.join(0.3)
        assert outcome == []
    other.join()

    assert "expected version 6 or newer, got version 5" in outcome[0]
    assert newest(record) == {"m": 6}


def test_many_processes_end_with_the_newest_version_and_every_name(record):
    script = (
        "import sys; from ffedge.signing.signature import Signature\n"
        "from ffedge.signing.versions import accepting\n"
        "from ffedge.errors import SignatureError\n"
        "for version in range(1, 30):\n"
        "    for name in ('shared', sys.argv[2]):\n"
        "        try:\n"
        "            with accepting(sys.argv[1], Signature(name, version, 1, '0' * 128, 'a' * 64)):"
        " pass\n"
        "        except SignatureError: pass\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, record, f"own{n}"], cwd=ROOT)
        for n in range(3)
    ]

    assert [process.wait() for process in started] == [0, 0, 0]
    assert newest(record) == {"shared": 29, "own0": 29, "own1": 29, "own2": 29}
