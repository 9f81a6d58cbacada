"""Class-group goodness: gradients by finite differences, whole steps by the oracle."""

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    active_layers,
    assert_close,
    assert_layer_descends,
    assert_layers_close,
    give_random_params,
    matrices,
    recorded_updates,
    scores_of,
    small_data,
    small_trainer,
)

from ffedge.errors import ConfigError
from ffedge.network import Network
from ffedge.rules import Group

#: Features, hidden widths, classes, batch: uneven groups, one unit each, more classes than lanes.
SIZES = [(5, (7, 6), 3, 4), (16, (17, 33), 2, 1), (20, (40, 18), 18, 5)]
SMOOTHING = 0.05
RULES = [
    (Group(), True, 1.0),
    (Group(squared=False), False, 5.0),
    (Group(sharpness=2.5), True, 2.5),
]


def prepared(rule, size, **options):
    features, hidden, classes, batch = size
    trainer = small_trainer(rule, features, hidden, classes, batch=batch, **options)
    give_random_params(trainer)
    return trainer, small_data(features, classes, batch)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("rule", "squared", "sharpness"), RULES)
def test_delta_and_gradient_are_the_local_losss_finite_differences(size, rule, squared, sharpness):
    trainer, data = prepared(rule, size, optimizer=GRADIENT)
    before = matrices(trainer)

    def loss(z):
        scores = reference.group_scores(np.maximum(z, 0), size[2], squared, sharpness)
        return reference.cross_entropy(scores, data.labels, SMOOTHING)

    records = recorded_updates(trainer, data, size[3])

    assert len(records) == 2
    for record, own in zip(records, before, strict=True):
        assert_layer_descends(record, own, loss, 1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", [None, 0, 1])
@pytest.mark.parametrize(("rule", "squared", "sharpness"), RULES)
def test_one_step_equals_the_oracles(size, stage, rule, squared, sharpness):
    trainer, data = prepared(rule, size, stage=stage)
    wanted = reference.group_batch(
        matrices(trainer), data.features.astype(float), data.labels, 0.1, SMOOTHING,
        active_layers(trainer), size[2], squared, sharpness,
    )  # fmt: skip

    trainer.learn(data, 0, size[3])

    assert_layers_close(trainer, wanted, 5e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("rule", "squared", "sharpness"), RULES)
def test_scores_are_the_sum_of_the_layers_log_probabilities(size, rule, squared, sharpness):
    trainer, data = prepared(rule, size)
    x, wanted = data.features.astype(float), 0.0
    for layer in matrices(trainer):
        Y = reference.dense(x, layer["W"], layer["b"])
        scores = reference.group_scores(Y, size[2], squared, sharpness)
        wanted = wanted + reference.log_softmax(scores)
        x = reference.normalize(Y)

    assert_close(scores_of(trainer, data.features), wanted)


@pytest.mark.parametrize("width", range(1, 60))
def test_every_unit_belongs_to_the_class_of_the_formula(width):
    for classes in range(1, width + 1):
        starts = Group.starts(width, classes)

        owner = [k for k in range(classes) for _ in range(starts[k], starts[k + 1])]

        assert owner == reference.group_of(width, classes)
        assert starts[-1] == width


def test_groups_take_no_parameters_beyond_the_layers():
    trainer = small_trainer(Group(), 5, (7, 6), 3)

    own = {name.split(".")[1] for name in trainer.params if name.startswith("layer")}

    assert own == {"weight", "bias"}


@pytest.mark.parametrize("sharpness", [0.0, -1.0, 1000.1, float("nan"), float("inf")])
def test_a_sharpness_out_of_range_is_refused(sharpness):
    with pytest.raises(ConfigError) as refusal:
        Group(sharpness=sharpness)

    assert str(refusal.value) == f"Group: expected sharpness above 0 to 1000, got {sharpness!r}"


def test_a_layer_with_fewer_units_than_classes_is_refused():
    with pytest.raises(ConfigError) as refusal:
        Network.dense(5, (10, 9), 10, Group())

    assert str(refusal.value) == (
        "Group: expected at least 10 units (one per class) in layer 1, got 9; widen the layer or "
        "use the readout rule"
    )
