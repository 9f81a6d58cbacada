"""Layers around black boxes learn as ever: what reaches them, what does not, and in which bytes."""

import copy

import numpy as np
import pytest
import reference
from checks import (
    GRADIENT,
    SCHEDULED,
    assert_close,
    assert_downhill,
    gradient_of,
    matrices,
    small_data,
)
from conftest import clouds, measured_allocations
from test_checkpointing import Cut
from test_checkpointing import run as run_with_checkpoints
from test_streamer import STREAMINGS, streamed

from ffedge import FFClassifier, export_onnx
from ffedge.boxes import (
    BlackBox,
    Converter,
    FrozenNetwork,
    NoisyDropout,
    Permutation,
    Perturbed,
    Quantizer,
)
from ffedge.buffers import plan_training
from ffedge.errors import ConfigError, DataError
from ffedge.model import Model
from ffedge.model_file import load_model, save_model
from ffedge.network import Network
from ffedge.optimizers import SGD, Adam
from ffedge.predict import Predictor
from ffedge.quantize import quantize
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES, Group, Readout
from ffedge.streaming import Streaming
from ffedge.tensor import panels
from ffedge.trainer import Trainer

HIDDEN = (33, 70, 20)
#: Wider, narrower, stochastic; more than one at once.
BOXES = {
    "before the first layer": {0: FrozenNetwork((25,), 2)},
    "several": {0: Permutation(1), 1: Quantizer(), 2: FrozenNetwork((21, 35))},
    "noisy": {1: NoisyDropout(), 2: Converter(noise=0.3)},
    "a function": {1: BlackBox(np.tanh, "tanh"), 2: BlackBox(lambda x, seed: x + seed % 2, "odd",
                                                              stochastic=True)},
}  # fmt: skip
INT8_RULES = ("readout", "group")


def network_of(rule="readout", boxes=None, precision="float32", hidden=HIDDEN):
    rule = NAMED_RULES[rule] if isinstance(rule, str) else rule
    return Network.dense(9, hidden, 3, rule, precision=precision, boxes=boxes)


def recipe_of(precision="float32", **options):
    optimizer = SGD(0.25) if precision == "int8" else Adam()
    return Recipe(optimizer, **({"batch_size": 16, "epochs": 2, "scaling": "shifted"} | options))


def trained(network, recipe=None, data=None, **options):
    data = clouds(70, 9, 3) if data is None else data
    trainer = Trainer(network, recipe or recipe_of(network.precision), **options)
    trainer.learn_scaling(data)
    for _ in trainer.train(data):
        pass
    return trainer


def params_of(trainer):
    return {name: array.copy() for name, array in trainer.params.items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


def model_of(trainer):
    return Model(trainer.network, trainer.params, (0, 1, 2), (9,))


# --- what the layers learn --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "rule", "schedule"),
    [("float32", *case) for case in SCHEDULED if NAMED_RULES[case[0]].takes_boxes]
    + [("int8", rule, schedule) for rule in INT8_RULES for schedule in ("sweep", "layerwise")],
)
def test_boxes_that_do_nothing_change_no_bit(precision, rule, schedule):
    nothing = BlackBox(lambda x: x, normalize=False)
    recipe = recipe_of(precision, schedule=schedule)

    plain = trained(network_of(rule, precision=precision), recipe)
    boxed = trained(network_of(rule, dict.fromkeys(range(3), nothing), precision), recipe)

    assert_same_bits(params_of(boxed), params_of(plain))
    assert boxed.evaluate(clouds(50, 9, 3, seed=8)) == plain.evaluate(clouds(50, 9, 3, seed=8))


