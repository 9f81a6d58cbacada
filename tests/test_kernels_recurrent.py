"""Kernels of layers that run several times on one sample, against loops in float64."""

import numpy as np
import pytest
import reference
from checks import (
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_no_denormals,
    assert_rows,
    compiled_only,
    output,
    sparse_rows,
)

from ffedge.kernels import recurrent
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(
        LIBRARY is not None, reason="not in the compiled library: FFEDGE_KERNELS=jit"
    ),
]

WIDTHS = (1, 16, 19)


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape)


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_are_spread_over_both_labels(width):
    X, out = normal(3, width), output(width, 8)

    recurrent.spread_rows(reference.pack_rows(X, 4, unused=np.nan), 3, 6, out)

    assert_rows(out, 6, np.vstack([X, X]), 1e-6)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_bias_is_spread_over_rows(width):
    b, out = normal(1, width), output(width, 4)

    recurrent.spread_bias(reference.pack_weights(b), 3, out)

    assert_rows(out, 3, np.vstack([b] * 3), 1e-6)


def test_rows_move_within_and_between_buffers():
    X = normal(5, 19)
    x = reference.pack_rows(X, 7, unused=UNTOUCHED)
    kept, taken = output(19, 6), output(19, 3)

    recurrent.move_rows(x, 1, 2, 4)
    recurrent.keep_rows(x, 3, kept, 2)
    recurrent.take_rows(kept, 3, 2, taken)

    X[4] = X[1]
    assert_rows(x[:, :5], 5, X, 1e-6)
    assert_close(reference.unpack_rows(x, 6, 19)[5], X[2], 1e-6)
    assert (x[:, 6] == UNTOUCHED).all()
    assert (kept[:, :2] == UNTOUCHED).all()
    assert (kept[:, 5:] == UNTOUCHED).all()
    assert_rows(taken, 2, X[1:3], 1e-6)


@pytest.mark.parametrize("share", [0.7, 1.0])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_state_takes_in_a_share_of_the_new_activity(width, share):
    Z, S = normal(3, width), sparse_rows(np.random.default_rng(width), 3, width)
    out, state = reference.pack_rows(Z), reference.pack_rows(S)

    recurrent.settle(out, 3, np.float32(share), state)

    Y = np.maximum(Z, 0)
    assert_rows(out, 3, Y, 1e-6)
    assert_rows(state, 3, (1 - share) * S + share * Y, 1e-6)


def test_a_share_of_one_does_not_read_the_old_state():
    state = np.full((1, 1, 16), np.nan, np.float32)

    recurrent.settle(np.ones((1, 1, 16), np.float32), 1, np.float32(1), state)

    assert (state == 1).all()


def test_the_state_of_a_silent_unit_fades_without_denormals():
    out, state = np.zeros((1, 1, 16), np.float32), np.ones((1, 1, 16), np.float32)

    for _ in range(100):
        recurrent.settle(out, 1, np.float32(0.7), state)
        assert_no_denormals(state)

    assert not state.any()


def test_rectified_rows_may_be_their_own_sums():
    Z = normal(3, 19)
    sums, out = reference.pack_rows(Z, 4, unused=UNTOUCHED), output(19, 5)

    recurrent.rectify(sums, 3, out)
    recurrent.rectify(sums, 3, sums)

    assert_rows(out, 3, np.maximum(Z, 0), 1e-6)
    assert_rows(sums, 3, np.maximum(Z, 0), 1e-6)


def test_deltas_of_steps_and_of_both_labels_add_up():
    A, B = normal(4, 19), normal(4, 19) ** 2
    total = output(19, 5)

    recurrent.add_rows(reference.pack_rows(A), 4, True, total)
    recurrent.add_rows(reference.pack_rows(B), 4, False, total)
    recurrent.fold_rows(total, 2)

    both = A + B
    assert_rows(total[:, :2], 2, both[:2] + both[2:], 1e-6)
    assert_close(reference.unpack_rows(total, 4, 19)[2:], both[2:], 1e-6)
    assert (total[:, 4:] == UNTOUCHED).all()


@pytest.mark.parametrize(("steps", "inputs"), [(1, 5), (4, 1), (3, 16), (5, 7)])
def test_a_sequence_becomes_one_row_for_each_step(steps, inputs):
    X, out = normal(3, steps * inputs), output(inputs, 3 * steps + 1)

    recurrent.take_steps(reference.pack_rows(X, 4, unused=np.nan), 3, steps, inputs, out)

    wanted = X.reshape(3, steps, inputs).swapaxes(0, 1).reshape(3 * steps, inputs)
    assert_rows(out, 3 * steps, wanted, 1e-6)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("width", WIDTHS)
def test_recall_is_the_product_with_the_fast_weights_that_are_never_stored(width, steps):
    rows, rate, decay = 3, 0.8, 0.6
    random = np.random.default_rng([width, steps])
    past = sparse_rows(random, steps * rows, width)
    now, start = sparse_rows(random, rows, width), random.normal(size=(rows, width))
    out = reference.pack_rows(start, rows + 1, unused=UNTOUCHED)

    recurrent.recall(
        reference.pack_rows(past), steps, rows, width, np.float32(rate), np.float32(decay),
        reference.pack_rows(now), out,
    )  # fmt: skip

    wanted = start.copy()
    for r in range(rows):
        A = np.zeros((width, width))
        for t in range(steps):
            A = decay * A + rate / width * np.outer(past[t * rows + r], past[t * rows + r])
        wanted[r] += A @ now[r]
    assert_rows(out, rows, wanted, 1e-5)


def test_labels_are_those_of_the_sample_at_every_step():
    out = np.full(7, -1, np.int32)

    recurrent.spread_labels(np.array([4, 2, 9], np.int32), 2, 3, out)

    assert out.tolist() == [4, 2, 4, 2, 4, 2, -1]


def test_votes_are_log_probabilities_of_the_steps_asked_for():
    scores, total = normal(8, 3), np.ones((3, 3), np.float32)

    recurrent.add_votes(scores.astype(np.float32), 2, 1, 4, np.float32(0.5), total)

    logs = reference.log_softmax(scores).reshape(4, 2, 3)
    assert_close(total[:2], 1 + 0.5 * logs[1:].sum(axis=0))
    assert (total[2] == 1).all()


@compiled_only
def test_recurrent_kernels_allocate_nothing():
    big, small = np.ones((3, 64, 16), np.float32), np.ones((3, 16, 16), np.float32)
    half = np.float32(0.5)
    total, codes = np.ones((64, 4), np.float32), np.zeros(64, np.int32)

    assert_allocates_nothing(lambda: recurrent.spread_rows(small, 8, 16, big))
    assert_allocates_nothing(lambda: recurrent.settle(small, 16, half, big))
    assert_allocates_nothing(lambda: recurrent.take_steps(small, 8, 2, 20, big))
    assert_allocates_nothing(lambda: recurrent.recall(big, 4, 16, 40, half, half, small, small))
    assert_allocates_nothing(lambda: recurrent.add_votes(total, 16, 0, 4, half, total))
    assert_allocates_nothing(lambda: recurrent.spread_labels(codes, 16, 4, codes))
