"""Kernels beside the compiled library: Numba runs those that it does not hold."""

import sys

import numpy as np
import pytest
from checks import PLAIN_PYTHON, compiled_only

from ffedge.errors import MissingDependencyError
from ffedge.kernels import goodness, labels
from ffedge.kernels.provider import LIBRARY
from ffedge.kernels.twin import PACKAGE, twin

pytestmark = pytest.mark.kernels


def python_function(kernel):
    return kernel if PLAIN_PYTHON else kernel.py_func


@compiled_only
def test_a_kernel_gives_the_same_beside_the_library_with_all_that_it_calls():
    scores = np.log(np.float32([[4, 2, 1], [1, 8, 3]]))
    mine, other = np.empty(2, np.int32), np.empty(2, np.int32)

    labels.wrong_labels(scores, 2, np.int32([0, 1]), 5, 7, mine)
    twin(python_function(labels.wrong_labels))(scores, 2, np.int32([0, 1]), 5, 7, other)

    assert other.tolist() == mine.tolist()
    assert sys.modules[f"{PACKAGE}.labels"].wrong_labels.signatures


@compiled_only
def test_the_second_package_runs_numba_whatever_the_first_one_does():
    twin(python_function(goodness.sums_delta))(
        1, 3, np.ones((1, 1), np.float32), np.float32(1), np.empty((1, 1, 16), np.float32)
    )

    assert sys.modules[f"{PACKAGE}.provider"].NAME == "jit"
    assert sys.modules[f"{PACKAGE}.provider"].LIBRARY is None


def test_without_numba_the_first_call_names_the_extra(monkeypatch):
    monkeypatch.setattr("ffedge.kernels.twin.find_spec", lambda name: None)

    alone = twin(python_function(goodness.sums_delta))

    with pytest.raises(MissingDependencyError, match=r"sums_delta.*ffedge\[jit\]"):
        alone(1, 3, None, None, None)


@pytest.mark.skipif(LIBRARY is None, reason="there is no compiled library")
def test_the_library_leaves_other_kernels_to_numba():
    delta = np.empty((1, 1, 16), np.float32)

    goodness.sums_delta(1, 3, np.full((1, 1), 2, np.float32), np.float32(0.5), delta)

    assert delta[0, 0].tolist() == [1.0] * 3 + [0.0] * 13