@pytest.mark.parametrize("rule", ["readout", "readout-frozen", "group", "group-mean"])
def test_nothing_is_propagated_through_a_box(rule):
    plain = trained(network_of(rule))
    boxed = trained(network_of(rule, {1: NoisyDropout()}))

    for name in ("layer0.weight", "layer0.bias"):
        assert boxed.params[name].tobytes() == plain.params[name].tobytes()
    assert boxed.params["layer1.weight"].tobytes() != plain.params["layer1.weight"].tobytes()


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rule", [Readout(), Group()])
def test_the_layer_behind_a_box_descends_its_own_loss_of_what_came_out(rule, normalize):
    box = BlackBox(lambda x: np.concatenate([x**2, np.sin(x)], axis=1), width=14,
                   normalize=normalize)  # fmt: skip
    data = small_data(5, 3, 4)
    network = Network.dense(5, (7, 6), 3, rule, boxes={1: box})
    trainer = Trainer(network, Recipe(GRADIENT, batch_size=4, scaling="none", shuffle=False))
    trainer.learn_scaling(data)
    trainer.run.begin_stage(None)
    below, own = matrices(trainer)
    # The readout learns by the plain gradient too, which keeps it as it is.
    x = np.maximum(data.features.astype(float) @ below["W"] + below["b"], 0)
    x /= np.sqrt((x**2).mean(axis=1, keepdims=True))
    x = np.concatenate([x**2, np.sin(x)], axis=1)
    if normalize:
        x /= np.sqrt((x**2).mean(axis=1, keepdims=True))

    def loss(W):
        y = np.maximum(x @ W + own["b"], 0)
        if isinstance(rule, Group):
            scores = reference.group_scores(y, 3, True, 1.0)
        else:
            scores = y @ own["M"].T
        return reference.cross_entropy(scores, data.labels, 0.05)

    trainer.learn(data, 0, 4)

    assert_downhill(gradient_of(trainer.run.layers[1], "weight"), loss, own["W"], 1e-5)


