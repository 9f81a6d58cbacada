"""Optimisers: refusals, steps against the textbook, and the bytes they keep."""

from types import SimpleNamespace

import numpy as np
import pytest
import reference
from checks import PLAIN_PYTHON, assert_close, assert_padding_is_zero, workspace

from ffedge.buffers import plan_training
from ffedge.errors import ConfigError
from ffedge.kernels.simd import PANELS, ROWS
from ffedge.network import Network
from ffedge.optimizers import OPTIMIZERS, SGD, Adam, Momentum, named_optimizer
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout, hinton

INPUTS, UNITS, BATCH = 19, 21, 6
STEPS = 5 if PLAIN_PYTHON else 40
#: Of the schedule: full rate, then falling to nothing.
FACTORS = np.linspace(1.0, 0.0, STEPS)


def run_steps(optimizer):
    """Yields (W, weight, state) at the start, then (gradient, factor, number) after each update."""
    random = np.random.default_rng(1)
    W = random.normal(size=(INPUTS, UNITS))
    weight = reference.pack_weights(W)
    state = [np.zeros_like(weight) for _ in optimizer.state]
    index, offset = workspace(INPUTS)
    tile = np.empty((PANELS, ROWS, 16), np.float32) if state else None
    run = SimpleNamespace(index=index, offset=offset, tile=tile)
    yield W, weight, state
    for step, factor in enumerate(FACTORS):
        X, D = random.normal(size=(BATCH, INPUTS)), random.normal(size=(BATCH, UNITS)) / BATCH
        scaled = reference.pack_rows(D * optimizer.delta_rate(factor))

        x = reference.pack_rows(X)
        optimizer.step(x, BATCH, scaled, weight, state, run, factor, step + 1)

        yield X.T @ D, factor, step + 1


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_sgd_steps_as_the_textbook_says(weight_decay):
    steps = run_steps(SGD(0.2, weight_decay))
    W, weight, _ = next(steps)

    for gradient, factor, _ in steps:
        W = reference.sgd(W, gradient, 0.2 * factor, weight_decay)
        assert_close(reference.unpack_weights(weight, UNITS), W)
    assert_padding_is_zero(weight, UNITS)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_momentum_steps_as_the_textbook_says(weight_decay):
    steps = run_steps(Momentum(0.1, 0.8, weight_decay))
    W, weight, (velocity,) = next(steps)

    V = np.zeros_like(W)
    for gradient, factor, _ in steps:
        W, V = reference.momentum(W, V, gradient, 0.1 * factor, 0.8, weight_decay)
        assert_close(reference.unpack_weights(weight, UNITS), W)
        assert_close(reference.unpack_weights(velocity, UNITS), V)
    assert_padding_is_zero(weight, UNITS)
    assert_padding_is_zero(velocity, UNITS)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)])
def test_adam_steps_as_its_paper_says(beta1, beta2, weight_decay):
    steps = run_steps(Adam(0.05, beta1, beta2, 1e-3, weight_decay))
    W, weight, (mean, square) = next(steps)

    M, S = np.zeros_like(W), np.zeros_like(W)
    for gradient, factor, updates in steps:
        W, M, S = reference.adam(
            W, M, S, gradient, updates, 0.05 * factor, beta1, beta2, 1e-3, weight_decay
        )
        assert_close(reference.unpack_weights(weight, UNITS), W, 1e-4)
        assert_close(reference.unpack_weights(mean, UNITS), M)
        assert_close(reference.unpack_weights(square, UNITS), S)
    for array in (weight, mean, square):
        assert_padding_is_zero(array, UNITS)


@pytest.mark.parametrize("updates", [1, 10**6, 10**12])
def test_adams_bias_correction_lasts_for_any_number_of_updates(updates):
    optimizer = Adam(0.1, 0.9999, 0.999999, 1e-12)
    weight, mean, square = np.zeros((3, 1, 1, 16), np.float32)
    tile = np.empty((PANELS, ROWS, 16), np.float32)
    one = np.ones((1, 1, 16), np.float32)

    optimizer.step(one, 1, one, weight, (mean, square), SimpleNamespace(tile=tile), 1.0, updates)

    wanted, _, _ = reference.adam(0.0, 0.0, 0.0, 1.0, updates, 0.1, 0.9999, 0.999999, 1e-12)
    assert_close(weight, np.full(weight.shape, wanted), 1e-3)


