"""The simulated disk: what survives what, so that a store which passes on it has earned that."""

import errno

import pytest
from crash_disk import (
    ALL,
    BYTES,
    KILL,
    MODES,
    NAMES,
    NOTHING,
    SECTOR,
    TORN,
    CrashDisk,
    Cut,
    Fault,
    Point,
)

OLD, NEW = b"old" * 500, b"new" * 700


def with_old(seed=0):
    """A disk on which /d/a holds OLD, for good."""
    disk = CrashDisk(seed)
    with disk.create("/d/a") as file:
        file.write(OLD)
        file.sync()
    disk.sync_folder("/d")
    disk.restart(NOTHING)
    return disk


def content(disk, path="/d/a"):
    with disk.open(path) as file:
        return file.read()


def outcomes(change, seeds=300):
    """Files by name, as TORN power cuts leave them after ``change(disk)``."""
    found = []
    for seed in range(seeds):
        disk = with_old(seed)
        change(disk)
        disk.restart(TORN)
        found.append({path: content(disk, path) for path in disk.paths()})
    return found


def overwrite(disk):
    with disk.append("/d/a", 0) as file:
        file.write(NEW)


def replace(disk, *, sync=True):
    with disk.create("/d/b") as file:
        file.write(NEW)
        if sync:
            file.sync()
    disk.rename("/d/b", "/d/a")


@pytest.mark.parametrize("mode", MODES)
def test_what_was_synced_survives_everything(mode):
    disk = with_old()

    disk.restart(mode)

    assert content(disk) == OLD


def test_unsynced_bytes_are_seen_and_then_lost():
    disk = with_old()
    with disk.append("/d/a", len(OLD)) as file:
        file.write(NEW)
    assert content(disk) == OLD + NEW

    disk.restart(NOTHING)

    assert content(disk) == OLD


def test_a_killed_process_leaves_its_unsynced_bytes_but_they_still_wait():
    disk = with_old()
    with disk.append("/d/a", len(OLD)) as file:
        file.write(NEW)

    disk.restart(KILL)
    assert content(disk) == OLD + NEW
    disk.restart(NOTHING)

    assert content(disk) == OLD


def test_a_new_file_needs_both_syncs():
    for sync_file, sync_folder, left in ((1, 1, [NEW]), (1, 0, []), (0, 1, [b""]), (0, 0, [])):
        disk = CrashDisk()
        with disk.create("/d/a") as file:
            file.write(NEW)
            if sync_file:
                file.sync()
        if sync_folder:
            disk.sync_folder("/d")
        disk.restart(NOTHING)

        assert [content(disk, path) for path in disk.paths()] == left


def test_an_unsynced_rename_is_lost_or_done_but_never_half():
    found = outcomes(replace)

    # The temporary name was never synced: it may be there as well or not.
    assert {state["/d/a"] for state in found} == {OLD, NEW}
    assert {tuple(state) for state in found} == {("/d/a",), ("/d/a", "/d/b")}


def test_a_rename_overtakes_the_bytes_of_its_file():
    disk = with_old()
    replace(disk, sync=False)

    disk.restart(NAMES)

    assert content(disk) == b""


def test_bytes_that_arrive_without_their_name_are_gone():
    disk = with_old()
    replace(disk, sync=False)

    disk.restart(BYTES)

    assert content(disk) == OLD


def test_a_removal_overtakes_an_earlier_rename():
    def replace_and_remove(disk):
        with disk.create("/d/b") as file:
            file.write(NEW)
            file.sync()
        disk.rename("/d/b", "/d/c")
        disk.remove("/d/a")

    found = {tuple(sorted(set(state) - {"/d/b"})) for state in outcomes(replace_and_remove)}

    assert found == {(), ("/d/a",), ("/d/c",), ("/d/a", "/d/c")}


def test_a_synced_folder_keeps_what_was_removed_away():
    disk = with_old()
    disk.remove("/d/a")
    disk.sync_folder("/d")

    disk.restart(TORN)

    assert disk.paths() == []


def test_torn_writes_arrive_by_sectors_in_any_order_and_some_at_any_byte():
    found = [state["/d/a"] for state in outcomes(overwrite)]

    assert NEW in found
    assert OLD in found
    # A later sector is there and an earlier one is not.
    last = SECTOR * 3
    assert any(f[last:] == NEW[last:] and f[:SECTOR] != NEW[:SECTOR] for f in found)
    # Within a sector: a part of the new and none of the rest.
    assert any(
        f[: SECTOR - 9] != NEW[: SECTOR - 9] and f[:9] == NEW[:9] and f[9:] != OLD[9:]
        for f in found
    )


