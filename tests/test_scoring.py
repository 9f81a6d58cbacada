"""How good scores are: accuracy, and the errors of numbers against scikit-learn's."""

import numpy as np
import pytest

from ffedge.scoring import Deviation


def taken(values, targets, step):
    found = Deviation()
    for first in range(0, len(values), step):
        found.take(values[first : first + step], targets[first : first + step])
    return found


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("step", [1, 7, 100])
def test_errors_batch_by_batch_are_those_of_the_whole(step, offset):
    random = np.random.default_rng(0)
    targets = random.normal(size=100, scale=3) + offset
    values = targets + random.normal(size=100)

    found = taken(values, targets, step).figures()

    errors = values - targets
    wanted = {
        "r2": 1 - (errors**2).sum() / ((targets - targets.mean()) ** 2).sum(),
        "mae": np.abs(errors).mean(), "rmse": np.sqrt((errors**2).mean()), "std": targets.std(),
    }  # fmt: skip
    assert found == pytest.approx(wanted, rel=1e-9)


def test_errors_equal_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    targets, values = np.array([1.0, 2, 4, 8]), np.array([1.5, 2, 3, 9])

    found = taken(values, targets, 3)

    assert found.value == pytest.approx(metrics.r2_score(targets, values))
    assert found.mae == pytest.approx(metrics.mean_absolute_error(targets, values))
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(targets, values))


def test_of_a_constant_target_only_perfection_counts():
    constant = np.full(3, 7.0)

    assert taken(constant, constant, 2).value == 1.0
    assert taken(constant + 0.1, constant, 2).value == 0.0


def test_saying_the_mean_is_worth_nothing():
    targets = np.array([1.0, 2, 6])

    assert taken(np.full(3, 3.0), targets, 3).value == pytest.approx(0.0)
