"""Negative data made from features: what each makes of a batch, and what it refuses."""

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    assert_allocates_nothing,
    assert_close,
    assert_layer_descends,
    assert_params_are_padded_with_zeros,
    compiled_only,
    give_random_params,
    matrices,
    recorded_updates,
    small_data,
    small_trainer,
)

from ffedge.errors import ConfigError
from ffedge.kernels.provider import LIBRARY
from ffedge.network import Network
from ffedge.rules import (
    NEGATIVES,
    Append,
    Contrast,
    Corrupted,
    Generated,
    Hybrid,
    Mixed,
    OtherSample,
    SumOfSquares,
    SymBa,
)

pytestmark = pytest.mark.skipif(LIBRARY is not None, reason="not in the compiled library")

KINDS = [
    Hybrid(),
    Hybrid((4, 5), blurs=2),
    Corrupted(),
    Corrupted((5, 4), zeroed=0.2, dropped=0.3, noise=0.5, offset=0.5),
    Mixed(),
    OtherSample(),
    Generated(),
    Generated(blur=0.0, noise=0.3),
]


def contrast(negatives, **options):
    return Contrast(negatives=negatives, label=None, **({"peer": 0.0} | options))


def prepared(rule, batch=6, **options):
    trainer = small_trainer(rule, 20, (33, 17), 1, batch=batch, **options)
    give_random_params(trainer, spread=1.5)
    return trainer, small_data(20, 2, batch)


def made(negatives, samples_seen=0, batch=6):
    """The batch and its negatives, float64 (batch, 20) each, before they are normalised."""
    trainer, data = prepared(contrast(negatives, normalize=False), batch)
    run = trainer.run
    run.fetch(data, 0, batch)
    run.samples_seen = samples_seen
    negatives.make(run, batch)
    rows = reference.unpack_rows(run.input, 2 * batch, 20)
    return data.features.astype(float), rows[:batch], rows[batch:]


@pytest.mark.parametrize("negatives", KINDS, ids=repr)
def test_negatives_come_from_seed_and_counter_and_differ_from_the_batch(negatives):
    _, _, first = made(negatives)
    _, _, again = made(negatives)
    X, _, _ = made(negatives)
    later = [made(negatives, samples_seen=seen)[2] for seen in (6, 12, 18)]

    assert first.tobytes() == again.tobytes()
    assert any(first.tobytes() != rows.tobytes() for rows in later)
    # A mask may, once in a while, name one sample throughout.
    assert np.sum(np.abs(first - X).max(axis=1) > 0) >= 4


@pytest.mark.parametrize(
    "negatives", [n for n in KINDS if not isinstance(n, OtherSample)], ids=repr
)
def test_the_positive_rows_stay_as_they_were(negatives):
    X, positive, _ = made(negatives)

    assert_close(positive, X, 1e-6)


def test_hybrids_of_a_table_take_about_half_of_the_columns_of_another_sample():
    X, _, negative = made(Hybrid(), batch=8)

    own = np.isclose(negative, X, atol=1e-6)
    other = np.array([
        [np.isclose(value, np.delete(X[:, j], r), atol=1e-6).any() for j, value in enumerate(row)]
        for r, row in enumerate(negative)
    ])  # fmt: skip

    assert (own | other).all()
    assert 0.3 < own.mean() < 0.7


def test_in_a_window_all_channels_change_samples_at_the_same_steps():
    X, _, negative = made(Hybrid((5, 4)), batch=8)

    own = np.isclose(negative, X, atol=1e-6).reshape(8, 5, 4)

    assert (own.all(axis=2) == own.any(axis=2)).all()


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        (None, (20, 1, 1)), ((20,), (20, 1, 1)), ((5, 4), (5, 1, 4)), ((28, 28), (28, 28, 1)),
        ((96, 3), (96, 1, 3)), ((4, 5, 1), (4, 5, 1)), ((10, 1, 2), (10, 1, 2)),
    ],
)  # fmt: skip
def test_a_shape_says_where_features_lie(shape, grid):
    assert Hybrid(shape).grid(20) == grid


def test_the_datas_shape_is_taken_where_none_was_given():
    assert contrast(Hybrid()).fitted((28, 28)).negatives.shape == (28, 28)
    assert contrast(Hybrid((5, 4))).fitted((20,)).negatives.shape == (5, 4)
    assert contrast(Corrupted()).fitted((8, 8, 3, 2)).negatives.shape == (8, 8, 6)
    assert contrast(Mixed()).fitted((28, 28)) == contrast(Mixed())


