"""A float32 model as an int8 one: what it keeps, how it rounds, what it refuses."""

import functools
import json
import math

import numpy as np
import pytest
import reference
import reference_int8 as oracle
from conftest import clouds
from test_cli import ffedge, one_object

from ffedge.buffers import model_needs
from ffedge.errors import ConfigError, DataError
from ffedge.model import Model
from ffedge.model_file import load_model, save_model
from ffedge.network import Network
from ffedge.optimizers import Adam
from ffedge.predict import Predictor
from ffedge.quantize import quantize
from ffedge.recipe import Recipe
from ffedge.rules import NAMED_RULES
from ffedge.sources import load
from ffedge.trainer import Trainer

RULES = ["readout", "group", "group-mean"]


def train(data, rule, scaling, hidden, epochs):
    network = Network.dense(data.width, hidden, len(data.classes), NAMED_RULES[rule])
    trainer = Trainer(network, Recipe(Adam(), batch_size=32, epochs=epochs, scaling=scaling))
    trainer.learn_scaling(data)
    for _ in trainer.train(data):
        pass
    return Model(network, trainer.params, data.classes, data.feature_shape)


@functools.cache
def digits_model(rule, scaling="global"):
    return train(load("digits")[0], rule, scaling, (64, 48), 15)


def accuracy(model, data):
    predictor = Predictor(model)
    right = [scores.argmax(axis=1) == labels for scores, labels in predictor.batches(data)]
    return np.concatenate(right).mean()


# --- what it keeps ----------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["standard", "global"])
@pytest.mark.parametrize("rule", RULES)
def test_conversion_costs_less_than_a_point_on_the_digits(rule, scaling):
    samples, test = load("digits")
    model = digits_model(rule, scaling)

    twin, report = quantize(model, samples)

    before, after = accuracy(model, test), accuracy(twin, test)
    assert before > 0.94
    assert after > before - 0.01
    assert report.accuracy_before == accuracy(model, samples)
    assert report.accuracy_after == accuracy(twin, samples)
    assert report.accuracy_after > report.accuracy_before - 0.01
    # The grid ends at 3 standard deviations of the start: some per cent lie beyond.
    assert 0.0 <= report.clipped < 0.1


@pytest.mark.parametrize(("scaling", "parts"), [("standard", 2), ("global", 1), ("none", 1)])
def test_features_below_zero_decide_the_input_parts(scaling, parts):
    samples, _ = load("digits")

    twin, _ = quantize(digits_model("readout", scaling), samples)

    assert twin.network.input_parts == parts
    assert twin.network.precision == "int8"
    assert twin.network.text == "64-64-48-10"
    assert twin.network.layers[0].in_features == 64 * parts


def test_one_sample_below_zero_is_enough_for_two_parts():
    samples, _ = load("digits")
    model = digits_model("readout")
    few = clouds(samples=9, features=64, classes=10)
    few.features[...] = np.abs(few.features)
    assert quantize(model, few)[0].network.input_parts == 1

    few.features[8, 63] = -0.001
    assert quantize(model, few)[0].network.input_parts == 2
    assert samples.width == 64


def test_only_the_samples_of_a_subset_are_looked_at():
    data = clouds(samples=30, features=64, classes=10)
    data.features[...] = np.abs(data.features)
    data.features[3] = -1.0
    with_it, without = data.split(0.5, 1)
    if 3 in without.rows:
        with_it, without = without, with_it

    model = digits_model("readout")

    assert quantize(model, with_it)[0].network.input_parts == 2
    assert quantize(model, without)[0].network.input_parts == 1


def test_the_float_model_is_left_as_it_was():
    samples, _ = load("digits")
    model = digits_model("readout")
    before = {name: array.copy() for name, array in model.params.items()}

    twin, _ = quantize(model, samples)

    for name, array in model.params.items():
        assert array.tobytes() == before[name].tobytes()
        assert not np.shares_memory(array, twin.params[name])
    assert twin.classes == model.classes
    assert twin.feature_shape == model.feature_shape


# --- how it rounds ----------------------------------------------------------------------------


