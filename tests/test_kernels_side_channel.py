"""The side-channel's kernels: goodness of every class, its derivative, the logistic errors."""

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
)

from ffedge.kernels.provider import LIBRARY
from ffedge.kernels.side_channel import (
    add_scores,
    logistic_errors,
    side_delta,
    side_scores,
)

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

SHAPES = [(1, 2), (15, 3), (17, 17), (33, 10)]
FACTOR = np.float32(3.0)


def arrays(width, classes, rows):
    """Sums S, labels U and errors E, each also in panels."""
    random = np.random.default_rng([width, classes, rows])
    S, U = random.normal(size=(rows, width)), random.normal(size=(classes, width))
    E = random.normal(size=(rows, classes))
    return S, U, E, reference.pack_rows(S, rows + 1, unused=np.nan), reference.pack_weights(U), \
        reference.pack_rows(E, rows + 2, unused=np.nan)  # fmt: skip


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_side_scores_equal_the_oracle(width, classes):
    for rows in ROWS:
        S, U, _, s, u, _ = arrays(width, classes, rows)
        scores = np.full((rows + 2, classes), UNTOUCHED)

        side_scores(s, rows, width, u, FACTOR, scores)

        assert_close(scores[:rows], oracle.side_scores(S, U, 3.0), 1e-5)
        assert (scores[rows:] == UNTOUCHED).all()


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_side_delta_equals_the_oracle(width, classes):
    for rows in ROWS:
        S, U, E, s, u, e = arrays(width, classes, rows)
        delta, gradient = output(width, rows + 3), output(width, classes)
        each = 2 * 3.0 / width * E[:, :, None] * np.maximum(S[:, None, :] + U, 0)

        side_delta(s, rows, width, u, FACTOR, e, delta, gradient)

        assert_rows(delta, rows, each.sum(axis=1), 1e-5)
        assert_close(reference.unpack_weights(gradient, width), each.sum(axis=0), 1e-5)
        assert_padding_is_zero(gradient, width)


@pytest.mark.parametrize("classes", [2, 3, 17])
def test_logistic_errors_are_the_losss_finite_differences(classes):
    random = np.random.default_rng(classes)
    scores, labels = random.normal(size=(5, classes)), random.integers(0, classes, 5)
    errors = output(classes, 6)

    loss, right = logistic_errors(
        scores.astype(np.float32), 5, labels.astype(np.int32), np.float32(0.2), np.float32(0.7),
        errors,
    )  # fmt: skip

    wanted = -reference.central_differences(lambda s: oracle.logistic_loss(s, labels, 0.7), scores)
    assert_rows(errors, 5, wanted, 1e-6)
    assert loss / 5 == pytest.approx(oracle.logistic_loss(scores, labels, 0.7), rel=1e-5)
    assert right == (scores.argmax(axis=1) == labels).sum()


def test_scores_are_added_to_the_total_of_the_rows_in_use():
    total = np.ones((3, 2), np.float32)

    add_scores(np.full((3, 2), np.float32(4)), 2, total)

    assert total.tolist() == [[5.0, 5.0], [5.0, 5.0], [1.0, 1.0]]


@compiled_only
def test_side_channel_kernels_allocate_nothing():
    _, _, _, s, u, e = arrays(145, 20, 64)
    scores, labels = np.empty((64, 20), np.float32), np.zeros(64, np.int32)
    delta, gradient, one = output(145, 64), output(145, 20), np.float32(1)

    def step():
        side_scores(s, 64, 145, u, FACTOR, scores)
        logistic_errors(scores, 64, labels, one, one, e)
        side_delta(s, 64, 145, u, FACTOR, e, delta, gradient)

    assert_allocates_nothing(step)
