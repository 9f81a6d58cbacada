"""The replay memory: inside the plan, fair to every class, the same for every seed."""

import pickle

import numpy as np
import pytest
from conftest import clouds

from ffedge import FFClassifier
from ffedge.arena import Arena
from ffedge.buffers import plan_training
from ffedge.errors import BudgetError, ConfigError, DataError
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.plan import place
from ffedge.recipe import Recipe
from ffedge.replay import Replay, replay_needs

ALL = clouds(samples=900, features=4, classes=6)
X, Y = ALL.features, ALL.labels.astype(np.int64)
PRECISIONS = ["float32", "int8"]


def memory(size=20, batch=4, classes=3, dtype="float32", seed=0):
    network = Network.dense(2, (16,), classes)
    recipe = Recipe(batch_size=batch, replay=size, replay_dtype=dtype, seed=seed)
    return Replay(Arena(place(replay_needs(network, recipe))), network, recipe)


def fill(kept, labels):
    """Samples whose first feature is their number and whose second is their label."""
    labels = np.asarray(labels, np.int32)
    features = np.stack([np.arange(len(labels)), labels], axis=1).astype(kept.features.dtype)
    kept.offer(features, labels)
    return kept


def contents(kept):
    return kept.features[: kept.kept, 0].astype(int).tolist()


def model(**options):
    return FFClassifier(**{"hidden_layer_sizes": (24, 16), "random_state": 0} | options)


# --- what is kept -------------------------------------------------------------------------------


def test_everything_is_kept_while_there_is_room():
    kept = fill(memory(size=20), [0, 1, 2, 0, 0])

    assert contents(kept) == [0, 1, 2, 3, 4]
    assert kept.counts.tolist() == [[3, 1, 1], [3, 1, 1], [0, 0, 0]]


def test_a_rare_class_gets_its_share_of_a_full_memory():
    labels = [0] * 500 + [1] * 100 + [2] * 7

    kept = fill(memory(size=30), labels)

    assert kept.kept == 30
    assert kept.counts[1].tolist() == np.bincount(kept.labels[:30]).tolist()
    assert kept.counts[1, 2] == 7
    assert abs(int(kept.counts[1, 0]) - int(kept.counts[1, 1])) <= 3
    assert (kept.features[:30, 1] == kept.labels[:30]).all()


def test_classes_that_come_one_after_the_other_end_with_equal_shares():
    kept = fill(memory(size=60, classes=6), np.repeat(np.arange(6), 300))

    assert kept.counts[1].tolist() == [10] * 6


def test_every_sample_of_a_class_is_as_likely_to_be_kept():
    times = np.zeros(60)
    for seed in range(1500):
        times[contents(fill(memory(size=12, seed=seed, classes=2), [0, 1] * 30))] += 1

    # Expected 300 each; the standard deviation of a binomial count is 15.5.
    assert times.sum() == 1500 * 12
    assert abs(times - 300).max() < 5 * 15.5
    assert abs(times[:30].mean() - times[30:].mean()) < 5 * 15.5 * np.sqrt(2 / 30)


def test_one_class_alone_is_a_plain_reservoir():
    times = np.zeros(50)
    for seed in range(1500):
        times[contents(fill(memory(size=10, seed=seed, classes=2), [1] * 50))] += 1

    assert abs(times - 300).max() < 5 * 15.5


def test_the_same_seed_keeps_the_same_samples():
    labels = np.random.default_rng(0).integers(0, 3, 400)

    one, same, other = (fill(memory(seed=seed), labels) for seed in (1, 1, 2))

    assert contents(one) == contents(same) != contents(other)


@pytest.mark.parametrize("seen", [2**31 - 2, 2**32 - 2, 2**53 - 2, 2**62 - 2])
def test_counts_of_samples_run_across_every_limit(seen):
    kept = fill(memory(), [0, 1, 2] * 30)
    kept.counts[0] = seen

    fill(kept, [0, 1, 2] * 10)

    assert kept.counts[0].tolist() == [min(seen + 10, 2**62)] * 3
    assert kept.kept == 20
    assert kept.select(np.zeros((1, 2), np.float32), np.zeros(1), np.empty(4, np.int64)) == 4


