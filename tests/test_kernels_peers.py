"""Peer normalisation: running means, and the pull towards the mean of means."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    WIDTHS,
    assert_allocates_nothing,
    assert_no_denormals,
    assert_rows,
    compiled_only,
    sparse_rows,
)

from ffedge.kernels.peers import add_peers, track_means

pytestmark = pytest.mark.kernels


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


@pytest.mark.parametrize("width", WIDTHS)
def test_the_pull_is_added_to_the_first_rows_only(width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        before, means = random.normal(size=(rows + 2, width)), random.normal(size=(1, width))
        delta = reference.pack_rows(before)

        add_peers(rows, width, reference.pack_rows(means), np.float32(0.25), delta)

        before[:rows] += 0.25 * (means.mean() - means)
        assert_rows(delta, rows + 2, before, 1e-5)


def test_padding_lanes_of_the_means_do_not_count():
    means, delta = np.full((1, 1, 16), np.float32(0.5)), np.zeros((1, 2, 16), np.float32)

    add_peers(2, 2, means, np.float32(1), delta)

    assert not delta.any()


@compiled_only
def test_peer_kernels_allocate_nothing():
    y, means = np.ones((9, 64, 16), np.float32), np.ones((9, 1, 16), np.float32)

    def step():
        track_means(y, 64, np.float32(0.1), means)
        add_peers(32, 144, means, np.float32(0.1), y)

    assert_allocates_nothing(step)
