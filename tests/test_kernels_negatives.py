"""Negative features and pairs of samples, against plain NumPy."""

import numpy as np
import pytest
import reference
from checks import (
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_padding_is_zero,
    assert_rows,
    compiled_only,
    output,
)

from ffedge.kernels import negatives
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

#: Rows and width: one panel, an uneven one, several.
SHAPES = [(1, 3), (2, 16), (5, 17), (7, 35)]


def batch_of(X):
    """Rows of X in panels with room for as many negatives, and for one row that nobody touches."""
    rows, width = X.shape
    x = output(width, 2 * rows + 1)
    x[:, :rows] = reference.pack_rows(X)
    x[:, rows:-1] = 0.0
    return x


def negatives_in(x, rows, width):
    """The rows that were made; what lies around them is as it was."""
    assert (x[:, 2 * rows :] == UNTOUCHED).all()
    assert_padding_is_zero(x[:, : 2 * rows], width)
    return reference.unpack_rows(x, 2 * rows, width)[rows:]


def samples(rows, width):
    return np.random.default_rng([rows, width]).normal(size=(rows, width)).astype(np.float32)


def test_a_shift_leads_to_another_sample_and_to_each_of_them():
    found = [negatives.partner_shift(5, n, 4) for n in range(200)]

    assert set(found) == {1, 2, 3}
    assert min(found.count(shift) for shift in (1, 2, 3)) > 40


def test_a_batch_of_one_has_no_other_sample():
    assert negatives.partner_shift(5, 0, 1) == 0


@pytest.mark.parametrize("blurs", [0, 1, 6])
@pytest.mark.parametrize("size", [(28, 28), (5, 1), (1, 1), (3, 8)])
def test_a_mask_of_blobs_equals_the_oracle(size, blurs):
    mask = np.full(size, np.float32(np.nan))

    negatives.blob_mask(77, blurs, mask)

    wanted = reference.blob_mask(77, *size, blurs)
    assert mask.tolist() == wanted.tolist()


def test_blurring_makes_large_blobs_of_about_half_of_the_cells():
    masks = [np.empty((28, 28), np.float32) for _ in range(40)]
    borders = []
    for seed, mask in enumerate(masks):
        negatives.blob_mask(seed, 6, mask)
        borders.append(np.mean(mask[:, 1:] != mask[:, :-1]))

    assert 0.45 < np.mean(masks) < 0.55
    assert np.mean(borders) < 0.2  # of random bits it is a half


@pytest.mark.parametrize(
    ("rows", "size", "channels"), [(3, (4, 4), 1), (2, (9, 1), 3), (1, (5, 1), 1)]
)
def test_a_hybrid_takes_every_value_from_the_sample_that_its_mask_names(rows, size, channels):
    width = size[0] * size[1] * channels
    X = samples(rows, width)
    x, mask = batch_of(X), np.empty(size, np.float32)

    negatives.hybrid(x, rows, 1 % rows, width, channels, 9, 100, 2, mask)

    made = negatives_in(x, rows, width)
    for r in range(rows):
        kept = reference.blob_mask(reference.bits(9, 100 + r), *size, 2).repeat(channels)
        assert_close(made[r], np.where(kept > 0, X[r], X[(r + 1) % rows]), 0)


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_mixed_rows_lie_between_their_two_samples(rows, width):
    X, shift = samples(rows, width), 1 % rows
    x = batch_of(X)

    negatives.mixed(x, rows, shift, np.float32(0.3), np.float32(0.7), 9, 100)

    made = negatives_in(x, rows, width)
    for r in range(rows):
        a = 0.3 + 0.4 * reference.uniform(reference.bits(9, 100 + r), 0)
        assert_close(made[r], a * X[r] + (1 - a) * X[(r + shift) % rows], 1e-6)


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_pairs_are_sums_of_a_sample_with_itself_and_with_another(rows, width):
    X, shift = samples(rows, width), 2 % rows
    x = batch_of(X)

    negatives.paired(x, rows, shift)

    assert_close(negatives_in(x, rows, width), X + np.roll(X, -shift, axis=0), 1e-6)
    assert_close(reference.unpack_rows(x, rows, width), 2 * X, 0)


PARTS = ("shuffled", "zeroed", "dropped", "noise", "offset")


def corrupted(X, channels=1, counter=100, **parts):
    """What ``kernels.negatives.corrupted`` makes of X with these chances."""
    rows, width = X.shape
    x = batch_of(X)
    given = [np.float32(parts.get(n, 0)) for n in PARTS]
    negatives.corrupted(x, rows, width, channels, *given, 9, counter)
    assert_close(reference.unpack_rows(x, rows, width), X, 0)
    return negatives_in(x, rows, width)


def test_shuffled_values_are_another_samples_of_the_same_feature():
    X = samples(6, 400)

    made = corrupted(X, shuffled=0.5)

    assert all(np.isin(made[:, j], X[:, j]).all() for j in range(400))
    # A sixth of what is drawn is the sample's own.
    assert 0.38 < np.mean(made != X) < 0.46


