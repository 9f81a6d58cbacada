"""From a budget to a plan: what is given up for it, in which order, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_buffers import networks
from test_plan import assert_sound

from ffedge.buffers import plan_training
from ffedge.errors import BudgetError, ConfigError
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.planner import Pace, choose
from ffedge.recipe import SCHEDULES, Recipe
from ffedge.rules import NAMED_RULES, hinton
from ffedge.streaming import Streaming

WIDE = Network.dense(64, (300, 300), 10)
DEEP = Network.dense(64, (100,) * 16, 10, precision="int8")


def recipes(optimizer=None, sizes=(64, 32, 16, 8, 4, 2, 1), schedules=SCHEDULES):
    return [
        Recipe(optimizer=optimizer or SGD(), batch_size=size, schedule=schedule)
        for size in sizes for schedule in schedules
    ]  # fmt: skip


def test_without_a_budget_everything_stays_as_asked():
    wanted = recipes()

    choice = choose(WIDE, wanted)

    assert choice.recipe is wanted[0]
    assert choice.streaming is None
    assert choice.plan == plan_training(WIDE, wanted[0])
    assert choice.slowdown == 1.0
    assert choice.words(wanted[0]) == []


def test_enough_for_everything_changes_nothing():
    wanted = recipes()
    peak = plan_training(WIDE, wanted[0]).peak

    choice = choose(WIDE, wanted, peak)

    assert (choice.recipe, choice.streaming, choice.plan.peak) == (wanted[0], None, peak)
    assert (choice.reads, choice.writes, choice.slowdown) == (0, 0, 1.0)


def test_a_byte_too_few_is_met_by_the_change_that_costs_least():
    wanted = recipes(Adam())
    peak = plan_training(WIDE, wanted[0]).peak

    choice = choose(WIDE, wanted, peak - 1)

    assert choice.plan.peak < peak
    assert 1.0 < choice.slowdown < 2.0
    assert choice.words(wanted[0])[-1].startswith("predicted to take 1.")


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_a_deep_network_lies_on_disk_but_for_the_layers_that_fit(share):
    wanted = recipes(sizes=(64,), schedules=("sweep",))
    budget = int(share * plan_training(DEEP, wanted[0]).peak)

    choice = choose(DEEP, wanted, budget)

    assert choice.plan.peak <= budget
    assert choice.streaming is not None
    resident = choice.streaming.panels.count(0)
    more = (0,) * (resident + 1) + choice.streaming.panels[resident + 1 :]
    thinner = plan_training(
        DEEP, wanted[0], None, Streaming(more, choice.streaming.ahead, choice.streaming.behind)
    )
    assert thinner.peak > budget
    assert f"{16 - resident} of 16 layers on disk" in choice.words(wanted[0])[0]
    assert choice.reads >= choice.writes > 0


def test_a_layer_too_large_alone_is_trained_in_slices():
    wanted = recipes(sizes=(8,), schedules=("sweep",))
    whole = plan_training(WIDE, wanted[0], None, Streaming.of(WIDE)).peak

    choice = choose(WIDE, wanted, whole // 2)

    assert choice.streaming.slices(WIDE, 1)
    assert choice.plan.peak <= whole // 2
    assert "trained" in choice.words(wanted[0])[0]
    # Every weight is read twice, but for the slice that is still there.
    assert choice.reads > choice.writes


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(1, 64), st.floats(0.02, 1.5), st.booleans())
def test_a_choice_keeps_its_budget_and_a_refusal_names_one_that_works(
    network, batch, share, stream
):
    wanted = recipes(sizes=(batch, 1), schedules=("sweep", "layerwise"))
    budget = int(share * plan_training(network, wanted[0]).peak) + 1

    least = choose(network, wanted, 1 << 40, stream=stream).least
    if budget < least:
        with pytest.raises(BudgetError, match=f"The smallest budget that works is {least:,} B"):
            choose(network, wanted, budget, stream=stream)
    else:
        choice = choose(network, wanted, budget, stream=stream)
        assert choice.plan.peak <= budget
        assert_sound(choice.plan)
        assert choice.recipe in wanted
        assert stream or choice.streaming is None

    assert choose(network, wanted, least, stream=stream).plan.peak <= least
    with pytest.raises(BudgetError):
        choose(network, wanted, least - 1, stream=stream)


def test_where_placing_spoils_what_seemed_to_fit_smaller_batches_are_tried():
    # Its layers learn together only, so that no other schedule comes to the rescue.
    network = Network.dense(5, (49, 33), 2, NAMED_RULES["hinton-collaborating"])
    wanted = recipes(sizes=(16, 1), schedules=("sweep", "layerwise"))
    budget = int(0.98 * plan_training(network, wanted[0]).peak)

    choice = choose(network, wanted, budget, stream=False)

    assert (choice.recipe.batch_size, choice.recipe.schedule) == (1, "sweep")
    assert choice.plan.peak <= budget


def test_without_leave_nothing_lies_on_disk():
    wanted = recipes(sizes=(64,), schedules=("sweep",))
    peak = plan_training(DEEP, wanted[0]).peak

    with pytest.raises(BudgetError, match=f"The smallest budget that works is {peak:,} B") as e:
        choose(DEEP, wanted, peak - 1, stream=False)

    assert (e.value.required, e.value.missing) == (peak, 1)


def test_two_threads_keep_everything_in_memory():
    recipe = Recipe(optimizer=SGD(), threads=2)
    peak = plan_training(DEEP, recipe).peak

    with pytest.raises(BudgetError):
        choose(DEEP, [recipe], peak - 1)


def test_what_cannot_be_trained_is_refused_whatever_the_budget():
    with pytest.raises(ConfigError, match="expected the optimiser sgd in int8"):
        choose(DEEP, [Recipe(optimizer=Adam())], 1 << 20)


def test_a_slow_disk_makes_smaller_batches_or_other_schedules_worth_it():
    wanted = recipes(Adam())
    budget = plan_training(WIDE, wanted[0]).peak * 4 // 5

    slow = choose(WIDE, wanted, budget, pace=Pace(disk=1e6))
    fast = choose(WIDE, wanted, budget, pace=Pace(disk=1e12))

    assert (slow.streaming, slow.reads, slow.writes) == (None, 0, 0)
    assert slow.recipe.schedule == "layerwise"
    assert slow.recipe.batch_size < 64
    assert slow.slowdown > fast.slowdown
    assert fast.streaming is not None
    assert fast.recipe == wanted[0]


def test_only_the_layers_that_are_too_large_are_sliced():
    network = Network.dense(20, (300, 300, 20), 10)
    recipe = Recipe(optimizer=SGD(), batch_size=4)
    whole = plan_training(network, recipe, None, Streaming.of(network)).peak

    streaming = choose(network, [recipe], whole // 2).streaming

    assert [streaming.slices(network, i) for i in range(3)] == [False, True, False]


def test_outputs_lie_on_disk_only_where_that_is_possible():
    wanted = recipes(sizes=(64,), schedules=("layerwise",))
    budget = plan_training(DEEP, wanted[0]).peak // 3
    paired = Network.dense(64, (100,) * 8, 10, hinton())
    adam = [Recipe(schedule="layerwise")]

    with_outputs = choose(DEEP, wanted, budget, outputs=True)
    without = choose(DEEP, wanted, budget)
    impossible = choose(paired, adam, plan_training(paired, adam[0]).peak // 2, outputs=True)

    assert with_outputs.streaming.outputs
    assert with_outputs.slowdown < without.slowdown
    assert "outputs of finished layers kept on disk in 8 bits" in with_outputs.words(wanted[0])
    assert not without.streaming.outputs
    assert not impossible.streaming.outputs


def test_a_choice_is_described_in_json_types():
    wanted = recipes(sizes=(64,), schedules=("sweep",))
    choice = choose(DEEP, wanted, plan_training(DEEP, wanted[0]).peak // 2)

    found = choice.describe()

    assert found["batch_size"] == 64
    assert found["schedule"] == "sweep"
    assert found["streamed_layers"] == sum(map(bool, found["panels"])) > 0
    assert found["step_reads"] == choice.reads
    assert found["least_budget"] == choice.least


def test_predicted_bytes_are_those_that_move():
    # In tests/test_streamer.py training counts them; here both sides of the prediction.
    network = Network.dense(9, (40, 40, 40), 3, precision="int8", input_parts=2)
    recipe = Recipe(optimizer=SGD(), batch_size=16)
    least = plan_training(network, recipe, None, Streaming.of(network)).peak

    choice = choose(network, [recipe], least)

    weights = 0
    for inputs in (18, 40, 40):
        weights += 3 * -(-inputs // 4) * 64 + 3 * 16 * 4 + 3 * 48
    assert (choice.reads, choice.writes) == (weights, weights)
