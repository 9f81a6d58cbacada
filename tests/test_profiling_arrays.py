"""The arrays of a training, by reference and by allocation."""

import tracemalloc

import numpy as np
from test_profiling import trainer_of

from ffedge.arena import MARGIN
from ffedge.profiling.arrays import ArrayTrace, owned_bytes


def test_owned_bytes_count_a_block_once_whatever_views_there_are():
    block = np.zeros(1000, np.uint8)
    holder = {"views": [block[10:20], block[:500].view(np.int32)], "self": {}}
    holder["self"]["loop"] = holder

    assert owned_bytes(holder) == 1000
    assert owned_bytes(holder, without=[block[3:], None]) == 0


def test_owned_bytes_of_a_trainer_are_its_arena():
    trainer = trainer_of()

    assert owned_bytes(trainer) == trainer.plan.peak + MARGIN


def test_owned_bytes_see_into_arrays_of_objects():
    inner = np.zeros(64, np.uint8)
    outer = np.array([inner, None], dtype=object)

    assert owned_bytes([outer]) == 64 + outer.nbytes


def test_a_trace_knows_arrays_from_other_objects():
    trace = ArrayTrace()
    trace.start()
    text, array = "x" * 5000, np.zeros(2000, np.uint8)
    rise = trace.look()
    trace.stop()

    assert trace.extra == array.nbytes
    assert rise > 2000
    assert len(text) == 5000
    assert not tracemalloc.is_tracing()