def test_only_sgd_wants_its_rate_inside_delta():
    assert SGD(0.5).delta_rate(0.25) == 0.125
    assert Momentum(0.5).delta_rate(0.25) == 1.0
    assert Adam(0.5).delta_rate(0.25) == 1.0


def state_bytes(plan):
    """Bytes of optimiser state by buffer."""
    found = [buffer for buffer in plan.buffers if buffer.category == "optimizer state"]
    return {buffer.name: buffer.spec.nbytes for buffer in found}


def plan_of(optimizer, rule=None, schedule="sweep"):
    network = Network.dense(19, (21, 40), 3, rule or Readout())
    return plan_training(network, Recipe(optimizer, batch_size=4, schedule=schedule))


@pytest.mark.parametrize("rule", [Readout(), Readout(frozen=True), Group()])
def test_sgd_needs_no_state_and_no_tile(rule):
    plan = plan_of(SGD(), rule)

    assert state_bytes(plan) == {}
    assert plan.by_category()["optimizer state"] == 0
    assert "tile" not in {buffer.name for buffer in plan.buffers}


@pytest.mark.parametrize("rule", [Readout(), Readout(frozen=True), Group(), hinton()])
@pytest.mark.parametrize(("optimizer", "times"), [(SGD(), 0), (Momentum(), 1), (Adam(), 2)])
def test_the_plan_holds_the_state_of_every_parameter(rule, optimizer, times):
    plan = plan_of(optimizer, rule)

    params = {
        buffer.name: buffer.spec.nbytes
        for buffer in plan.buffers
        if buffer.category == "weights" and not buffer.name.startswith("input.")
    }
    wanted = {f"{name}.{k}": size for name, size in params.items() for k in optimizer.state}
    means = {f"layer{i}.means": panels * 64 for i, panels in enumerate((2, 3))}
    assert len(wanted) == times * len(params)
    assert state_bytes(plan) == wanted | (means if rule.name == "contrast" else {})


def test_layer_by_layer_only_the_layer_in_hand_keeps_state():
    swept, layerwise = plan_of(Adam()), plan_of(Adam(), schedule="layerwise")

    ends = {buffer.name: (buffer.offset, buffer.end) for buffer in layerwise.buffers}
    first, second = ends["layer0.weight.mean"], ends["layer1.weight.mean"]

    assert state_bytes(layerwise) == state_bytes(swept)
    assert layerwise.peak < swept.peak
    assert first[0] < second[1]
    assert second[0] < first[1]


@pytest.mark.parametrize(
    ("kind", "field", "low", "high"),
    [
        (SGD, "rate", 0, 100),
        (SGD, "weight_decay", 0, 1),
        (Momentum, "rate", 0, 100),
        (Momentum, "beta", 0, 0.9999),
        (Momentum, "weight_decay", 0, 1),
        (Adam, "rate", 0, 100),
        (Adam, "beta1", 0, 0.9999),
        (Adam, "beta2", 0, 0.999999),
        (Adam, "epsilon", 1e-12, 1),
        (Adam, "weight_decay", 0, 1),
    ],
)
def test_a_setting_out_of_range_is_refused_and_the_ends_are_not(kind, field, low, high):
    for value in (low, high):
        assert getattr(kind(**{field: value}), field) == value
    for value in (low - 1e-9, high + 1e-6, float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ConfigError) as refusal:
            kind(**{field: value})

        assert str(refusal.value) == (
            f"{kind.__name__}: expected {field} in {low:g}..{high:g}, got {value!r}"
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_gives_the_optimiser_at_its_default_or_a_given_rate(name):
    usual, given = named_optimizer(name), named_optimizer(name, 0.125)

    assert usual == OPTIMIZERS[name]()
    assert usual.name == name
    assert given == OPTIMIZERS[name](rate=0.125)


def test_an_unknown_optimiser_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as refusal:
        named_optimizer("lbfgs")

    assert str(refusal.value) == "optimizer: expected one of sgd, momentum, adam, got 'lbfgs'"