@pytest.mark.parametrize("boxes", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize(("precision", "rule"), [
    ("float32", "readout"), ("float32", "group"), ("int8", "readout"), ("int8", "group"),
])  # fmt: skip
def test_a_network_with_boxes_learns(precision, rule, boxes):
    data = clouds(150, 9, 3)

    trainer = trained(network_of(rule, boxes, precision), recipe_of(precision, epochs=20), data)

    assert trainer.evaluate(data) > 0.9
    assert trainer.measured_bytes == trainer.plan.peak


def test_hinton_learns_around_boxes():
    data = clouds(150, 9, 3)
    boxes = {0: Quantizer(), 1: Permutation(), 2: FrozenNetwork((70,))}

    assert trained(network_of("hinton", boxes), recipe_of(epochs=40), data).evaluate(data) > 0.9


def test_scores_are_those_of_the_written_out_formula():
    boxes = {1: Quantizer(4, 3.0), 2: FrozenNetwork((21,), 4)}
    trainer = trained(network_of("readout", boxes))
    layers, run = matrices(trainer), trainer.run
    X = clouds(16, 9, 3, seed=4).features

    def unit(y):
        return y / (1e-8 + np.sqrt((y**2).mean(axis=1, keepdims=True)))

    matrix = boxes[2].matrices(70, run.boxes[2].arrays)[0]
    x, total = np.clip((X - run.mean) * run.gain, -8, 8).astype(float), 0.0
    for i, own in enumerate(layers):
        if i == 1:
            x = unit(np.clip(np.round(x / (3 / 7)), -7, 7) * (3 / 7))
        elif i == 2:
            x = unit(np.maximum(x @ matrix, 0))
        y = np.maximum(x @ own["W"] + own["b"], 0)
        scores = y @ own["M"].T
        total = total + scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        x = unit(y)

    assert_close(Predictor(model_of(trainer)).scores(X), total, 1e-4)


# --- noise, repetition, other ways through the layers -----------------------------------------


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_noise_is_repeated_with_the_run_and_differs_from_seed_to_seed(precision):
    network = network_of("readout", BOXES["noisy"], precision)
    X = clouds(40, 9, 3, seed=4).features

    one, other = (trained(network, recipe_of(precision)) for _ in range(2))
    third = trained(network, recipe_of(precision, seed=1))

    assert_same_bits(params_of(one), params_of(other))
    assert any(
        one.params[name].tobytes() != third.params[name].tobytes()
        for name in one.params if name.endswith("weight")
    )  # fmt: skip
    predictor = Predictor(model_of(one))
    assert predictor.scores(X).tobytes() == predictor.scores(X).tobytes()


@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
@pytest.mark.parametrize(("precision", "boxes"), [
    ("float32", "noisy"), ("float32", "several"), ("int8", "noisy"),
])  # fmt: skip
def test_a_run_that_is_cut_goes_on_with_the_same_bits(tmp_path, precision, boxes, schedule):
    data, network = clouds(70, 9, 3), network_of("readout", BOXES[boxes], precision)
    recipe = recipe_of(precision, schedule=schedule)
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    whole, _, _ = run_with_checkpoints(tmp_path / "whole", data, network, recipe)

    with pytest.raises(Cut):
        run_with_checkpoints(tmp_path / "cut", data, network, recipe, cut_after=4)
    resumed, _, kept = run_with_checkpoints(tmp_path / "cut", data, network, recipe)

    assert kept.resumed is not None
    assert_same_bits(params_of(resumed), params_of(whole))


@pytest.mark.parametrize("boxes", ["several", "noisy"])
@pytest.mark.parametrize(("precision", "schedule"), [
    ("float32", "sweep"), ("float32", "layerwise"), ("int8", "sweep"),
])  # fmt: skip
def test_streamed_layers_take_boxes(precision, schedule, boxes):
    data, network = clouds(70, 9, 3), network_of("readout", BOXES[boxes], precision)
    recipe = recipe_of(precision, schedule=schedule)
    wanted = params_of(trained(network, recipe, data))

    for name in ("ahead and behind", "some in slices"):
        with streamed(network, recipe, STREAMINGS[name]) as trainer:
            trainer.learn_scaling(data)
            for _ in trainer.train(data):
                pass
            trainer.arena.check()
            for key, array in trainer.params.items():
                if precision == "int8" or "slices" not in name:
                    assert array.tobytes() == wanted[key].tobytes(), (name, key)
                else:
                    np.testing.assert_allclose(array, wanted[key], atol=2e-3, err_msg=name)


def test_outputs_kept_on_disk_are_what_the_box_would_have_got():
    data, network = clouds(70, 9, 3), network_of("readout", BOXES["several"], "int8")
    recipe = recipe_of("int8", schedule="layerwise")
    streaming = Streaming(tuple(panels(width) for width in HIDDEN), outputs=True)

    with streamed(network, recipe, streaming) as trainer:
        trainer.learn_scaling(data)
        for _ in trainer.train(data):
            pass
        assert_same_bits(params_of(trainer), params_of(trained(network, recipe, data)))


def test_a_copy_of_a_trainer_has_its_boxes():
    trainer = trained(network_of("readout", BOXES["several"]))
    data = clouds(50, 9, 3, seed=8)

    assert copy.deepcopy(trainer).evaluate(data) == trainer.evaluate(data)


def test_two_threads_are_refused():
    network = network_of("readout", {1: Quantizer()}, "int8")

    with pytest.raises(ConfigError, match="expected one thread where black boxes"):
        plan_training(network, recipe_of("int8", threads=2))


def test_a_rule_may_refuse_boxes_and_says_why():
    class Loop(Readout):
        name, takes_boxes = "loop", False
        why_no_boxes = "which goes round in circles"

    with pytest.raises(ConfigError, match="no black box with the rule loop, which goes round"):
        network_of(Loop(), {1: Quantizer()})


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_step_allocates_nothing_that_grows(precision):
    def bytes_of(width, batch):
        boxes = {0: Permutation(), 1: FrozenNetwork((width, width)), 2: Converter(noise=0.1),
                 3: NoisyDropout(), 4: Quantizer()}  # fmt: skip
        data = clouds(2 * batch, width, 3)
        network = Network.dense(width, (width,) * 5, 3, precision=precision, boxes=boxes)
        trainer = Trainer(network, recipe_of(precision, batch_size=batch))
        trainer.learn_scaling(data)
        trainer.run.begin_stage(None)
        trainer.learn(data, 0, batch)
        with measured_allocations() as measured:
            trainer.learn(data, batch, batch)
        return measured.peak

    small, large = bytes_of(24, 4), bytes_of(160, 100)

    assert small < 4096
    assert large < small + 512


def test_what_a_function_allocates_is_reported_apart():
    def wasteful(rows):
        return rows + np.ones((1000, len(rows), rows.shape[1]), np.float32)[0]

    trainer = trained(network_of("readout", {1: BlackBox(wasteful)}))

    assert trainer.step_bytes < 4096
    assert trainer.box_bytes > 1000 * 4 * 6 * 33  # a last batch of six
    assert trained(network_of("readout", {1: Quantizer()})).box_bytes == 0


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_box_that_makes_nonsense_stops_training_and_leaves_the_weights_sound(precision):
    calls = []

    def breaks_down(rows):
        calls.append(len(rows))
        return rows * np.float32(np.nan) if len(calls) == 3 else rows

    network = network_of("readout", {1: BlackBox(breaks_down, "sensor")}, precision)
    data = clouds(70, 9, 3)
    trainer = Trainer(network, recipe_of(precision))
    trainer.learn_scaling(data)
    with pytest.raises(DataError, match=r"black box 'sensor': expected finite .* layer 1, got"):
        for _ in trainer.train(data):
            pass

    assert all(np.isfinite(array).all() for array in trainer.params.values())
    assert 0 <= trainer.evaluate(data) <= 1


# --- files, estimator, other readers ----------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_model_file_holds_built_in_boxes_whole(tmp_path, precision):
    trainer = trained(network_of("readout", BOXES["several"], precision))
    X = clouds(40, 9, 3, seed=4).features

    save_model(model_of(trainer), tmp_path / "m.ffedge")
    again = load_model(tmp_path / "m.ffedge")

    assert again.network == trainer.network
    wanted = Predictor(model_of(trainer)).scores(X)
    assert Predictor(again).scores(X).tobytes() == wanted.tobytes()


def test_a_function_is_given_again_by_its_title(tmp_path):
    trainer = trained(network_of("readout", BOXES["a function"]))
    X = clouds(40, 9, 3, seed=4).features
    save_model(model_of(trainer), tmp_path / "m.ffedge")
    again = load_model(tmp_path / "m.ffedge")
    functions = {"tanh": np.tanh, "odd": lambda x, seed: x + seed % 2}

    with pytest.raises(ConfigError, match=r"black box 'tanh' in front of layer 1.*boxes=\{'tanh'"):
        Predictor(again)
    with pytest.raises(ConfigError, match="black box 'odd' in front of layer 2"):
        Trainer(again.network, recipe_of(), boxes={"tanh": np.tanh})
    with pytest.raises(ConfigError, match=r"\('odd', 'tanh'\), got one for 'tan'"):
        Predictor(again, boxes=functions | {"tan": np.tan})
    wanted = Predictor(model_of(trainer)).scores(X)
    assert Predictor(again, boxes=functions).scores(X).tobytes() == wanted.tobytes()
    assert Predictor(model_of(trainer), boxes={"tanh": np.sin}).scores(X).tobytes() != (
        wanted.tobytes()
    )


def test_the_first_layers_of_a_model_keep_their_boxes_only():
    model = model_of(trained(network_of("readout", BOXES["several"]))).first_layers(2)

    assert [slot.index for slot in model.network.boxes] == [0, 1]
    assert Predictor(model).scores(np.ones((3, 9), np.float32)).shape == (3, 3)


def test_the_estimator_takes_boxes_and_gives_them_to_its_files(tmp_path):
    data = clouds(150, 9, 3)
    options = {"hidden_layer_sizes": (20, 20), "max_iter": 30, "random_state": 0}
    own = FFClassifier(boxes={1: Permutation(), 0: Quantizer()}, **options)
    other = FFClassifier(boxes={1: BlackBox(np.tanh, "tanh")}, **options)
    for model in (own, other):
        model.fit(data.features, data.labels)
        model.save(tmp_path / "m.ffedge")
        if model is own:
            loaded = FFClassifier.load(tmp_path / "m.ffedge")
        else:
            with pytest.raises(ConfigError, match="'tanh'"):
                FFClassifier.load(tmp_path / "m.ffedge")
            loaded = FFClassifier.load(tmp_path / "m.ffedge", boxes={"tanh": np.tanh})

        assert model.score(data.features, data.labels) > 0.9
        assert loaded.predict(data.features).tolist() == model.predict(data.features).tolist()
        loaded.partial_fit(data.features[:20], data.labels[:20])
        loaded.add_classes([7])
        assert loaded.predict(data.features[:5]).shape == (5,)


def test_scikit_learn_clones_an_estimator_with_boxes():
    clone = pytest.importorskip("sklearn.base").clone
    model = FFClassifier(boxes={1: BlackBox(np.tanh, "tanh")})

    again = clone(model)

    assert again.boxes == model.boxes
    assert again.boxes[1].function is np.tanh
    assert "boxes=" in repr(model)


def test_a_float32_model_with_boxes_becomes_an_int8_one():
    data = clouds(150, 9, 3)
    boxes = {1: Quantizer(), 2: FrozenNetwork((50,))}
    trainer = trained(network_of("readout", boxes), recipe_of(epochs=20), data)

    twin, report = quantize(model_of(trainer), data)

    assert twin.network.boxes == trainer.network.boxes
    assert report.accuracy_after > report.accuracy_before - 0.1
    first = trained(network_of("readout", {0: Quantizer()}))
    with pytest.raises(ConfigError, match="no black box in front of layer 0"):
        quantize(model_of(first), data)


def test_a_microcontroller_is_refused_a_box():
    from ffedge.firmware.table import check

    network = network_of("readout", {1: Quantizer()}, "int8")
    with pytest.raises(ConfigError, match="firmware: expected a network without black boxes"):
        check(network, Recipe(SGD(), batch_size=1))


# --- a box that learns ------------------------------------------------------------------------

#: Far too little gain: what goes in disappears in the first step.
DULL = Converter(gain=0.05, bits=3, top=2.0)


def test_a_perturbed_box_descends_what_it_costs():
    box = Perturbed(BlackBox(lambda x, v: x, parameters=3), sigma=0.1, rate=0.02)
    arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in box.kept(5).items()}
    arrays["v"] = np.zeros(3, np.float32)
    aim = np.array([0.8, -0.5, 0.3])

    def cost():
        return float(((arrays["v"] - aim) ** 2).sum())

    before = cost()
    for seed in range(2000):
        box.learn(arrays, cost, 1.0, seed)

    assert cost() < before / 100
    assert_close(arrays["v"], aim, 0.1)