def test_zeroed_values_are_zero_and_the_others_are_left_alone():
    X = samples(6, 400)

    made = corrupted(X, zeroed=0.25)

    assert 0.22 < np.mean(made == 0) < 0.28
    assert (made[made != 0] == X[made != 0]).all()


def test_a_dropped_channel_is_silent_at_every_step():
    X = samples(40, 60)

    made = corrupted(X, channels=6, dropped=0.3).reshape(40, 10, 6)

    silent = (made == 0).all(axis=1)
    assert ((made == 0).any(axis=1) == silent).all()
    assert 0.2 < silent.mean() < 0.4


def test_noise_has_its_deviation_and_no_mean():
    X = samples(20, 500)

    difference = corrupted(X, noise=0.5) - X

    assert abs(difference.mean()) < 0.02
    assert_close(difference.std(), 0.5, 0.02)


def test_an_offset_is_the_same_at_every_step_of_its_channel_and_another_in_each():
    X = samples(200, 12)

    difference = (corrupted(X, channels=3, offset=2.0) - X).reshape(200, 4, 3)

    assert_close(difference, np.repeat(difference[:, :1], 4, axis=1), 1e-5)
    assert abs(np.corrcoef(difference[:, 0].T)[0, 1]) < 0.2
    assert 1.7 < difference[:, 0].std() < 2.3


@pytest.mark.parametrize("parts", [{"shuffled": 0.5}, {"noise": 1.0}, {"zeroed": 0.5}])
def test_corruption_depends_on_seed_and_counter_alone(parts):
    X = samples(3, 30)

    first, again, later = (corrupted(X, counter=c, **parts) for c in (100, 100, 103))

    assert first.tobytes() == again.tobytes() != later.tobytes()


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_decoder_errors_are_the_scaled_difference(rows, width):
    X, D = samples(rows, width), samples(rows + 1, width) * 2
    errors = output(width, rows + 2)

    total = negatives.decoder_errors(batch_of(X), rows, D, np.float32(0.5), errors)

    assert_rows(errors, rows, 0.5 * (X - D[:rows]), 1e-6)
    assert_close(total, np.sum((X - D[:rows]) ** 2), 1e-5)


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_what_is_decoded_becomes_the_negative_rows(rows, width):
    D, x = samples(rows, width), batch_of(samples(rows, width))

    negatives.write_decoded(D, rows, np.float32(0), 9, 100, x)

    assert_close(negatives_in(x, rows, width), D, 0)


def test_disturbed_units_stay_at_or_above_zero_and_silent_ones_silent():
    Y = np.maximum(samples(20, 33), 0)
    y = reference.pack_rows(Y)

    negatives.disturb(y, 20, np.float32(1.0), 9, 100)

    made = reference.unpack_rows(y, 20, 33)
    assert (made >= 0).all()
    assert (made[Y == 0] == 0).all()
    assert 0.8 < made.sum() / Y.sum() < 1.4


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_pair_goodness_and_delta_equal_the_oracle(rows, width):
    Z, shift = samples(rows, width).astype(float) * 2, 1 % rows
    z = reference.pack_rows(Z, rows + 1, unused=np.nan)
    found, delta = np.full((2, rows + 1), UNTOUCHED), output(width, rows + 2)
    high, low, restraint = 2.0, 1.0, 0.01

    negatives.pair_goodness(z, rows, shift, width, found)
    goodness = found[:, :rows].copy()
    loss, right = negatives.pair_delta(
        z, rows, shift, width, np.float32(high), np.float32(low), np.float32(restraint),
        np.float32(1 / rows), found, delta,
    )  # fmt: skip

    wanted = reference.pair_goodness(Z, shift)
    assert_close(goodness, wanted, 1e-5)
    assert (found[:, rows:] == UNTOUCHED).all()
    assert right == (wanted[0] > high).sum() + (wanted[1] < low).sum()

    def mean_loss(Z):
        return reference.pair_loss(Z, shift, high, low, restraint)

    assert_close(loss / rows, mean_loss(Z), 1e-5)
    assert_rows(delta, rows, -reference.central_differences(mean_loss, Z), 1e-5)


@compiled_only
def test_kernels_of_negatives_allocate_nothing():
    x, mask = np.ones((49, 128, 16), np.float32), np.empty((28, 28), np.float32)
    goodness, delta = np.empty((2, 128), np.float32), np.empty((49, 128, 16), np.float32)
    one, half = np.float32(1), np.float32(0.5)

    assert_allocates_nothing(lambda: negatives.hybrid(x, 64, 3, 784, 1, 9, 100, 6, mask))
    assert_allocates_nothing(lambda: negatives.mixed(x, 64, 3, half, half, 9, 100))
    assert_allocates_nothing(
        lambda: negatives.corrupted(x, 64, 784, 1, half, half, half, half, half, 9, 100)
    )
    assert_allocates_nothing(lambda: negatives.pair_goodness(x, 64, 3, 784, goodness))
    assert_allocates_nothing(
        lambda: negatives.pair_delta(x, 64, 3, 784, one, one, half, half, goodness, delta)
    )
