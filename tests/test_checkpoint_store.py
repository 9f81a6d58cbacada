"""States in a folder: whole, newest first, changes only, and refusals in words."""

import os
import subprocess
import sys

import numpy as np
import pytest
from test_cli import ROOT

from ffedge.checkpoint_record import CHUNK, DELTA, HEAD, MAGIC, Writer, read_record
from ffedge.checkpoint_store import BLOCK, CheckpointStore, lock, marks_of
from ffedge.errors import CheckpointError, ConfigError


def arrays(fill=0):
    return {
        "a": np.full(5000, fill, np.float32),
        "b": np.full((3, 7), fill, np.int8),
        "c": np.full(300, fill, np.int64),
    }


def store_of(folder, *, marks=True):
    count = marks_of(arrays())
    return CheckpointStore(folder, marks=np.zeros(count, np.uint64) if marks else None)


def loaded(folder):
    found = arrays(99)
    return store_of(folder).load(found), found


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert other[name].tobytes() == array.tobytes(), name


def files(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".ffstate"))


def test_an_empty_folder_has_no_state(tmp_path):
    assert store_of(tmp_path).peek() is None
    assert loaded(tmp_path)[0] is None


@pytest.mark.parametrize("marks", [True, False])
def test_the_newest_state_comes_back(tmp_path, marks):
    store, state = store_of(tmp_path, marks=marks), arrays()
    for number in range(7):
        state["a"][number * 100 : number * 100 + 3] = number + 0.5
        state["b"][:] = number
        written = store.save({"number": number, "share": 0.1 * number}, state)
        assert written > 0

        facts, found = loaded(tmp_path)
        assert facts == {"number": number, "share": 0.1 * number}
        assert_same(state, found)


def test_only_what_changed_is_written(tmp_path):
    store, state = store_of(tmp_path), arrays()
    first = store.save({}, state)
    nothing = store.save({}, state)
    state["a"][0] = 1
    one_block = store.save({}, state)
    state["a"][2 * BLOCK // 4] = 1
    state["c"][-1] = 1
    two_blocks = store.save({}, state)

    assert first > sum(array.nbytes for array in state.values())
    assert nothing < 100
    assert BLOCK < one_block < BLOCK + 120
    # The last block of an array is as long as there is left.
    assert BLOCK < two_blocks < 2 * BLOCK + 150
    assert store.bytes_written == first + nothing + one_block + two_blocks
    assert_same(state, loaded(tmp_path)[1])


def test_a_new_file_begins_when_changes_have_grown_as_large_as_the_state(tmp_path):
    store, state = store_of(tmp_path), arrays()
    sizes = []
    for number in range(10):
        state["a"] += 1
        store.save({"number": number}, state)
        sizes.append(sum((tmp_path / name).stat().st_size for name in files(tmp_path)))

    whole = sum(array.nbytes for array in state.values())
    assert len(files(tmp_path)) == 2
    assert max(sizes) < 5 * whole
    assert loaded(tmp_path)[0] == {"number": 9}


def test_other_arrays_begin_a_new_file(tmp_path):
    store = store_of(tmp_path)
    store.save({"stage": 0}, arrays())
    other = {"a": np.ones(5000, np.float32), "d": np.ones(20, np.int8)}

    store.save({"stage": 1}, other)

    found = {name: np.zeros_like(array) for name, array in other.items()}
    assert store_of(tmp_path).load(found) == {"stage": 1}
    assert_same(other, found)


def test_a_loaded_store_goes_on_in_a_file_of_its_own(tmp_path):
    first = store_of(tmp_path)
    first.save({"n": 1}, arrays(1))
    second, state = store_of(tmp_path), arrays()
    second.load(state)
    state["b"][:] = 5

    second.save({"n": 2}, state)

    # What another process wrote can be read and yet not be on the disk.
    assert files(tmp_path) == ["0000000001.ffstate", "0000000002.ffstate"]
    facts, found = loaded(tmp_path)
    assert facts == {"n": 2}
    assert_same(state, found)


@pytest.mark.parametrize("cut", [1, 4, 50, 300])
def test_a_torn_end_costs_only_the_save_that_was_torn(tmp_path, cut):
    store, state = store_of(tmp_path), arrays()
    store.save({"n": 1}, state)
    before = {name: array.copy() for name, array in state.items()}
    state["b"][:] = 1
    state["c"][:100] = 1
    store.save({"n": 2}, state)
    path = tmp_path / files(tmp_path)[0]
    os.truncate(path, path.stat().st_size - cut)

    again, found = store_of(tmp_path), arrays(9)
    facts = again.load(found)

    assert facts == {"n": 1}
    assert_same(before, found)
    assert again.skipped
    assert "after save 1" in again.skipped[0]
    again.save({"n": 3}, state)
    facts, found = loaded(tmp_path)
    assert facts == {"n": 3}
    assert_same(state, found)


def test_any_flipped_bit_is_noticed(tmp_path):
    store = store_of(tmp_path)
    older, newer = arrays(1), arrays(2)
    store.save({"n": 1}, older)
    store = store_of(tmp_path, marks=False)
    store.save({"n": 2}, newer)
    path = tmp_path / files(tmp_path)[-1]
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in [*range(60), *rng.integers(0, len(content), 200).tolist()]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)

        facts, found = loaded(tmp_path)

        assert facts == {"n": 1}, place
        assert_same(older, found)


