"""Months of single samples: memory stays, scales rest, and no counter has an end to fall off."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import clouds

from ffedge import FFClassifier
from ffedge.kernels.random import bits
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES
from ffedge.scaling import ENOUGH
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer
from ffedge.training_file import TrainingFile

ROOT = Path(__file__).resolve().parent.parent
#: Two before the end of every size of counter, so that a few steps run across it.
LIMITS = [2**31 - 2, 2**32 - 2, 2**53 - 2, 2**63 - 2]
TINY = np.finfo(np.float32).tiny
DATA = clouds(samples=64, features=4)


def streaming(precision="float32", rule="readout", classes=3, **options):
    network = Network.dense(
        4, (16, 16), classes, NAMED_RULES[rule], precision=precision,
        input_parts=2 if precision == "int8" else 1,
    )  # fmt: skip
    optimizer = SGD(0.25) if precision == "int8" else Adam()
    recipe = Recipe(**{"optimizer": optimizer, "batch_size": 1, "stream": True} | options)
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(DATA)
    trainer.run.begin_stage(None)
    return trainer


def learn(trainer, samples):
    for n in range(samples):
        trainer.learn(DATA, n % 64, 1)


def parameters(trainer):
    return {name: array.tobytes() for name, array in trainer.params.items()}


def finite(trainer):
    return all(np.isfinite(array.astype(np.float64)).all() for array in trainer.params.values())


def denormal(arrays):
    return sum(int(np.count_nonzero((np.abs(a) < TINY) & (a != 0))) for a in arrays)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_twenty_thousand_samples_leave_memory_and_scales_where_they_were(precision):
    # A fresh process: what other tests gave back to the allocator would hide growth.
    done = subprocess.run(
        [sys.executable, "tools/long_stream.py", "--samples", "20000", "--warm-up", "5000",
         "--every", "5000", "--hidden", "32", "32", "--precision", precision, "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    result = json.loads(done.stdout)
    assert (done.returncode, result["failures"]) == (0, [])
    assert result["arena_growth"] == 0
    assert result["process_growth"] < 1 << 20
    assert result["reports"][-1]["accuracy"] > 0.97


# --- counters at their limits -------------------------------------------------------------------


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("optimizer", [SGD(0.1), Momentum(0.01), Adam()], ids=lambda o: o.name)
def test_a_float32_layers_updates_run_across_every_limit(limit, optimizer):
    trainer = streaming(optimizer=optimizer)
    learn(trainer, 200)
    for layer in trainer.run.layers:
        layer.updates = limit

    learn(trainer, 64)

    assert finite(trainer)
    assert trainer.evaluate(DATA) > 0.9
    assert all(layer.updates == limit + 64 for layer in trainer.run.layers)


@pytest.mark.parametrize("beta1", [0.0, 0.9, 0.9999])
def test_adams_bias_correction_is_over_after_billions_of_updates(beta1):
    trainer = streaming(optimizer=Adam(0.001, beta1=beta1, beta2=0.999999))
    learn(trainer, 3)
    before = trainer.params["layer0.weight"].copy()
    for layer in trainer.run.layers:
        layer.updates = 2**63 - 2

    learn(trainer, 3)

    moved = np.abs(trainer.params["layer0.weight"] - before).max()
    # Moments of three samples under corrections of 1: a step is at most a few hundred rates.
    assert 0 < moved < 3 * 0.001 / math.sqrt(1 - 0.999999)


@pytest.mark.parametrize("rule", ["readout", "group"])
def test_an_int8_layers_updates_wrap_at_32_bits_as_a_devices_do(rule):
    across, anew = (streaming("int8", rule) for _ in range(2))
    for layer in across.run.layers:
        layer.updates = 2**32 - 1
    for layer in anew.run.layers:
        # A device's counter of 32 bits stands at 0 after one more update.
        layer.updates = -1

    learn(across, 20)
    learn(anew, 20)

    assert [layer.updates for layer in across.run.layers] == [19, 19]
    assert parameters(across) == parameters(anew)


def test_int8_updates_wrap_inside_a_call_of_many_as_one_by_one():
    many, single = (streaming("int8", stream=False, epochs=1, shuffle=False) for _ in range(2))
    for trainer in (many, single):
        for layer in trainer.run.layers:
            layer.updates = 2**32 - 5

    many.run.fetch(DATA, 0, 16)
    many.run.train_batch(16)
    for n in range(16):
        single.run.fetch(DATA, n, 1)
        single.run.train_batch(1)

    assert many.run.layers[0].updates == 11
    assert parameters(many) == parameters(single)


def test_int8_updates_of_a_sliced_layer_wrap_as_those_of_a_whole_one(tmp_path):
    network = Network.dense(4, (40, 16), 3, precision="int8", input_parts=2)
    recipe = Recipe(SGD(0.25), batch_size=1, shuffle=False, epochs=1)
    found = []

    with (tmp_path / "t").open("x+b") as opened:
        file = TrainingFile(opened, Model(network, {}, (0, 1, 2), (4,)), recipe)
        for options in ({}, {"streaming": Streaming((1, 0)), "file": file}):
            trainer = Trainer(network, recipe, **options)
            trainer.learn_scaling(DATA)
            trainer.run.begin_stage(None)
            for layer in trainer.run.layers:
                layer.updates = 2**32 - 3
            learn(trainer, 10)
            found.append(parameters(trainer))
            trainer.close()

    assert found[0] == found[1]


@pytest.mark.parametrize("limit", LIMITS)
def test_the_counter_of_wrong_labels_runs_across_every_limit(limit):
    trainer = streaming(rule="hinton")
    learn(trainer, 50)
    trainer.run.samples_seen = limit

    learn(trainer, 10)

    assert finite(trainer)
    assert trainer.run.samples_seen == (limit + 10) % 2**63


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_samples_seen_and_the_estimators_count_run_across_every_limit(precision, limit):
    model = FFClassifier((16,), precision=precision, batch_size=1, random_state=0)
    model.partial_fit(DATA.features, DATA.labels, classes=[0, 1, 2])
    model.n_iter_ = limit
    model._trainer.run.samples_seen = limit
    model._trainer.epochs_done = limit

    for n in range(8):
        model.learn_one(DATA.features[n], int(DATA.labels[n]))

    assert model.n_iter_ == limit + 8
    assert model.predict(DATA.features).shape == (64,)


def test_a_scaler_that_has_seen_enough_stays_as_it_is():
    trainer = streaming()
    trainer.scaler.count = ENOUGH - 1
    learned = [trainer.run.mean.copy(), trainer.run.gain.copy()]

    trainer.adapt_scaling(DATA, 0, 64)

    assert trainer.scaler.count == ENOUGH
    trainer.scaler.finish()
    rest = [trainer.run.mean.copy(), trainer.run.gain.copy()]
    trainer.adapt_scaling(DATA, 0, 64)
    assert trainer.scaler.count == ENOUGH
    assert np.array_equal(rest[0], trainer.run.mean)
    assert np.array_equal(rest[1], trainer.run.gain)
    assert np.allclose(learned[0], rest[0], rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_accounts_of_a_stream_are_of_its_last_update(precision):
    model = FFClassifier((16, 16), precision=precision, batch_size=1, random_state=0)

    for n in range(200):
        model.learn_one(DATA.features[n % 64], int(DATA.labels[n % 64]), classes=[0, 1, 2])

    for layer in model._trainer.run.layers:
        assert layer.seen == 1
        assert layer.right in (0, 1)
        assert 0 <= layer.loss < 20
        assert layer.offered in (0, layer.inputs * layer.width)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_trainers_accounts_run_across_every_limit(precision, limit):
    trainer = streaming(precision)
    for layer in trainer.run.layers:
        layer.loss, layer.right, layer.seen = float(limit), limit, limit
        layer.changed, layer.offered = limit, limit

    learn(trainer, 5)

    for layer in trainer.run.layers:
        assert layer.seen == limit + 5
        assert limit <= layer.right <= limit + 5
        assert layer.changed >= limit
        assert math.isfinite(layer.loss)


def test_random_numbers_beyond_32_bits_are_not_those_below():
    counters = [limit + n for limit in LIMITS for n in (-2, -1, 0, 1)]

    assert len({int(bits(7, counter)) for counter in counters}) == len(counters)


# --- denormal numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [SGD(1.0, weight_decay=0.5), Momentum(1.0, weight_decay=0.5), Adam(0.5, weight_decay=1.0)],
    ids=lambda o: o.name,
)
def test_weights_that_only_decay_end_at_zero_and_are_never_denormal(optimizer):
    network = Network.dense(4, (16,), 3)
    trainer = Trainer(network, Recipe(optimizer, batch_size=1, stream=True))
    trainer.run.begin_stage(None)
    # Features that never come, and a layer that is off: decay is all that its weights see.
    trainer.params["layer0.bias"][:] = -1e6
    silent = dataclasses.replace(DATA, features=np.zeros((64, 4), np.float32))

    for n in range(300):
        trainer.learn(silent, n % 64, 1)
        assert denormal(trainer.arena[b.name] for b in trainer.plan.buffers
                        if b.category in ("weights", "optimizer state")) == 0  # fmt: skip

    assert not trainer.params["layer0.weight"].any()


def test_a_sensor_of_denormal_numbers_is_zero_to_the_network():
    network = Network.dense(4, (16,), 3)
    trainer = Trainer(network, Recipe(batch_size=64, scaling="none"))
    trainer.scaler.finish()
    faint = dataclasses.replace(DATA, features=np.full((64, 4), 1e-40, np.float32))

    trainer.run.fetch(faint, 0, 64)

    assert not trainer.run.input.any()
