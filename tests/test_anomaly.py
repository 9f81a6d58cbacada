"""The detector: scikit-learn's conventions for outliers, and real anomalies."""

import numpy as np
import pytest

from ffedge.anomaly import FFAnomalyDetector
from ffedge.errors import CheckpointError, ConfigError, DataError
from ffedge.kernels.provider import LIBRARY
from ffedge.model_file import save_model
from ffedge.rules import SCFF, Readout

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")


def normal_data(rows=400, seed=0):
    """Five features that hang together by two causes."""
    random = np.random.default_rng(seed)
    causes = np.random.default_rng(42).normal(size=(2, 5))
    return (random.normal(size=(rows, 2)) @ causes + 0.1 * random.normal(size=(rows, 5))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def fitted():
    return FFAnomalyDetector(random_state=0, contamination=0.05, max_iter=40).fit(normal_data())


def broken_data():
    """Each feature plausible, not all together; and some far outside."""
    X = normal_data(200, seed=1)
    shuffled = np.stack([np.random.default_rng(j).permutation(X[:, j]) for j in range(5)], axis=1)
    return np.concatenate([shuffled, X + 8])


def test_normal_samples_score_higher_than_broken_ones(fitted):
    good, bad = fitted.score_samples(normal_data(200, 2)), fitted.score_samples(broken_data())

    # The share of pairs in the right order: the area under the ROC curve.
    assert np.mean(good[:, None] > bad[None]) > 0.85


def test_predictions_are_plus_and_minus_one_by_the_sign_of_the_decision(fitted):
    X = np.concatenate([normal_data(100, 3), broken_data()])

    decision, found = fitted.decision_function(X), fitted.predict(X)

    assert set(found.tolist()) == {-1, 1}
    assert ((decision < 0) == (found == -1)).all()
    assert np.allclose(decision, fitted.score_samples(X) - fitted.offset_)


def test_contamination_is_the_share_of_the_training_data_below_the_threshold(fitted):
    assert 0.04 < np.mean(fitted.predict(normal_data()) == -1) <= 0.05


def test_a_file_brings_the_detector_back(fitted, tmp_path):
    fitted.save(tmp_path / "a.ffedge")
    back = FFAnomalyDetector.load(tmp_path / "a.ffedge")

    X = broken_data()
    assert back.score_samples(X).tobytes() == fitted.score_samples(X).tobytes()
    assert back.offset_ == fitted.offset_


def test_a_file_without_a_threshold_is_refused(fitted, tmp_path):
    model = fitted.model_.copy()
    del model.training["anomaly"]
    save_model(model, tmp_path / "a.ffedge")

    with pytest.raises(CheckpointError, match="with a threshold, got the rule contrast"):
        FFAnomalyDetector.load(tmp_path / "a.ffedge")


def test_the_same_seed_gives_the_same_scores():
    scores = [
        FFAnomalyDetector((16,), rule=SCFF(), max_iter=3, random_state=s)
        .fit(normal_data(60)).score_samples(broken_data()).tobytes()
        for s in (1, 1, 2)
    ]  # fmt: skip

    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contamination": 0.6}, r"expected contamination in 0\.\.0\.5"),
        ({"rule": Readout()}, "expected a rule that learns without labels"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        FFAnomalyDetector(**options).fit(normal_data(50))


def test_a_new_detector_predicts_nothing_and_other_features_are_refused(fitted):
    with pytest.raises((ValueError, AttributeError), match="fitted"):
        FFAnomalyDetector().predict(normal_data(5))
    with pytest.raises((DataError, ValueError), match="FFAnomalyDetector"):
        fitted.predict(np.zeros((3, 4), np.float32))


def test_scikit_learn_takes_it_for_an_outlier_detector():
    sklearn = pytest.importorskip("sklearn")

    detector = FFAnomalyDetector((16,), max_iter=2, contamination=0.1)

    assert sklearn.base.is_outlier_detector(detector)
    assert sklearn.base.clone(detector).get_params() == detector.get_params()


def test_it_finds_the_anomalies_of_the_shuttle(shared_data):
    metrics = pytest.importorskip("sklearn.metrics")
    with np.load(shared_data("shuttle_anomaly")) as file:
        x, y = file["x"], file["y"]
    normal = x[:8000][y[:8000] == 0]

    scores = FFAnomalyDetector(max_iter=6, random_state=0).fit(normal).score_samples(x[-8000:])

    assert metrics.roc_auc_score(y[-8000:], -scores) > 0.98
