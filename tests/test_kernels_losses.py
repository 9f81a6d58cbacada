"""Local losses: values, and slopes by finite differences of the oracle's."""

import numpy as np
import pytest
import reference
from checks import (
    UNTOUCHED,
    assert_allocates_nothing,
    assert_close,
    assert_no_denormals,
    compiled_only,
    not_in_library,
)

from ffedge.kernels.losses import paired_slopes, threshold_slopes

pytestmark = pytest.mark.kernels

ONE = np.float32(1)


def threshold_loss(g, half, threshold, sharpness):
    """Per sample, from goodness (2 * half, terms): half the sum of both rows', mean over terms."""
    positive = np.arange(2 * half)[:, None] < half
    losses = reference.threshold_losses(sharpness * g, positive, sharpness * threshold)
    return (losses[:half] + losses[half:]).mean(axis=1) / 2


def paired_loss(swish):
    def loss(g, half, threshold, sharpness):
        u = -sharpness * (g[:half] - g[half:])
        each = u * reference.sigmoid(u) if swish else np.logaddexp(0.0, u)
        return each.mean(axis=1)

    return loss


def threshold_kernel(goodness, half, terms, threshold, sharpness, scale, slopes):
    return threshold_slopes(
        goodness, half, terms, np.float32(threshold), np.float32(sharpness), scale, slopes
    )


def paired_kernel(swish):
    def kernel(goodness, half, terms, threshold, sharpness, scale, slopes):
        return paired_slopes(goodness, half, terms, np.float32(sharpness), swish, scale, slopes)

    return kernel


PAIRS = [pytest.param(threshold_loss, threshold_kernel, 2.0, id="threshold")] + [
    pytest.param(paired_loss(swish), paired_kernel(swish), 1.0, id=name, marks=not_in_library)
    for swish, name in ((False, "symba"), (True, "swish"))
]  # fmt: skip


@pytest.mark.parametrize(("loss", "kernel", "factor"), PAIRS)
@pytest.mark.parametrize("terms", [1, 3])
@pytest.mark.parametrize("half", [1, 5])
def test_slopes_are_the_losss_finite_differences(loss, kernel, factor, terms, half):
    g = np.random.default_rng([terms, half]).normal(size=(2 * half, terms)) * 2
    goodness = np.full((2 * half + 1, terms + 1), np.nan, np.float32)
    goodness[: 2 * half, :terms] = g
    slopes = np.full((2 * half + 1, terms + 1), UNTOUCHED)

    told, right = kernel(goodness, half, terms, 0.5, 1.5, np.float32(0.25), slopes)

    step = 1e-5
    for r in range(2 * half):
        for t in range(terms):
            up, down = g.copy(), g.copy()
            up[r, t] += step
            down[r, t] -= step
            both = [loss(x, half, 0.5, 1.5).sum() for x in (up, down)]
            # The threshold's loss is reported per row of a sample, but learned of both.
            slope = -0.25 * factor * (both[0] - both[1]) / (2 * step)
            assert slopes[r, t] == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert told == pytest.approx(loss(g, half, 0.5, 1.5).sum(), rel=1e-5)
    assert 0 <= right <= half
    assert (slopes[2 * half] == UNTOUCHED).all()
    assert (slopes[:, terms] == UNTOUCHED).all()


def test_samples_on_the_right_side_are_counted_by_rows_and_terms():
    goodness = np.float32([[2.0], [0.5], [0.5], [2.0]])

    _, right = threshold_slopes(goodness, 2, 1, ONE, ONE, ONE, np.empty((4, 1), np.float32))

    assert right == 1.0


@not_in_library
def test_a_pair_is_right_where_the_positive_row_is_better():
    goodness = np.float32([[2.0], [0.5], [0.5], [2.0]])

    _, right = paired_slopes(goodness, 2, 1, ONE, True, ONE, np.empty((4, 1), np.float32))

    assert right == 1.0


@not_in_library
def test_the_swish_loss_pushes_well_separated_pairs_no_further():
    goodness, slopes = np.float32([[9.0], [0.0]]), np.empty((2, 1), np.float32)

    paired_slopes(goodness, 1, 1, ONE, True, ONE, slopes)

    assert slopes[0, 0] < 0
    assert slopes[1, 0] == -slopes[0, 0]


@pytest.mark.parametrize("margin", [0.0, 20.0, 40.0, 100.0, 1e30])
def test_any_margin_gives_finite_losses_and_no_denormal_slope(margin):
    sure, lost = np.empty((2, 1), np.float32), np.empty((2, 1), np.float32)
    right_side = np.float32([[2 + margin], [2 - margin]])

    little, _ = threshold_slopes(right_side, 1, 1, np.float32(2), ONE, ONE, sure)
    much, _ = threshold_slopes(right_side[::-1].copy(), 1, 1, np.float32(2), ONE, ONE, lost)

    exact = threshold_loss(right_side.astype(float), 1, 2.0, 1.0).sum()
    assert little == pytest.approx(exact, rel=1e-5, abs=1e-12)
    assert much == pytest.approx(little + margin, rel=1e-6)
    assert_no_denormals(sure, lost)
    assert_close(lost[:, 0], [reference.sigmoid(margin), -reference.sigmoid(margin)])
    if margin > 30:
        assert not sure.any()


@compiled_only
def test_loss_kernels_allocate_nothing():
    goodness, slopes = np.ones((64, 1), np.float32), np.empty((64, 1), np.float32)

    def step():
        threshold_slopes(goodness, 32, 1, ONE, ONE, ONE, slopes)

    assert_allocates_nothing(step)
