"""Permutations without numpy.random are numpy.random's."""

import numpy as np
import pytest

from ffedge.sources.permutation import Permutations


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_permutations_are_those_of_numpys_legacy_generator(seed):
    ours, theirs = Permutations(seed), np.random.RandomState(seed)

    for count in (0, 1, 2, 3, 17, 1000, 700, 65_537):
        order = ours.permutation(count)

        assert order.dtype == np.int64
        assert order.tolist() == theirs.permutation(count).tolist()
