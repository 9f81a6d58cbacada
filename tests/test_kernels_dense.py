"""The fully connected layer: forward product, gradient step and the listing of non-zeros."""

import numpy as np
import pytest
import reference
from checks import (
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
    not_in_library,
    output,
    repeatable,
    sparse_rows,
    workspace,
)
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.dense import (
    add_gradient,
    add_product,
    dense_forward,
    gradient_tile,
    list_nonzero,
)
from ffedge.kernels.simd import PANELS
from ffedge.kernels.simd import ROWS as TILE_ROWS

pytestmark = pytest.mark.kernels

SHAPES = [(i, w) for i in WIDTHS for w in WIDTHS] + [(17, w) for w in WIDE] + [(145, 17)]


def layer(random, inputs, width):
    W = random.normal(size=(inputs, width)) / np.sqrt(inputs)
    b = random.normal(size=(1, width))
    return W, b, reference.pack_weights(W), reference.pack_weights(b)


def forward(X, weight, bias, capacity, width):
    x = reference.pack_rows(X, capacity, unused=np.nan)
    out = output(width, capacity)
    dense_forward(x, len(X), weight, bias, *workspace(X.shape[1]), out)
    return out


@pytest.mark.parametrize(("inputs", "width"), SHAPES)
def test_dense_forward_equals_the_oracle_for_any_number_of_rows(inputs, width):
    random = np.random.default_rng(inputs * 1000 + width)
    W, b, weight, bias = layer(random, inputs, width)
    for rows in ROWS:
        X = sparse_rows(random, rows, inputs)

        out = forward(X, weight, bias, rows + 3, width)

        assert_rows(out, rows, reference.dense(X, W, b))


@repeatable(30)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20), st.integers(0, 9))
def test_dense_forward_equals_the_oracle_for_random_shapes(inputs, width, rows, spare):
    random = np.random.default_rng([inputs, width, rows])
    W, b, weight, bias = layer(random, inputs, width)
    X = random.normal(size=(rows, inputs))

    out = forward(X, weight, bias, rows + spare, width)

    assert_rows(out, rows, reference.dense(X, W, b))


@pytest.mark.parametrize("width", [*WIDTHS, *WIDE])
def test_dense_forward_gives_a_row_the_same_bits_alone_and_among_others(width):
    random = np.random.default_rng(width)
    _, _, weight, bias = layer(random, 37, width)
    X = sparse_rows(random, 13, 37)

    def rows_of(X):
        return forward(X, weight, bias, len(X), width).transpose(1, 0, 2).copy()

    assert_rows_do_not_depend_on_neighbours(rows_of, X)


def test_dense_forward_of_silence_is_the_rectified_bias():
    bias = reference.pack_weights(np.array([[1.5, -1.5, 0.0]]))
    weight = reference.pack_weights(np.ones((4, 3)))

    out = forward(np.zeros((9, 4)), weight, bias, 9, 3)

    assert reference.unpack_rows(out, 9, 3).tolist() == [[1.5, 0.0, 0.0]] * 9


@not_in_library
@pytest.mark.parametrize("width", [1, 17, 33, 65])
def test_add_product_adds_to_what_is_there(width):
    random = np.random.default_rng(width)
    W, _, weight, _ = layer(random, 19, width)
    for rows in ROWS:
        X, before = sparse_rows(random, rows, 19), random.normal(size=(rows, width))
        out = reference.pack_rows(before, rows + 2, unused=UNTOUCHED)

        x = reference.pack_rows(X, rows + 1, unused=np.nan)
        add_product(x, rows, weight, *workspace(19), out)

        assert_rows(out, rows, before + X @ W)


@not_in_library
@pytest.mark.parametrize("inputs", WIDTHS)
def test_list_nonzero_lists_the_inputs_of_its_row_in_order(inputs):
    random = np.random.default_rng(inputs)
    X = sparse_rows(random, 5, inputs)
    X[2, inputs - 1] = -1.0
    x = reference.pack_rows(X, 6, unused=np.nan)
    index, offset = np.full(inputs, -1, np.int32), np.full(inputs, -1, np.int64)

    count = list_nonzero(x, 2, inputs, index, offset)

    wanted = np.flatnonzero(X[2])
    assert index[:count].tolist() == wanted.tolist()
    assert x.reshape(-1)[2 * 16 + offset[:count]].tolist() == np.float32(X[2, wanted]).tolist()
    assert (index[count:] == -1).all()


