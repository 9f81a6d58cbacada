"""The device program against the host's int8 run: the same weights and decisions, bit for bit."""

import numpy as np
import pytest
from checks import PLAIN_PYTHON

from ffedge.errors import ConfigError
from ffedge.firmware import table as description
from ffedge.kernels.device import program
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer

pytestmark = pytest.mark.kernels

RULES = {"readout": Readout(), "squares": Group(squared=True), "mean": Group(squared=False)}
SAMPLES = 6 if PLAIN_PYTHON else 60


class Device:
    """The program with its memory, as a microcontroller holds it."""

    def __init__(self, network, recipe, params):
        self.plan = description.plan_device(network, recipe)
        self.arena = np.full(self.plan.peak, 0xA5, np.uint8)
        for buffer, content in description.first_contents(network, self.plan, params):
            end = buffer.offset + buffer.spec.nbytes
            self.arena[buffer.offset : end] = content.reshape(-1).view(np.uint8)
        self.table = description.make_table(network, recipe, self.plan)
        self.scaler = np.concatenate([params["input.mean"], params["input.gain"]])
        self.rates = description.make_rates(network, recipe.optimizer.rate)
        self.counters = np.zeros(len(network.layers), np.uint32)
        readout = isinstance(network.rule, Readout)
        self._train = program.train_readout if readout else program.train_group
        self._predict = program.predict_readout if readout else program.predict_group

    def train(self, sample, label):
        return self._train(
            self.arena, self.table, self.scaler, self.rates, self.counters, sample, label
        )

    def predict(self, sample):
        return self._predict(self.arena, self.table, self.scaler, sample)

    def buffer(self, name):
        found = next(buffer for buffer in self.plan.buffers if buffer.name == name)
        return self.arena[found.offset : found.offset + found.spec.nbytes]


def case(rule, widths=(21, 33, 18), classes=5, parts=2, rate=0.01, samples=SAMPLES):
    random = np.random.default_rng(len(widths) + classes)
    labels = np.arange(samples) % classes
    features = random.normal(labels[:, None] - 2, 1.0, (samples, widths[0])).astype(np.float32)
    if parts == 1:
        features = np.abs(features)
    data = from_arrays(features, labels)
    network = Network.dense(
        widths[0], widths[1:], classes, RULES[rule], precision="int8", input_parts=parts
    )
    recipe = Recipe(optimizer=SGD(rate), batch_size=1, seed=7)
    trainer = Trainer(network, recipe)
    trainer.learn_scaling(data)
    trainer.run.begin_stage(None)
    params = {name: array.copy() for name, array in trainer.params.items()}
    return trainer, data, Device(network, recipe, params), features, labels


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("widths", "parts", "rate"),
    [((21, 33, 18), 2, 0.01), ((8, 16), 1, 0.003), ((30, 20, 48, 17), 1, 0.5)],
)
def test_training_and_prediction_have_the_hosts_bits(rule, widths, parts, rate):
    trainer, data, device, features, labels = case(rule, widths, parts=parts, rate=rate)

    for n in range(SAMPLES):
        trainer.learn(data, n, 1)
        device.train(features[n], int(labels[n]))

    for name, array in trainer.params.items():
        if name.startswith("layer"):
            assert device.buffer(name).tobytes() == array.tobytes(), name
    assert device.counters.tolist() == [SAMPLES] * (len(widths) - 1)
    for n in range(min(SAMPLES, 20)):
        trainer.run.fetch(data, n, 1)
        trainer.run.score_batch(1)
        assert device.predict(features[n]) == trainer.run.total[0].argmax()


def test_the_step_says_whether_the_last_layer_was_right():
    trainer, data, device, features, labels = case("readout")
    top, before = trainer.run.layers[-1], 0
    for n in range(SAMPLES):
        trainer.learn(data, n, 1)
        assert device.train(features[n], int(labels[n])) == top.right - before
        before = top.right


def test_nothing_outside_the_plan_is_written():
    _, _, device, features, labels = case("readout")
    owned = np.zeros(device.plan.peak, bool)
    for buffer in device.plan.buffers:
        owned[buffer.offset : buffer.end] = True

    device.train(features[0], int(labels[0]))
    device.predict(features[0])

    assert (device.arena[~owned] == 0xA5).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_device_plans_no_buffer_of_a_host(rule):
    device = case(rule)[2]
    names = {buffer.name for buffer in device.plan.buffers}

    assert not names & {"input.mean", "input.gain", "moments", "chosen", "layer0.xt"}
    assert device.plan.peak == max(buffer.end for buffer in device.plan.buffers) + (
        -max(buffer.end for buffer in device.plan.buffers) % 64
    )


def test_networks_that_no_device_runs_are_refused():
    network = Network.dense(8, (16,), 3)
    with pytest.raises(ConfigError, match="expected an int8 network with the readout or the group"):
        description.plan_device(network, Recipe(batch_size=1))
    network = Network.dense(8, (16,), 3, precision="int8")
    with pytest.raises(ConfigError, match="expected batches of one sample"):
        description.plan_device(network, Recipe(optimizer=Adam(), batch_size=1))
