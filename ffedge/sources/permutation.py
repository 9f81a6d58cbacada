"""NumPy's legacy permutation, number for number, without numpy.random, which takes 5 MB of memory.

``numpy.random.RandomState(seed)`` is the Mersenne Twister of Python's own ``random`` module, seeded
by one number (Matsumoto and Nishimura 1998, ``init_genrand``); its numbers are promised never to
change, and splits of data sets are made of them.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Permutations:
    """``RandomState(seed)`` as far as ``permutation`` goes; seed: 0..2**32-1."""

    def __init__(self, seed: int) -> None:
        state = [seed]
        for i in range(1, 624):
            state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + i) & 0xFFFFFFFF)
        self._random = Random()
        self._random.setstate((3, (*state, 624), None))

    def permutation(self, count: int) -> NDArray[Any]:
        """0..count-1 in random order, int64 (count,); count below 2**32."""
        order, bits = np.arange(count), self._random.getrandbits
        for last in range(count - 1, 0, -1):
            mask = (1 << last.bit_length()) - 1
            # 32 bits are drawn and the upper ones dropped, as NumPy does.
            while (chosen := bits(32) & mask) > last:
                pass
            if chosen != last:
                order[last], order[chosen] = order[chosen], order[last]
        return order
