"""Shifts while fetching: which samples move and how far, in training alone, with the same bits."""

import dataclasses
import json
import tempfile
from itertools import pairwise

import numpy as np
import pytest
import reference
import reference_classes as oracle
from conftest import clouds
from test_checkpointing import Cut, run
from test_cli import ffedge, one_object

from ffedge.buffers import plan_training
from ffedge.errors import ConfigError
from ffedge.estimator import FFClassifier
from ffedge.kernels.provider import LIBRARY
from ffedge.model_file import load_model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.recipe import Recipe
from ffedge.rules import Readout, hinton
from ffedge.shifts import STREAM, Grid, check_shift, grid_of
from ffedge.sources import from_arrays, load
from ffedge.streaming import Streaming
from ffedge.trainer import Trainer
from firmware_sim.lockstep import LockstepTrainer

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")


def images(samples=40, shape=(4, 4), dtype=np.uint8):
    data = clouds(samples, int(np.prod(shape)), 3)
    features = np.clip(data.features * 20 + 100, 0, 255).astype(dtype)
    return from_arrays(features.reshape(samples, *shape), data.labels, classes=range(3))


def trainer_of(shift=1, *, precision="float32", rule=None, batch=8, data=None, **recipe):
    data = images() if data is None else data
    network = Network.dense(data.width, (12, 9), 3, rule or Readout(), precision=precision)
    optimizer = SGD(0.05) if precision == "int8" else Adam(0.01)
    options = {"epochs": 2, "scaling": "global", "seed": 5} | recipe
    trainer = Trainer(network, Recipe(optimizer, batch_size=batch, shift=shift, **options))
    trainer.learn_scaling(data)
    return trainer


# Which shapes, and how far.


@pytest.mark.parametrize(
    ("shift", "shape", "grid"),
    [
        (1, (28, 28), Grid(28, 28, 1, 1, 1)),
        (2, (32, 30, 3), Grid(32, 30, 3, 2, 2)),
        ((2, 1), (20, 30), Grid(20, 30, 1, 2, 1)),
        ((5, 0), (128, 9), Grid(128, 9, 1, 5, 0)),
        ((0, 3), (4, 4), Grid(4, 4, 1, 0, 3)),
    ],
)
def test_a_shape_says_how_samples_move(shift, shape, grid):
    assert grid_of(shift, shape) == grid


@pytest.mark.parametrize(
    ("shift", "shape", "words"),
    [
        (1, (5,), "whose columns have no neighbours; leave the shift out"),
        ((1, 0), (5,), "whose columns have no neighbours"),
        (1, (2, 3, 4, 5), "got (2, 3, 4, 5)"),
        (1, (128, 9), "name both axes: (1, 0) for windows of (steps, channels), (1, 1) for images"),
        (1, (3, 32, 32), "got (3, 32, 32); move the channels to the end"),
        (4, (4, 4), "less than the samples' height and width, got (4, 4) for shape (4, 4)"),
        ((0, 4), (5, 4), "less than the samples' height and width, got (0, 4)"),
    ],
)
def test_a_shape_that_cannot_move_is_refused_with_the_way_out(shift, shape, words):
    with pytest.raises(ConfigError) as refusal:
        grid_of(shift, shape)

    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "shift", [-1, 1025, 1.0, True, "1", None, (1,), (1, 2, 3), (0, 0), (1, -1)]
)
def test_a_shift_that_is_none_is_refused(shift):
    with pytest.raises(ConfigError, match=r"Recipe: expected shift in 0\.\.1,024, or a pair"):
        Recipe(shift=shift)


def test_a_shift_survives_the_description_and_is_not_in_it_where_it_is_0():
    for shift in (1, (2, 0)):
        text = json.dumps(Recipe(shift=shift).describe())
        assert Recipe.parse(json.loads(text)) == Recipe(shift=shift)
    assert "shift" not in Recipe().describe()
    assert check_shift([np.int64(1), 0]) == (1, 0)


def test_a_stream_does_not_move():
    with pytest.raises(ConfigError, match=r"Recipe: expected shift 0 for a stream"):
        Recipe(stream=True, shift=1)


