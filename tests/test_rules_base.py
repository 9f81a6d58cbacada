"""What every learning rule must keep, and the names they go by."""

import numpy as np
import pytest
import reference
from checks import (
    OPTIMIZERS,
    RULES,
    assert_close,
    assert_params_are_padded_with_zeros,
    assert_rows_do_not_depend_on_neighbours,
    give_random_params,
    matrices,
    scores_of,
    small_data,
    small_trainer,
)

from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.rules import (
    ALL_RULES,
    NAMED_RULES,
    ClassRule,
    Contrast,
    Group,
    LikelyLabel,
    Readout,
    Rule,
    WrongLabel,
    hinton,
    named_rule,
    word_for,
)
from ffedge.rules import RULES as KINDS

SIZES = [(5, (7, 6), 3), (16, (17, 33), 2), (20, (40, 18), 18), (1, (3,), 2)]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_training_leaves_padding_zero_and_the_guard_untouched(rule, optimizer, schedule):
    for features, hidden, classes in SIZES:
        trainer = small_trainer(
            rule, features, hidden, classes, batch=5, optimizer=optimizer, epochs=2,
            schedule=schedule,
        )  # fmt: skip
        before = matrices(trainer)

        list(trainer.train(small_data(features, classes, 23)))

        assert_params_are_padded_with_zeros(trainer)
        assert trainer.measured_bytes == trainer.plan.peak
        for old, new in zip(before, matrices(trainer), strict=True):
            assert all(np.isfinite(new[name]).all() for name in new)
            assert all((old[name] != new[name]).any() for name in new)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(("features", "hidden", "classes"), SIZES)
def test_scores_of_a_sample_have_the_same_bits_alone_and_in_a_batch(
    rule, features, hidden, classes
):
    trainer = small_trainer(rule, features, hidden, classes, batch=13)
    give_random_params(trainer)
    X = small_data(features, classes, 13).features

    assert_rows_do_not_depend_on_neighbours(lambda rows: scores_of(trainer, rows), X)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_the_same_seed_trains_the_same_bits_and_another_does_not(rule, schedule):
    data, trained = small_data(5, 3, 23), []
    for seed in (1, 1, 2):
        trainer = small_trainer(
            rule, 5, (7, 6), 3, seed=seed, schedule=schedule, shuffle=True, epochs=2
        )
        list(trainer.train(data))
        trained.append(b"".join(array.tobytes() for array in trainer.params.values()))

    assert trained[0] == trained[1] != trained[2]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rate_of_zero_changes_nothing(rule):
    trainer = small_trainer(rule, 5, (17, 6), 3, optimizer=OPTIMIZERS[0].__class__(0.0))
    before = {name: array.tobytes() for name, array in trainer.params.items()}

    trainer.learn(small_data(5, 3, 4), 0, 4)

    assert before == {name: array.tobytes() for name, array in trainer.params.items()}


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_step_depends_on_the_samples_of_its_batch_only(rule):
    """A short last batch must not see what an earlier, longer one left in the buffers."""
    data = small_data(5, 3, 9)
    used, fresh = (small_trainer(rule, 5, (17, 6), 3, batch=6) for _ in range(2))
    used.learn(data, 0, 6)
    for trainer in (used, fresh):
        give_random_params(trainer)
        trainer.run.begin_stage(None)
        trainer.run.samples_seen = 0

        trainer.learn(data, 6, 3)

    for name, array in used.params.items():
        assert array.tobytes() == fresh.params[name].tobytes(), name


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_probabilities_are_the_softmax_of_the_layers_mean_vote(rule):
    network = Network.dense(5, (7, 6, 8), 3, rule)
    scores = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) * 100

    chances = rule.probabilities(network, scores)

    voters = 2 if rule.reads_labels else 3
    assert_close(chances, np.exp(reference.log_softmax(scores.astype(float) / voters)), 1e-12)
    assert chances.dtype == np.float64


def test_every_rule_is_known_by_its_own_name():
    assert all(KINDS[rule.name] is type(rule) for rule in ALL_RULES.values())
    assert all(named_rule(name) is rule for name, rule in NAMED_RULES.items())


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as refusal:
        named_rule("backprop")

    known = ", ".join(NAMED_RULES)
    assert known.startswith("readout, readout-frozen, group, group-mean, ")
    assert str(refusal.value) == f"rule: expected one of {known}, got 'backprop'"


@pytest.mark.parametrize("kind", [Readout, Group])
@pytest.mark.parametrize("smoothing", [-0.01, 0.91, float("nan"), float("inf")])
def test_a_smoothing_out_of_range_is_refused(kind, smoothing):
    with pytest.raises(ConfigError) as refusal:
        kind(smoothing=smoothing)

    assert str(refusal.value) == (
        f"{kind.__name__}: expected smoothing in 0..0.9, got {smoothing!r}"
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_the_ends_of_the_smoothings_range_are_accepted(smoothing):
    assert Readout(smoothing=smoothing).smoothing == smoothing


@pytest.mark.parametrize(
    "call",
    [
        lambda: Rule().train_batch(None, 1),
        lambda: Rule().score_batch(None, 1),
        lambda: ClassRule().scores(None, None, 1),
        lambda: ClassRule().delta(None, None, 1),
    ],
)
def test_the_base_of_the_rules_neither_trains_nor_scores(call):
    with pytest.raises(TypeError, match=r"^(Rule|ClassRule) (does not|has no) \w+$"):
        call()


@pytest.mark.parametrize(("kind", "field"), [(Readout, "frozen"), (Group, "squared")])
def test_a_switch_that_is_none_is_refused(kind, field):
    with pytest.raises(ConfigError, match=f"expected {field} True or False, got"):
        kind(**{field: "\0"})


#: 5 * 7 + 7 * 6 weights; with 3 label inputs 8 * 7 + 7 * 6.
PLAIN, LABELLED = 77, 98


@pytest.mark.parametrize(
    ("rule", "training", "prediction"),
    [
        (Group(), 2 * PLAIN, PLAIN),
        (Readout(), 2 * PLAIN + 3 * 3 * 13, PLAIN + 3 * 13),
        (Readout(frozen=True), 2 * PLAIN + 2 * 3 * 13, PLAIN + 3 * 13),
        (Contrast(negatives=WrongLabel()), 4 * LABELLED, 3 * LABELLED),
        (hinton(), 5 * LABELLED + 2 * 3 * 6, 3 * LABELLED),
        (Contrast(negatives=LikelyLabel()), 7 * LABELLED, 3 * LABELLED),
        (Contrast(collaboration=True), 7 * LABELLED + 2 * 3 * 6, 3 * LABELLED),
    ],
    ids=lambda value: value.name if isinstance(value, Rule) else str(value),
)
def test_multiply_adds_are_counted_by_passes(rule, training, prediction):
    network = Network.dense(5, (7, 6), 3, rule)

    assert (network.training_work, network.prediction_work) == (training, prediction)


def test_a_rule_is_called_by_its_word_where_it_has_one():
    assert [word_for(rule) for rule in NAMED_RULES.values()] == list(NAMED_RULES)
    assert word_for(hinton(peer=0.5)) == "contrast"
