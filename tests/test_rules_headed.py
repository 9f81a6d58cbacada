"""A linear head on layers that learned without labels: steps, solution, scores, plan."""

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    assert_allocates_nothing,
    assert_close,
    assert_downhill,
    compiled_only,
    give_random_params,
    gradient_of,
    matrices,
    scores_of,
    small_data,
    small_trainer,
)

from ffedge.buffers import plan_training
from ffedge.errors import ConfigError
from ffedge.kernels.provider import LIBRARY
from ffedge.network import Network
from ffedge.optimizers import Adam
from ffedge.recipe import Recipe
from ffedge.rules import (
    SCFF,
    Contrast,
    Corrupted,
    Headed,
    Hybrid,
    Readout,
    RidgeHead,
    SoftmaxHead,
    Sum,
)

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")

LEARNED = [SCFF(), Contrast(negatives=Hybrid(), label=None),
           Contrast(Sum(), negatives=Corrupted(), label=None, normalize=False)]  # fmt: skip


def prepared(rule, hidden=(33, 17, 9), batch=6, **options):
    trainer = small_trainer(rule, 20, hidden, 3, batch=batch, **options)
    give_random_params(trainer)
    return trainer, small_data(20, 3, batch)


def activities(trainer, X):
    """Each layer's normalised activity, float64, by the oracle."""
    rule, found = trainer.network.rule.learned, []
    x = X.astype(float)
    if isinstance(rule, Contrast) and rule.normalize:
        x = reference.normalize(x)
    for layer in matrices(trainer):
        z = x @ layer["W"] + layer["b"]
        if isinstance(rule, SCFF):
            x = reference.normalize(reference.standout(z, rule.activation.offset))
        elif isinstance(rule.goodness, Sum):
            y = np.maximum(z, 0)
            x = y / (1e-8 + np.abs(y).mean(axis=1, keepdims=True))
        else:
            x = reference.normalize(np.maximum(z, 0))
        found.append(x)
    return found


@pytest.mark.parametrize("learned", LEARNED, ids=repr)
@pytest.mark.parametrize("first", [None, 0, 2])
def test_scores_are_the_heads_product_with_the_normalised_activity(learned, first):
    trainer, data = prepared(Headed(learned, first=first))
    own = matrices(trainer)
    lowest = 1 if first is None else first
    layers = activities(trainer, data.features)

    wanted = sum(layers[i] @ own[i]["M"].T for i in range(lowest, 3))

    assert ["M" in layer for layer in own] == [i >= lowest for i in range(3)]
    assert_close(scores_of(trainer, data.features), wanted, 1e-4)


@pytest.mark.parametrize("learned", LEARNED, ids=repr)
@pytest.mark.parametrize("first", [None, 0])
def test_each_layers_step_is_the_joint_cross_entropys_finite_difference(learned, first):
    trainer, data = prepared(Headed(learned, SoftmaxHead(0.1), first), optimizer=GRADIENT)
    layers, own = activities(trainer, data.features), matrices(trainer)
    read = [i for i in range(3) if "M" in own[i]]

    trainer.learn(data, 0, 6)

    for i in read:

        def loss(M, i=i):
            heads = {j: own[j]["M"] for j in read} | {i: M}
            scores = sum(layers[j] @ heads[j].T for j in read)
            return reference.cross_entropy(scores, data.labels, 0.1)

        gradient = gradient_of(trainer.run.layers[i], "head")
        assert_downhill(gradient, loss, own[i]["M"], 1e-4)


@pytest.mark.parametrize("head", [SoftmaxHead(), RidgeHead(0.01)])
def test_the_layers_stay_as_they_are_and_have_no_optimiser_state(head):
    trainer, _ = prepared(Headed(SCFF(), head), optimizer=Adam())
    before = {name: array.tobytes() for name, array in trainer.params.items()}

    list(trainer.train(small_data(20, 3, 40)))

    after = {name: array.tobytes() for name, array in trainer.params.items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"layer1.head", "layer2.head"}
    assert {name for name in trainer.arena if "weight." in name or "bias." in name} == set()


