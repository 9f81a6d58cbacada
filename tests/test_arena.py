"""One allocation: named views of it, a guard behind it, a copy by pickle."""

import pickle

import numpy as np
import pytest

from ffedge.arena import Arena
from ffedge.errors import BudgetError, ConfigError
from ffedge.plan import ALIGNMENT, Need, place
from ffedge.tensor import TensorSpec

NEEDS = [
    Need("weight", TensorSpec((3, 5, 16), "float32"), "weights"),
    Need("label", TensorSpec((7,), "int32"), "data"),
    Need("early", TensorSpec((100,), "float64"), "workspace", stages=(0, 0)),
    Need("late", TensorSpec((90,), "float64"), "workspace", stages=(1, 1)),
]


def test_views_have_their_shape_type_and_alignment_and_are_zero():
    arena = Arena(place(NEEDS))

    for need in NEEDS:
        view = arena[need.name]
        assert (view.shape, view.dtype) == (need.spec.shape, np.dtype(need.spec.dtype))
        assert view.ctypes.data % ALIGNMENT == 0
        assert view.flags.c_contiguous
        assert not view.any()
    assert set(arena) == {need.name for need in NEEDS}
    assert "weight" in arena
    assert "nothing" not in arena


def test_views_of_the_same_moment_are_apart_and_others_share_bytes():
    arena = Arena(place(NEEDS))

    assert not np.shares_memory(arena["weight"], arena["label"])
    assert not np.shares_memory(arena["weight"], arena["early"])
    assert np.shares_memory(arena["early"], arena["late"])


def test_the_words_are_all_bytes_of_the_plan_and_a_view():
    arena = Arena(place(NEEDS))

    arena["label"][6] = -2
    offset = next(b.offset for b in arena.plan.buffers if b.name == "label")

    assert arena.words.nbytes == arena.plan.peak
    assert arena.words[offset // 4 + 6] == 2**32 - 2


def test_measured_bytes_equal_the_plan():
    arena = Arena(place(NEEDS))

    assert arena.measured_bytes == arena.plan.peak == 960 + 64 + 832


def test_a_write_past_the_last_buffer_is_found():
    arena = Arena(place(NEEDS))
    arena.check()

    arena._block[arena._start + arena.plan.peak] = 0

    with pytest.raises(ConfigError, match=r"^arena: expected the guard bytes untouched, got"):
        arena.check()


def test_a_full_arena_leaves_the_guard_untouched():
    arena = Arena(place(NEEDS))

    for name in arena:
        arena[name][...] = 1

    arena.check()


def test_pickle_keeps_every_byte_and_binds_the_views_anew():
    arena = Arena(place(NEEDS))
    arena["weight"][...] = np.random.default_rng(0).standard_normal((3, 5, 16))
    arena["label"][...] = np.arange(7)

    copy = pickle.loads(pickle.dumps(arena))

    assert copy.plan == arena.plan
    assert np.array_equal(copy["weight"], arena["weight"])
    assert copy["label"].tolist() == list(range(7))
    copy["weight"][0, 0, 0] = 5.0
    assert arena["weight"][0, 0, 0] != 5.0
    assert copy.measured_bytes == copy.plan.peak
    copy.check()


@pytest.mark.parametrize("width", [1 << 50, 1 << 70])
def test_a_plan_larger_than_the_machine_is_refused(width):
    plan = place([Need("huge", TensorSpec((width,), "float32"), "weights")])

    with pytest.raises(BudgetError, match=r"^arena: expected .* B from this machine, got"):
        Arena(plan)