# --- what is replayed ---------------------------------------------------------------------------


def test_an_update_has_the_new_samples_and_different_kept_ones():
    kept = fill(memory(size=20, batch=8), [0, 1, 2] * 20)
    before = contents(kept)

    total = kept.select(
        np.array([[900, 2], [901, 1]], np.float32), np.array([2, 1]), np.empty(8, np.int64)
    )

    rows = kept.data.rows[:total]
    replayed, new = rows[:6], rows[6:]
    assert total == 8
    assert kept.data.features[new, 0].tolist() == [900, 901]
    assert kept.data.labels[new].tolist() == [2, 1]
    assert len(set(replayed.tolist())) == 6
    assert set(kept.data.features[replayed, 0].astype(int)) <= set(before)
    assert contents(kept) == before


def test_every_kept_sample_has_its_turn():
    kept = fill(memory(size=20, batch=4), [0, 1, 2] * 20)
    times, chosen = np.zeros(20), np.empty(4, np.int64)
    for _ in range(1000):
        kept.select(np.zeros((1, 2), np.float32), np.zeros(1), chosen)
        times[kept.data.rows[:3]] += 1
        kept.counts[0, 0] += 1

    # Expected 150; the standard deviation is 11.3.
    assert abs(times - 150).max() < 5 * 11.3


# --- inside the plan ----------------------------------------------------------------------------


def test_without_replay_the_plan_has_no_byte_for_it():
    network = Network.dense(4, (16,), 3)

    assert not [b for b in plan_training(network, Recipe()).buffers if "replay" in b.name]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_the_memory_is_in_the_plan_and_the_plan_is_what_is_used(precision, dtype):
    features = (X * 10 + 128).clip(0, 255).astype(dtype)
    fitted = model(precision=precision, replay=500).partial_fit(features, Y, classes=range(6))
    plain = model(precision=precision).partial_fit(features, Y, classes=range(6))

    buffers = {buffer.name: buffer for buffer in fitted.plan_.buffers}
    assert buffers["replay.features"].spec.nbytes == 532 * 4 * np.dtype(dtype).itemsize
    assert {buffers[f"replay.{n}"].category for n in ("features", "labels", "rows", "counts")} == {
        "data"
    }
    assert fitted._trainer.measured_bytes == fitted.plan_.peak
    assert 0 < fitted.plan_.peak - plain.plan_.peak < 532 * 4 * 4 + 532 * 4 + 1024


def test_a_budget_without_room_for_the_memory_is_refused():
    needed = model(replay=500).partial_fit(X, Y, classes=range(6)).plan_.peak

    with pytest.raises(BudgetError, match="1 B missing"):
        model(replay=500, max_memory=needed - 1).partial_fit(X, Y, classes=range(6))
    assert model(replay=500, max_memory=needed).partial_fit(X, Y, range(6)).plan_.peak == needed


@pytest.mark.parametrize(
    ("options", "said"),
    [({"replay": -1}, "replay"), ({"replay": 2.5}, "replay"), ({"replay": "many"}, "replay"),
     ({"replay": True}, "replay"), ({"replay": 10, "batch_size": 1}, "batch_size of at least 2")],
)  # fmt: skip
def test_an_impossible_memory_is_refused_in_words(options, said):
    with pytest.raises(ConfigError, match=f"expected .*{said}"):
        model(**options).partial_fit(X, Y, classes=range(6))


def test_a_recipe_refuses_another_dtype_and_describes_the_memory():
    with pytest.raises(ConfigError, match=r"expected replay_dtype .*, got 'int4'"):
        Recipe(replay=1, replay_dtype="int4")

    recipe = Recipe(SGD(), replay=7, replay_dtype="uint8")
    assert Recipe.parse(recipe.describe()) == recipe
    assert "replay" not in Recipe().describe()


