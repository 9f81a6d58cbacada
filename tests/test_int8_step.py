"""A whole int8 step against the oracle, and the same bits on every vector path."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference_int8 as oracle
from checks import PLAIN_PYTHON, child_environment, compiled_only, repeatable
from hypothesis import given
from hypothesis import strategies as st

from ffedge.kernels.int8.step import add_scores
from ffedge.kernels.int8.vector import available_paths
from ffedge.kernels.provider import LIBRARY
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer

pytestmark = pytest.mark.kernels

RULES = {
    "readout": Readout(),
    "group": Group(),
    "group-mean": Group(squared=False, smoothing=0.2),
    "sharp": Group(sharpness=7.0, smoothing=0.0),
}

#: Features, hidden widths, classes, batch: one panel, uneven panels, more classes than lanes.
SIZES = [(5, (7, 6), 3, 4), (16, (17, 33), 2, 1), (20, (40, 21), 18, 5), (33, (50,), 10, 13)]


def samples(features, classes, count, seed=0):
    """Raw numbers of both signs, many of them zero, and labels."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, features)) * (random.random((count, features)) < 0.6)
    labels = np.arange(count) % classes
    random.shuffle(labels)
    return from_arrays(X.astype(np.float32) * 2, labels, classes=range(classes))


def trainer_of(rule, features, hidden, classes, batch, *, parts=1, rate=0.3, seed=3, **options):
    network = Network.dense(features, hidden, classes, rule, precision="int8", input_parts=parts)
    options = {"scaling": "none", "shuffle": False} | options
    trainer = Trainer(network, Recipe(SGD(rate), batch_size=batch, seed=seed, **options))
    trainer.learn_scaling(samples(features, classes, 8))
    trainer.run.begin_stage(None)
    return trainer


def matrices(trainer):
    """The layers' parameters as the oracle's whole numbers."""
    layers = []
    for layer in trainer.run.layers:
        own = {
            "W": oracle.unpack_weights(layer.weight, layer.inputs, layer.width),
            "b": layer.bias[: layer.width].astype(np.int64),
        }
        if "readout" in layer.params:
            own["M"] = layer.params["readout"][:, : layer.width].astype(np.int64)
        layers.append(own)
    return layers


def assert_layers_are(trainer, wanted):
    """Every parameter as the oracle has it; padding as it was at the start."""
    for layer, own in zip(trainer.run.layers, wanted, strict=True):
        assert layer.weight.tolist() == oracle.pack_weights(own["W"]).tolist()
        half = 1 << (int(layer.shift) - 1)
        assert layer.bias.tolist() == [
            *own["b"].tolist(), *[half] * (len(layer.bias) - layer.width)
        ]  # fmt: skip
        if "M" in own:
            readout = layer.params["readout"]
            assert readout[:, : layer.width].tolist() == own["M"].tolist()
            assert not readout[:, layer.width :].any()


