"""The store's description: sizes, what is saved, what is refused."""

import pytest

from ffedge.buffers import plan_training
from ffedge.errors import CheckpointError, ConfigError
from ffedge.firmware.store import SavedRange, Slot, Store, fingerprint_of, newest
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Group


def test_the_layers_parameters_of_a_plan_are_saved_and_nothing_else():
    network = Network.dense(20, (16, 33), 10, precision="int8")
    plan = plan_training(network, Recipe(SGD(), batch_size=1))

    store = Store.of(plan, 4096, 4, 0, counters=2)

    assert sorted(part.name for part in store.ranges) == [
        f"layer{i}.{name}" for i in (0, 1) for name in ("bias", "readout", "weight")
    ]
    sizes = {buffer.name: buffer.spec.nbytes for buffer in plan.buffers}
    assert store.payload_bytes == sum(sizes[part.name] for part in store.ranges) + 8
    offsets = {buffer.name: buffer.offset for buffer in plan.buffers}
    assert all(part.offset == offsets[part.name] for part in store.ranges)


def test_a_group_network_has_no_readout_to_save():
    network = Network.dense(20, (16,), 10, Group(), precision="int8")

    store = Store.of(plan_training(network, Recipe(SGD(), batch_size=1)), 512, 8, 0, counters=1)

    assert {part.name for part in store.ranges} == {"layer0.weight", "layer0.bias"}


@pytest.mark.parametrize(
    ("payload", "word", "slot"),
    [(4064, 4, 4096), (4068, 4, 8192), (4056, 8, 4096), (4060, 8, 8192)],
)
def test_a_slot_takes_whole_pages(payload, word, slot):
    store = Store((SavedRange("a", 0, payload),), 0, 4096, word, 0)

    assert store.slot_bytes == slot
    assert store.nbytes == 2 * slot
    assert store.used_bytes <= slot


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"word_bytes": 2}, "words of 4 or 8 bytes, got 2"),
        ({"page_bytes": 4}, "multiple of 8 bytes, got 4"),
        ({"page_bytes": 1001}, "multiple of 8 bytes, got 1,001"),
        ({"counters": -1}, "counters >= 0"),
        ({"fingerprint": 2**32}, "32 bits"),
        ({"ranges": (SavedRange("b", 2, 4),)}, "b with 4 B at 2"),
        ({"ranges": (SavedRange("b", 4, 6),)}, "b with 6 B at 4"),
        ({"ranges": (SavedRange("b", 0, 8), SavedRange("c", 4, 8))}, "c with 8 B at 4"),
        ({"ranges": (SavedRange("b", 0, 2**31),)}, "less than 2 GiB"),
    ],
)
def test_impossible_descriptions_are_refused(change, words):
    good = {"ranges": (), "counters": 1, "page_bytes": 64, "word_bytes": 4, "fingerprint": 0}

    with pytest.raises(ConfigError, match=words):
        Store(**good | change)


def test_a_dump_of_another_length_is_refused():
    store = Store((), 1, 64, 4, 0)

    with pytest.raises(CheckpointError, match=r"expected 128 B, two slots of 64 B, got 127 B"):
        store.read(b"\xff" * 127)


def test_the_fingerprint_depends_on_every_part_and_where_it_ends():
    assert fingerprint_of(["784-100", b"board"]) == fingerprint_of(["784-100", "board"])
    assert len({fingerprint_of(p) for p in (["a", "bc"], ["ab", "c"], ["abc"], ["a", "b"])}) == 4


def test_the_newest_slot_is_found_across_the_wrap():
    old, new = Slot(0, "committed", 2**32 - 1, {}), Slot(1, "whole", 0, {})

    assert newest([old, new]) is new
    assert newest([new, old]) is new
    assert newest([old, Slot(1, "damaged")]) is old
    assert newest([Slot(0, "foreign"), Slot(1, "empty")]) is None