@pytest.mark.parametrize("learned", LEARNED, ids=repr)
def test_a_ridge_head_is_numpys_solution(learned):
    trainer, _ = prepared(Headed(learned, RidgeHead(0.01), 0), batch=7, epochs=1)
    data = small_data(20, 3, 50)
    A = np.concatenate(activities(trainer, data.features), axis=1)
    gram, used = A.T @ A, (A != 0).any(axis=0)
    strength = 0.01 * np.diag(gram)[used].mean()

    list(trainer.train(data))

    T = np.eye(3)[data.labels]
    wanted = np.linalg.solve(gram + strength * np.eye(len(gram)), A.T @ T).T
    found = np.concatenate([layer["M"] for layer in matrices(trainer)], axis=1)
    assert_close(found, wanted, 1e-3)


def test_a_ridge_head_without_a_strength_takes_the_best_on_validation_data():
    data, validation = small_data(20, 3, 60), small_data(20, 3, 30, seed=1)
    accuracies = {}
    for strength in (None, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5):
        trainer, _ = prepared(Headed(SCFF(), RidgeHead(strength)), epochs=1)
        *_, last = trainer.train(data, validation)
        accuracies[strength] = last.validation

    assert accuracies[None] == max(accuracies.values())


@compiled_only
@pytest.mark.parametrize("head", [SoftmaxHead(), RidgeHead(0.01)])
def test_a_step_allocates_nothing(head):
    trainer, data = prepared(Headed(SCFF(), head, 0))

    assert_allocates_nothing(lambda: trainer.learn(data, 0, 6), 6144)


def test_training_a_head_finds_the_classes():
    trainer = small_trainer(
        Headed(SCFF(), first=0), 20, (40, 20), 3, batch=10, optimizer=Adam(0.01), epochs=60
    )
    data = small_data(20, 3, 60)
    data.features[:] += 3 * np.eye(20, dtype=np.float32)[data.labels]

    *_, last = trainer.train(data, data)

    assert last.validation > 0.95
    assert trainer.measured_bytes == trainer.plan.peak


def test_the_plan_names_every_byte_of_a_ridge_solution():
    network = Network.dense(20, (33, 17), 3, Headed(SCFF(), RidgeHead(), 0))
    sizes = {b.name: b.need.spec.nbytes for b in plan_training(network, Recipe()).buffers}

    assert sizes["layer1.gram"] == 80 * 80 * 4
    assert sizes["layer1.factor"] == 80 * 80 * 8


@pytest.mark.parametrize(
    "rule", [Headed(), Headed(LEARNED[1], RidgeHead(0.5), 0), Headed(LEARNED[2], SoftmaxHead(0.2))]
)
def test_a_network_comes_back_from_its_description(rule):
    network = Network.dense(20, (33, 17), 3, rule)

    assert Network.parse(network.describe()) == network


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Headed(Readout()), "expected a rule that learns without labels"),
        (lambda: Headed(Contrast()), "expected a rule that learns without labels"),
        (lambda: Headed(head="ridge"), "expected a head"),
        (lambda: Headed(first=-1), "expected first as a layer from 0"),
        (lambda: SoftmaxHead(1.0), r"SoftmaxHead: expected smoothing in 0\.\.0\.9"),
        (lambda: RidgeHead(0.0), "RidgeHead: expected strength in"),
        (lambda: Network.dense(20, (7,), 3, Headed(first=1)), "expected first below the 1 layers"),
        (lambda: Network.dense(20, (7,), 3, Headed(), precision="int8"), "int8"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_work_counts_passes_and_the_heads_products():
    several = Network.dense(20, (30, 10), 3, Headed(first=0))
    upper = Network.dense(20, (30, 10), 3, Headed(head=RidgeHead()))

    assert several.rule.work(several) == (2, 0, 1, 240, 120)
    assert upper.rule.work(upper) == (1, 0, 1, 110, 30)


def test_a_stream_is_refused():
    network = Network.dense(20, (7,), 3, Headed())

    with pytest.raises(ConfigError, match="expected a rule that trains the layers for a stream"):
        plan_training(network, Recipe(stream=True))


@pytest.mark.parametrize(
    "change",
    [{"learned": {"name": "readout"}}, {"head": None}, {"head": {"name": "pickle"}},
     {"first": 1.5}, {"learned": None}],
)  # fmt: skip
def test_a_hostile_description_is_refused(change):
    description = Network.dense(20, (33, 17), 3, Headed()).describe()

    with pytest.raises(ConfigError):
        Network.parse(description | {"rule": description["rule"] | change})
