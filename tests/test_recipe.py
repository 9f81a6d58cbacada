"""Recipes: refusals in words, the rate's schedule, the JSON round trip, hostile descriptions."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.errors import ConfigError
from ffedge.optimizers import SGD, Adam, Momentum
from ffedge.recipe import Recipe
from ffedge.scaling import KINDS

NUMBERS = st.integers() | st.floats() | st.just(10**400)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0}, {"batch_size": -1}, {"batch_size": 1.5}, {"batch_size": "64"},
        {"batch_size": True}, {"batch_size": (1 << 20) + 1}, {"epochs": 0}, {"epochs": None},
        {"seed": -1}, {"seed": 2**32}, {"schedule": "both"}, {"schedule": None},
        {"hold": -0.1}, {"hold": 1.1}, {"hold": float("nan")}, {"hold": "half"},
        {"hold": 10**400}, {"scaling": "minmax"}, {"scaling": []}, {"shuffle": "no"},
        {"stream": 1}, {"optimizer": "adam"}, {"stream": True, "schedule": "layerwise"},
    ],
)  # fmt: skip
def test_an_impossible_recipe_is_refused_in_words(options):
    with pytest.raises(ConfigError, match=r"^(Recipe|scaling): expected .*, got"):
        Recipe(**options)


recipes = st.builds(
    Recipe,
    optimizer=st.sampled_from([SGD(0.5, 0.1), Momentum(0.02, 0.8), Adam(0.01, epsilon=1e-5)]),
    batch_size=st.integers(1, 1 << 20),
    epochs=st.integers(1, 1 << 20),
    schedule=st.just("sweep"),
    hold=st.floats(0, 1),
    scaling=st.sampled_from(KINDS),
    shuffle=st.booleans(),
    stream=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


@given(recipes)
def test_describe_and_parse_are_a_round_trip_through_json(recipe):
    assert Recipe.parse(json.loads(json.dumps(recipe.describe()))) == recipe


@given(JSON)
def test_hostile_json_raises_config_error_only(description):
    with pytest.raises(ConfigError):
        Recipe.parse(description)


@settings(max_examples=400)
@given(st.sampled_from(sorted(Recipe().describe())), JSON)
def test_a_hostile_field_raises_config_error_only(field, value):
    description = Recipe().describe()
    description[field] = value
    try:
        Recipe.parse(description)
    except ConfigError as error:
        assert "expected" in str(error)  # noqa: PT017


@settings(max_examples=400)
@given(st.sampled_from(["name", "rate", "beta1", "epsilon", "weight_decay", "unknown"]), JSON)
def test_a_hostile_optimizer_raises_config_error_only(field, value):
    description = Recipe().describe()
    description["optimizer"][field] = value
    try:
        Recipe.parse(description)
    except ConfigError as error:
        assert "expected" in str(error)  # noqa: PT017


def test_missing_and_unknown_fields_are_refused():
    missing = Recipe().describe()
    del missing["optimizer"]

    for description in (missing, Recipe().describe() | {"patience": 3}, "ab", None, []):
        with pytest.raises(ConfigError, match=r"^recipe: expected the known fields, got"):
            Recipe.parse(description)


@pytest.mark.parametrize(
    ("hold", "factors"),
    [
        (1.0, [1.0, 1.0, 1.0, 1.0]),
        (0.5, [1.0, 1.0, 1.0, 0.5]),
        (0.0, [1.0, 0.75, 0.5, 0.25]),
        (0.75, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_rate_is_held_and_then_falls_towards_zero(hold, factors):
    assert [Recipe(hold=hold).rate_factor(step, 4) for step in range(4)] == factors


@given(st.floats(0, 1), st.integers(1, 1000))
def test_the_rate_never_rises_and_never_reaches_zero(hold, total):
    factors = [Recipe(hold=hold).rate_factor(step, total) for step in range(total)]

    assert factors[0] == 1.0
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] > 0.0


@pytest.mark.parametrize(("schedule", "stages"), [("sweep", 1), ("layerwise", 3)])
def test_layerwise_makes_as_many_passes_as_layers(schedule, stages):
    assert Recipe(schedule=schedule).stages(3) == stages
