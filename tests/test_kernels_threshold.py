"""Positive against negative data: label inputs, hard negatives, the threshold's delta."""

import numpy as np
import pytest
import reference
from checks import (
    CLASSES,
    ROWS,
    UNTOUCHED,
    WIDTHS,
    assert_allocates_nothing,
    assert_close,
    assert_no_denormals,
    assert_rows,
    compiled_only,
    output,
    sparse_rows,
)
from ffedge.kernels.threshold import (
    add_goodness,
    copy_rows,
    embed_label,
    threshold_delta,
    track_means,
    wrong_labels,
)

from ffedge.kernels.provider import PLAIN_PYTHON

pytestmark = pytest.mark.kernels

DRAWS = 2000 if PLAIN_PYTHON else 20_000
ONE = np.float32(1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("classes", [2, 16, 20])
def test_label_inputs_stand_behind_the_features_and_nothing_else_changes(width, classes):
    x = np.full((-(-(width + classes) // 16), 5, 16), UNTOUCHED)
    wanted = x.copy()
    labels = np.array([0, classes - 1, -1], np.int32)
    for n, label in enumerate(labels):
        for c in range(classes):
            value = 3.0 if c == label else -0.25
            wanted[(width + c) // 16, 1 + n, (width + c) % 16] = value

    embed_label(x, 1, 3, width, classes, labels, np.float32(3), np.float32(-0.25))

    assert x.tolist() == wanted.tolist()


@pytest.mark.parametrize("width", WIDTHS)
def test_copied_rows_equal_the_rows_they_come_from(width):
    random = np.random.default_rng(width)
    X = random.normal(size=(3, width))
    x = reference.pack_rows(X, 7, unused=UNTOUCHED)

    copy_rows(x, 3, 3)

    assert_rows(x, 6, np.vstack([X, X]), 1e-6)


@pytest.mark.parametrize("classes", CLASSES)
def test_wrong_labels_are_the_inverse_of_the_predictions_distribution(classes):
    random = np.random.default_rng(classes)
    rows = DRAWS // 20
    scores = random.normal(size=(rows, classes)).astype(np.float32) * 2
    labels = random.integers(0, classes, rows + 1).astype(np.int32)
    out = np.full(rows + 1, -5, np.int32)

    wrong_labels(scores, rows, labels, 77, 2**40, out)

    chances = np.exp(reference.log_softmax(scores.astype(float)))
    for r in range(rows):
        others = [c for c in range(classes) if c != labels[r]]
        borders = np.cumsum(chances[r, others]) / chances[r, others].sum()
        place = reference.uniform(77, 2**40 + r)
        if np.abs(borders[:-1] - place).min(initial=1.0) > 1e-5:
            assert out[r] == others[int((place >= borders[:-1]).sum())]
        assert out[r] in others
    assert out[rows] == -5


@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_wrong_labels_follow_the_predicted_probabilities(label):
    chances = np.array([0.4, 0.3, 0.2, 0.1])
    scores = np.tile(np.log(chances).astype(np.float32), (DRAWS, 1))
    labels, out = np.full(DRAWS, label, np.int32), np.empty(DRAWS, np.int32)

    wrong_labels(scores, DRAWS, labels, 5, 0, out)

    chances[label] = 0.0
    chances /= chances.sum()
    counts = np.bincount(out, minlength=4)
    assert counts[label] == 0
    assert (np.abs(counts / DRAWS - chances) <= 4.5 * np.sqrt(chances / DRAWS)).all()


def test_two_classes_leave_one_wrong_label():
    labels, out = np.array([0, 1] * 20, np.int32), np.empty(40, np.int32)
    scores = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32) * 30

    wrong_labels(scores, 40, labels, 1, 0, out)

    assert out.tolist() == [1, 0] * 20


@pytest.mark.parametrize("label", [0, 2, 4])
def test_a_certain_net_draws_every_wrong_label_alike(label):
    scores = np.zeros((DRAWS, 5), np.float32)
    scores[:, label] = 1000.0
    labels, out = np.full(DRAWS, label, np.int32), np.empty(DRAWS, np.int32)

    wrong_labels(scores, DRAWS, labels, 9, 0, out)

    shares = np.bincount(out, minlength=5) / DRAWS
    assert shares[label] == 0.0
    assert np.abs(np.delete(shares, label) - 0.25).max() < 4.5 * 0.5 / np.sqrt(DRAWS)


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("gap", [0.0, 30.0, 1000.0])
def test_the_ends_of_the_random_range_give_a_wrong_label(word, label, gap):
    scores, out = np.zeros((1, 3), np.float32), np.empty(1, np.int32)
    scores[0, label] = gap
    others = [c for c in range(3) if c != label]

    wrong_labels(scores, 1, np.int32([label]), 8, reference.counter_of(8, word), out)

    assert out[0] == others[-1 if word else 0]


@pytest.mark.parametrize("width", WIDTHS)
def test_track_means_move_a_share_of_the_way(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        Y, before = sparse_rows(random, rows, width), random.normal(size=(1, width))
        means = reference.pack_rows(before)

        y = reference.pack_rows(Y, rows + 1, unused=np.nan)
        track_means(y, rows, np.float32(0.1), means)

        assert_rows(means, 1, 0.9 * before + 0.1 * Y.mean(axis=0), 1e-6)


def test_the_mean_of_a_dead_unit_ends_at_zero_without_denormals():
    means, y = np.full((1, 1, 16), np.float32(0.5)), np.zeros((1, 2, 16), np.float32)

    for _ in range(1200):
        track_means(y, 2, np.float32(0.1), means)
        assert_no_denormals(means)

    assert not means.any()


def hinton_case(width, half, spread=1.0):
    random = np.random.default_rng([width, half])
    Y = sparse_rows(random, 2 * half, width) * spread
    means = random.uniform(0, 1, (1, width))
    g = reference.goodness(Y)
    return Y, means, g, np.arange(2 * half) < half


def delta_of(Y, g, means, half, peer=0.0, scale=1.0):
    width = Y.shape[1]
    y = reference.pack_rows(Y, len(Y) + 1, unused=np.nan)
    delta = output(width, len(Y) + 2)
    goodness = np.append(g, np.nan).astype(np.float32)
    told = threshold_delta(
        y, half, width, goodness, np.float32(width), reference.pack_rows(means),
        np.float32(peer), np.float32(scale), delta,
    )  # fmt: skip
    return delta, told


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("peer", [0.0, 0.03, 1.0])
def test_threshold_delta_equals_the_oracle(width, peer):
    for half in [r for r in ROWS if r <= 13]:
        Y, means, g, positive = hinton_case(width, half)

        delta, (loss, right) = delta_of(Y, g, means, half, peer, 0.25)

        wanted = reference.threshold_delta(Y, positive, width)
        wanted[positive] += peer * (means.mean() - means)
        assert_rows(delta, 2 * half, 0.25 * wanted)
        losses = reference.threshold_losses(g, positive, width)
        assert loss == pytest.approx(losses.sum(), rel=1e-5)
        assert right == ((g > width) == positive).sum()


def test_the_peer_term_lifts_dead_units_of_positive_rows_only():
    Y, means = np.zeros((2, 3)), np.array([[0.0, 1.0, 2.0]])

    delta, _ = delta_of(Y, np.zeros(2), means, 1, peer=0.5)

    assert reference.unpack_rows(delta, 2, 3).tolist() == [[0.5, 0.0, -0.5], [0.0, 0.0, 0.0]]


def test_padding_lanes_of_the_means_do_not_count():
    means = np.full((1, 1, 16), np.float32(0.5))
    delta = output(2, 2)

    threshold_delta(
        np.zeros((1, 2, 16), np.float32), 1, 2, np.zeros(2, np.float32), np.float32(2),
        means, ONE, ONE, delta,
    )  # fmt: skip

    assert not delta.any()


@pytest.mark.parametrize("margin", [0.0, 20.0, 40.0, 100.0, 1e30])
def test_any_margin_gives_finite_losses_and_no_denormal_delta(margin):
    Y = np.ones((2, 2))
    right_side, wrong_side = np.array([2 + margin, 2 - margin]), np.array([2 - margin, 2 + margin])

    sure, (little, _) = delta_of(Y, right_side, np.zeros((1, 2)), 1)
    lost, (much, _) = delta_of(Y, wrong_side, np.zeros((1, 2)), 1)

    positive = np.array([True, False])
    exact = reference.threshold_losses(right_side, positive, 2)
    assert little == pytest.approx(exact.sum(), rel=1e-5, abs=1e-12)
    assert much == pytest.approx(little + 2 * margin, rel=1e-6)
    assert_no_denormals(sure, lost)
    assert_close(lost[0, :2, 0], [2 * reference.sigmoid(margin), -2 * reference.sigmoid(margin)])
    if margin > 30:
        assert not sure[:, :2].any()


def test_add_goodness_collects_one_label_at_a_time():
    total = np.full((3, 2), UNTOUCHED)

    add_goodness(np.array([1.0, 2.0, np.nan], np.float32), 2, 1, total)

    assert total.tolist() == [[7.5, 8.5], [7.5, 9.5], [7.5, 7.5]]


@compiled_only
def test_threshold_kernels_allocate_nothing():
    y, delta = np.ones((9, 64, 16), np.float32), np.empty((9, 64, 16), np.float32)
    means, goodness = np.ones((9, 1, 16), np.float32), np.ones(64, np.float32)
    labels, shown = np.zeros(64, np.int32), np.empty(64, np.int32)
    scores, width = np.zeros((64, 20), np.float32), np.float32(144)

    def step():
        embed_label(y, 0, 64, 100, 20, labels, ONE, np.float32(0))
        copy_rows(y, 32, 32)
        wrong_labels(scores, 64, labels, 1, 0, shown)
        track_means(y, 64, np.float32(0.1), means)
        threshold_delta(y, 32, 144, goodness, width, means, ONE, ONE, delta)
        add_goodness(goodness, 64, 3, scores)

    assert_allocates_nothing(step)
