"""The complete list of buffers: sound, exact, and refused in words one byte short."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_plan import assert_sound

from ffedge.arena import Arena
from ffedge.buffers import model_needs, plan_prediction, plan_training
from ffedge.errors import BudgetError, ConfigError
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import SCHEDULES, Recipe
from ffedge.rules import NAMED_RULES
from ffedge.trainer import Trainer

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
OPTIMIZERS = (SGD(), Momentum(), Adam())


@st.composite
def networks(draw):
    classes = draw(st.integers(2, 20))
    rule = NAMED_RULES[draw(st.sampled_from(sorted(NAMED_RULES)))]
    least = 2 if getattr(rule, "collaboration", False) else 1
    hidden = draw(st.lists(st.integers(classes, 70), min_size=least, max_size=4))
    normalize = draw(st.booleans())
    return Network.dense(draw(st.integers(1, 90)), hidden, classes, rule, normalize_input=normalize)


recipes = st.builds(
    Recipe,
    optimizer=st.sampled_from(OPTIMIZERS),
    batch_size=st.integers(1, 40),
    schedule=st.sampled_from(SCHEDULES),
)


@st.composite
def trainings(draw):
    """A network and a recipe that its rule trains by."""
    network, recipe = draw(networks()), draw(recipes)
    if network.rule.no_layerwise:
        recipe = replace(recipe, schedule="sweep")
    return network, recipe


@MANY
@given(trainings())
def test_no_two_buffers_of_a_training_run_overlap_while_both_live(training):
    network, recipe = training
    assert_sound(plan_training(network, recipe))


@MANY
@given(networks(), st.integers(1, 40))
def test_no_two_buffers_of_prediction_overlap_while_both_live(network, batch):
    assert_sound(plan_prediction(network, batch))


@MANY
@given(trainings())
def test_measured_bytes_equal_planned_bytes_for_any_run(training):
    network, recipe = training
    trainer = Trainer(network, recipe)

    assert trainer.measured_bytes == trainer.plan.peak
    assert trainer.measured_bytes == plan_training(network, recipe).peak


@MANY
@given(trainings())
def test_exactly_enough_is_accepted_and_one_byte_less_is_refused(training):
    network, recipe = training
    peak = plan_training(network, recipe).peak

    assert plan_training(network, recipe, peak).peak == peak
    with pytest.raises(BudgetError) as caught:
        plan_training(network, recipe, peak - 1)

    assert (caught.value.required, caught.value.missing) == (peak, 1)


@MANY
@given(trainings())
def test_the_smallest_budget_that_the_refusal_names_works(training):
    network, recipe = training
    with pytest.raises(BudgetError) as caught:
        plan_training(network, recipe, 1)

    least = int(str(caught.value).split("this network needs ")[1].split(" B")[0].replace(",", ""))

    assert plan_training(network, replace(recipe, batch_size=1), least).peak == least


def test_the_refusal_names_missing_bytes_largest_buffers_and_what_to_change():
    network = Network.dense(784, (500, 500), 10)

    with pytest.raises(BudgetError) as caught:
        plan_training(network, Recipe(), 512 << 10)

    message = str(caught.value)
    assert message.startswith("plan needs ")
    assert f"{caught.value.required - (512 << 10):,} B missing" in message
    assert "Largest buffers: layer0.weight" in message
    assert "--batch-size" in message
    assert "At batch size 1 this network needs" in message


def test_the_state_of_one_layer_at_a_time_is_planned_in_layerwise():
    network = Network.dense(64, (128, 128, 128, 128), 10)
    sweep, layerwise = (plan_training(network, Recipe(schedule=schedule)) for schedule in SCHEDULES)

    one, all_ = (plan.by_category()["optimizer state"] for plan in (layerwise, sweep))

    assert all_ / 4 < one < all_ / 3
    assert layerwise.peak < 0.65 * sweep.peak


def test_sgd_needs_no_state():
    plan = plan_training(Network.dense(10, (20,), 3), Recipe(optimizer=SGD()))

    assert plan.by_category()["optimizer state"] == 0
    assert "tile" not in {buffer.name for buffer in plan.buffers}


@pytest.mark.parametrize(("optimizer", "copies"), [(Momentum(), 1), (Adam(), 2)])
def test_state_is_a_copy_of_every_parameter(optimizer, copies):
    network = Network.dense(10, (32, 16), 3)
    plan = plan_training(network, Recipe(optimizer=optimizer))

    params = sum(n.spec.nbytes for n in model_needs(network) if n.name.startswith("layer"))

    assert sum(
        b.spec.nbytes for b in plan.buffers if b.category == "optimizer state"
    ) == copies * params  # fmt: skip


@pytest.mark.parametrize("rule", sorted(NAMED_RULES))
def test_prediction_needs_less_than_training(rule):
    network = Network.dense(30, (40, 40), 5, NAMED_RULES[rule])

    assert plan_prediction(network, 64).peak < plan_training(network, Recipe()).peak


def test_prediction_in_batches_of_none_is_refused():
    with pytest.raises(ConfigError, match=r"^plan_prediction: expected .* got 0"):
        plan_prediction(Network.dense(4, (4,), 2), 0)


def test_prediction_refuses_a_budget_one_byte_short():
    network = Network.dense(4, (4,), 2)
    peak = plan_prediction(network, 8).peak

    assert plan_prediction(network, 8, peak).peak == peak
    with pytest.raises(BudgetError, match=r"1 B missing.*--batch-size"):
        plan_prediction(network, 8, peak - 1)


@MANY
@given(trainings())
def test_an_arena_of_any_plan_holds_disjoint_views_of_what_lives_together(training):
    network, recipe = training
    plan = plan_training(network, recipe)
    arena = Arena(plan)

    for i, one in enumerate(plan.buffers):
        arena[one.name][...] = i
    weights = [(i, b) for i, b in enumerate(plan.buffers) if b.category == "weights"]

    for i, buffer in weights:
        assert (arena[buffer.name] == i).all()
