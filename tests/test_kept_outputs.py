"""Outputs of finished layers on disk: the same bits in int8, nearly so in float32, less to read."""

import dataclasses
import os

import numpy as np
import pytest
from conftest import clouds
from test_streamer import OPTIMIZERS, STREAMINGS, model_of, network_of, recipe_of, streamed, train

from ffedge.errors import ConfigError
from ffedge.kept_outputs import KeptOutputs, stride
from ffedge.network import Network
from ffedge.sources import load
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer
from ffedge.training_file import TrainingFile

NAMES = ["one by one", "ahead", "some resident", "slices"]


def keeping(name):
    return dataclasses.replace(STREAMINGS[name], outputs=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("rule", ["readout", "group"])
def test_int8_training_ends_with_the_same_bits(rule, batch_size, name):
    data = clouds(70, 9, 3)
    network, recipe = network_of("int8", rule), recipe_of("sgd", "layerwise", batch_size)
    with streamed(network, recipe, STREAMINGS[name]) as trainer:
        accuracy, params = train(trainer, data)

    with streamed(network, recipe, keeping(name)) as trainer:
        found, other = train(trainer, data)

    assert found == accuracy
    for key, array in params.items():
        assert other[key].tobytes() == array.tobytes(), key


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", ["readout", "side-channel"])
def test_the_first_layer_of_a_float_network_is_the_same_and_the_others_nearly(
    rule, name, optimizer
):
    data = clouds(70, 9, 3)
    network, recipe = network_of("float32", rule), recipe_of(optimizer, "layerwise")
    with streamed(network, recipe, STREAMINGS[name]) as trainer:
        _, params = train(trainer, data)

    with streamed(network, recipe, keeping(name)) as trainer:
        _, other = train(trainer, data)

    assert other["layer0.weight"].tobytes() == params["layer0.weight"].tobytes()
    for key in ("layer1.weight", "layer2.weight"):
        distance = np.linalg.norm(other[key] - params[key]) / np.linalg.norm(params[key])
        assert 0 < distance < 0.05, key


def test_a_float_network_learns_the_digits_from_outputs_in_8_bits():
    rest, test = load("digits")
    network = Network.dense(64, (60, 60, 60), 10)
    recipe = dataclasses.replace(recipe_of("adam", "layerwise"), epochs=15, scaling="global")
    with streamed(network, recipe, Streaming((4, 4, 4), outputs=True)) as trainer:
        trainer.learn_scaling(rest)
        for _ in trainer.train(rest):
            pass

        assert trainer.evaluate(test) > 0.93


def test_a_subset_of_rows_is_kept_by_its_own_numbers():
    data, _ = clouds(90, 9, 3).split(0.3, 0)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "layerwise")
    with streamed(network, recipe, STREAMINGS["one by one"]) as trainer:
        _, params = train(trainer, data)

    with streamed(network, recipe, keeping("one by one")) as trainer:
        _, other = train(trainer, data)

    assert data.rows is not None
    assert all(other[key].tobytes() == params[key].tobytes() for key in params)


def test_deep_layers_read_rows_instead_of_the_layers_below():
    data = clouds(64, 9, 3)
    network = network_of("int8", "readout", (200,) * 6)
    recipe = recipe_of("sgd", "layerwise")
    moved = []
    for outputs in (False, True):
        streaming = dataclasses.replace(Streaming.of(network), outputs=outputs)
        with streamed(network, recipe, streaming) as trainer:
            trainer.learn_scaling(data)
            for _ in trainer.train(data):
                pass
            moved.append(trainer.bytes_read)

    rows = 3 * 5 * 64 * stride(network)
    layers = 6 * 200 * 200
    assert moved[1] < rows + 3 * layers < moved[0] / 4


def test_evaluation_in_between_runs_the_layers_themselves():
    data = clouds(70, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "layerwise")
    accuracies = []
    for streaming in (STREAMINGS["ahead"], keeping("ahead")):
        with streamed(network, recipe, streaming) as trainer:
            trainer.learn_scaling(data)
            found = [each.validation for each in trainer.train(data, clouds(40, 9, 3, seed=5))]
            accuracies.append([value for value in found if value is not None])

    assert len(accuracies[0]) == 6
    assert accuracies[0] == accuracies[1]


def test_a_stop_leaves_a_trainer_that_scores_by_its_layers():
    data = clouds(70, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "layerwise")
    with streamed(network, recipe, keeping("ahead")) as trainer:
        trainer.learn_scaling(data)
        for progress in trainer.train(data):
            if progress.layer == 1:
                trainer.stop()

        assert trainer.run.first == 0
        assert trainer.reached == 2
        assert trainer.evaluate(data) > 0.5


def test_a_disk_without_room_for_the_outputs_is_refused(monkeypatch):
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "layerwise")
    with streamed(network, recipe, keeping("ahead")) as trainer:

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(ConfigError, match="of disk for what does not stay in memory"):
            KeptOutputs(trainer.run, clouds(10, 9, 3), trainer.file)


def test_the_model_file_has_none_of_it(tmp_path):
    data = clouds(70, 9, 3)
    network, recipe = network_of("int8", "readout"), recipe_of("sgd", "layerwise")
    sizes = []
    for streaming in (STREAMINGS["ahead"], keeping("ahead")):
        with open(tmp_path / f"{len(sizes)}.ffedge", "x+b") as file:
            training_file = TrainingFile(file, model_of(network), recipe)
            trainer = Trainer(network, recipe, streaming=streaming, file=training_file)
            train(trainer, data)
            sizes.append(trainer.save(model_of(network)))

    assert sizes[0] == sizes[1]
    assert (tmp_path / "0.ffedge").read_bytes() == (tmp_path / "1.ffedge").read_bytes()