@pytest.mark.parametrize("negatives", KINDS, ids=repr)
def test_delta_is_the_threshold_losss_finite_difference_on_both_kinds_of_rows(negatives):
    trainer, data = prepared(contrast(negatives), optimizer=GRADIENT)
    before, positive = matrices(trainer), np.arange(12) < 6

    def loss(z):
        g = reference.goodness(np.maximum(z, 0))
        return reference.threshold_losses(g, positive, z.shape[1]).sum() / 6

    records = recorded_updates(trainer, data, 6)

    assert len(records) == 2
    for record, own in zip(records, before, strict=True):
        assert_layer_descends(record, own, loss, 1e-4)


@pytest.mark.parametrize(
    "negatives", [Hybrid(), Corrupted(), Mixed(), OtherSample(), Generated()], ids=repr
)
def test_training_tells_samples_from_their_negatives(negatives):
    random = np.random.default_rng(0)
    trainer = small_trainer(contrast(negatives), 20, (64,), 1, batch=20, epochs=150, shuffle=True)
    data = small_data(20, 2, 100)
    # A few kinds of samples: what is broken or mixed is none of them.
    data.features[:] = random.normal(size=(5, 20)).repeat(20, axis=0)
    data.features[:] += 0.1 * random.normal(size=(100, 20))

    progress = list(trainer.train(data, tick=1e9))

    # The better a decoder rebuilds, the less there is to tell.
    assert progress[-1].accuracy > (0.55 if isinstance(negatives, Generated) else 0.7)
    assert_params_are_padded_with_zeros(trainer)
    assert trainer.measured_bytes == trainer.plan.peak


def test_the_decoder_learns_to_rebuild_samples():
    trainer = small_trainer(contrast(Generated(blur=0.0)), 20, (64,), 1, batch=20, epochs=40)
    data = small_data(20, 2, 100)

    def distance():
        run = trainer.run
        run.fetch(data, 0, 20)
        trainer.network.rule.negatives.make(run, 20)
        rows = reference.unpack_rows(run.input, 40, 20)
        return np.mean((rows[:20] - rows[20:]) ** 2)

    before = distance()
    list(trainer.train(data))

    assert distance() < 0.7 * before


@compiled_only
@pytest.mark.parametrize("negatives", KINDS, ids=repr)
def test_a_step_allocates_nothing(negatives):
    trainer, data = prepared(contrast(negatives))

    assert_allocates_nothing(lambda: trainer.learn(data, 0, 6), 4096)


@pytest.mark.parametrize("negatives", KINDS, ids=repr)
def test_a_network_comes_back_from_its_description(negatives):
    network = Network.dense(20, (33, 17), 1, contrast(negatives))

    assert Network.parse(network.describe()) == network
    assert NEGATIVES[negatives.name] is type(negatives)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Hybrid((0, 3)), "Hybrid: expected shape as 1 to 3 whole numbers"),
        (lambda: Hybrid("28x28"), "Hybrid: expected shape as 1 to 3 whole numbers"),
        (lambda: Hybrid(blurs=101), r"Hybrid: expected blurs in 0\.\.100, got 101"),
        (lambda: Corrupted(shuffled=1.1), r"Corrupted: expected shuffled in 0\.\.1, got 1\.1"),
        (lambda: Corrupted(shuffled=0.0), "Corrupted: expected something to break"),
        (lambda: Corrupted(offset=-1.0), r"Corrupted: expected offset in 0\.\.100"),
        (lambda: Mixed(0.7, 0.3), "Mixed: expected 0 <= low <= high <= 1"),
        (lambda: Generated(blur=11.0), r"Generated: expected blur in 0\.\.10"),
        (lambda: Generated(gain=0.0), r"Generated: expected gain in 0\.001\.\.1000"),
        (lambda: Network.dense(20, (7,), 1, contrast(Hybrid((3, 3)))), "a shape of 20 features"),
        (lambda: Network.dense(20, (7,), 1, contrast(Corrupted(dropped=0.5))), "two channels"),
        (lambda: contrast(Mixed(), loss=SymBa()), "expected negatives made from the same sample"),
        (lambda: Contrast(negatives=Mixed(), label=Append()), "expected label None beside mixed"),
        (lambda: Contrast(normalize=False), "expected normalize True beside a label"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_generator_needs_all_layers_at_once():
    with pytest.raises(ConfigError, match=r"expected schedule sweep .*, whose last layer decodes"):
        small_trainer(contrast(Generated()), 20, (33, 17), 1, stage=0)


def test_without_normalisation_a_samples_own_magnitude_counts():
    for normalize, alike in ((True, True), (False, False)):
        rule = contrast(Mixed(), normalize=normalize, goodness=SumOfSquares(minimise=True))
        trainer, data = prepared(rule)
        run = trainer.run
        scores = []
        for scale in (1.0, 3.0):
            run.fetch_features(data.features * np.float32(scale), 0, 6)
            rule.score_batch(run, 6)
            scores.append(run.total[:6].copy())

        assert np.allclose(*scores, rtol=1e-4) == alike