def test_a_step_of_a_perturbed_box_is_its_formula_and_leaves_the_trial_behind():
    box = Perturbed(BlackBox(lambda x, v: x, parameters=2), sigma=0.2, rate=0.5)
    arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in box.kept(5).items()}
    arrays["v"] = start = np.array([0.5, -1.0], np.float32)
    start = start.astype(float)
    tried = []

    def cost():
        tried.append(arrays["v"].astype(float))
        return float(np.sin(tried[-1]).sum())

    box.learn(arrays, cost, 0.25, seed=7)

    u = tried[0] - start
    assert_close(tried[1], start - u, 1e-6)
    slope = (np.sin(start + u).sum() - np.sin(start - u).sum()) / 2
    assert_close(arrays["v"], start - 0.5 * 0.25 * slope * u / 0.2**2, 1e-5)


def test_a_trial_that_fails_leaves_the_parameters_as_they_were():
    box = Perturbed(BlackBox(lambda x, v: x, parameters=2))
    arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in box.kept(5).items()}
    arrays["v"] = np.array([0.5, -1.0], np.float32)

    def cost():
        raise OSError("off")

    with pytest.raises(OSError, match="off"):
        box.learn(arrays, cost, 1.0, 3)
    assert arrays["v"].tolist() == [0.5, -1.0]


