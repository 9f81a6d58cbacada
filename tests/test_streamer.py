"""Layers that lie on disk between their turns train as resident ones do, in the planned bytes."""

import contextlib
import copy
import itertools
import tempfile

import numpy as np
import pytest
from checks import SCHEDULED
from conftest import clouds, measured_allocations

from ffedge.buffers import plan_training
from ffedge.errors import CheckpointError, ConfigError
from ffedge.model import Model
from ffedge.model_file import load_model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.plan import END
from ffedge.recipe import SCHEDULES, Recipe
from ffedge.rules import NAMED_RULES
from ffedge.streaming import Streaming
from ffedge.tensor import panels
from ffedge.trainer import Trainer
from ffedge.training_file import TrainingFile

OPTIMIZERS = {"sgd": SGD(0.05), "momentum": Momentum(), "adam": Adam()}
HIDDEN = (33, 70, 20)
WHOLE = tuple(panels(width) for width in HIDDEN)

STREAMINGS = {
    "one by one": Streaming(WHOLE),
    "ahead": Streaming(WHOLE, ahead=True),
    "ahead and behind": Streaming(WHOLE, ahead=True, behind=True),
    "some resident": Streaming((WHOLE[0], 0, WHOLE[2]), ahead=True, behind=True),
    "slices": Streaming((1, 2, 1)),
    "some in slices": Streaming((WHOLE[0], 2, WHOLE[2]), ahead=True),
}
OUTPUTS = Streaming(WHOLE, ahead=True, outputs=True)
INT8 = [("int8", rule, "sgd") for rule in ("readout", "group", "group-mean")]
FLOAT = [
    ("float32", rule, optimizer)
    for rule, optimizer in itertools.product(sorted(NAMED_RULES), OPTIMIZERS)
    if (rule in ("readout", "hinton") or optimizer == "adam") and not NAMED_RULES[rule].no_streaming
]


def network_of(precision, rule, hidden=HIDDEN):
    parts = 2 if precision == "int8" else 1
    return Network.dense(9, hidden, 3, NAMED_RULES[rule], precision=precision, input_parts=parts)


def recipe_of(optimizer, schedule, batch_size=16):
    return Recipe(
        optimizer=OPTIMIZERS[optimizer], batch_size=batch_size, epochs=2, schedule=schedule
    )


@contextlib.contextmanager
def streamed(network, recipe, streaming):
    """A trainer whose layers lie in a temporary file."""
    with tempfile.TemporaryFile() as file:
        training_file = TrainingFile(file, model_of(network), recipe)
        yield Trainer(network, recipe, streaming=streaming, file=training_file)


def model_of(network, **training):
    classes = tuple(range(network.classes))
    return Model(network, {}, classes, (network.features,), None, training)


def train(trainer, data):
    trainer.learn_scaling(data)
    for _ in trainer.train(data, data):
        pass
    return trainer.evaluate(data), {name: array.copy() for name, array in trainer.params.items()}


TRAINED = [
    (*case, schedule)
    for case in INT8 + FLOAT
    for schedule in SCHEDULES
    if (case[1], schedule) in SCHEDULED
]


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize(("precision", "rule", "optimizer", "schedule"), TRAINED)
def test_streamed_layers_learn_what_resident_ones_do(
    precision, rule, optimizer, schedule, batch_size
):
    data = clouds(70, 9, 3)
    network = network_of(precision, rule)
    recipe = recipe_of(optimizer, schedule, batch_size)
    accuracy, params = train(Trainer(network, recipe), data)

    for name, streaming in STREAMINGS.items():
        with streamed(network, recipe, streaming) as trainer:
            found, other = train(trainer, data)

            trainer.arena.check()
            for key, array in params.items():
                if precision == "int8" or "slices" not in name:
                    assert other[key].tobytes() == array.tobytes(), (name, key)
                else:
                    # A product summed in other tiles is rounded elsewhere.
                    np.testing.assert_allclose(other[key], array, atol=2e-3, err_msg=name)
            assert precision != "int8" or found == accuracy


class Poison:
    """Visits that fill all bytes which no living buffer needs, whenever a phase begins."""

    def __init__(self, trainer, layerwise):
        self._inner, self._trainer = trainer.run.visits, trainer
        self._layerwise = layerwise
        self._free = {}
        trainer.run.visits = self

    def _fill(self, phase):
        stage = self._trainer.run.last_active + 1 if self._layerwise else 1
        key = stage, phase
        if key not in self._free:
            free = np.ones(self._trainer.plan.peak, bool)
            for buffer in self._trainer.plan.buffers:
                need = buffer.need
                if need.stages[0] <= stage <= need.stages[1] and (
                    need.phases[0] <= phase <= need.phases[1]
                ):
                    free[buffer.offset : buffer.end] = False
            self._free[key] = free
        self._trainer.arena.words.view(np.uint8)[self._free[key]] = 0xFF

    def begin(self):
        self._inner.begin()
        self._fill(0)

    def enter(self, index):
        self._inner.enter(index)
        self._fill(index + 1)

    def end(self):
        self._inner.end()


POISONED = [
    (*case, schedule, streaming)
    for case in (
        ("int8", "readout", "sgd"), ("int8", "group", "sgd"), ("float32", "hinton", "adam"),
        ("float32", "readout", "momentum"),
    )
    for schedule in SCHEDULES
    for streaming in STREAMINGS.values()
]  # fmt: skip
POISONED += [(*case, "layerwise", OUTPUTS) for case in (INT8[0], ("float32", "readout", "adam"))]


