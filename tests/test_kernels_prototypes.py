"""Prototypes: cosines, and the derivatives by activity and prototype."""

import numpy as np
import pytest
import reference
import reference_classes as oracle
from checks import (
    ROWS,
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_padding_is_zero,
    assert_rows,
    compiled_only,
    output,
    sparse_rows,
    workspace,
)

from ffedge.kernels.prototypes import (
    prototype_delta,
    prototype_gradient,
    prototype_scores,
    unit_lengths,
)
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

SHAPES = [(1, 2), (15, 3), (17, 17), (33, 10)]
TAU = np.float32(6.0)


def arrays(width, classes, rows, silent=True):
    """Y with a silent row among others, unit Q, and errors, each also in panels."""
    random = np.random.default_rng([width, classes, rows])
    Y = sparse_rows(random, rows, width) + (0.0 if silent else 0.01)
    if silent:
        Y[0] = 0.0
    Q = oracle.unit(random.normal(size=(classes, width)))
    E = random.normal(size=(rows, classes))
    packed = (reference.pack_rows(Y, rows + 1, unused=np.nan), reference.pack_weights(Q),
              reference.pack_rows(E, rows + 2, unused=np.nan))  # fmt: skip
    return Y, Q, E, *packed


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_prototype_scores_equal_the_oracle_and_a_silent_row_scores_nothing(width, classes):
    for rows in ROWS:
        Y, Q, _, y, q, _ = arrays(width, classes, rows)
        scores, inverse = np.full((rows + 2, classes), UNTOUCHED), np.full(rows + 1, UNTOUCHED)

        prototype_scores(y, rows, q, TAU, inverse, scores)

        assert_close(scores[:rows], oracle.prototype_scores(Y, Q, 6.0), 1e-5)
        assert (scores[0] == 0).all()
        assert (scores[rows:] == UNTOUCHED).all()
        assert inverse[0] == 0
        assert inverse[rows] == UNTOUCHED


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_prototype_delta_and_gradient_equal_the_oracle(width, classes):
    for rows in ROWS:
        Y, Q, E, y, q, e = arrays(width, classes, rows)
        scores, inverse = np.empty((rows, classes), np.float32), np.empty(rows, np.float32)
        delta, gradient = output(width, rows + 3), output(width, classes)
        H, length = oracle.unit(Y), np.sqrt((Y**2).sum(axis=1, keepdims=True))
        G = 6.0 * E @ Q
        wanted = (G - (G * H).sum(axis=1, keepdims=True) * H) * (Y > 0)
        wanted = np.divide(wanted, length, out=np.zeros_like(wanted), where=length > 0)
        turn = 6.0 * (E.T @ H - (E * (H @ Q.T)).sum(axis=0)[:, None] * Q)
        prototype_scores(y, rows, q, TAU, inverse, scores)

        prototype_delta(y, rows, e, q, scores, TAU, inverse, *workspace(classes), delta)
        prototype_gradient(y, rows, e, q, scores, TAU, inverse, *workspace(classes), gradient)

        assert_rows(delta, rows, wanted, 1e-4)
        assert_close(reference.unpack_weights(gradient, width), turn, 1e-4)
        assert_padding_is_zero(gradient, width)


def test_neither_derivative_changes_a_length():
    Y, Q, _, y, q, e = arrays(33, 5, 4, silent=False)
    scores, inverse = np.empty((4, 5), np.float32), np.empty(4, np.float32)
    delta, gradient = output(33, 4), output(33, 5)
    prototype_scores(y, 4, q, TAU, inverse, scores)

    prototype_delta(y, 4, e, q, scores, TAU, inverse, *workspace(5), delta)
    prototype_gradient(y, 4, e, q, scores, TAU, inverse, *workspace(5), gradient)

    assert_close((reference.unpack_rows(delta, 4, 33) * Y).sum(axis=1), np.zeros(4))
    assert_close((reference.unpack_weights(gradient, 33) * Q).sum(axis=1), np.zeros(5))
    assert np.abs(delta).max() > 0.01


def test_unit_lengths_are_one_and_nothing_stays_nothing():
    Q = np.array([[3.0, 4.0] + [0.0] * 15 + [12.0], [0.0] * 18, [1e-3] * 18])
    q = reference.pack_weights(Q)

    unit_lengths(q)

    assert_close(reference.unpack_weights(q, 18), oracle.unit(Q), 1e-6)
    assert_padding_is_zero(q, 18)


@compiled_only
def test_prototype_kernels_allocate_nothing():
    _, _, _, y, q, e = arrays(145, 20, 64)
    scores, inverse = np.empty((64, 20), np.float32), np.empty(64, np.float32)
    delta, gradient, space = output(145, 64), output(145, 20), workspace(20)

    def step():
        prototype_scores(y, 64, q, TAU, inverse, scores)
        prototype_delta(y, 64, e, q, scores, TAU, inverse, *space, delta)
        prototype_gradient(y, 64, e, q, scores, TAU, inverse, *space, gradient)
        unit_lengths(q)

    assert_allocates_nothing(step)