def hand_made(W, b, M, rule="readout"):
    """A float32 model of one layer with these matrices; mean 0, gain 1."""
    inputs, units = W.shape
    network = Network.dense(inputs, (units,), len(M), NAMED_RULES[rule])
    params = {need.name: np.zeros(need.spec.shape, np.float32) for need in model_needs(network)}
    params["input.gain"][:] = 1.0
    params["layer0.weight"][...] = reference.pack_weights(W)
    params["layer0.bias"][...] = reference.pack_weights(b[None])
    if rule == "readout":
        params["layer0.readout"][...] = reference.pack_weights(M)
    return Model(network, params, tuple(range(len(M))), (inputs,))


def positive(width, classes=2):
    data = clouds(samples=8, features=width, classes=classes)
    data.features[...] = np.abs(data.features)
    return data


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("inputs", "units"), [(5, 3), (4, 16), (17, 21)])
def test_every_number_is_rounded_to_its_grid_halves_up(inputs, units, parts):
    random = np.random.default_rng(inputs)
    e = oracle.weight_exponent(inputs * parts)
    f = oracle.readout_exponent(units)
    halves = random.integers(-250, 250, (inputs, units))  # in half steps
    bias, matrix = random.integers(-9999, 9999, units), random.integers(-250, 250, (2, units))
    model = hand_made(halves / 2 / 2.0**e, bias / 2 / 2.0 ** (e + 4), matrix / 2 / 2.0**f)
    data = positive(inputs)
    if parts == 2:
        data.features[0, 0] = -1.0

    twin, report = quantize(model, data)

    def up(half_steps):
        return (half_steps + 1) // 2

    W = np.vstack([halves, -halves]) if parts == 2 else halves
    assert twin.params["layer0.weight"].tolist() == oracle.pack_weights(up(W)).tolist()
    shift = 4 + e - 3
    wanted = [*(up(bias) + 2 ** (shift - 1)).tolist()]
    padding = [2 ** (shift - 1)] * (len(twin.params["layer0.bias"]) - units)
    assert twin.params["layer0.bias"].tolist() == wanted + padding
    assert twin.params["layer0.readout"][:, :units].tolist() == up(matrix).tolist()
    assert not twin.params["layer0.readout"][:, units:].any()
    assert report.clipped == 0.0
    for name, dtype in (("weight", np.int8), ("bias", np.int32), ("readout", np.int8)):
        assert twin.params[f"layer0.{name}"].dtype == dtype


def test_the_share_of_clipped_weights_is_reported():
    e, f = oracle.weight_exponent(4), oracle.readout_exponent(5)
    W, M = np.zeros((4, 5)), np.zeros((2, 5))
    W[0] = np.array([126.4, 126.5, -126.5, -126.6, 1.0]) / 2.0**e
    M[1, :2] = np.array([500.0, -500.0]) / 2.0**f

    twin, report = quantize(hand_made(W, np.zeros(5), M), positive(4))

    weight = oracle.unpack_weights(twin.params["layer0.weight"], 4, 5)
    assert weight[0].tolist() == [126, 127, -126, -127, 1]
    assert twin.params["layer0.readout"][1, :2].tolist() == [127, -127]
    assert report.clipped == 2 / (20 + 10)


def test_a_layer_beyond_the_grid_is_scaled_down_and_its_readout_up():
    e, f = oracle.weight_exponent(4), oracle.readout_exponent(5)
    W, M = np.full((4, 5), 254.0 / 2.0**e), np.full((2, 5), 20.0 / 2.0**f)
    bias = np.full(5, 0.5)

    twin, report = quantize(hand_made(W, bias, M), positive(4))

    plain, _ = quantize(hand_made(W / 2, bias / 2, M * 2), positive(4))
    assert (oracle.unpack_weights(twin.params["layer0.weight"], 4, 5) == 127).all()
    assert (twin.params["layer0.readout"][:, :5] == 40).all()
    assert twin.params["layer0.bias"].tolist() == plain.params["layer0.bias"].tolist()
    assert report.clipped == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_beyond_its_bound_is_clipped(sign):
    model = hand_made(np.ones((4, 3)), np.full(3, sign * 1e9), np.ones((2, 3)))

    twin, _ = quantize(model, positive(4))

    assert np.abs(twin.params["layer0.bias"].astype(np.int64)).max() <= 2**24
    assert (np.sign(twin.params["layer0.bias"][:3]) == sign).all()