@not_in_library
@pytest.mark.parametrize("row", [np.zeros(17), np.ones(17)])
def test_list_nonzero_counts_none_and_all(row):
    index, offset = workspace(17)

    count = list_nonzero(reference.pack_rows(row[None]), 0, 17, index, offset)

    assert count == np.count_nonzero(row)


@pytest.mark.parametrize(("inputs", "width"), SHAPES)
def test_add_gradient_equals_the_oracle_for_any_number_of_rows(inputs, width):
    random = np.random.default_rng(inputs * 1000 + width)
    for rows in ROWS:
        X, D = sparse_rows(random, rows, inputs), random.normal(size=(rows, width)) / rows
        W = random.normal(size=(inputs, width))
        weight = reference.pack_weights(W)

        x = reference.pack_rows(X, rows + 2, unused=np.nan)
        delta = reference.pack_rows(D, rows + 5, unused=np.nan)
        add_gradient(x, rows, delta, *workspace(inputs), weight)

        assert_close(reference.unpack_weights(weight, width), W + X.T @ D)
        assert_padding_is_zero(weight, width)


@repeatable(30)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_add_gradient_equals_the_oracle_for_random_shapes(inputs, width, rows):
    random = np.random.default_rng([inputs, width, rows])
    X, D = random.normal(size=(rows, inputs)), random.normal(size=(rows, width)) / rows
    weight = reference.pack_weights(np.zeros((inputs, width)))

    x, delta = reference.pack_rows(X), reference.pack_rows(D)
    add_gradient(x, rows, delta, *workspace(inputs), weight)

    assert_close(reference.unpack_weights(weight, width), X.T @ D)


def test_a_single_row_leaves_the_weights_of_zero_inputs_alone():
    weight = np.full((3, 4, 16), UNTOUCHED)
    x = reference.pack_rows(np.array([[0.0, 1.0, 0.0, 2.0]]))
    delta = np.full((3, 1, 16), np.inf, np.float32)  # even 0 * infinity would leave its trace

    add_gradient(x, 1, delta, *workspace(4), weight)

    assert (weight[:, [0, 2]] == UNTOUCHED).all()
    assert np.isinf(weight[:, [1, 3]]).all()


@not_in_library
@pytest.mark.parametrize("inputs", [1, 2, 15, 16, 17, 33])
@pytest.mark.parametrize("wide", [False, True])
def test_gradient_tile_writes_its_inputs_and_nothing_behind_them(inputs, wide):
    random = np.random.default_rng(inputs)
    panels = PANELS if wide else 1
    width = panels * 16
    X, D = random.normal(size=(5, inputs)), random.normal(size=(5, width))
    x, delta = reference.pack_rows(X), reference.pack_rows(D)
    wanted = X.T @ D
    for i in range(0, inputs, TILE_ROWS):
        tile = np.full((panels, TILE_ROWS + 1, 16), UNTOUCHED)
        used = min(TILE_ROWS, inputs - i)
        tile[:, :used] = 0.0

        gradient_tile(x, 5, delta, 0, wide, i, inputs, tile, 0, (TILE_ROWS + 1) * 16)

        assert_close(reference.unpack_rows(tile, used, width), wanted[i : i + used])
        assert (tile[:, used:] == UNTOUCHED).all()


@compiled_only
@pytest.mark.parametrize("rows", [1, 13])
def test_dense_kernels_allocate_nothing(rows):
    x, delta = np.ones((5, rows, 16), np.float32), np.ones((9, rows, 16), np.float32)
    weight, bias = np.ones((9, 80, 16), np.float32), np.ones((9, 1, 16), np.float32)
    index, offset = workspace(80)

    def step():
        dense_forward(x, rows, weight, bias, index, offset, delta)
        add_gradient(x, rows, delta, index, offset, weight)

    assert_allocates_nothing(step)
