"""Power cuts, kills, full disks and rot: the store loses no state whose save had returned.

``tools/power_cuts.py`` does more of the same.
"""

import errno

import pytest
from crash_bad_stores import BAD_STORES, PlainStore
from crash_disk import NOTHING, TORN, CrashDisk
from crash_kills import kill_often
from crash_runs import (
    IDENTICAL,
    KINDS,
    REFUSED,
    Life,
    failing,
    flips,
    pairs,
    singles,
    unreadable,
    wander,
)
from crash_trainings import Scribbles, Training, real_store, whole_store

STEPS = 5


def test_a_cut_before_or_after_any_operation_loses_nothing():
    found = singles(Scribbles(8), seeds=4)

    assert found.clean, found.failure
    assert found.cuts == found.lives > 1000


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hidden": (24, 16), "schedule": "layerwise", "samples": 24},
        {"precision": "float32", "samples": 24},
    ],
    ids=["int8", "layerwise", "float32"],
)
def test_a_training_cut_at_any_operation_ends_with_the_same_bits(options):
    found = singles(Training(**options), (NOTHING, TORN))

    assert found.clean, found.failure
    assert found.cuts == found.lives > 100


def test_a_second_cut_while_the_first_is_recovered_from_loses_nothing():
    found = pairs(Scribbles(4))

    assert found.clean, found.failure
    assert found.cuts > 5000


def test_two_cuts_of_a_training_lose_nothing():
    found = pairs(Training(samples=32), every=5)

    assert found.clean, found.failure
    assert found.cuts > 900


def test_random_cuts_and_failures_lose_nothing():
    for campaign in (Scribbles(8), Scribbles(STEPS, whole_store), Training()):
        found = wander(campaign, 200, seed=1000)

        assert found.clean, found.failure
        assert found.cuts > 200


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bit flipped"])
def test_the_store_and_another_right_one_pass_what_bad_ones_fail(kind):
    for store in (real_store, whole_store, PlainStore):
        found = KINDS[kind](Scribbles(STEPS, store))

        assert found.clean, (store.__name__, found.failure)


@pytest.mark.parametrize("name", BAD_STORES)
def test_a_bad_store_is_caught_by_what_it_does_wrong_and_by_nothing_else(name):
    store, caught, survived = BAD_STORES[name]
    campaign = Scribbles(STEPS, store)

    assert not [kind for kind in caught if KINDS[kind](campaign).clean]
    assert not [kind for kind in survived if not KINDS[kind](campaign).clean]


def test_a_flipped_bit_is_noticed_and_the_state_before_taken():
    found = flips(Scribbles(STEPS), every=11)

    assert found.clean, found.failure
    assert found.lives > 1000


def test_a_flipped_bit_in_the_only_state_is_refused():
    found = flips(Scribbles(1), every=11)

    assert set(found.endings) == {REFUSED}
    assert found.lives > 400


def test_a_disk_that_stays_full_keeps_the_last_state_that_fitted():
    campaign = Scribbles(STEPS)
    for capacity in range(0, 20_000, 333):
        disk = CrashDisk()
        disk.capacity = capacity
        life = Life(campaign, disk)

        assert life.start() == IDENTICAL
        completed = life.completed
        disk.restart(NOTHING)
        disk.capacity = None

        assert life.start() == IDENTICAL, capacity
        assert life.completed == STEPS
        assert completed in range(STEPS + 1)


def test_permission_denied_loses_nothing_that_was_saved():
    found = failing(
        Scribbles(STEPS), errno.EACCES, ("create", "append", "write", "rename"), lengths=(1, 30)
    )

    assert found.clean, found.failure


@pytest.mark.parametrize("error", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_file_that_cannot_be_opened_for_once_costs_no_state_and_mixes_none(error):
    for campaign in (Scribbles(STEPS), Training((24, 16))):
        found = unreadable(campaign, error)

        assert found.clean, found.failure
        assert found.lives > 200


def test_real_processes_that_are_killed_lose_nothing(tmp_path):
    found = kill_often(3, tmp_path)

    assert (found.kills, found.lost, found.not_identical) == (3, 0, 0)
    assert found.working > 0