@pytest.mark.parametrize(("precision", "rule", "optimizer", "schedule", "streaming"), POISONED)
def test_no_byte_is_read_outside_its_planned_life(precision, rule, optimizer, schedule, streaming):
    data = clouds(40, 9, 3)
    network, recipe = network_of(precision, rule), recipe_of(optimizer, schedule)
    with streamed(network, recipe, streaming) as trainer:
        clean = train(trainer, data)

    with streamed(network, recipe, streaming) as trainer:
        poison = Poison(trainer, schedule == "layerwise")
        dirty = train(trainer, data)

    assert poison._free
    assert any(free.any() for free in poison._free.values())
    assert dirty[0] == clean[0]
    for key, array in clean[1].items():
        assert dirty[1][key].tobytes() == array.tobytes(), key


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("ahead", "behind"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(
    ("precision", "rule", "optimizer"),
    [("int8", "readout", "sgd"), ("int8", "group", "sgd"), ("float32", "hinton", "adam")],
)
def test_training_memory_does_not_grow_with_depth(
    precision, rule, optimizer, schedule, ahead, behind
):
    peaks = set()
    for depth in (6, 12, 64):
        network = network_of(precision, rule, (40,) * depth)
        streaming = Streaming.of(network, ahead=ahead, behind=behind)
        peaks.add(plan_training(network, recipe_of(optimizer, schedule), None, streaming).peak)

    assert len(peaks) == 1


def test_a_streamed_step_allocates_nothing_that_grows():
    small, large = (
        _step_bytes(Network.dense(9, (width,) * 4, 3, precision="int8")) for width in (20, 400)
    )

    assert small < 4096
    assert large < small + 512


def _step_bytes(network):
    data = clouds(64, 9, 3)
    recipe = recipe_of("sgd", "sweep")
    with streamed(network, recipe, Streaming.of(network)) as trainer:
        trainer.learn_scaling(data)
        trainer.run.begin_stage(None)
        trainer.learn(data, 0, 16)
        with measured_allocations() as measured:
            trainer.learn(data, 16, 16)
    return measured.peak


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_saving_makes_the_model_file(tmp_path, schedule):
    data = clouds(70, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", schedule)
    with open(tmp_path / "m.ffedge", "x+b") as file:
        training_file = TrainingFile(file, model_of(network), recipe)
        streaming = STREAMINGS["some resident"]
        trainer = Trainer(network, recipe, streaming=streaming, file=training_file)
        _, params = train(trainer, data)

        nbytes = trainer.save(model_of(network, epochs=2))

    model = load_model(tmp_path / "m.ffedge")
    assert (tmp_path / "m.ffedge").stat().st_size == nbytes
    assert model.training == {"epochs": 2}
    for key, array in params.items():
        assert model.params[key].tobytes() == array.tobytes(), key


def test_a_second_training_begins_with_fresh_state():
    data = clouds(70, 9, 3)
    network, recipe = network_of("float32", "hinton"), recipe_of("adam", "sweep")
    trainer = Trainer(network, recipe)
    with streamed(network, recipe, STREAMINGS["slices"]) as other:
        for each in (trainer, other):
            train(each, data)
            _, params = train(each, data)

        for key, array in trainer.params.items():
            np.testing.assert_allclose(params[key], array, atol=5e-3, err_msg=key)


def test_bytes_moved_are_those_of_the_layers():
    data = clouds(64, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    with streamed(network, recipe, STREAMINGS["one by one"]) as trainer:
        trainer.learn_scaling(data)
        trainer.run.begin_stage(None)
        before = trainer.bytes_read, trainer.bytes_written
        trainer.learn(data, 0, 16)

        model = sum(
            buffer.spec.nbytes for buffer in trainer.plan.buffers
            if buffer.category == "weights" and buffer.name.startswith("layer")
        )  # fmt: skip
        assert (trainer.bytes_read - before[0], trainer.bytes_written - before[1]) == (model, model)


def test_evaluation_writes_nothing():
    data = clouds(64, 9, 3)
    network, recipe = network_of("float32", "readout"), recipe_of("adam", "sweep")
    with streamed(network, recipe, STREAMINGS["ahead and behind"]) as trainer:
        train(trainer, data)
        before = trainer.bytes_written
        trainer.evaluate(data)

        assert trainer.bytes_written == before


def test_a_broken_file_stops_the_training_in_words():
    data = clouds(64, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    with streamed(network, recipe, STREAMINGS["ahead and behind"]) as trainer:
        trainer.learn_scaling(data)
        trainer.file._file.truncate(1000)

        with pytest.raises(CheckpointError, match="must not be changed while it is in use"):
            for _ in trainer.train(data):
                pass


def test_a_trainer_on_disk_is_not_copied():
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")
    with (
        streamed(network, recipe, STREAMINGS["one by one"]) as trainer,
        pytest.raises(ConfigError, match="expected a resident one to copy"),
    ):
        copy.deepcopy(trainer)


def test_streaming_and_its_file_come_together():
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "sweep")

    with pytest.raises(ConfigError, match="expected streaming and file together"):
        Trainer(network, recipe, streaming=STREAMINGS["one by one"])


def test_a_resident_trainer_has_no_file_to_save_into():
    trainer = Trainer(network_of("int8", "readout"), recipe_of("sgd", "sweep"))

    with pytest.raises(ConfigError, match="expected streamed layers, got none"):
        trainer.save(model_of(trainer.network))


def test_lifetimes_of_streamed_weights_are_told_in_words():
    network = network_of("int8", "readout")
    plan = plan_training(network, recipe_of("sgd", "sweep"), None, STREAMINGS["ahead"])
    life = {buffer.name: buffer.need for buffer in plan.buffers}

    assert life["layer1.weight"].phases == (1, 2)
    assert life["layer1.weight"].life == "training, layers 0-1 of a step"
    assert life["input.mean"].phases == (0, END)
