"""Test-then-train: what is predicted before it is learned, and the figures made of it."""

import math
from collections import Counter, deque

import numpy as np
import pytest
from conftest import clouds, memory_below

from ffedge import FFClassifier
from ffedge.errors import ConfigError, DataError
from ffedge.prequential import Report, Score, prequential, samples_of
from ffedge.sources import from_arrays

sklearn_metrics = pytest.importorskip("sklearn.metrics")


class Majority:
    """A River-like model: the label that came most often; takes mappings and nothing else."""

    def __init__(self):
        self.counts, self.calls = Counter(), []

    def predict_one(self, x):
        assert isinstance(x, dict)
        self.calls.append("predict")
        return self.counts.most_common(1)[0][0] if self.counts else None

    def learn_one(self, x, y):
        self.calls.append("learn")
        self.counts[y] += 1


class Script:
    """Says what it is told to say."""

    def __init__(self, says):
        self.says = iter(says)

    def predict_one(self, x):
        return next(self.says)

    def learn_one(self, x, y):
        pass


def labelled(labels):
    return [({"a": 1.0}, label) for label in labels]


def random_labels(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1])
    said = np.where(rng.random(count) < 0.7, true, rng.choice(["a", "b", "c"], count))
    return true.tolist(), said.tolist()


def test_every_sample_is_predicted_before_it_is_learned():
    model = Majority()

    reports = list(prequential(model, labelled("aabbb"), every=2))

    assert model.calls == ["predict", "learn"] * 5
    assert [report.samples for report in reports] == [2, 4, 5]
    # It says nothing, then a four times: b does not come more often than a before the last.
    assert [report.predicted for report in reports] == [1, 3, 4]
    assert reports[1].accuracy == pytest.approx(1 / 3)


def test_a_sample_without_a_prediction_counts_neither_way():
    reports = list(prequential(Script([None, None, "a", "b"]), labelled("aaaa"), every=2))

    assert math.isnan(reports[0].accuracy)
    assert reports[0].predicted == 0
    assert (reports[1].samples, reports[1].predicted, reports[1].accuracy) == (4, 2, 0.5)


def test_the_figures_are_those_of_their_definitions():
    true, said = random_labels()
    window, fading = 100, 0.99

    reports = list(
        prequential(Script(said), labelled(true), every=700, window=window, fading=fading)
    )

    assert [report.samples for report in reports] == [700, 1400, 2100, 2800, 3000]
    for report in reports:
        right = np.array(true[: report.samples]) == np.array(said[: report.samples])
        weights = fading ** np.arange(report.samples)[::-1]
        assert report.accuracy == pytest.approx(right.mean())
        assert report.recent == pytest.approx(right[-window:].mean())
        assert report.fading == pytest.approx((right * weights).sum() / weights.sum())
        assert report.kappa == pytest.approx(
            sklearn_metrics.cohen_kappa_score(true[: report.samples], said[: report.samples])
        )


def test_a_window_that_is_not_full_yet_holds_what_there_is():
    (report,) = prequential(Script("aab"), labelled("aaa"), every=3, window=1000)

    assert report.recent == report.accuracy == pytest.approx(2 / 3)


def test_the_window_is_that_of_a_deque_wherever_it_is_asked():
    true, said = random_labels(500)
    last = deque(maxlen=37)

    for n, report in enumerate(prequential(Script(said), labelled(true), every=1, window=37)):
        last.append(true[n] == said[n])
        assert report.recent == pytest.approx(np.mean(last))


def test_one_label_alone_is_no_agreement_beyond_chance():
    (report,) = prequential(Script("aaaa"), labelled("aaaa"), every=4)

    assert (report.accuracy, report.kappa) == (1.0, 0.0)


def test_a_model_that_guesses_by_frequency_has_no_kappa():
    (report,) = prequential(Majority(), labelled(["a", "a", "b"] * 300), every=900)

    assert report.accuracy == pytest.approx(2 / 3, abs=0.01)
    assert abs(report.kappa) < 0.01


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_ffclassifier_learns_a_data_set_as_a_stream(precision):
    data = clouds(samples=1500, features=4)
    model = FFClassifier((16,), batch_size=1, precision=precision, random_state=0)

    *_, report = prequential(model, data, every=500, window=300)

    assert isinstance(report, Report)
    assert (report.samples, report.predicted) == (1500, 1499)
    assert report.recent > report.accuracy > 0.6
    assert report.recent > 0.9
    assert report.kappa > 0.5
    assert report.seconds > 0


def test_a_pair_stream_tells_ffclassifier_the_classes_once():
    data = clouds(samples=200, features=4)
    model = FFClassifier((16,), batch_size=1, random_state=0)

    *_, report = prequential(model, samples_of(data), every=100, classes=range(3))

    assert report.samples == 200
    assert model.classes_.tolist() == [0, 1, 2]


def test_a_trained_model_goes_on_with_the_classes_it_has():
    data = clouds(samples=300, features=4)
    model = FFClassifier((16,), max_iter=40, random_state=0).fit(data.features, data.labels)
    some = from_arrays(data.features[data.labels < 2], data.labels[data.labels < 2])

    *_, report = prequential(model, some)

    assert report.predicted == report.samples == 200
    assert report.accuracy > 0.9


def test_a_data_set_with_column_names_comes_as_mappings(tmp_path):
    from ffedge.sources import load

    (tmp_path / "d.csv").write_text("width,height,kind\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n")
    train, _ = load(tmp_path / "d.csv")

    samples = list(samples_of(train))

    assert all(list(x) == ["width", "height"] for x, _ in samples)
    assert {(x["width"], label) for x, label in samples} <= {(1, "x"), (3, "y"), (5, "x"), (7, "y")}
    model = Majority()
    list(prequential(model, train))
    assert sum(model.counts.values()) == len(samples)


def test_samples_of_a_part_are_those_of_its_rows():
    _, part = clouds(samples=100, features=4).split(0.3, 0)

    samples = list(samples_of(part))

    assert len(samples) == 30
    for (x, label), row in zip(samples, part.rows, strict=True):
        assert np.array_equal(x, part.features[row])
        assert label == part.labels[row]


def test_the_stream_is_read_as_it_is_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield {"a": 1.0}, "a"

    next(prequential(Majority(), endless(), every=10))

    assert len(taken) == 10


def test_memory_does_not_grow_with_the_stream():
    score = Score(window=1000)
    for n in range(2000):
        score.add(n % 3, n % 2)

    with memory_below(2000):
        for n in range(20_000):
            score.add(n % 3, n % 2)

    assert score.report(22_000, 0.0).predicted == 22_000


@pytest.mark.parametrize(
    "options",
    [{"every": 0}, {"every": 2.5}, {"every": True}, {"window": 0}, {"window": "all"},
     {"window": True}, {"fading": 0.0}, {"fading": 1.1}, {"fading": math.nan}],
)  # fmt: skip
def test_impossible_parameters_are_refused_before_a_sample_is_taken(options):
    with pytest.raises(ConfigError, match=r"^prequential: expected .*, got "):
        prequential(Majority(), labelled("ab"), **options)


def test_an_empty_stream_is_refused_in_words():
    with pytest.raises(DataError, match="expected a stream of samples, got an empty one"):
        list(prequential(Majority(), []))


def test_what_the_model_raises_comes_through():
    with pytest.raises(DataError, match="expected classes on the first call to learn_one"):
        list(prequential(FFClassifier(), labelled("ab")))