def test_outputs_on_disk_do_not_move():
    recipe = Recipe(SGD(0.1), schedule="layerwise", shift=1)
    network = Network.dense(16, (12, 9), 3, Readout())

    with pytest.raises(ConfigError, match=r"expected shift 0 where outputs are kept on disk"):
        plan_training(network, recipe, streaming=Streaming((0, 1), outputs=True))


def test_a_simulated_device_gets_samples_as_they_are():
    with pytest.raises(ConfigError, match=r"simulation: expected shift 0"):
        LockstepTrainer(
            Network.dense(16, (9,), 3, Readout(), precision="int8"),
            Recipe(SGD(0.1), batch_size=1, shift=1), device_steps=1, watch=print,
        )  # fmt: skip


# In training.


def moved_rows(data, rows, seed, first, down=1, across=1):
    words = [reference.bits(seed ^ STREAM, first + n) for n in range(len(rows))]
    height, width = data.feature_shape
    return np.array([
        oracle.shifted(
            data.features[row].reshape(height, width, 1), *oracle.moves(word, down, across)
        ).reshape(-1)
        for row, word in zip(rows, words, strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("subset", [False, True])
def test_training_fetches_moved_samples(precision, subset):
    data = images()
    rest = data.split(0.25, 0)[0] if subset else data
    trainer = trainer_of(precision=precision, data=data)
    trainer.run.begin_stage(None)
    trainer.run.samples_seen = 1000
    plain = trainer_of(0, precision=precision, data=data)

    trainer.run.fetch(rest, 4, 7, shuffle=9, moved=True)

    rows = [reference.shuffled(4 + n, rest.n_samples, 9) for n in range(7)]
    rows = rows if rest.rows is None else rest.rows[rows].tolist()
    plain.run.fetch_features(moved_rows(data, rows, 5, 1000), 0, 7)
    wanted, found = plain.run.input, trainer.run.input
    if precision == "int8":
        assert found[:7].tolist() == wanted[:7].tolist()
    else:
        np.testing.assert_allclose(found[:, :7], wanted[:, :7], rtol=1e-6)
    assert trainer.run.labels[:7].tolist() == data.labels[rows].tolist()


def test_a_second_pass_over_a_batch_moves_it_as_the_first_did():
    trainer = trainer_of()
    trainer.run.fetch(images(), 0, 8, shuffle=1, moved=True)
    first = trainer.run.input[:, :8].copy()
    trainer.run.input[:] = 7.5

    trainer.run.fetch_again(8)

    assert trainer.run.input[:, :8].tobytes() == first.tobytes()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_evaluation_and_streams_see_samples_as_they_are(precision):
    data = images()
    trainer = trainer_of(precision=precision)
    list(trainer.train(data))
    plain = trainer_of(0, precision=precision)
    for name, array in trainer.params.items():
        plain.arena[name][:] = array

    assert trainer.evaluate(data) == plain.evaluate(data)
    trainer.run.fetch(data, 0, 8)
    plain.run.fetch(data, 0, 8)
    assert trainer.run.input.tobytes() == plain.run.input.tobytes()
    table = from_arrays(data.features, data.labels, classes=range(3))
    trainer.learn(table, 0, 8)


def test_epochs_move_a_sample_differently():
    data, trainer, seen = images(8), trainer_of(), []
    fetch = trainer.run.fetch

    def watched(*args, **options):
        fetch(*args, **options)
        seen.append(trainer.run.input[:, :8].copy())

    trainer.run.fetch = watched
    list(trainer.train(data, tick=1e9))
    moves = [array.tobytes() for array in seen]

    assert len(moves) == 2
    assert all(one != other for one, other in pairwise(moves))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_shifted_run_that_was_cut_ends_with_the_same_bits(tmp_path, precision):
    data = images()
    network = Network.dense(16, (12, 9), 3, Readout(), precision=precision)
    optimizer = SGD(0.05) if precision == "int8" else Adam(0.01)
    recipe = Recipe(optimizer, batch_size=8, epochs=3, scaling="global", shift=1)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, *_ = run(tmp_path / "a", data, network, recipe)
    cuts = 0
    for cut_after in (1, 4, 3, None):
        try:
            trainer, *_ = run(tmp_path / "b", data, network, recipe, cut_after=cut_after)
        except Cut:
            cuts += 1

    assert cuts == 3
    for name, array in whole.params.items():
        assert trainer.params[name].tobytes() == array.tobytes(), name
    still, *_ = run(
        tempfile.mkdtemp(dir=tmp_path), data, network, dataclasses.replace(recipe, shift=0)
    )
    assert any(
        still.params[name].tobytes() != whole.params[name].tobytes() for name in still.params
    )


@pytest.mark.parametrize(
    ("precision", "rule"), [("float32", Readout()), ("float32", hinton()), ("int8", Readout())]
)
def test_a_step_of_moved_samples_allocates_nothing_and_needs_no_buffer(precision, rule):
    trainer = trainer_of(precision=precision, rule=rule)
    plain = trainer_of(0, precision=precision, rule=rule)

    list(trainer.train(images()))

    assert trainer.step_bytes < 8192
    assert trainer.plan.peak == plain.plan.peak


def test_moves_help_where_the_test_samples_are_moved():
    random = np.random.default_rng(0)
    digits, _ = load("digits")
    rows = digits.features.reshape(-1, 8, 8).astype(np.uint8)
    train, labels = rows[:600], digits.labels[:600]
    test = np.array([
        oracle.shifted(row[:, :, None], *random.integers(-1, 2, 2))[:, :, 0] for row in rows[600:]
    ])  # fmt: skip
    accuracy = [
        FFClassifier((64, 64), shift=shift, feature_shape=(8, 8), max_iter=30, random_state=0)
        .fit(train.reshape(600, 64), labels)
        .score(test.reshape(len(test), 64), digits.labels[600:])
        for shift in (0, 1)
    ]

    assert accuracy[1] > accuracy[0] + 0.1


# By name.


def test_the_estimator_needs_the_shape_and_keeps_it(tmp_path):
    data = images()
    model = FFClassifier((9,), shift=1, feature_shape=(4, 4), max_iter=1, random_state=0)

    model.fit(data.features, data.labels)
    model.save(tmp_path / "model.ffedge")

    again = FFClassifier.load(tmp_path / "model.ffedge")
    assert (again.shift, again.feature_shape) == (1, (4, 4))
    assert load_model(tmp_path / "model.ffedge").feature_shape == (4, 4)
    assert (again.predict(data.features) == model.predict(data.features)).all()
    again.partial_fit(data.features, data.labels)
    again.fit(data.features, data.labels)


def test_the_estimator_refuses_a_shift_without_a_shape_and_a_shape_that_does_not_fit():
    data = images()

    with pytest.raises(ConfigError, match=r"got \(16,\), whose columns have no neighbours"):
        FFClassifier((9,), shift=1).fit(data.features, data.labels)
    for shape in ((4, 5), (), "4x4", (4, -4), 16):
        with pytest.raises(ConfigError, match=r"expected feature_shape as sizes whose product is"):
            FFClassifier((9,), feature_shape=shape).fit(data.features, data.labels)


def test_a_stream_of_the_estimator_learns_samples_as_they_come():
    data = images()
    model = FFClassifier((9,), shift=1, feature_shape=(4, 4), random_state=0)

    model.partial_fit(data.features, data.labels, classes=[0, 1, 2])

    assert model._trainer.recipe.shift == 0


def test_the_command_line_trains_with_a_shift(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert (
        ffedge("train", "digits", "--epochs", "1", "--hidden", "16", "--shift", "1", "--json") == 0
    )

    assert one_object(capsys.readouterr().out)["epochs"] == 1
    assert load_model("digits.ffedge").training["recipe"]["shift"] == 1


def test_the_command_line_refuses_a_table_and_a_shift_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{n},{n % 3},{n % 2}" for n in range(40))
    (tmp_path / "table.csv").write_text(f"a,b,label\n{rows}\n")

    assert ffedge("train", "table.csv", "--label", "label", "--shift", "1,0") == 2
    assert "whose columns have no neighbours" in capsys.readouterr().err
    for text in ("x", "1,2,3", "-1", "0,0"):
        assert ffedge("train", "digits", f"--shift={text}") == 2
        assert "shift" in capsys.readouterr().err
