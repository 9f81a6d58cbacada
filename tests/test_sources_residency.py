"""Mapped pages are given back once they have been read, and hold the same bytes afterwards."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from ffedge.model import Model
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.sources import load_features
from ffedge.sources.residency import AROUND, LIMIT, Residency
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
