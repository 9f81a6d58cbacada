"""Pairs of samples instead of labels: gradients by finite differences, scores by the oracle."""

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    assert_allocates_nothing,
    assert_close,
    assert_downhill,
    assert_params_are_padded_with_zeros,
    compiled_only,
    give_random_params,
    gradient_of,
    matrices,
    recorded_updates,
    scores_of,
    small_data,
    small_trainer,
)

from ffedge.activations import ReLU, Standout
from ffedge.errors import ConfigError
from ffedge.kernels.negatives import partner_shift
from ffedge.kernels.provider import LIBRARY
from ffedge.network import Network
from ffedge.rules import SCFF, named_rule
from ffedge.rules.scff import _PAIR_STREAM

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")

#: Features, hidden widths, batch.
SIZES = [(5, (7, 6), 4), (20, (40, 15, 9), 5), (3, (12,), 2)]
RULE = SCFF(high=(2.0, 1.5), low=(1.0, 0.5), restraint=0.01)


def prepared(size, rule=RULE, **options):
    features, hidden, batch = size
    trainer = small_trainer(rule, features, hidden, 1, batch=batch, **options)
    give_random_params(trainer, spread=1.5)
    return trainer, small_data(features, 2, batch)


@pytest.mark.parametrize("size", SIZES)
def test_delta_and_gradient_are_the_pair_losss_finite_differences(size):
    trainer, data = prepared(size, optimizer=GRADIENT)
    before = matrices(trainer)
    shift = partner_shift(trainer.run.seed ^ _PAIR_STREAM, 0, size[2])

    records = recorded_updates(trainer, data, size[2])

    assert len(records) == len(size[1])
    for index, ((layer, x, _, delta), own) in enumerate(zip(records, before, strict=True)):
        high, low = (2.0, 1.0) if index == 0 else (1.5, 0.5)

        def loss(z, high=high, low=low):
            return reference.pair_loss(z, shift, high, low, 0.01)

        W, b = own["W"], own["b"]
        assert_downhill(delta, loss, x @ W + b, 1e-5)
        assert_downhill(
            gradient_of(layer, "weight"), lambda W, x=x, b=b, f=loss: f(x @ W + b), W, 1e-5
        )
        assert_downhill(
            gradient_of(layer, "bias")[0], lambda b, x=x, W=W, f=loss: f(x @ W + b), b, 1e-5
        )


@pytest.mark.parametrize("size", SIZES)
def test_the_score_is_the_mean_square_of_what_is_passed_on_summed_over_the_layers(size):
    trainer, data = prepared(size)
    x, wanted = data.features.astype(float), 0.0
    for layer in matrices(trainer):
        y = reference.standout(x @ layer["W"] + layer["b"], SCFF.activation.offset)
        wanted = wanted + reference.goodness(y) / y.shape[1]
        x = reference.normalize(y)

    assert_close(scores_of(trainer, data.features)[:, 0], wanted)


def test_training_lowers_the_loss_and_keeps_the_padding_zero():
    trainer = small_trainer(SCFF(), 20, (33, 17), 1, batch=10, epochs=30)

    losses = [p.loss for p in trainer.train(small_data(20, 2, 60), tick=1e9)]

    assert losses[-1] < 0.8 * losses[0]
    assert_params_are_padded_with_zeros(trainer)
    assert trainer.measured_bytes == trainer.plan.peak


def test_labels_do_not_matter():
    trained = []
    for seed in (0, 1):
        data = small_data(5, 2, 23)
        data.labels[:] = np.random.default_rng(seed).integers(0, 2, 23)
        trainer = small_trainer(SCFF(), 5, (7, 6), 1, batch=5)
        list(trainer.train(data))
        trained.append(b"".join(array.tobytes() for array in trainer.params.values()))

    assert trained[0] == trained[1]


def test_a_batch_of_one_teaches_nothing():
    trainer, data = prepared((5, (7, 6), 1))
    before = {name: array.tobytes() for name, array in trainer.params.items()}

    trainer.learn(data, 0, 1)

    assert before == {name: array.tobytes() for name, array in trainer.params.items()}


@compiled_only
def test_a_step_allocates_nothing():
    trainer, data = prepared((20, (40, 15), 5))

    assert_allocates_nothing(lambda: trainer.learn(data, 0, 5), 4096)


def test_a_rule_without_labels_has_one_score_and_no_classes():
    assert Network.dense(5, (7,), 1, SCFF()).layers[0].activation == Standout(0.7)
    with pytest.raises(ConfigError) as refusal:
        Network.dense(5, (7,), 3, SCFF())

    assert str(refusal.value) == (
        "Network: expected 1 class, which is a score, of the rule scff that learns without labels, "
        "got 3; put a head on it: Headed(rule)"
    )


def test_a_rule_with_labels_needs_two_classes():
    with pytest.raises(ConfigError, match="expected 2 to 65,536 classes, got 1"):
        Network.dense(5, (7,), 1)


def test_an_activation_that_does_not_keep_its_sums_is_refused():
    with pytest.raises(ConfigError, match="keeps its sums in layer 0, such as Standout"):
        Network.dense(5, (7,), 1, SCFF(), activations=ReLU())


def test_int8_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="int8"):
        Network.dense(5, (7,), 1, SCFF(), activations=ReLU(), precision="int8")


@pytest.mark.parametrize(
    "options", [{"high": ()}, {"low": 3.0}, {"high": (101.0,)}, {"restraint": -0.1}]
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"SCFF: expected {next(iter(options))}"):
        SCFF(**options)


@pytest.mark.parametrize("rule", [SCFF(), SCFF((1.0, 2.0, 3.0), (0.5,), 0.0)])
def test_a_description_comes_back_as_it_was(rule):
    network = Network.dense(5, (7, 6), 1, rule)

    assert Network.parse(network.describe()) == network
    assert named_rule("scff").learned == SCFF()
