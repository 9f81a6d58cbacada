"""The device's functions as C calls them: flat arrays of unknown length, and numbers.

``firmware.thumb`` gives each a C function of the same arguments, arrays as pointers.
"""

from __future__ import annotations

import numpy as np

from ..provider import kernel
from ..views import bytes_at, matrix_at, vector_at
from . import checkpoint

_load, _save_begin, _save_next = checkpoint.load, checkpoint.save_begin, checkpoint.save_next


@kernel()
def load(flash, ranges, range_count, layout, arena, counters, counter_count):
    """``checkpoint.load`` with the lengths of ``ranges`` (pairs) and ``counters``."""
    own = vector_at(bytes_at(counters, 0), 0, np.uint32(0), counter_count)
    pairs = matrix_at(bytes_at(ranges, 0), 0, np.int32(0), range_count, 2)
    return _load(flash, pairs, layout, arena, own)


@kernel()
def save_begin(flash, layout, state):
    """``checkpoint.save_begin``."""
    _save_begin(flash, layout, state)
    return np.int32(0)


@kernel()
def save_next(flash, arena, ranges, range_count, counters, counter_count, layout, state):
    """``checkpoint.save_next`` with the lengths of ``ranges`` (pairs) and ``counters``."""
    own = vector_at(bytes_at(counters, 0), 0, np.uint32(0), counter_count)
    pairs = matrix_at(bytes_at(ranges, 0), 0, np.int32(0), range_count, 2)
    return np.int32(_save_next(flash, arena, pairs, own, layout, state))
