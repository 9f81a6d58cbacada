"""Activations beside the ReLU: value and derivative against plain numpy."""

import numpy as np
import pytest
import reference
from checks import (
    ROWS,
    WIDTHS,
    assert_allocates_nothing,
    assert_close,
    assert_no_denormals,
    assert_rows,
    assert_rows_do_not_depend_on_neighbours,
    compiled_only,
    output,
)

from ffedge.activations import ACTIVATIONS, Leaky, ReLU, Standout, StudentT, Triangle
from ffedge.kernels.activations import dense_sums
from ffedge.kernels.provider import LIBRARY

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library"),
]

ALL = [ReLU(), Leaky(), Leaky(slope=0.5), Triangle(), Standout(), StudentT(), StudentT(nu=5.0)]


def value(activation, Z):
    """What the papers say, in float64."""
    if isinstance(activation, ReLU):
        return np.maximum(Z, 0)
    if isinstance(activation, Leaky):
        return np.where(Z > 0, Z, activation.slope * Z)
    if isinstance(activation, Triangle):
        return np.maximum(Z - Z.mean(axis=1, keepdims=True), 0)
    if isinstance(activation, Standout):
        mean, deviation = Z.mean(axis=1, keepdims=True), Z.std(axis=1, keepdims=True)
        return np.maximum(Z - mean - activation.offset * deviation, 0)
    return (activation.nu + 1) / 2 * np.log(1 + Z**2 / activation.nu)


def buffers(activation, Z, unused=np.nan):
    """Sums in panels, and where they are kept."""
    out = reference.pack_rows(Z, len(Z) + 1, unused=unused)
    return out, np.full_like(out, 7.5) if activation.keeps_sums else out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_values_equal_the_oracle_and_padding_stays_zero(activation, width):
    random = np.random.default_rng(width)
    for rows in ROWS:
        # A mean far below zero would wake idle lanes of a careless triangle.
        Z = random.normal(size=(rows, width)) * 3 - (rows % 3)
        out, sums = buffers(activation, Z, unused=7.5)

        activation.apply(out, rows, width, sums)

        assert_rows(out, rows, value(activation, Z), 1e-5)
        if activation.keeps_sums:
            assert_rows(sums, rows, Z, 1e-6)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_the_gate_is_the_derivative_by_finite_differences(activation, width):
    random = np.random.default_rng([width, 1])
    for rows in ROWS[:4]:
        Z, E = random.normal(size=(2, rows, width))
        out, sums = buffers(activation, Z)
        delta = reference.pack_rows(E, rows + 2, unused=7.5)
        activation.apply(out, rows, width, sums)

        activation.gate(delta, rows, width, out, sums)

        def loss(z, E=E):
            return (E * value(activation, z)).sum()

        assert_rows(delta, rows, reference.central_differences(loss, Z), 2e-5)


@pytest.mark.parametrize("nu", [0.1, 1.0, 1000.0])
def test_a_t_density_survives_any_sum(nu):
    Z = np.array([[0.0, 1e-30, -1e-20, 1e30, -1e30, 3e38]])
    activation = StudentT(nu)
    out, sums = buffers(activation, Z)
    delta = reference.pack_rows(np.ones_like(Z), 2)

    activation.apply(out, 1, 6, sums)
    activation.gate(delta, 1, 6, out, sums)

    assert np.isfinite(out[:, :1]).all()
    assert np.isfinite(delta[:, :1]).all()
    assert out[0, 0, 0] == delta[0, 0, 0] == 0
    assert_no_denormals(out[:, :1], delta[:, :1])


def test_a_t_density_without_a_buffer_of_its_own_for_sums_gives_the_same_bits():
    Z = np.random.default_rng(0).normal(size=(5, 33))
    kept, sums = buffers(StudentT(), Z)
    out = reference.pack_rows(Z, 6)

    StudentT().apply(kept, 5, 33, sums)
    StudentT().apply(out, 5, 33, out)

    assert out[:, :5].tobytes() == kept[:, :5].tobytes()


def test_triangle_sends_the_error_of_active_units_to_all_others():
    y = reference.pack_rows(np.array([[2.0, 0.0, 0.0, 0.0]]))
    delta = reference.pack_rows(np.array([[4.0, 9.0, 9.0, 9.0]]))

    Triangle().gate(delta, 1, 4, y, y)

    assert reference.unpack_rows(delta, 1, 4).tolist() == [[3.0, -1.0, -1.0, -1.0]]


@pytest.mark.parametrize("width", WIDTHS)
def test_sums_are_the_product_and_the_bias(width):
    random = np.random.default_rng(width)
    X, W, b = random.normal(size=(7, 9)), random.normal(size=(9, width)), random.normal(size=width)
    index, offset = np.empty(9, np.int32), np.empty(9, np.int64)
    out = output(width, 8)

    dense_sums(
        reference.pack_rows(X, 9), 7, reference.pack_weights(W), reference.pack_weights(b[None]),
        index, offset, out,
    )  # fmt: skip

    assert_rows(out, 7, X @ W + b)


@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_activity_does_not_depend_on_neighbours(activation):
    def activity(Z):
        out, sums = buffers(activation, Z)
        activation.apply(out, len(Z), 33, sums)
        return out[:, : len(Z)].transpose(1, 0, 2).copy()

    assert_rows_do_not_depend_on_neighbours(
        activity, np.random.default_rng(2).normal(size=(13, 33))
    )


@compiled_only
@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_activations_allocate_nothing(activation):
    out, sums, delta = (np.ones((9, 64, 16), np.float32) for _ in range(3))

    assert_allocates_nothing(lambda: activation.apply(out, 64, 144, sums))
    assert_allocates_nothing(lambda: activation.gate(delta, 64, 144, out, sums))


def test_every_activation_is_tried_here():
    assert {type(each) for each in ALL} == set(ACTIVATIONS.values())
    for activation in ALL:
        Z = -np.ones((1, 5))
        out, sums = buffers(activation, Z)
        activation.apply(out, 1, 5, sums)
        assert activation.nonnegative == bool((out[:, 0] >= 0).all())
        assert_close(reference.unpack_rows(out, 1, 5), value(activation, Z), 1e-6)