def test_a_file_may_have_its_size_before_its_bytes():
    def lengthen(disk):
        with disk.append("/d/a", len(OLD)) as file:
            file.write(NEW)

    tails = [state["/d/a"][len(OLD) :] for state in outcomes(lengthen)]

    full = [tail for tail in tails if len(tail) == len(NEW)]
    assert any(set(tail) == {0} for tail in full)
    assert any(set(tail) == {0xA5} for tail in full)
    assert all(state["/d/a"][: len(OLD)] == OLD for state in outcomes(lengthen, 50))


def test_a_cut_of_the_size_may_come_back():
    def shorten(disk):
        disk.append("/d/a", 5).close()

    assert {len(state["/d/a"]) for state in outcomes(shorten, 50)} == {5, len(OLD)}


def test_the_program_ends_before_or_after_the_operation_and_does_nothing_more():
    for after, size in ((False, 0), (True, len(NEW))):
        disk = CrashDisk()
        disk.cut_at(Point(2, KILL, after))
        with pytest.raises(Cut), disk.create("/d/a") as file:
            file.write(NEW)
        with pytest.raises(Cut):
            disk.remove("/d/a")

        disk.restart(KILL)

        assert disk.size("/d/a") == size


def test_after_a_failed_sync_no_later_one_brings_the_bytes_back():
    lost = 0
    for seed in range(40):
        disk = with_old(seed)
        disk.faults = [Fault(3, 3, errno.EIO, ("sync",))]
        with disk.append("/d/a", len(OLD)) as file:
            file.write(NEW)
            with pytest.raises(OSError, match="Input/output"):
                file.sync()
            file.sync()
        assert content(disk) == OLD + NEW

        disk.restart(NOTHING)

        lost += content(disk) != OLD + NEW
    assert lost > 20


def test_a_full_disk_takes_what_fits():
    disk = with_old()
    disk.capacity = len(OLD) + 100

    with disk.append("/d/a", len(OLD)) as file, pytest.raises(OSError, match="No space") as caught:
        file.write(NEW)

    assert caught.value.errno == errno.ENOSPC
    assert content(disk) == OLD + NEW[:100]


def test_a_refused_write_has_written_a_half_and_other_calls_nothing():
    disk = with_old()
    disk.faults = [Fault(1, 99, errno.EACCES, ("write", "rename", "remove", "create"))]

    with disk.append("/d/a", len(OLD)) as file, pytest.raises(PermissionError):
        file.write(NEW)
    for call in (
        lambda: disk.rename("/d/a", "/d/b"), lambda: disk.remove("/d/a"),
        lambda: disk.create("/d/b"),
    ):  # fmt: skip
        with pytest.raises(PermissionError):
            call()

    assert disk.paths() == ["/d/a"]
    assert content(disk) == OLD + NEW[: len(NEW) // 2]


def test_a_flipped_bit_stays():
    disk = with_old()

    disk.flip("/d/a", 7, 2)
    disk.restart(ALL)

    assert content(disk) == OLD[:7] + bytes([OLD[7] ^ 4]) + OLD[8:]


def test_the_same_seed_leaves_the_same():
    assert outcomes(overwrite, 20) == outcomes(overwrite, 20)


def test_it_answers_as_the_real_disk_does(tmp_path):
    from ffedge.disk import Disk

    def session(disk, folder):
        with disk.create(f"{folder}/a") as file:
            file.write(OLD)
            file.sync()
        with disk.append(f"{folder}/a", 5) as file:
            file.write(memoryview(NEW))
            file.sync()
        disk.create(f"{folder}/b").close()
        disk.rename(f"{folder}/a", f"{folder}/c")
        disk.sync_folder(folder)
        refused = []
        for call in (
            lambda: disk.create(f"{folder}/c"), lambda: disk.open(f"{folder}/a"),
            lambda: disk.append(f"{folder}/a", 0), lambda: disk.remove(f"{folder}/a"),
            lambda: disk.rename(f"{folder}/a", f"{folder}/b"),
        ):  # fmt: skip
            with pytest.raises(OSError) as caught:  # noqa: PT011
                call()
            refused.append(caught.value.errno)
        disk.rename(f"{folder}/c", f"{folder}/b")
        return sorted(disk.names(folder)), content(disk, f"{folder}/b"), refused

    assert session(CrashDisk(), "/d") == session(Disk(), str(tmp_path))
