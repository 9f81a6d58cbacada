"""Layers with receptive fields: what they see, learn, remember and refuse."""

import json

import numpy as np
import pytest
from checks import OPTIMIZERS, small_data
from test_kernels_fields import seen
from test_streamer import STREAMINGS, streamed, train

from ffedge.errors import ConfigError
from ffedge.estimator import FFClassifier
from ffedge.fields import Fields
from ffedge.layers import Dense
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.quantize import quantize
from ffedge.recipe import Recipe
from ffedge.rules import Contrast, Readout, hinton
from ffedge.trainer import Trainer

FIRST = Fields((6, 6), (2, 4), (2, 2))
SECOND = Fields((3, 2), (2, 2), (1, 1), depth=7)
HIDDEN = (42, 34)


def network_of(rule, **options):
    return Network.dense(36, HIDDEN, 3, rule, fields=[FIRST, SECOND], **options)


def masks(network):
    """Which weights each layer may have."""
    for layer in network.layers:
        units = layer.out_features // int(np.prod(layer.fields.regions))
        yield seen(layer.fields, units, layer.in_features)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.name)
@pytest.mark.parametrize("rule", [Readout(), hinton()], ids=lambda each: each.name)
def test_weights_outside_the_fields_are_zero_before_and_after_training(rule, optimizer):
    network = network_of(rule)
    trainer = Trainer(network, Recipe(optimizer, batch_size=8, epochs=2))
    data = small_data(36, 3, 40)
    trainer.learn_scaling(data)
    before = Model(network, trainer.params, (0, 1, 2), (36,)).copy()

    list(trainer.train(data))

    after = Model(network, trainer.params, (0, 1, 2), (36,))
    for i, mask in enumerate(masks(network)):
        for model in (before, after):
            weight = model.dense_weight(i)
            assert not weight[~mask].any()
            assert (weight[mask] != 0).mean() > 0.99
        # Where data vary, weights move.
        assert (before.dense_weight(i) != after.dense_weight(i))[mask].mean() > 0.9


def test_labels_are_seen_by_every_unit():
    network = network_of(hinton())

    mask = next(masks(network))

    assert mask.shape == (39, 42)
    assert mask[36:].all()
    assert network.layers[0].fan_in == 8 + 3
    assert network.layers[1].fan_in == 4 * 7


def test_starting_weights_have_the_variance_of_the_field():
    wide = Fields((40, 40), (10, 10), (10, 10))
    network = Network.dense(1600, (160,), 3, fields=[wide])
    trainer = Trainer(network, Recipe())

    weight = Model(network, trainer.params, (0, 1, 2), (1600,)).dense_weight(0)

    assert weight[seen(wide, 10, 1600)].std() == pytest.approx(0.1, rel=0.03)


def test_a_full_field_is_a_full_layer():
    data = small_data(36, 3, 40)
    trained = []
    for fields in (None, [Fields((6, 6), (6, 6), (1, 1)), Fields((42,), (42,), (1,))]):
        network = Network.dense(36, HIDDEN, 3, fields=fields)
        _, params = train(Trainer(network, Recipe(Adam(), batch_size=8, epochs=2)), data)
        trained.append(b"".join(array.tobytes() for array in params.values()))

    assert trained[0] == trained[1]


@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_layers_in_slices_learn_what_whole_ones_do(schedule):
    data = small_data(36, 3, 70)
    fields = [FIRST, Fields((3, 2), (2, 2), (1, 1), depth=7), None]
    network = Network.dense(36, (42, 70, 20), 3, fields=fields)
    recipe = Recipe(batch_size=16, epochs=2, schedule=schedule)
    _, params = train(Trainer(network, recipe), data)

    with streamed(network, recipe, STREAMINGS["slices"]) as trainer:
        _, other = train(trainer, data)

    for key, array in params.items():
        np.testing.assert_allclose(other[key], array, atol=2e-3)
        if key.endswith("weight") and not key.startswith("layer2"):
            assert ((other[key] == 0) == (array == 0)).all()


def test_a_step_with_fields_allocates_nothing():
    trainer = Trainer(network_of(Contrast()), Recipe(SGD(0.01), batch_size=8, epochs=2))
    data = small_data(36, 3, 40)
    trainer.learn_scaling(data)

    list(trainer.train(data))

    assert trainer.step_bytes < 8192
    assert trainer.measured_bytes == trainer.plan.peak


