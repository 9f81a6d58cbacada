"""Weight updates: SGD, momentum and Adam against their formulas."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    WIDE,
    WIDTHS,
    assert_allocates_nothing,
    assert_close,
    assert_no_denormals,
    assert_padding_is_zero,
    compiled_only,
    sparse_rows,
    workspace,
)

from ffedge.kernels.optimize import adam, flush, momentum, sgd, sgd_layer
from ffedge.kernels.simd import PANELS, TINY
from ffedge.kernels.simd import ROWS as TILE_ROWS

pytestmark = pytest.mark.kernels

SHAPES = [(i, w) for i in WIDTHS for w in WIDTHS] + [(17, w) for w in WIDE]
F = np.float32
BETA, RATE, KEEP = 0.9, 0.125, 0.75
BETA1, BETA2, EPSILON = 0.5, 0.75, 1e-3


def new_tile():
    return np.full((PANELS, TILE_ROWS, 16), np.nan, np.float32)


def batch(inputs, width, rows):
    random = np.random.default_rng([inputs, width, rows])
    X, D = sparse_rows(random, rows, inputs), random.normal(size=(rows, width)) / rows
    W, V = random.normal(size=(2, inputs, width))
    x = reference.pack_rows(X, rows + 1, unused=np.nan)
    delta = reference.pack_rows(D, rows + 2, unused=np.nan)
    return x, delta, X.T @ D, W, V


def assert_packed(array, wanted):
    assert_close(reference.unpack_weights(array, wanted.shape[1]), wanted)
    assert_padding_is_zero(array, wanted.shape[1])


@pytest.mark.parametrize(("inputs", "width"), SHAPES)
def test_sgd_equals_the_oracle(inputs, width):
    for rows in ROWS:
        x, delta, gradient, W, _ = batch(inputs, width, rows)
        weight = reference.pack_weights(W)

        sgd(x, rows, delta, *workspace(inputs), weight, F(KEEP))

        assert_packed(weight, KEEP * W + gradient)


def test_a_layers_sgd_is_that_of_its_weights_and_of_a_bias_with_input_one():
    x, delta, _, W, V = batch(19, 37, 6)
    weight, bias = reference.pack_weights(W), reference.pack_weights(V[:1])
    ones = np.zeros((1, delta.shape[1], 16), F)
    ones[:, :, 0] = 1.0
    wanted_weight, wanted_bias = weight.copy(), bias.copy()
    sgd(x, 6, delta, *workspace(19), wanted_weight, F(KEEP))
    sgd(ones, 6, delta, *workspace(19), wanted_bias, F(KEEP))

    sgd_layer(x, 6, delta, *workspace(19), weight, bias, F(KEEP))

    np.testing.assert_array_equal(weight, wanted_weight)
    np.testing.assert_allclose(bias, wanted_bias, rtol=1e-5, atol=1e-6)


def test_sgd_without_decay_keeps_the_bits_of_weights_without_gradient():
    W = np.random.default_rng(0).normal(size=(5, 20))
    weight = reference.pack_weights(W)
    x, delta = np.zeros((1, 3, 16), np.float32), np.ones((2, 3, 16), np.float32)

    sgd(x, 3, delta, *workspace(5), weight, F(1))

    assert weight.tobytes() == reference.pack_weights(W).tobytes()


@pytest.mark.parametrize(("inputs", "width"), SHAPES)
def test_momentum_equals_the_oracle(inputs, width):
    for rows in ROWS:
        x, delta, gradient, W, V = batch(inputs, width, rows)
        weight, velocity = reference.pack_weights(W), reference.pack_weights(V)

        momentum(x, rows, delta, weight, velocity, new_tile(), F(RATE), F(BETA), F(KEEP))

        assert_packed(velocity, BETA * V + gradient)
        assert_packed(weight, KEEP * W + RATE * (BETA * V + gradient))


@pytest.mark.parametrize(("inputs", "width"), SHAPES)
def test_adam_equals_the_oracle(inputs, width):
    for rows in ROWS:
        x, delta, gradient, W, V = batch(inputs, width, rows)
        weight, mean = reference.pack_weights(W), reference.pack_weights(V)
        square = reference.pack_weights(V**2)

        adam(
            x, rows, delta, weight, mean, square, new_tile(),
            F(RATE), F(BETA1), F(BETA2), F(EPSILON), F(KEEP),
        )  # fmt: skip

        M = BETA1 * V + (1 - BETA1) * gradient
        S = BETA2 * V**2 + (1 - BETA2) * gradient**2
        assert_packed(mean, M)
        assert_packed(square, S)
        assert_packed(weight, KEEP * W + RATE * M / (np.sqrt(S) + EPSILON))


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 2e-30, -2e-30, np.inf])
def test_flush_keeps_what_is_large_enough(value):
    assert flush(F(value)) == F(value)


@pytest.mark.parametrize("value", [TINY, -TINY, F(1e-31), F(1e-38), F(-1e-45), F(0)])
def test_flush_makes_zero_of_what_could_become_denormal(value):
    assert flush(value) == 0.0


def vanishing(step):
    """A row whose gradient shrinks to nothing; the padding lanes are zero throughout."""
    x = reference.pack_rows(np.ones((1, 2)))
    return x, reference.pack_rows(np.full((1, 3), 0.7**step if step < 250 else 0.0))


def test_a_vanishing_gradient_leaves_momentum_no_denormals():
    weight, velocity = np.zeros((1, 2, 16), np.float32), np.zeros((1, 2, 16), np.float32)
    tile = new_tile()
    for step in range(3000):
        x, delta = vanishing(step)

        momentum(x, 1, delta, weight, velocity, tile, F(0.01), F(0.9), F(1))

        assert_no_denormals(weight, velocity)
    assert not velocity.any()
    assert weight[:, :, :3].all()


def test_a_vanishing_gradient_leaves_adam_no_denormals():
    weight, mean, square = np.zeros((3, 1, 2, 16), np.float32)
    tile = new_tile()
    for step in range(4000):
        x, delta = vanishing(step)

        adam(
            x, 1, delta, weight, mean, square, tile,
            F(0.001), F(0.9), F(0.97), F(1e-8), F(1),
        )  # fmt: skip

        assert_no_denormals(weight, mean, square)
    assert not mean.any()
    assert not square.any()
    assert weight[:, :, :3].all()


@compiled_only
@pytest.mark.parametrize("rows", [1, 64])
def test_optimisers_allocate_nothing(rows):
    x, delta = np.ones((5, rows, 16), np.float32), np.ones((9, rows, 16), np.float32)
    weight, mean, square = np.ones((3, 9, 80, 16), np.float32)
    lists, tile = workspace(80), new_tile()
    a, b, keep = F(0.1), F(0.9), F(0.99)

    assert_allocates_nothing(lambda: sgd(x, rows, delta, *lists, weight, keep))
    assert_allocates_nothing(lambda: momentum(x, rows, delta, weight, mean, tile, a, b, keep))
    assert_allocates_nothing(
        lambda: adam(x, rows, delta, weight, mean, square, tile, a, b, b, a, keep)
    )