def group_of(rule, classes):
    if isinstance(rule, Readout):
        return None
    return rule.squared, float(rule.factor), classes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_a_new_network_is_the_oracles(size, rule):
    features, hidden, classes, batch = size
    if rule != "readout" and min(hidden) < classes:
        pytest.skip("a group needs a unit per class")

    trainer = trainer_of(RULES[rule], features, hidden, classes, batch, seed=2**32 - 5)

    widths = [features, *hidden]
    wanted = [
        oracle.initial_layer(2**32 - 5, i, widths[i], widths[i + 1], classes, rule == "readout")
        for i in range(len(hidden))
    ]
    assert_layers_are(trainer, wanted)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_steps_equal_the_oracle(rule, size, parts):
    features, hidden, classes, batch = size
    if rule != "readout" and min(hidden) < classes:
        pytest.skip("a group needs a unit per class")
    trainer = trainer_of(RULES[rule], features, hidden, classes, batch, parts=parts)
    data = samples(features, classes, 4 * batch)
    layers = matrices(trainer)
    zeros, ones = np.zeros(features, np.float32), np.ones(features, np.float32)
    changed = np.zeros(len(hidden), int)

    for step in range(4):
        first = step * batch
        count = batch if step < 3 else max(1, batch - 1)
        trainer.learn(data, first, count)
        X = oracle.quantize_input(data.features[first : first + count], zeros, ones, parts)
        layers, moved = oracle.train_batch(
            layers, X, data.labels[first : first + count],
            0.3 * count / batch, RULES[rule].smoothing, 3,
            [step + 1] * len(hidden), [True] * len(hidden), group_of(RULES[rule], classes),
        )  # fmt: skip
        changed += moved

        assert_layers_are(trainer, layers)
    assert [layer.changed for layer in trainer.run.layers] == changed.tolist()
    assert changed.min() > 0
    assert [layer.offered for layer in trainer.run.layers] == [
        4 * layer.inputs * layer.width for layer in trainer.run.layers
    ]


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("rule", ["readout", "group"])
def test_one_layer_alone_learns_as_the_oracle_says(rule, stage):
    trainer = trainer_of(RULES[rule], 9, (17, 12), 3, 5, schedule="layerwise")
    trainer.run.begin_stage(stage)
    data, layers = samples(9, 3, 5), matrices(trainer)
    X = oracle.quantize_input(data.features, np.zeros(9, np.float32), np.ones(9, np.float32), 1)

    trainer.learn(data, 0, 5)

    wanted, _ = oracle.train_batch(
        layers, X, data.labels, 0.3, 0.05, 3, [1, 1], [stage == 0, stage == 1],
        group_of(RULES[rule], 3),
    )  # fmt: skip
    assert_layers_are(trainer, wanted)


@repeatable(15)
@given(
    st.integers(1, 33), st.integers(1, 50), st.integers(2, 20), st.integers(1, 13),
    st.sampled_from([1e-6, 1e-3, 0.1, 2.0, 100.0]), st.integers(0, 2**32 - 1), st.booleans(),
)  # fmt: skip
def test_a_step_equals_the_oracle_for_random_shapes_and_rates(
    features, width, classes, batch, rate, seed, grouped
):
    rule = Group() if grouped else Readout()
    width = max(width, classes) if grouped else width
    trainer = trainer_of(rule, features, (width,), classes, batch, rate=rate, seed=seed)
    data = samples(features, classes, batch, seed)
    layers = matrices(trainer)
    X = oracle.quantize_input(
        data.features, np.zeros(features, np.float32), np.ones(features, np.float32), 1
    )

    trainer.learn(data, 0, batch)

    wanted, _ = oracle.train_batch(
        layers, X, data.labels, rate, rule.smoothing, seed, [1], [True], group_of(rule, classes)
    )
    assert_layers_are(trainer, wanted)


@pytest.mark.parametrize("rule", ["readout", "group", "group-mean"])
def test_scores_equal_the_oracle_over_layers_of_unequal_units(rule):
    hidden, classes = (60, 5, 17), 4
    trainer = trainer_of(RULES[rule], 11, hidden, classes, 6)
    data = samples(11, classes, 6)
    trainer.learn(data, 0, 6)
    layers, X = matrices(trainer), data.features

    trainer.run.fetch_features(X, 0, 6)
    trainer.run.score_batch(6)

    x = oracle.quantize_input(X, np.zeros(11, np.float32), np.ones(11, np.float32), 1)
    finest, total = max(map(oracle.readout_exponent, hidden)), 0
    for own in layers:
        units = own["W"].shape[1]
        e = oracle.weight_exponent(own["W"].shape[0])
        y = oracle.forward(x, own["W"], own["b"], oracle.INPUT_EXP + e - oracle.OUTPUT_EXP)
        if rule == "readout":
            scores = oracle.readout_scores(y, own["M"])
            total = total + scores * 2 ** (finest - oracle.readout_exponent(units))
        else:
            squared, sharpness, _ = group_of(RULES[rule], classes)
            starts = oracle.starts(units, classes)
            factors, _, _ = oracle.group_units(starts, squared, sharpness)
            total = total + oracle.group_scores(y, starts, squared, factors)
        x = oracle.normalize(y, units)
    assert trainer.run.total[:6].tolist() == oracle.int32(total).tolist()


