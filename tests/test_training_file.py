"""The model file while it is being trained: where arrays lie, what is left in the end."""

import os
import tempfile

import numpy as np
import pytest

from ffedge.buffers import model_needs
from ffedge.errors import CheckpointError, ConfigError
from ffedge.model import Model
from ffedge.model_file import load_model, save_model
from ffedge.network import Network
from ffedge.optimizers import Adam
from ffedge.recipe import Recipe
from ffedge.rules import hinton
from ffedge.training_file import TrainingFile

NETWORK = Network.dense(9, (40, 33), 3)
RECIPE = Recipe(optimizer=Adam())


def model_of(network, params=None, **training):
    return Model(network, params or {}, (0, 1, 2), (9,), None, training)


def random_params(network):
    rng = np.random.default_rng(3)
    params = {}
    for need in model_needs(network):
        array = np.zeros(need.spec.shape, need.spec.dtype)
        lanes = 1 if need.name.startswith("layer") else array.shape[-1]
        array[..., :lanes] = rng.standard_normal(array[..., :lanes].shape)
        params[need.name] = array
    return params


def fill(file, params):
    for name, array in params.items():
        if name in file._spans:
            file.write(file.place(name), [array.data.cast("B")])


@pytest.fixture
def opened(tmp_path):
    with open(tmp_path / "m.ffedge", "x+b") as file:
        yield file


def test_it_becomes_the_model_file_that_would_have_been_saved(tmp_path, opened):
    params = random_params(NETWORK)
    file = TrainingFile(opened, model_of(NETWORK), RECIPE)
    fill(file, params)

    nbytes = file.finish(model_of(NETWORK, epochs=3), memoryview(bytearray(1000)))
    opened.flush()

    model = load_model(opened.name)
    assert nbytes == os.stat(opened.name).st_size
    assert model.training == {"epochs": 3}
    for name, array in params.items():
        assert model.params[name].tobytes() == array.tobytes(), name
    save_model(model, tmp_path / "again.ffedge")
    assert load_model(tmp_path / "again.ffedge").params.keys() == params.keys()


@pytest.mark.parametrize("rule", [None, hinton()])
def test_the_first_layers_alone_can_be_saved(opened, rule):
    network = Network.dense(9, (40, 33), 3, rule)
    params = random_params(network)
    file = TrainingFile(opened, model_of(network), RECIPE)
    fill(file, params)
    cut = model_of(network, params).first_layers(1)

    file.finish(cut, memoryview(bytearray(4096)))
    opened.flush()

    model = load_model(opened.name)
    assert model.network == cut.network
    for name, array in cut.params.items():
        assert model.params[name].tobytes() == array.tobytes(), name


def test_state_is_cut_off_at_the_end(opened):
    file = TrainingFile(opened, model_of(NETWORK), RECIPE)
    with_state = os.stat(opened.name).st_size

    nbytes = file.finish(model_of(NETWORK), memoryview(bytearray(1 << 16)))
    opened.flush()

    weights = sum(need.spec.nbytes for need in model_needs(NETWORK))
    assert with_state == file.size > 3 * weights
    assert os.stat(opened.name).st_size == nbytes < file.size - weights


def test_pieces_are_read_and_written_one_behind_the_other_and_counted(opened):
    file = TrainingFile(opened, model_of(NETWORK), RECIPE)
    first = file.place("layer0.weight")
    one, two = bytearray(100), bytearray(28)

    file.write(first, [memoryview(bytes(range(100))), memoryview(b"x" * 28)])
    file.read(first, [memoryview(one), memoryview(two)])

    assert bytes(one) == bytes(range(100))
    assert bytes(two) == b"x" * 28
    assert (file.bytes_read, file.bytes_written) == (128, 128)


def test_a_move_that_the_system_cuts_short_goes_on(opened, monkeypatch):
    file = TrainingFile(opened, model_of(NETWORK), RECIPE)
    first = file.place("layer0.weight")
    file.write(first, [memoryview(bytes(range(200)))])
    preadv = os.preadv

    def short(fileno, buffers, offset):
        return preadv(fileno, [buffers[0][:7]], offset)

    monkeypatch.setattr(os, "preadv", short)
    parts = [bytearray(30), bytearray(1), bytearray(169)]
    file.read(first, [memoryview(part) for part in parts])

    assert b"".join(parts) == bytes(range(200))


def test_a_file_that_became_shorter_is_refused(opened):
    file = TrainingFile(opened, model_of(NETWORK), RECIPE)
    os.truncate(opened.name, 100)

    with pytest.raises(CheckpointError, match="must not be changed while it is in use"):
        file.read(file.place("layer0.weight"), [memoryview(bytearray(64))])


def test_a_disk_without_room_is_refused_before_training(monkeypatch):
    def full(fileno, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        tempfile.NamedTemporaryFile() as file,
        pytest.raises(ConfigError, match=r"expected [0-9,]+ B of disk .* No space left"),
    ):
        TrainingFile(file, model_of(NETWORK), RECIPE)


def test_a_header_that_outgrows_its_room_is_refused(opened):
    file = TrainingFile(opened, model_of(NETWORK), RECIPE)

    with pytest.raises(CheckpointError, match="expected a header of at most"):
        file.finish(model_of(NETWORK, notes="x" * 100_000), memoryview(bytearray(4096)))
