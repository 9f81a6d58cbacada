"""The host's run and a device's, step by step; here the device is its program on this machine."""

import numpy as np
import pytest

from ffedge.errors import ConfigError
from ffedge.firmware import table as description
from ffedge.kernels.device import program
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import from_arrays, load
from firmware_sim.lockstep import LockstepTrainer

RULES = {"readout": Readout(), "squares": Group(squared=True), "mean": Group(squared=False)}


class HostedDevice:
    """What LockstepTrainer wants of a Device."""

    def __init__(self, trainer):
        network, recipe = trainer.network, trainer.recipe
        self.plan = description.plan_device(network, recipe)
        self.arena = np.zeros(self.plan.peak, np.uint8)
        for buffer, content in description.first_contents(network, self.plan, trainer.params):
            end = buffer.offset + buffer.spec.nbytes
            self.arena[buffer.offset : end] = content.reshape(-1).view(np.uint8)
        self.table = description.make_table(network, recipe, self.plan)
        self.scaler = np.concatenate([trainer.params["input.mean"], trainer.params["input.gain"]])
        self.counters = np.zeros(len(network.layers), np.uint32)
        readout = isinstance(network.rule, Readout)
        self._train = program.train_readout if readout else program.train_group
        self.trained, self.rates_seen, self.rates = 0, [], None

    def set_rates(self, rates):
        self.rates = rates
        self.rates_seen.append(tuple(rates.tolist()))

    def train(self, sample, label):
        self.trained += 1
        self._train(self.arena, self.table, self.scaler, self.rates, self.counters, sample, label)

    def weights(self):
        found = {}
        for buffer in self.plan.buffers:
            if buffer.category == "weights":
                end = buffer.offset + buffer.spec.nbytes
                raw = self.arena[buffer.offset : end].view(buffer.spec.dtype)
                found[buffer.name] = raw.reshape(buffer.spec.shape)
        return found


def case(rule="readout", *, device_steps, epochs=2, samples=70):
    random = np.random.default_rng(3)
    labels = np.arange(samples) % 5
    features = random.normal(labels[:, None] - 2, 1.0, (samples, 12)).astype(np.float32)
    whole = from_arrays(features, labels)
    data, _ = whole.split(0.2, 0)
    network = Network.dense(12, (20, 33), 5, RULES[rule], precision="int8", input_parts=2)
    recipe = Recipe(optimizer=SGD(0.02), batch_size=1, epochs=epochs, seed=5)
    trainer = LockstepTrainer(network, recipe, device_steps=device_steps)
    trainer.learn_scaling(data)
    trainer.device = HostedDevice(trainer)
    return trainer, data


@pytest.mark.parametrize("rule", RULES)
def test_a_device_that_follows_all_the_way_ends_with_the_hosts_bytes(rule):
    trainer, data = case(rule, device_steps=10**6)

    list(trainer.train(data))
    trainer.finish()

    assert trainer.device.trained == trainer.steps_done == 2 * data.n_samples
    assert trainer.identical
    for name, array in trainer.device.weights().items():
        assert np.array_equal(array, trainer.params[name])
    # The rate is held for half of the run and then falls, 16 updates at a time.
    assert len(set(trainer.device.rates_seen)) == len(trainer.device.rates_seen) > 2


def test_a_device_gets_the_samples_that_the_host_reads_from_a_file(tmp_path):
    random = np.random.default_rng(3)
    labels = np.arange(64) % 4
    features = random.normal(labels[:, None], 1.0, (64, 40)).astype(np.float32)
    np.savez(tmp_path / "mapped.npz", x=features, y=labels)
    data, _ = load(tmp_path / "mapped.npz", label="y")
    assert data.storage == "mapped"
    network = Network.dense(40, (20,), 4, precision="int8", input_parts=2)
    recipe = Recipe(optimizer=SGD(0.02), batch_size=1, epochs=1)
    trainer = LockstepTrainer(network, recipe, device_steps=10**6)
    trainer.learn_scaling(data)
    trainer.device = HostedDevice(trainer)

    list(trainer.train(data))
    trainer.finish()

    assert trainer.identical


def test_the_device_stops_after_its_steps_and_the_host_goes_on():
    trainer, data = case(device_steps=20)

    list(trainer.train(data))
    trainer.finish()

    assert trainer.device.trained == 32  # whole groups of 16
    assert trainer.identical
    name = "layer0.weight"
    assert not np.array_equal(trainer.device.weights()[name], trainer.params[name])


@pytest.mark.parametrize("device_steps", [20, 10**6])
def test_a_single_other_byte_is_noticed_and_named(device_steps):
    trainer, data = case(device_steps=device_steps)
    train, count = trainer.device.train, iter(range(10**6))

    def train_and_slip(sample, label):
        train(sample, label)
        if next(count) == 15:
            trainer.device.weights()["layer1.bias"][4] += 1 << 12

    trainer.device.train = train_and_slip
    list(trainer.train(data))
    trainer.finish()

    assert not trainer.identical
    assert trainer.different.startswith("layer1.")


def test_other_batch_sizes_are_refused():
    network = Network.dense(12, (20,), 5, precision="int8")

    with pytest.raises(ConfigError, match="expected int8, batch size 1 and the schedule sweep"):
        LockstepTrainer(network, Recipe(optimizer=SGD(0.1), batch_size=2), device_steps=1)
