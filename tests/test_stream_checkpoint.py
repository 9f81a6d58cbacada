"""``partial_fit`` with a folder: what it returned from is not lost, whatever comes after."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import clouds
from test_cli import ROOT

from ffedge import FFClassifier
from ffedge.errors import CheckpointError
from ffedge.stream_checkpoint import StreamCheckpoint

DATA = clouds(300, 6, 3)
X, Y = DATA.features, DATA.labels

KINDS = {
    "float32": {},
    "int8": {"precision": "int8"},
    "hinton": {"rule": "hinton"},
    "momentum": {"optimizer": "momentum"},
    "replay": {"replay": 20},
}


def model_of(kind, **options):
    return FFClassifier((20, 16), batch_size=8, random_state=3, **KINDS[kind], **options)


def assert_same(one, other):
    for name, array in one._trainer.params.items():
        assert other._trainer.params[name].tobytes() == array.tobytes(), name
    assert other.n_iter_ == one.n_iter_


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_estimator_goes_on_with_the_same_bits(tmp_path, kind):
    whole = model_of(kind)
    for start in range(0, 300, 60):
        rows = slice(start, start + 60)
        whole.partial_fit(X[rows], Y[rows], range(3))

    for start in range(0, 300, 60):
        rows = slice(start, start + 60)
        model = model_of(kind)
        model.partial_fit(X[rows], Y[rows], range(3), checkpoint=tmp_path / "states")
        # The process ends here.
        model._hold(None)

    assert_same(whole, model)
    assert (model.predict(X) == whole.predict(X)).all()


def test_one_estimator_saves_what_changed_after_every_call(tmp_path):
    model, twin = model_of("int8"), model_of("int8")
    for start in range(0, 120, 20):
        rows = slice(start, start + 20)
        model.partial_fit(X[rows], Y[rows], range(3), checkpoint=tmp_path)
        twin.partial_fit(X[rows], Y[rows], range(3))

    assert_same(twin, model)
    assert "checkpoint.marks" in model._trainer.arena
    assert model._trainer.measured_bytes == model.plan_.peak


def test_other_parameters_are_refused_and_the_estimator_stays_as_new(tmp_path):
    first = model_of("float32").partial_fit(X, Y, range(3), checkpoint=tmp_path)
    first._hold(None)
    other = FFClassifier((20, 17), batch_size=8, random_state=3)

    with pytest.raises(CheckpointError, match="expected the state of an estimator with these"):
        other.partial_fit(X, Y, range(3), checkpoint=tmp_path)

    assert not hasattr(other, "classes_")
    other.partial_fit(X, Y, range(3), checkpoint=tmp_path / "another")


def test_the_folder_is_refused_while_another_estimator_has_it(tmp_path):
    model_of("float32").partial_fit(X, Y, range(3), checkpoint=tmp_path)
    model = model_of("float32").partial_fit(X, Y, range(3), checkpoint=tmp_path)

    with pytest.raises(CheckpointError, match="expected a folder that no other training uses"):
        model_of("float32").partial_fit(X, Y, range(3), checkpoint=tmp_path)

    assert model._kept is not None


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_does_not_have_the_folder(tmp_path, copier):
    model = model_of("int8").partial_fit(X, Y, range(3), checkpoint=tmp_path)

    twin = copier(model)

    assert twin._kept is None
    assert_same(model, twin)


def test_a_killed_process_loses_nothing_that_a_call_returned_from(tmp_path):
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from test_stream_checkpoint import X, Y, model_of
model, folder = model_of("int8"), {str(tmp_path)!r}
for start in range(0, 300, 50):
    rows = slice(start, start + 50)
    model.partial_fit(X[rows], Y[rows], range(3), checkpoint=folder)
    print(model.n_iter_, flush=True)
    if start == 100:
        os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    updates = int(done.stdout.split()[-1])

    model = model_of("int8")
    model.partial_fit(X[150:200], Y[150:200], range(3), checkpoint=tmp_path)

    whole = model_of("int8")
    for start in range(0, 200, 50):
        whole.partial_fit(X[start : start + 50], Y[start : start + 50], range(3))
    assert done.returncode == -9
    assert updates < model.n_iter_
    assert_same(whole, model)


def test_a_state_survives_every_class_kind(tmp_path):
    names = np.array(["ä", "b", "c"])
    first = model_of("float32").partial_fit(X, names[Y], names, checkpoint=tmp_path)
    first._hold(None)

    again = model_of("float32")
    again.partial_fit(X[:8], names[Y[:8]], names, checkpoint=tmp_path)

    assert again.n_iter_ == first.n_iter_ + 1


def test_a_folder_is_let_go(tmp_path):
    kept = StreamCheckpoint(tmp_path)
    kept.close()

    StreamCheckpoint(tmp_path).close()
