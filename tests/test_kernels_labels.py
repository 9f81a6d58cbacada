"""Labels in the input, their lengths, and wrong ones."""

import numpy as np
import pytest
import reference
from checks import (
    CLASSES,
    UNTOUCHED,
    WIDTHS,
    assert_allocates_nothing,
    assert_rows,
    compiled_only,
    not_in_library,
)

from ffedge.kernels.labels import (
    add_pattern,
    embed_label,
    evenly_wrong,
    fixed_scales,
    half_logs,
    largest_scales,
    wrong_labels,
)
from ffedge.kernels.provider import PLAIN_PYTHON
from ffedge.kernels.random import bits

pytestmark = pytest.mark.kernels

DRAWS = 2000 if PLAIN_PYTHON else 20_000


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("classes", [2, 16, 20])
@pytest.mark.parametrize("neutral", [False, True])
def test_label_inputs_stand_where_they_are_told_and_nothing_else_changes(width, classes, neutral):
    x = np.full((-(-(width + classes) // 16), 5, 16), UNTOUCHED)
    wanted = x.copy()
    labels = np.array([0, classes - 1], np.int32)
    scales = np.float32([9, 3, 2, 9, 9])
    for n, label in enumerate(labels):
        for c in range(classes):
            share = 1 / classes if neutral else float(c == label)
            value = np.float32(scales[1 + n]) * np.float32(share)
            wanted[(width + c) // 16, 1 + n, (width + c) % 16] = value

    embed_label(x, 1, 2, width, classes, labels, scales, neutral)

    assert np.allclose(x, wanted, rtol=1e-6)


def test_a_fixed_length_is_the_same_for_all_rows():
    scales = np.full(5, UNTOUCHED)

    fixed_scales(np.float32(2.5), 1, 3, scales)

    assert scales.tolist() == [UNTOUCHED, 2.5, 2.5, 2.5, UNTOUCHED]


@not_in_library
@pytest.mark.parametrize("width", WIDTHS)
def test_an_automatic_length_is_the_rows_largest_magnitude(width):
    X = np.random.default_rng(width).normal(size=(4, width + 3))
    X[2] = 0
    X[:, :2] *= 100
    scales = np.full(6, UNTOUCHED)

    largest_scales(reference.pack_rows(X, 5, unused=np.nan), 0, 4, 2, width + 3, scales)

    wanted = np.abs(X[:, 2:]).max(axis=1)
    wanted[2] = 1
    assert np.allclose(scales[:4], wanted, rtol=1e-6)
    assert (scales[4:] == UNTOUCHED).all()


@not_in_library
@pytest.mark.parametrize("width", WIDTHS)
def test_a_pattern_adds_the_signs_of_the_class_to_every_feature(width):
    X = np.random.default_rng(width).normal(size=(3, width))
    x = reference.pack_rows(X, 4, unused=UNTOUCHED)
    labels, scales = np.int32([2, 0]), np.float32([0, 0.5, 2.0])

    add_pattern(x, 1, 2, width, 7, labels, scales)

    for row, (label, scale) in enumerate(zip(labels, scales[1:], strict=True), start=1):
        words = [int(bits(7, int(label) * width + i)) & 1 for i in range(width)]
        X[row] += np.where(words, scale, -scale)
    assert_rows(x, 3, X, 1e-6)


@not_in_library
def test_patterns_of_two_classes_differ_in_about_half_of_the_features():
    x = np.zeros((25, 2, 16), np.float32)

    add_pattern(x, 0, 2, 400, 0, np.int32([0, 1]), np.ones(2, np.float32))

    same = (x[:, 0] == x[:, 1]).sum()
    assert 150 < same < 250


@not_in_library
@pytest.mark.parametrize("classes", CLASSES)
def test_evenly_wrong_labels_are_all_others_alike(classes):
    labels = (np.arange(DRAWS) % classes).astype(np.int32)
    out = np.full(DRAWS + 1, -5, np.int32)

    evenly_wrong(DRAWS, classes, labels, 3, 2**40, out)

    assert out[DRAWS] == -5
    assert (out[:DRAWS] != labels).all()
    chance = 1 / (classes - 1)
    for label in range(min(classes, 3)):
        drawn = out[:DRAWS][labels == label]
        shares = np.bincount(drawn, minlength=classes)[np.arange(classes) != label] / len(drawn)
        assert np.abs(shares - chance).max() < 5 * np.sqrt(chance / len(drawn))


@not_in_library
def test_half_logs_make_a_class_as_likely_as_its_goodnesss_root():
    total = np.float32([[4.0, 1.0, 0.0], [9.0, 9.0, -1.0], [7.0, 7.0, 7.0]])

    half_logs(total, 2)

    chances = np.exp(total[:2].astype(float))
    assert np.allclose(chances, [[2, 1, 1e-15], [3, 3, 1e-15]], rtol=1e-5)
    assert total[2].tolist() == [7, 7, 7]


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


@compiled_only
def test_label_kernels_allocate_nothing():
    x, scales = np.ones((9, 64, 16), np.float32), np.empty(64, np.float32)
    labels, shown = np.zeros(64, np.int32), np.empty(64, np.int32)
    scores = np.zeros((64, 20), np.float32)

    def step():
        fixed_scales(np.float32(1), 0, 64, scales)
        embed_label(x, 0, 64, 100, 20, labels, scales, False)
        wrong_labels(scores, 64, labels, 1, 0, shown)

    assert_allocates_nothing(step)
