"""Back-propagation in PyTorch: its bytes are counted right, and its modes train the same net."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import clouds

from ffedge.buffers import plan_training
from ffedge.errors import ConfigError, MissingDependencyError
from ffedge.interop.ledger import KINDS
from ffedge.interop.torch_backprop import Backprop, count_backprop, train_backprop
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import Recipe
from ffedge.sources import load

torch = pytest.importorskip("torch")

PLAIN = SGD(0.1)
MODES = [("plain", None), ("accumulate", 8), ("checkpoint", None), ("in_backward", None)]


def deep(depth=9, width=32):
    return Network.dense(7, (width,) * depth, 3)


def after(steps, mode="plain", micro_batch=None, optimizer=PLAIN, **options):
    """The parameters after some steps of a deep network."""
    model = Backprop(
        deep(), Recipe(optimizer=optimizer, batch_size=32), mode=mode, micro_batch=micro_batch,
        **options,
    )  # fmt: skip
    data = clouds()
    model.learn_scaling(data)
    model.train(data, steps=steps)
    return [parameter.detach() for parameter in model.parameters]


def allocated(model, data, steps):
    """Most bytes alive of all that PyTorch's allocator gave out in these steps: its own record."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        model.train(data, steps=steps)
    waiting = list(profile.profiler.kineto_results.experimental_event_tree())
    sizes = []
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if hasattr(event.extra_fields, "alloc_size"):
            sizes.append((event.start_time_ns, event.extra_fields.alloc_size))
    return max(np.cumsum([size for _, size in sorted(sizes)]))


def test_the_counter_finds_the_bytes_counted_by_hand():
    network = Network.dense(3, (4,), 2)
    recipe = Recipe(optimizer=SGD(0.1), batch_size=5)

    ledger = count_backprop(network, recipe, clouds(5, 3, 2), steps=1, normalize=False)

    weights = 4 * (3 * 4 + 4 + 4 * 2 + 2) + 4 * (3 + 3)  # and the scaler
    # When the gradient passes the ReLU: input, activity and loss are kept; above lie the class
    # layer's two gradients; the gradient of the activity before and after it, and the 1 that all
    # gradients start from.
    kept = 4 * (5 * 3 + 5 * 4 + 1)
    gradients = 4 * (4 * 2 + 2)
    passing = 4 * (5 * 4 + 5 * 4 + 1)
    assert ledger.at_peak == dict(zip(KINDS, (weights, gradients, 0, kept, passing), strict=True))
    assert ledger.peak == weights + gradients + kept + passing


@pytest.mark.parametrize(
    ("optimizer", "a_weight", "a_tensor"), [(SGD(), 0, 0), (Momentum(), 4, 0), (Adam(), 8, 4)]
)
def test_the_optimisers_state_is_counted(optimizer, a_weight, a_tensor):
    network = Network.dense(7, (16, 16), 3)

    ledger = count_backprop(network, Recipe(optimizer=optimizer, batch_size=8), clouds())

    count = 7 * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3
    assert ledger.at_peak["optimizer state"] == a_weight * count + a_tensor * 6
    assert ledger.at_peak["weights"] == 4 * (count + 2 * 7)


@pytest.mark.parametrize(("mode", "micro_batch"), MODES)
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam()])
def test_the_counter_agrees_with_the_allocators_own_record(mode, micro_batch, optimizer):
    recipe, data = Recipe(optimizer=optimizer, batch_size=32), clouds()
    options = {"mode": mode, "micro_batch": micro_batch}

    ledger = count_backprop(deep(), recipe, data, **options)

    model = Backprop(deep(), recipe, **options)
    model.learn_scaling(data)
    assert ledger.peak == sum(ledger.at_peak.values())
    assert ledger.peak == ledger.at_peak["weights"] + allocated(model, data, 3)


def test_three_steps_show_the_peak_of_them_all():
    recipe, data = Recipe(batch_size=32, epochs=3), clouds()

    few, all_of_them = (count_backprop(deep(), recipe, data, steps=steps) for steps in (3, 1000))

    assert few.at_peak == all_of_them.at_peak


def test_without_normalisation_a_step_is_the_textbooks():
    data = clouds(32)
    recipe = Recipe(optimizer=SGD(0.1), batch_size=32, shuffle=False, hold=1.0)
    model = Backprop(Network.dense(7, (8,), 3), recipe, normalize=False)
    model.learn_scaling(data)
    hidden, classes = torch.nn.Linear(7, 8), torch.nn.Linear(8, 3)
    net = torch.nn.Sequential(hidden, torch.nn.ReLU(), classes)
    with torch.no_grad():
        for own, given in zip(net.parameters(), model.parameters, strict=True):
            own.copy_(given)
    x = torch.from_numpy((data.features - data.features.mean(0)) / data.features.std(0))

    model.train(data, steps=2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), torch.from_numpy(data.labels).long())
        loss.backward()
        optimizer.step()

    for own, given in zip(net.parameters(), model.parameters, strict=True):
        torch.testing.assert_close(given, own, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Momentum(), Adam()])
