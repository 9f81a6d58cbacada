"""Receptive fields: which weights are cleared."""

import numpy as np
import pytest
import reference
from checks import assert_allocates_nothing, compiled_only

from ffedge.fields import Fields
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

#: Fields, units of one region, inputs behind the grid.
CASES = [
    (Fields((4, 4), (2, 2), (2, 2)), 3, 2),
    (Fields((5, 3), (3, 2), (2, 1)), 5, 0),
    (Fields((3, 3), (2, 2), (1, 1), depth=3), 1, 4),
    (Fields((9,), (3,), (2,), depth=2), 9, 1),
    (Fields((7,), (7,), (1,)), 17, 0),
]


def seen(fields, units, inputs):
    """bool (inputs, units of the layer): which weights stay, cell by cell."""
    grid = fields.grid if len(fields.grid) == 2 else (1, *fields.grid)
    field = fields.field if len(fields.field) == 2 else (1, *fields.field)
    stride = fields.stride if len(fields.stride) == 2 else (1, *fields.stride)
    tops = range(0, grid[0] - field[0] + 1, stride[0])
    lefts = range(0, grid[1] - field[1] + 1, stride[1])
    columns = []
    for top in tops:
        for left in lefts:
            image = np.zeros((*grid, fields.depth), bool)
            image[top : top + field[0], left : left + field[1]] = True
            column = np.concatenate([image.ravel(), np.ones(inputs - image.size, bool)])
            columns += [column] * units
    return np.stack(columns, 1)


@pytest.mark.parametrize(("fields", "units", "behind"), CASES)
def test_weights_outside_a_units_window_become_zero_and_no_others(fields, units, behind):
    inputs = fields.inputs + behind
    mask = seen(fields, units, inputs)
    W = np.random.default_rng(0).normal(size=mask.shape)
    weight = reference.pack_weights(W)
    wanted = reference.pack_weights(np.where(mask, W, 0.0))

    fields.clear(weight, mask.shape[1])

    assert weight.tobytes() == wanted.tobytes()
    assert (mask.sum(axis=0) == fields.fan_in(inputs)).all()


@pytest.mark.parametrize(("fields", "units", "behind"), CASES)
def test_a_slice_of_the_panels_is_cleared_as_in_the_whole(fields, units, behind):
    mask = seen(fields, units, fields.inputs + behind)
    weight = reference.pack_weights(np.ones(mask.shape))
    slices = [weight[p : p + 1].copy() for p in range(len(weight))]

    fields.clear(weight, mask.shape[1])
    for p, part in enumerate(slices):
        fields.clear(part, mask.shape[1], p)

    assert np.concatenate(slices).tobytes() == weight.tobytes()


@compiled_only
def test_clearing_allocates_nothing():
    fields = Fields((28, 28), (10, 10), (6, 6))
    weight = np.ones((4, 794, 16), np.float32)

    assert_allocates_nothing(lambda: fields.clear(weight, 64), 2048)