def test_a_network_remembers_its_fields_and_old_descriptions_stay():
    mixed = Network.dense(36, (42, 34, 5), 3, fields=[FIRST, SECOND, None])

    assert Network.parse(json.loads(json.dumps(mixed.describe()))) == mixed
    assert "fields" not in Network.dense(36, HIDDEN, 3).describe()


@pytest.mark.parametrize(
    "change",
    [
        {"grid": [6]}, {"grid": []}, {"grid": [6, 6, 1]}, {"grid": 36}, {"grid": ["6", 6]},
        {"grid": [True, 36]}, {"field": [2, 0]}, {"field": [7, 4]}, {"field": [2, 1e9]},
        {"stride": [3, 2]}, {"stride": [-2, 2]}, {"stride": [10**9, 2]}, {"depth": 0},
        {"depth": 2}, {"depth": True}, {"depth": 10**9}, {"name": "pool"}, {"padding": 1},
        {"grid": [[6], [6]]}, {"grid": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_hostile_description_of_fields_is_refused(change):
    description = network_of(Readout()).describe()
    description["fields"][0] |= change

    with pytest.raises(ConfigError, match="network description"):
        Network.parse(description)


@pytest.mark.parametrize("given", [[], [None], 5, "fields", [5, 5], {"name": "fields"}])
def test_fields_that_are_no_list_of_them_are_refused(given):
    with pytest.raises(ConfigError, match="network description"):
        Network.parse(Network.dense(36, HIDDEN, 3).describe() | {"fields": given})


def test_windows_must_end_with_the_grid():
    with pytest.raises(ConfigError) as refusal:
        Fields((28, 28), (10, 10), (5, 6))

    assert str(refusal.value) == (
        "Fields: expected windows of 10 cells, 5 apart, to end with the grid's 28, got a rest of "
        "3 cells; change field or stride"
    )


def test_a_window_beyond_the_grid_is_refused():
    with pytest.raises(ConfigError, match="expected windows of at most the grid's 28 cells, got"):
        Fields((28, 28), (29, 10), (1, 6))


def test_units_must_be_the_same_number_for_each_region():
    with pytest.raises(ConfigError, match=r"a multiple of 6 units, .* region of \(3, 2\), got 40"):
        Dense(36, 40, fields=FIRST)


def test_a_table_has_no_grid():
    with pytest.raises(ConfigError, match="the columns of a table have no neighbours"):
        Dense(13, 42, fields=FIRST)
    with pytest.raises(ConfigError, match="expected a grid of 40 inputs in the fields of layer 0"):
        Network.dense(40, (42,), 3, fields=[FIRST])


def test_int8_has_no_fields():
    with pytest.raises(ConfigError, match="expected no receptive fields in int8"):
        network_of(Readout(), precision="int8")
    trainer = Trainer(network_of(Readout()), Recipe())
    with pytest.raises(ConfigError, match="expected no receptive fields in int8"):
        quantize(Model(trainer.network, trainer.params, (0, 1, 2), (36,)), small_data(36, 3, 7))


def test_the_estimator_takes_fields_and_loads_them_again(tmp_path):
    data = small_data(36, 3, 60)
    model = FFClassifier(HIDDEN, fields=[FIRST, None], max_iter=2, random_state=0)

    model.fit(data.features, data.labels).save(tmp_path / "model.ffedge")
    loaded = FFClassifier.load(tmp_path / "model.ffedge")

    assert loaded.fields == [FIRST, None]
    assert loaded.predict(data.features).tolist() == model.predict(data.features).tolist()
    loaded.partial_fit(data.features, data.labels)
    mask = seen(FIRST, 7, 36)
    assert not loaded.model_.dense_weight(0)[~mask].any()


def test_a_model_with_fields_exports_with_zeros_in_its_weights():
    pytest.importorskip("onnxruntime")
    from test_export_onnx_float import assert_agrees, run

    from ffedge.export.onnx_float import build
    from ffedge.export.onnx_writer import to_bytes

    trainer = Trainer(network_of(Contrast()), Recipe(batch_size=8, epochs=1))
    data = small_data(36, 3, 40)
    trainer.learn_scaling(data)
    list(trainer.train(data))
    model = Model(trainer.network, trainer.params, (0, 1, 2), (36,))

    x = data.features[:9]

    graph = build(model)

    assert_agrees(run(to_bytes(graph), x), model, x)
    mask = next(masks(model.network))
    assert not graph.constants["layer0.weight"][~mask[:36]].any()