@pytest.mark.parametrize("rule", ["readout", "group"])
def test_a_converter_learns_to_turn_itself_up(rule):
    data = clouds(200, 9, 3)
    recipe = recipe_of(epochs=40)

    dull, learned = (
        trained(network_of(rule, {1: box}, hidden=(33, 20)), recipe, data)
        for box in (DULL, Perturbed(DULL))
    )

    losses = [t.run.layers[1].loss / t.run.layers[1].seen for t in (dull, learned)]
    assert losses[1] < losses[0] / 2
    assert learned.params["box1.v"][0] > 1.0
    assert learned.step_bytes < 8192
    assert learned.measured_bytes == learned.plan.peak


def test_a_learned_box_is_kept_in_model_files_checkpoints_and_exports(tmp_path):
    network = network_of("readout", {1: Perturbed(DULL, rate=0.1)})
    data = clouds(70, 9, 3)
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    whole, _, _ = run_with_checkpoints(tmp_path / "whole", data, network, recipe_of())
    with pytest.raises(Cut):
        run_with_checkpoints(tmp_path / "cut", data, network, recipe_of(), cut_after=4)
    resumed, _, _ = run_with_checkpoints(tmp_path / "cut", data, network, recipe_of())
    assert_same_bits(params_of(resumed), params_of(whole))
    assert whole.params["box1.v"].any()

    model = model_of(whole)
    save_model(model, tmp_path / "m.ffedge")
    again = load_model(tmp_path / "m.ffedge")
    assert again.network == network
    X = data.features
    assert Predictor(again).scores(X).tobytes() == Predictor(model).scores(X).tobytes()
    assert Predictor(again.first_layers(1)).scores(X).shape == (70, 3)
    pytest.importorskip("onnxruntime")
    assert export_onnx(model, tmp_path / "m.onnx", probe=X).labels_equal is not None

    with streamed(network, recipe_of(), STREAMINGS["ahead and behind"]) as trainer:
        trainer.learn_scaling(data)
        for _ in trainer.train(data):
            pass
        assert_same_bits(trainer.params, params_of(trained(network, recipe_of(), data)))
        trainer.save(model)