def test_a_damaged_newest_file_is_replaced_by_the_next_save(tmp_path):
    store_of(tmp_path).save({"n": 1}, arrays(1))
    store_of(tmp_path).save({"n": 2}, arrays(2))
    (tmp_path / files(tmp_path)[-1]).write_bytes(b"junk")
    store, state = store_of(tmp_path), arrays()
    assert store.load(state) == {"n": 1}
    assert store.skipped == ["0000000002.ffstate is not whole"]

    store.save({"n": 3}, arrays(3))

    assert files(tmp_path) == ["0000000001.ffstate", "0000000003.ffstate"]
    assert loaded(tmp_path)[0] == {"n": 3}


def test_nothing_whole_is_refused_and_never_taken_for_a_beginning(tmp_path):
    (tmp_path / "0000000001.ffstate").write_bytes(b"junk")

    with pytest.raises(CheckpointError, match="expected a whole state in one of 1 files, got none"):
        store_of(tmp_path).peek()


def test_arrays_of_another_run_are_refused_and_nothing_is_read_into_them(tmp_path):
    store_of(tmp_path).save({}, arrays(1))
    others = {"a": np.zeros(5000, np.float32)}

    with pytest.raises(CheckpointError, match="got those of another network or recipe"):
        store_of(tmp_path).load(others)

    assert not others["a"].any()


def test_a_length_beyond_the_file_allocates_nothing(tmp_path):
    path = tmp_path / "lies"
    for length, payload in ((2**32 - 1, 0), (2, 2**63), (2**24, 2**40)):
        path.write_bytes(HEAD.pack(MAGIC, 1, 0, 1, length, payload) + b"{}" * 40)
        with open(path, "rb") as file:
            assert read_record(file, 0, path.stat().st_size) is None


def test_records_larger_than_a_chunk_are_checked_to_their_end(tmp_path):
    state = {"a": np.arange(3 * CHUNK, dtype=np.uint8)}
    CheckpointStore(tmp_path).save({}, state)
    path = tmp_path / files(tmp_path)[0]

    with open(path, "rb") as file:
        assert read_record(file, 0, path.stat().st_size).payload == 3 * CHUNK


def test_clearing_removes_all_states(tmp_path):
    store = store_of(tmp_path)
    store.save({}, arrays())
    store.clear()

    assert files(tmp_path) == []
    assert store.peek() is None


def test_leftovers_of_a_killed_process_are_swept(tmp_path):
    (tmp_path / ".0000000007.ffstate.0123abcd").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"the user's own")
    store_of(tmp_path).sweep()

    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_second_process_is_refused_and_told_who_is_in(tmp_path):
    code = (
        "import sys; from ffedge.checkpoint_store import lock\nwith lock(sys.argv[1]): print('in')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with lock(tmp_path):
        refused = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
    let_in = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert f"got one in use by process {os.getpid()}" in refused.stderr
    assert let_in.stdout == "in\n"


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(ConfigError, match="expected a folder for checkpoints"),
        lock(tmp_path / "file" / "below"),
    ):
        pass


def test_a_whole_state_of_another_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("ffedge.checkpoint_record.FORMAT", 2)
    store_of(tmp_path).save({"n": 1}, arrays(1))
    monkeypatch.undo()

    with pytest.raises(CheckpointError, match="expected a training state of format 1, got format"):
        store_of(tmp_path).peek()


@pytest.mark.parametrize("payload", [b"", b"x" * 15, b"\xff" * 16, b"\0" * 8 + b"\xff" * 8])
def test_a_whole_record_of_pieces_that_are_none_is_refused(tmp_path, payload):
    store_of(tmp_path).save({"n": 1}, arrays(1))
    path = tmp_path / files(tmp_path)[0]
    with open(path, "ab") as file:
        writer = Writer(file, DELTA, 2, {"facts": {"n": 2}, "arrays": []}, len(payload))
        if payload:
            writer.write(payload)
        writer.finish()

    if not payload:
        assert loaded(tmp_path)[0] == {"n": 2}
        return
    with pytest.raises(CheckpointError, match="expected changes inside the arrays"):
        loaded(tmp_path)