def test_a_hand_made_network_answers_alike_in_both_precisions():
    e = oracle.weight_exponent(4)
    W = np.array([[40, -40], [-40, 40], [10, 0], [0, 10]]) / 2.0**e
    model = hand_made(W, np.zeros(2), np.eye(2) * 0.5)
    data = positive(4)

    twin, report = quantize(model, data)

    one, other = Predictor(model).scores(data.features), Predictor(twin).scores(data.features)
    unit = 2.0**-twin.network.score_exponent
    # Half an input step through weights of about 1, half an output step, through an M of a half.
    assert np.abs(one - (other * unit - other[:, :1] * unit + one[:, :1])).max() < 0.5
    assert report.accuracy_before == report.accuracy_after


# --- refusals ---------------------------------------------------------------------------------


def test_an_int8_model_is_refused():
    samples, _ = load("digits")
    twin, _ = quantize(digits_model("readout"), samples)

    with pytest.raises(ConfigError, match="quantize: expected a float32 model, got int8"):
        quantize(twin, samples)


@pytest.mark.parametrize(
    ("rule", "words"),
    [("hinton", "Contrast: expected precision float32, got int8"),
     ("readout-frozen", "Readout: expected a trained readout in int8, got frozen=True")],
)  # fmt: skip
def test_a_rule_without_an_int8_form_is_refused(rule, words):
    data = clouds(samples=20)

    with pytest.raises(ConfigError, match=words):
        quantize(train(data, rule, "standard", (8, 8), 1), data)


def test_a_normalised_input_is_refused():
    network = Network.dense(7, (8,), 3, normalize_input=True)
    params = {need.name: np.zeros(need.spec.shape, np.float32) for need in model_needs(network)}

    with pytest.raises(ConfigError, match="quantize: expected normalize_input False, got True"):
        quantize(Model(network, params, (0, 1, 2), (7,)), clouds(samples=9))


def test_data_of_another_width_are_refused():
    with pytest.raises(DataError, match="expected calibration samples of 64 features, got 7"):
        quantize(digits_model("readout"), clouds(samples=9))


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def float_file(tmp_path):
    save_model(digits_model("readout"), tmp_path / "float.ffedge")
    return tmp_path / "float.ffedge"


def test_the_command_writes_the_twin_and_says_what_it_costs(capsys, tmp_path, float_file):
    assert ffedge("quantize", float_file, "digits", "-o", tmp_path / "m8") == 0

    out, err = capsys.readouterr()
    twin, report = quantize(digits_model("readout"), load("digits")[0])
    loaded = load_model(tmp_path / "m8")
    for name, array in twin.params.items():
        assert loaded.params[name].tobytes() == array.tobytes()
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["float32"].startswith(f"{100 * report.accuracy_before:.2f} % right, ")
    assert lines["int8"].startswith(f"{100 * report.accuracy_after:.2f} % right, ")
    assert ("clipped" in lines) == (report.clipped > 0)
    assert str(tmp_path / "m8") in lines["model"]
    assert err == ""


def test_the_command_prints_one_object_with_json(capsys, tmp_path, float_file):
    path = tmp_path / "m8"

    assert ffedge("quantize", float_file, "digits", "-o", path, "--json") == 0

    found = one_object(capsys.readouterr().out)
    _, report = quantize(digits_model("readout"), load("digits")[0])
    assert found["model_bytes"] == path.stat().st_size < float_file.stat().st_size / 2
    assert found["network"] == "64-64-48-10"
    assert found["input_parts"] == 1
    assert math.isclose(found["accuracy_before"], report.accuracy_before)
    assert math.isclose(found["accuracy_after"], report.accuracy_after)
    assert found["clipped"] == report.clipped
    assert json.dumps(found)


def test_the_command_refuses_an_int8_model_and_writes_nothing(capsys, tmp_path, float_file):
    assert ffedge("quantize", float_file, "digits", "-o", tmp_path / "m8") == 0
    capsys.readouterr()

    code = ffedge("quantize", tmp_path / "m8", "digits", "-o", tmp_path / "again")

    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert "quantize: expected a float32 model, got int8" in err
    assert not (tmp_path / "again").exists()