def test_a_learning_function_is_given_its_parameters(tmp_path):
    def scaled(rows, v):
        return np.tanh(rows * np.exp(v[0]) * np.float32(0.1)) + v[1]

    box = Perturbed(BlackBox(scaled, "scaled", parameters=2), rate=0.1)
    trainer = trained(network_of("readout", {1: box}))
    save_model(model_of(trainer), tmp_path / "m.ffedge")
    again = load_model(tmp_path / "m.ffedge")

    with pytest.raises(ConfigError, match="'scaled' in front of layer 1"):
        Predictor(again)
    X = clouds(30, 9, 3).features
    found = Predictor(again, boxes={"scaled": scaled}).scores(X)
    assert found.tobytes() == Predictor(model_of(trainer)).scores(X).tobytes()


def test_learning_boxes_are_refused_where_there_is_no_loss_to_learn_from():
    box = Perturbed()
    for rule, precision in (("hinton", "float32"), ("readout", "int8")):
        with pytest.raises(ConfigError, match="expected for a box that learns a rule"):
            network_of(rule, {1: box}, precision)
    with pytest.raises(ConfigError, match="inside Perturbed, got 'f' alone in front of layer 1"):
        network_of("readout", {1: BlackBox(np.tanh, "f", parameters=2)})
    for wrong in (Quantizer(), BlackBox(np.tanh), None, box):
        with pytest.raises(ConfigError, match="Perturbed: expected a box with parameters"):
            Perturbed(wrong)
    for field, value in (("sigma", 0.0), ("rate", -1.0), ("rate", None)):
        with pytest.raises(ConfigError, match=f"Perturbed: expected {field} in"):
            Perturbed(**{field: value})