@pytest.mark.parametrize("rule", RULES)
def test_padding_stays_as_it_was_however_long_training_lasts(rule):
    trainer = trainer_of(RULES[rule], 7, (17, 21), 5, 6, rate=3.0)
    data = samples(7, 5, 60)
    for turn in range(3 if PLAIN_PYTHON else 40):
        for first in range(0, 60, 6):
            trainer.learn(data, first, 6 - turn % 2)

    assert_layers_are(trainer, matrices(trainer))
    for layer in trainer.run.layers:
        for array in layer.params.values():
            if array.dtype == np.int8:
                assert array.min() >= -127


def test_votes_are_shifted_and_added():
    scores = np.array([[1, -3], [2**20, -(2**20)], [7, 7]], np.int32)
    total = np.array([[10, 10], [-1, 1], [9, 9]], np.int32)

    add_scores(scores, 2, 10, total)

    assert total.tolist() == [[1034, -3062], [2**30 - 1, 1 - 2**30], [9, 9]]


@pytest.mark.parametrize("rule", ["readout", "group"])
def test_a_step_does_not_depend_on_the_capacity_of_the_batch(rule):
    data = samples(12, 4, 40)
    params = []
    for capacity in (5, 8, 40):
        # Each sample weighs rate / capacity.
        rate = 0.25 * capacity / 8
        trainer = trainer_of(RULES[rule], 12, (33, 20), 4, capacity, rate=rate)
        for first in range(0, 40, 5):
            trainer.learn(data, first, 5)
        params.append(b"".join(array.tobytes() for array in trainer.params.values()))

    assert params[0] == params[1] == params[2]


# Every path.


def fingerprint(nets, batches, steps, rules=("readout", "group", "group-mean")):
    """sha256 of all weights and scores after training on fixed data."""
    digest = hashlib.sha256()
    for features, hidden in nets:
        data = samples(features, 10, 99, seed=features)
        for rule in rules:
            for batch in batches:
                trainer = trainer_of(RULES[rule], features, hidden, 10, batch, rate=0.2)
                for step in range(steps):
                    trainer.learn(data, step * batch % (100 - batch), batch)
                for name, array in sorted(trainer.params.items()):
                    digest.update(name.encode() + array.tobytes())
                for first in range(0, 99 - batch, batch):
                    trainer.run.fetch_features(data.features, first, batch)
                    trainer.run.score_batch(batch)
                    digest.update(trainer.run.total[:batch].tobytes())
    return digest.hexdigest()


def long_run():
    """About a thousand steps."""
    return fingerprint([(784, (37, 21)), (5, (16,))], (1, 3, 8, 33), 40)


def short_run():
    """What plain Python can do in seconds."""
    return fingerprint([(21, (17,)), (5, (16,))], (1, 5), 4, ("readout", "group"))


def child(run, **environment):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_int8_step as test; from ffedge.kernels.int8 import vector\n"
        f"print(vector.PATH, test.{run}())"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(Path(__file__).parent)],
        env=child_environment(**environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def answer(process):
    out, complaints = process.communicate(timeout=400)
    assert process.returncode == 0, complaints
    return out.split()


@pytest.fixture(scope="module")
def children():
    """A process for every path this machine has, two at a time."""
    paths = [path for path in available_paths() if not PLAIN_PYTHON]
    answers = {}
    for turn in range(0, len(paths), 2):
        started = {
            path: child("long_run", FFEDGE_SIMD=path, NUMBA_DISABLE_JIT=None)
            for path in paths[turn : turn + 2]
        }
        try:
            answers |= {path: answer(process) for path, process in started.items()}
        finally:
            for process in started.values():
                process.kill()
                process.communicate()
    return answers


@compiled_only
@pytest.mark.parametrize("path", available_paths())
def test_every_path_trains_the_same_bits(children, path):
    taken, digest = children[path]

    assert taken == path
    assert digest == children["generic"][1]


@pytest.mark.skipif(LIBRARY is None, reason="needs FFEDGE_KERNELS=library")
def test_the_library_trains_the_same_bits_as_the_jit(children):
    assert answer(child("long_run", FFEDGE_KERNELS="jit"))[1] == children["generic"][1]


def test_plain_python_trains_the_same_bits_as_the_compiled_kernels():
    process = child(
        "short_run", NUMBA_DISABLE_JIT=None if PLAIN_PYTHON else "1", FFEDGE_KERNELS="jit"
    )

    own = short_run()

    assert answer(process)[1] == own
