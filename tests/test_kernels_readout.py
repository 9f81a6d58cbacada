"""Class readout: scores, the delta it sends back, and the frozen matrix made from a seed."""

import numpy as np
import pytest
import reference
from checks import (
    CLASSES,
    ROWS,
    UNTOUCHED,
    WIDE,
    WIDTHS,
    assert_allocates_nothing,
    assert_close,
    assert_padding_is_zero,
    assert_rows,
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    output,
    sparse_rows,
    workspace,
)

from ffedge.kernels.readout import (
    frozen_delta,
    frozen_panel,
    frozen_scores,
    readout_delta,
    readout_scores,
)

pytestmark = pytest.mark.kernels

SHAPES = [(w, c) for w in WIDTHS for c in (2, 3, 5, 16, 20)]
SHAPES += [(17, c) for c in CLASSES] + [(w, 10) for w in WIDE]
SEED, MAGNITUDE = 2**32 - 1, np.float32(0.5)


def case(width, classes, rows):
    random = np.random.default_rng([width, classes, rows])
    H, M = sparse_rows(random, rows, width), random.normal(size=(classes, width))
    E = random.normal(size=(rows, classes)) / classes
    return H, M, E


def tile_of(classes):
    return np.full((1, classes, 16), np.nan, np.float32)


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_readout_scores_equal_the_oracle(width, classes):
    for rows in ROWS:
        H, M, _ = case(width, classes, rows)
        h = reference.pack_rows(H, rows + 1, unused=np.nan)
        scores = np.full((rows + 2, classes), UNTOUCHED)

        readout_scores(h, rows, reference.pack_weights(M), scores)

        assert_close(scores[:rows], H @ M.T)
        assert (scores[rows:] == UNTOUCHED).all()


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_readout_delta_equals_the_oracle(width, classes):
    for rows in ROWS:
        H, M, E = case(width, classes, rows)
        h = reference.pack_rows(H, rows + 1, unused=np.nan)
        errors = reference.pack_rows(E, rows + 2, unused=np.nan)
        delta = output(width, rows + 3)

        readout_delta(h, rows, errors, reference.pack_weights(M), *workspace(classes), delta)

        assert_rows(delta, rows, reference.readout_delta(H, E, M))


def test_units_that_are_off_get_no_delta():
    h = reference.pack_rows(np.array([[1.0, 0.0, 1e-30]]))
    errors = reference.pack_rows(np.array([[1.0, 1.0]]))
    readout, delta = reference.pack_weights(np.ones((2, 3))), output(3, 1)

    readout_delta(h, 1, errors, readout, *workspace(2), delta)

    assert reference.unpack_rows(delta, 1, 3).tolist() == [[2.0, 0.0, 2.0]]


@pytest.mark.parametrize("classes", [2, 7, 20])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_frozen_panel_holds_the_signs_of_its_seed(width, classes):
    tile = tile_of(classes)
    wanted = reference.frozen_matrix(SEED, classes, width, 0.5)

    for p in range(-(-width // 16)):
        frozen_panel(SEED, p, width, MAGNITUDE, tile)

        part = wanted[:, p * 16 : (p + 1) * 16]
        assert reference.unpack_weights(tile, part.shape[1]).tolist() == part.tolist()
        assert_padding_is_zero(tile, part.shape[1])


def test_frozen_signs_are_balanced_and_differ_by_seed():
    matrices = [reference.frozen_matrix(seed, 20, 100, 1.0) for seed in range(2)]

    assert all(abs(M.mean()) < 4 / np.sqrt(M.size) for M in matrices)
    assert abs((matrices[0] * matrices[1]).mean()) < 4 / np.sqrt(2000)


@pytest.mark.parametrize(("width", "classes"), SHAPES)
def test_a_frozen_readout_equals_the_matrix_of_its_seed(width, classes):
    M = reference.frozen_matrix(SEED, classes, width, 0.5)
    for rows in ROWS:
        H, _, E = case(width, classes, rows)
        h = reference.pack_rows(H, rows + 1, unused=np.nan)
        errors = reference.pack_rows(E, rows + 2, unused=np.nan)
        scores, delta = np.full((rows + 2, classes), UNTOUCHED), output(width, rows + 3)
        frozen = (SEED, width, MAGNITUDE, tile_of(classes))

        frozen_scores(h, rows, *frozen, scores)
        frozen_delta(h, rows, errors, *frozen, *workspace(classes), delta)

        assert_close(scores[:rows], H @ M.T)
        assert (scores[rows:] == UNTOUCHED).all()
        assert_rows(delta, rows, reference.readout_delta(H, E, M))


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("frozen", [False, True])
def test_scores_of_a_row_have_the_same_bits_alone_and_among_others(classes, frozen):
    H, M, _ = case(33, classes, 13)
    readout = reference.pack_weights(M)

    def scores_of(H):
        scores = np.empty((len(H), classes), np.float32)
        if frozen:
            tile = tile_of(classes)
            frozen_scores(reference.pack_rows(H), len(H), 5, 33, MAGNITUDE, tile, scores)
        else:
            readout_scores(reference.pack_rows(H), len(H), readout, scores)
        return scores

    assert_rows_do_not_depend_on_neighbours(scores_of, H)


@compiled_only
def test_readout_kernels_allocate_nothing():
    h, errors = np.ones((9, 64, 16), np.float32), np.ones((2, 64, 16), np.float32)
    readout, delta = np.ones((9, 20, 16), np.float32), np.empty((9, 64, 16), np.float32)
    scores, tile = np.empty((64, 20), np.float32), tile_of(20)
    frozen, lists = (1, 144, MAGNITUDE, tile), workspace(20)

    assert_allocates_nothing(lambda: readout_scores(h, 64, readout, scores))
    assert_allocates_nothing(lambda: readout_delta(h, 64, errors, readout, *lists, delta))
    assert_allocates_nothing(lambda: frozen_scores(h, 64, *frozen, scores))
    assert_allocates_nothing(lambda: frozen_delta(h, 64, errors, *frozen, *lists, delta))