@pytest.mark.parametrize("mode", ["checkpoint", "in_backward"])
def test_forgetting_changes_no_bit_of_the_weights(mode, optimizer):
    expected = after(5, optimizer=optimizer)

    found = after(5, mode, optimizer=optimizer)

    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("micro_batch", [1, 8, 20])
def test_micro_batches_sum_to_the_batchs_gradient(micro_batch):
    # The seventh batch is smaller than the others: 200 samples are no multiple of 32.
    expected = after(7)

    found = after(7, "accumulate", micro_batch)

    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("mode", "micro_batch"), MODES[1:])
def test_saving_modes_save_where_activations_outweigh_weights(mode, micro_batch):
    recipe = Recipe(batch_size=180)

    plain = count_backprop(deep(16), recipe, clouds())
    saving = count_backprop(deep(16), recipe, clouds(), mode=mode, micro_batch=micro_batch)

    assert saving.peak < plain.peak


def test_normalised_activities_have_a_root_mean_square_of_one():
    model = Backprop(Network.dense(7, (16,), 3), Recipe())

    rows = model._hidden(torch.randn(4, 7) * 100, 0, 1)

    torch.testing.assert_close(rows.square().mean(1), torch.ones(4))


def test_int8_trains_32_layers_in_a_tenth_of_backprops_bytes():
    recipe = Recipe(scaling="global")
    network = Network.dense(784, (500,) * 32, 10, precision="int8")

    ledger = count_backprop(network, recipe, clouds(64, 784, 10), steps=2)

    plan = plan_training(network, dataclasses.replace(recipe, optimizer=SGD()))
    # Weight, gradient and two moments are 16 bytes; the first layer's gradient comes after the
    # worst moment.
    count = 784 * 500 + 31 * 500 * 500 + 500 * 10 + 32 * 500 + 10
    assert ledger.peak > 15 * count
    assert 10 * plan.peak < ledger.peak


def test_a_run_makes_the_recipes_updates_and_no_more():
    data = clouds(100)
    model = Backprop(deep(2), Recipe(batch_size=32, epochs=2))

    assert [model.train(data, steps=steps) for steps in (0, 3, 99, None)] == [0, 3, 8, 8]


def test_digits_are_learned():
    data, test = load("digits")
    recipe = Recipe(epochs=10)

    report = train_backprop(Network.dense(64, (64, 64), 10), recipe, data, test)

    assert report.accuracy > 0.95
    assert report.seconds > 0
    assert report.process_peak > report.peak_bytes
    parts = ("weights", "gradients", "optimizer_state", "activations", "workspace")
    assert report.peak_bytes == sum(getattr(report, part) for part in parts)
    assert json.loads(json.dumps(report.describe()))["weights"] == report.weights


def test_a_part_of_a_split_trains_on_its_own_rows_only():
    data = clouds(100)
    rest, _ = data.split(0.5, 0)
    model, copy = (Backprop(deep(2), Recipe(batch_size=16)) for _ in range(2))
    own = clouds(100)
    moved = type(own)(
        own.features[rest.rows], own.labels[rest.rows], own.classes, own.feature_shape, "", "memory"
    )

    for given, part in ((model, rest), (copy, moved)):
        given.learn_scaling(part)
        given.train(part)

    assert all(torch.equal(*pair) for pair in zip(model.parameters, copy.parameters, strict=True))
    assert model.evaluate(rest) == copy.evaluate(moved)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "magic"}, "expected mode one of plain, accumulate, checkpoint, in_backward, got"),
        ({"mode": "accumulate"}, "expected micro_batch with mode accumulate"),
        ({"micro_batch": 4}, "expected micro_batch with mode accumulate"),
        ({"mode": "accumulate", "micro_batch": 65}, r"expected micro_batch in 1\.\.64"),
    ],
)
def test_modes_that_do_not_exist_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Backprop(deep(), Recipe(), **options)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(MissingDependencyError, match=r"ffedge\[torch\]"):
        Backprop(deep(), Recipe())


def test_torch_is_loaded_only_when_it_is_asked_for():
    code = "import sys, ffedge.interop.torch_backprop; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
