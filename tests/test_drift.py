"""The drift signal: quiet while nothing changes, soon heard when something does."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from conftest import clouds

from ffedge import FFClassifier
from ffedge.drift import CLIP, Drift, DriftWatch, PageHinkley
from ffedge.errors import ConfigError, DataError
from ffedge.rules import NAMED_RULES

RNG = np.random.default_rng


def normal(count, seed, mean=0.0, deviation=1.0):
    return (RNG(seed).standard_normal(count) * deviation + mean).tolist()


def alarms(detector, values):
    return [n for n, value in enumerate(values) if detector.update(value)]


# --- the detector -------------------------------------------------------------------------------


def test_a_hundred_thousand_steps_of_the_same_give_no_alarm():
    for seed in range(4):
        assert alarms(PageHinkley(), normal(25_000, seed, mean=3.0, deviation=0.2)) == []


@pytest.mark.parametrize("shift", [-3.0, -1.5, 1.5, 3.0])
def test_a_shift_of_the_mean_is_found_soon(shift):
    delays = []
    for seed in range(10):
        detector = PageHinkley()
        found = alarms(detector, normal(3000, seed) + normal(500, seed + 50, mean=shift))
        assert len(found) == 1
        assert found[0] >= 3000
        delays.append(found[0] - 3000)

    # A sum that grows by shift - tolerance a step reaches the threshold after this many.
    expected = 20.0 / (abs(shift) - 0.75)
    assert np.median(delays) == pytest.approx(expected, rel=0.5, abs=3)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_and_the_origin_of_the_number_do_not_matter(unit):
    values = np.array(normal(3000, 1) + normal(200, 2, mean=3.0))

    found = alarms(PageHinkley(), (values * unit).tolist())

    assert found == alarms(PageHinkley(), values.tolist())
    assert len(found) == 1


def test_a_slow_change_is_followed_without_an_alarm():
    slow = np.array(normal(40_000, 0)) + np.linspace(0, 8, 40_000)

    assert alarms(PageHinkley(), slow.tolist()) == []


def test_one_broken_number_is_no_drift():
    values = normal(3000, 0)
    for place in range(1500, 3000, 300):
        values[place] = 1e9

    assert alarms(PageHinkley(memory=10**6), values) == []
    assert 20.0 / (CLIP - 0.75) > 5  # it takes more than five of them in a row


def test_nothing_is_said_in_the_warm_up_nor_after_an_alarm():
    values = normal(900, 0) + normal(200, 1, mean=50)
    assert alarms(PageHinkley(warm_up=1100), values) == []

    detector = PageHinkley(warm_up=1000)
    found = alarms(detector, normal(2000, 0) + normal(900, 1, mean=5) + normal(100, 1, mean=-5))
    assert len(found) == 1


def test_a_fall_is_passed_over_where_only_a_rise_counts():
    falling, rising = normal(500, 1, mean=-3), normal(500, 1, mean=3)

    assert alarms(PageHinkley(falls=False), normal(3000, 0) + falling) == []
    assert len(alarms(PageHinkley(falls=False), normal(3000, 0) + rising)) == 1


def test_a_number_that_never_changes_and_then_does_is_found():
    assert alarms(PageHinkley(), [2.0] * 3000 + [2.001] * 10) == [3006]


def test_the_detector_needs_no_more_memory_after_a_million_steps():
    detector = PageHinkley()
    for value in normal(5000, 0):
        detector.update(value)
    assert detector._steps == 4000
    detector._steps = 4000

    for value in normal(5000, 1):
        detector.update(value)

    assert detector._steps == 4000
    assert all(isinstance(v, int | float) for v in vars(detector).values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(DataError, match="PageHinkley: expected a finite number"):
        PageHinkley().update(value)


@pytest.mark.parametrize(
    "options", [{"memory": 1}, {"tolerance": -1}, {"threshold": math.nan}, {"warm_up": "long"},
                {"warm_up": 0}, {"threshold": math.inf}],
)  # fmt: skip
def test_an_impossible_detector_is_refused_in_words(options):
    with pytest.raises(ConfigError, match=r"^PageHinkley: expected .* from \d on, got "):
        PageHinkley(**options)


# --- several signals ----------------------------------------------------------------------------


def test_a_watch_says_which_layer_it_was_and_which_way_it_went():
    watch, found = DriftWatch(), []
    low, high = np.exp2(normal(3000, 0)), np.exp2(normal(3000, 1))
    after = np.exp2(normal(100, 2, mean=-4))

    for a, b in zip([*low, *low[:100]], [*high, *after], strict=True):
        found.append(watch.update((a, b)))

    (drift,) = [one for one in found if one is not None]
    assert drift == found[drift.step - 1]
    assert 3000 < drift.step < 3030
    assert (drift.signal, drift.rises) == ("layer 1", False)
    assert drift.now < drift.before < 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        drift.step = 1


def test_a_watch_of_errors_hears_a_rise_only():
    errors = (RNG(0).random(4000) < 0.1).astype(float)
    worse = (RNG(1).random(300) < 0.8).astype(float)
    watch = DriftWatch()

    found = [watch.update((), error) for error in [*errors, *worse]]

    (drift,) = [one for one in found if one is not None]
    assert (drift.signal, drift.rises) == ("error", True)
    assert drift.step > 4000
    assert drift.before == pytest.approx(0.1, abs=0.05)


def test_after_an_alarm_every_signal_begins_anew():
    watch = DriftWatch()
    for value in np.exp2(normal(3000, 0)):
        watch.update((value, value * 2))
    found = [watch.update((value, value)) for value in np.exp2(normal(900, 1, mean=6))]

    assert len([one for one in found if one is not None]) == 1


def test_a_silent_layer_is_no_error():
    watch = DriftWatch()

    assert all(watch.update((0.0,)) is None for _ in range(2000))


# --- on the layers ------------------------------------------------------------------------------


def stream(count, seed, features=12):
    return clouds(samples=count, features=features, classes=4, seed=seed)


def learned(data, change=None, **options):
    """What a model is told of while it learns ``data``, changed from sample 2,000 on."""
    told = []
    model = FFClassifier(
        **{"hidden_layer_sizes": (24, 24), "batch_size": 1, "random_state": 0,
           "on_drift": told.append} | options
    )  # fmt: skip
    X = data.features.copy()
    if change is not None:
        X[2000:] = change(X[2000:])
    for x, label in zip(X, data.labels.tolist(), strict=True):
        model.learn_one(x, label, classes=range(4))
    return model, told


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_model_on_an_unchanging_stream_hears_nothing(precision):
    model, told = learned(stream(4000, 0), precision=precision)

    assert told == []
    assert model.drift_ is None


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    "change", [lambda X: X * 2, lambda X: X * 0.5, lambda X: -X, lambda X: X[:, ::-1]],
    ids=["gain up", "gain down", "inverted", "reversed"],
)  # fmt: skip
def test_a_model_is_told_soon_of_an_abrupt_change(precision, change):
    model, told = learned(stream(2400, 0), change, precision=precision)

    assert len(told) == 1
    assert 2000 < told[0].step <= 2150
    assert told[0].signal.startswith("layer ")
    assert model.drift_ is told[0]


def test_the_error_may_be_watched_instead_or_as_well():
    # Every label is another one from there on; the samples stay what they were.
    data = stream(2400, 0)
    labels = data.labels.copy()
    labels[2000:] = (labels[2000:] + 1) % 4
    relabelled = dataclasses.replace(data, labels=labels)

    told = {signal: learned(relabelled, drift_signal=signal)[1] for signal in ("error", "both")}

    for drifts in told.values():
        assert [drift.signal for drift in drifts] == ["error"]
        assert 2000 < drifts[0].step < 2030


def test_partial_fit_looks_once_an_update():
    told, seen = [], []
    model = FFClassifier((24,), batch_size=20, random_state=0, on_drift=told.append)
    data = stream(6000, 0)
    model.partial_fit(data.features, data.labels, classes=range(4))
    seen.append(model._watch.steps)

    assert seen == [300]
    for _ in range(4):
        model.partial_fit(data.features, data.labels)
    model.partial_fit(data.features[:2000] * 3, data.labels[:2000])
    assert len(told) == 1
    assert 1500 < told[0].step < 1530


@pytest.mark.parametrize("rule", sorted(w for w in NAMED_RULES if NAMED_RULES[w].learns("weight")))
def test_looking_changes_nothing_in_what_is_learned(rule):
    data = stream(300, 0)

    watching, _ = learned(data, rule=rule)
    blind, _ = learned(data, rule=rule, on_drift=None)

    assert np.array_equal(
        watching.decision_function(data.features), blind.decision_function(data.features)
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_looking_changes_nothing_with_replay_either(precision):
    data = stream(300, 0)
    options = {"replay": 40, "batch_size": 8, "precision": precision}

    watching, _ = learned(data, **options)
    blind, _ = learned(data, on_drift=None, **options)

    assert np.array_equal(
        watching.decision_function(data.features), blind.decision_function(data.features)
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_goodness_is_the_mean_square_of_the_activity(precision):
    model, _ = learned(stream(200, 0), precision=precision)
    x = stream(1, 5).features[0]

    first, second = model.goodness_one(x)

    params, network = model._trainer.params, model._trainer.network
    if precision == "float32":
        scaled = np.clip((x - params["input.mean"]) * params["input.gain"], -8, 8)
        y = np.maximum(
            scaled @ model.model_.dense_weight(0) + params["layer0.bias"].ravel()[:24], 0
        )
        assert first == pytest.approx(np.mean(y**2), rel=1e-4)
        y = y / np.sqrt(np.mean(y**2))
        y = np.maximum(y @ model.model_.dense_weight(1) + params["layer1.bias"].ravel()[:24], 0)
        assert second == pytest.approx(np.mean(y**2), rel=1e-4)
    else:
        y = model._trainer.run.layers[1].out[0, : network.hidden[1]].astype(float) / 8
        assert second == np.mean(y**2)
        assert first > 0


def test_a_model_that_only_predicts_can_be_watched_without_labels():
    data = stream(2600, 0)
    model = FFClassifier((24, 24), max_iter=10, random_state=0)
    model.fit(data.features[:600], data.labels[:600])
    watch = DriftWatch(warm_up=500)

    quiet = [watch.update(model.goodness_one(x)) for x in data.features[600:]]
    loud = [watch.update(model.goodness_one(x)) for x in data.features[:100] * 2]

    assert quiet == [None] * 2000
    assert any(isinstance(one, Drift) for one in loud)


def test_what_the_hook_raises_comes_through_after_the_sample_was_learned():
    def stop(drift):
        raise InterruptedError(drift.signal)

    data = stream(2200, 0)
    model = FFClassifier((24, 24), batch_size=1, random_state=0, on_drift=stop)
    X = data.features.copy()
    X[2000:] *= 3

    def run():
        for x, label in zip(X, data.labels.tolist(), strict=True):
            model.learn_one(x, label, classes=range(4))

    with pytest.raises(InterruptedError, match="layer 0"):
        run()

    assert model.n_iter_ == model.drift_.step > 2000


def test_a_pickle_goes_on_watching_where_it_was():
    told = []
    model, _ = learned(stream(2000, 0), on_drift=print)
    twin = pickle.loads(pickle.dumps(model))
    twin.set_params(on_drift=told.append)

    for x, label in zip(stream(60, 1).features * 3, [0, 1, 2] * 20, strict=True):
        twin.learn_one(x, label)

    assert len(told) == 1
    assert told[0].step > 2000


def test_a_new_fit_forgets_what_was_found():
    data = stream(2400, 0)
    model, told = learned(data, lambda X: X * 2)
    assert told

    model.set_params(max_iter=1).fit(data.features, data.labels)

    assert model.drift_ is None


def test_another_signal_is_refused_before_anything_is_learned():
    model = FFClassifier((8,), on_drift=print, drift_signal="noise")

    with pytest.raises(ConfigError, match="drift_signal goodness, error or both, got 'noise'"):
        model.learn_one([1.0, 2.0], 0, classes=[0, 1])