# --- in the estimator ---------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
def test_old_classes_are_remembered_with_replay_and_forgotten_without(precision):
    first = Y < 3
    scores = {}
    for size in (0, 60):
        learner = model(precision=precision, replay=size, batch_size=16)
        for _ in range(5):
            learner.partial_fit(X[first], Y[first], classes=range(6))
        for _ in range(10):
            learner.partial_fit(X[~first], Y[~first])
        assert learner.score(X[~first], Y[~first]) > 0.9
        scores[size] = learner.score(X[first], Y[first])

    assert scores[60] > 0.9
    assert scores[60] > scores[0] + 0.2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_learn_one_replays_beside_the_new_sample(precision):
    learner = model(precision=precision, replay=50, batch_size=8)

    for x, label in zip(X[:100], Y[:100].tolist(), strict=True):
        learner.learn_one(x, label, classes=range(6))

    layer = learner._trainer.run.layers[0]
    assert layer.seen == 8
    assert layer.updates == learner.n_iter_ == 100
    assert learner._memory.kept == 50
    assert learner._memory.counts[0].sum() == 100


def test_partial_fit_fills_half_a_batch_with_new_samples():
    learner = model(replay=50, batch_size=8).partial_fit(X[:90], Y[:90], classes=range(6))

    assert learner.n_iter_ == 23  # batches of 4 new samples
    assert learner._memory.counts[0].sum() == 90


@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_fit_fills_the_memory_for_what_comes_after(schedule):
    learner = model(replay=40, max_iter=2, schedule=schedule).fit(X, Y)
    assert learner._memory.counts[0].tolist() == [150] * 6

    learner.partial_fit(X[:10], Y[:10])

    assert learner._memory.counts[0].sum() == 910
    assert learner._memory.kept == 40


@pytest.mark.parametrize("precision", PRECISIONS)
def test_equal_seeds_give_equal_models_and_a_pickle_goes_on_the_same(precision):
    one, same = (
        model(precision=precision, replay=30, batch_size=8).partial_fit(X, Y, classes=range(6))
        for _ in range(2)
    )
    twin = pickle.loads(pickle.dumps(one))

    for learner in (one, same, twin):
        learner.partial_fit(X[:100], Y[:100])

    content = one.decision_function(X).tobytes()
    assert content == same.decision_function(X).tobytes() == twin.decision_function(X).tobytes()


def test_added_classes_keep_what_was_kept_under_its_new_code():
    first = Y < 3
    learner = model(replay=30, batch_size=8)
    learner.partial_fit(X[first], Y[first] * 2 + 1, classes=[1, 3, 5])
    before = learner._memory.features[:30].copy(), learner._memory.labels[:30].copy()

    learner.add_classes([0, 2])

    kept = learner._memory
    assert np.array_equal(kept.features[:30], before[0])
    assert kept.labels[:30].tolist() == np.array([1, 3, 4])[before[1]].tolist()
    assert kept.counts[1, [1, 3, 4]].sum() == 30
    learner.partial_fit(X[~first], np.array([0, 0, 0, 0, 2, 2])[Y[~first]])
    assert kept.counts[1, [0, 2]].min() > 0


def test_bytes_are_kept_as_bytes_and_nothing_else_is_taken_afterwards():
    pixels = (X * 10 + 128).clip(0, 255).astype(np.uint8)
    learner = model(replay=30).partial_fit(pixels, Y, classes=range(6))
    assert learner._memory.features.dtype == np.uint8
    learner.learn_one([1, 2, 3, 255], 0)
    before, seen = learner.decision_function(pixels), learner._memory.counts.copy()

    with pytest.raises(DataError, match=r"replay: expected whole numbers 0\.\.255 .*, got 0\.5"):
        learner.learn_one([1, 2, 0.5, 4], 0)
    with pytest.raises(DataError, match=r"got 256\.0; pass float32 from the start"):
        learner.partial_fit(np.full((2, 4), 256, np.float32), [0, 1])

    assert np.array_equal(learner.decision_function(pixels), before)
    assert np.array_equal(learner._memory.counts, seen)


def test_a_model_file_holds_the_wish_for_a_memory_but_not_the_samples(tmp_path):
    model(replay=30).partial_fit(X, Y, classes=range(6)).save(tmp_path / "m")

    loaded = FFClassifier.load(tmp_path / "m")

    assert loaded.replay == 30
    assert loaded._memory.kept == 0
    loaded.partial_fit(X, Y)
    assert loaded._memory.kept == 30
