"""Mapped pages are given back once they have been read, and hold the same bytes afterwards."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from ffedge.errors import DataError
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.sources import from_arrays, load, load_features
from ffedge.sources.residency import AROUND, LIMIT, Residency, row_reader
from ffedge.trainer import Trainer


@pytest.fixture
def mapped(tmp_path):
    """Features of 3 MB in a mapped file."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (3000, 1000), np.uint8))
    return load_features(path, width=1000)


def given_back(residency, monkeypatch):
    """A list that grows with every time pages are given back."""
    times = []
    monkeypatch.setattr(residency, "give_back", lambda: times.append(1))
    return times


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_that_are_given_back_leave_the_process(mapped):
    def resident():
        lines = Path("/proc/self/smaps").read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.endswith("x.npy"))
        return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))

    before = mapped.copy()
    assert resident() > 2900

    Residency(mapped).give_back()

    assert resident() == 0
    assert (mapped == before).all()


def test_pages_are_given_back_after_every_so_many_bytes(mapped, monkeypatch):
    residency = Residency(mapped)
    times = given_back(residency, monkeypatch)

    residency.read_bytes(LIMIT - 1)
    assert not times
    residency.read_bytes(1)
    residency.read_rows(LIMIT // AROUND)

    assert len(times) == 2


def test_an_array_in_memory_has_nothing_to_give_back():
    residency = Residency(np.zeros((9, 9)))

    residency.read_rows(10**6)
    residency.give_back()


def test_prediction_leaves_no_page_behind(mapped, monkeypatch):
    advised = []
    monkeypatch.setattr(
        Residency, "give_back", lambda self: advised.append(isinstance(self._map, mmap.mmap))
    )
    network = Network.dense(1000, (8,), 2)
    params = Trainer(network, Recipe()).params
    predictor = Predictor(Model(network, params, (0, 1), (1000,)), batch=16)

    predictor.codes(mapped[:40])

    assert advised == [True]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("start", [0, 3])
def test_rows_are_read_past_the_mapping(tmp_path, dtype, start):
    path = tmp_path / "x.npy"
    array = np.random.default_rng(1).integers(0, 99, (50, 7)).astype(dtype)
    np.save(path, array)
    features = load_features(path, width=7)[start:]
    reader, space = row_reader(features), np.zeros(130, np.uint8)

    rows = reader.read([4, 0, 46], space)

    assert reader.fit(space) == 130 // (7 * array.itemsize)
    assert rows.dtype == dtype
    assert rows.tolist() == array[start:][[4, 0, 46]].tolist()
    assert np.shares_memory(rows, space)


def test_a_file_that_has_become_shorter_is_refused(mapped, tmp_path):
    reader = row_reader(mapped)
    (tmp_path / "x.npy").write_bytes(b"")

    with pytest.raises(DataError, match="must not be changed while it is in use"):
        reader.read([2999], np.zeros(1000, np.uint8))


def test_an_array_in_memory_or_of_another_order_has_no_reader(mapped):
    assert row_reader(np.zeros((9, 9))) is None
    assert row_reader(mapped[:, ::2]) is None


@pytest.mark.parametrize("batch", [1, 5, 16])
@pytest.mark.parametrize(("dtype", "parts"), [(np.uint8, 1), (np.float32, 2)])
def test_training_from_a_file_gives_the_bits_of_training_from_memory(tmp_path, dtype, parts, batch):
    X = np.random.default_rng(2).integers(0, 200, (77, 9)).astype(dtype)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.arange(77) % 3)
    stored, _ = load(tmp_path / "x.npy", label=tmp_path / "y.npy")
    held = from_arrays(X, np.arange(77) % 3)
    assert (stored.storage, held.storage) == ("mapped", "memory")

    params = []
    for data in (stored, held, stored.split(0.8, 1)[0], held.split(0.8, 1)[0]):
        network = Network.dense(9, (20, 8), 3, precision="int8", input_parts=parts)
        trainer = Trainer(network, Recipe(SGD(0.05), batch_size=batch, epochs=2))
        trainer.learn_scaling(data)
        for _ in trainer.train(data):
            pass
        params.append(b"".join(array.tobytes() for array in trainer.params.values()))

    assert params[0] == params[1] != params[2]
    assert params[2] == params[3]
