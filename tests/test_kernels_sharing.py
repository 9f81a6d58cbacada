"""The first layer's sums of all labels from one product, against plain matrices."""

import numpy as np
import pytest
from checks import assert_allocates_nothing, assert_close, compiled_only

from ffedge.kernels.provider import LIBRARY
from ffedge.kernels.sharing import labelled_sums, neutral_row

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library: use jit"),
]


def panels_of(matrix):
    """(rows, units) as (panels, rows, 16)."""
    rows, units = matrix.shape
    padded = np.zeros((rows, -(-units // 16) * 16), np.float32)
    padded[:, :units] = matrix
    return np.ascontiguousarray(padded.reshape(rows, -1, 16).transpose(1, 0, 2))


def prepared(rows=5, features=9, classes=4, units=21, capacity=7):
    """Plain data, weight and bias; the label inputs are the last."""
    random = np.random.default_rng(0)
    x, weight = (
        random.normal(size=(rows, features)),
        random.normal(size=(features + classes, units)),
    )
    bias, scales = random.normal(size=(1, units)), random.uniform(0.5, 3.0, rows)
    product = np.zeros((capacity, units))
    product[:rows] = x @ weight[:features]
    squares, wide = np.zeros(capacity, np.float32), np.zeros(capacity, np.float32)
    squares[:rows], wide[:rows] = (x**2).sum(axis=1), scales
    packed = [panels_of(matrix) for matrix in (product, weight, bias)]
    return x, weight, bias, scales, squares, wide, packed


def wanted_sums(x, labels, weight, bias):
    whole = np.hstack([x, labels])
    length = 1e-8 + np.sqrt((whole**2).mean(axis=1, keepdims=True))
    return (whole / length) @ weight + bias


def plain(out, rows, units):
    return out.transpose(1, 0, 2).reshape(out.shape[1], -1)[:rows, :units]


def test_sums_are_those_of_the_normalised_row_with_its_label():
    x, weight, bias, scales, squares, wide, packed = prepared()
    shown = np.array([3, 0, 2, 2, 1], np.int32)
    out = np.full_like(packed[0], 7.5)

    labelled_sums(
        packed[0], 5, packed[1], 9, shown, wide, squares, np.float32(1), 13, packed[2], out
    )

    labels = scales[:, None] * np.eye(4)[shown]
    assert_close(plain(out, 5, 21), wanted_sums(x, labels, weight, bias))
    assert (out[:, 5:] == 7.5).all()
    assert not plain(out, 5, 32)[:, 21:].any()


def test_the_neutral_label_is_the_mean_of_all():
    x, weight, bias, scales, squares, wide, packed = prepared()
    row, out = np.empty_like(packed[2]), np.empty_like(packed[0])

    neutral_row(packed[1], 9, 4, row)
    zeros = np.zeros(5, np.int32)
    labelled_sums(packed[0], 5, row, 0, zeros, wide, squares, np.float32(0.25), 13, packed[2], out)

    labels = np.repeat(scales[:, None] / 4, 4, axis=1)
    assert_close(plain(out, 5, 21), wanted_sums(x, labels, weight, bias))


@compiled_only
def test_sharing_allocates_nothing():
    *_, squares, wide, packed = prepared(rows=60, units=200, capacity=60)
    shown, out = np.zeros(60, np.int32), np.empty_like(packed[0])

    def both():
        neutral_row(packed[1], 9, 4, packed[2])
        labelled_sums(
            packed[0], 60, packed[1], 9, shown, wide, squares, np.float32(1), 13, packed[2], out
        )

    assert_allocates_nothing(both)
