"""Each black box against its definition, and what a network refuses about boxes."""

import copy
import json

import numpy as np
import pytest
from checks import assert_close

from ffedge.boxes import (
    BOXES,
    BlackBox,
    Converter,
    FrozenNetwork,
    NoisyDropout,
    Permutation,
    Perturbed,
    Quantizer,
    Slot,
)
from ffedge.boxes.noise import quantile
from ffedge.errors import ConfigError, DataError
from ffedge.network import Network
from ffedge.rules import Readout, hinton

BUILT_IN = [
    Quantizer(),
    Quantizer(3, 2.5, normalize=False),
    Converter(),
    Converter(gain=0.5, offset=0.3, noise=0.1, bits=4),
    Permutation(7),
    FrozenNetwork((5,), 3),
    FrozenNetwork((4, 20, 7)),
    NoisyDropout(),
    Perturbed(Converter(noise=0.1), sigma=0.1, rate=0.5),
    Perturbed(BlackBox(title="mine", width=7, parameters=4)),
]


def numbers(rows=6, width=19, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


#: Those that need nobody's function.
WHOLE = [box for box in BUILT_IN if box.custom is None]


def through(box, x, seed=5, capacity=None):
    """What the box makes of x, in buffers for more rows than there are."""
    rows, inputs = x.shape
    specs = box.kept(inputs) | box.workspace(inputs, capacity or rows + 3)
    arrays = {name: np.full(spec.shape, 77, spec.dtype) for name, spec in specs.items()}
    box.begin(inputs, arrays)
    out = np.full((rows, box.outputs(inputs)), np.nan, np.float32)
    box.apply(x.copy(), out, arrays, seed)
    return out


# --- definitions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "top"), [(8, 8.0), (3, 2.0), (2, 0.5)])
def test_a_quantizer_rounds_to_its_steps_and_saturates(bits, top):
    x = numbers() * np.float32(3)
    levels = 2 ** (bits - 1) - 1
    step = top / levels

    out = through(Quantizer(bits, top), x)

    assert_close(out, np.clip(np.round(x.astype(float) / step), -levels, levels) * step, 1e-5)
    assert len(np.unique(out)) <= 2 * levels + 1
    assert np.abs(out).max() <= np.float32(top) * 1.000001


def test_a_quantizer_takes_halves_to_even():
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)

    assert through(Quantizer(4, 7.0), x).tolist() == [[0.0, 2.0, 2.0, 0.0, -2.0]]


def test_a_converter_amplifies_shifts_and_saturates_at_both_ends():
    x = np.array([[-3.0, 0.0, 0.25, 1.0, 9.0]], np.float32)

    out = through(Converter(gain=2.0, offset=0.5, bits=2, top=3.0), x)

    # Four values: 0, 1, 2, 3. v is -5.5, 0.5, 1.0, 2.5, 18.5; halves go to even.
    assert out.tolist() == [[0.0, 0.0, 1.0, 2.0, 3.0]]


def test_a_converters_noise_has_the_size_asked_for_and_follows_the_seed():
    x = np.full((200, 50), 5.0, np.float32)
    box = Converter(noise=0.5, bits=16, top=10.0)

    out = through(box, x, seed=1)

    assert abs(float(out.mean()) - 5.0) < 0.02
    assert abs(float(out.std()) - 0.5) < 0.02
    assert through(box, x, seed=1).tobytes() == out.tobytes()
    assert through(box, x, seed=2).tobytes() != out.tobytes()


@pytest.mark.parametrize("width", [1, 2, 19, 64])
def test_a_permutation_moves_every_unit_once_and_each_seed_is_another(width):
    x = numbers(width=width)

    out = through(Permutation(3), x)

    order = Permutation(3).order(width)
    assert sorted(order) == list(range(width))
    assert out.tolist() == x[:, order].tolist()
    assert width < 10 or order != Permutation(4).order(width)


def test_a_frozen_network_is_products_and_rectifiers():
    box = FrozenNetwork((4, 20, 7), seed=9)
    arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in box.kept(19).items()}
    box.begin(19, arrays)
    x = wanted = numbers()

    matrices = box.matrices(19, arrays)
    for matrix in matrices:
        wanted = np.maximum(wanted.astype(float) @ matrix, 0.0)

    assert [matrix.shape for matrix in matrices] == [(19, 4), (4, 20), (20, 7)]
    assert_close(through(box, x), wanted)
    assert 0.5 < np.concatenate([m.ravel() * np.sqrt(len(m) / 2) for m in matrices]).std() < 1.5


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.75])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = np.ones((400, 100), np.float32)

    out = through(NoisyDropout(rate, noise=0.0), x)

    assert abs(float((out == 0).mean()) - rate) < 0.006
    assert_close(np.unique(out[out != 0]), [1 / (1 - rate)])


def test_dropouts_noise_is_added_to_what_was_dropped_too():
    x = np.zeros((300, 100), np.float32)

    out = through(NoisyDropout(0.5, noise=0.3), x)

    assert abs(float(out.std()) - 0.3) < 0.01
    assert (out != 0).mean() > 0.99


@pytest.mark.parametrize("share", [0.05, 0.2, 0.9])
def test_a_quantile_divides_sums_of_eight_uniform_numbers(share):
    drawn = np.random.default_rng(0).uniform(size=(200_000, 8)).sum(axis=1)
    drawn = (drawn - 4.0) / np.sqrt(8 / 12)

    assert abs((drawn < quantile(share)).mean() - share) < 0.004


@pytest.mark.parametrize("box", [box for box in WHOLE if not box.is_random], ids=str)
def test_a_row_comes_out_the_same_whatever_rows_are_beside_it(box):
    x = numbers(9)

    assert_close(through(box, x)[4:5], through(box, x[4:5]), 1e-6)


# --- functions --------------------------------------------------------------------------------


def test_a_function_gets_rows_of_its_own_and_may_return_wider_numbers_of_any_real_type():
    seen = []

    def double(rows):
        seen.append((rows.dtype, rows.shape, rows.flags.c_contiguous))
        return np.concatenate([rows, rows], axis=1).astype(float)

    x = numbers()
    out = through(BlackBox(double, width=38), x)

    assert seen == [(np.float32, (6, 19), True)]
    assert_close(out, np.concatenate([x, x], axis=1))


def test_a_stochastic_function_gets_a_seed():
    box = BlackBox(lambda rows, seed: rows + seed, stochastic=True)

    assert_close(through(box, numbers(), seed=41), numbers() + 41)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x[:, :3], r"black box 'mine': expected .* shape \(6, 19\), got .* \(6, 3\)"),
        (lambda x: x.T, r"got an array of shape \(19, 6\)"),
        (lambda x: x.tolist(), "got an object of type list"),
        (lambda x: None, "got an object of type NoneType"),
        (lambda x: x > 0, "got numbers of type bool"),
        (lambda x: x * 1j, "got numbers of type complex"),
        (lambda x: x.astype(object), "got numbers of type object"),
    ],
)
def test_what_a_function_returns_is_looked_at(function, words):
    with pytest.raises(DataError, match=words):
        through(BlackBox(function, "mine"), numbers())


def test_what_a_function_raises_comes_through():
    def broken(rows):
        raise OSError("the device is off")

    with pytest.raises(OSError, match="the device is off"):
        through(BlackBox(broken), numbers())


def test_a_copy_of_a_box_has_the_very_same_function():
    box = BlackBox(np.tanh, "tanh")

    assert copy.deepcopy(box) is box
    assert copy.deepcopy({1: box})[1] is box


# --- descriptions -----------------------------------------------------------------------------


@pytest.mark.parametrize("box", [*BUILT_IN, BlackBox(np.tanh, "t", 9, stochastic=True)], ids=str)
@pytest.mark.parametrize("index", [0, 1])
def test_a_described_box_is_parsed_again(box, index):
    network = Network.dense(19, (19, 8), 3, boxes={index: box})

    described = json.loads(json.dumps(network.describe()))
    again = Network.parse(described)

    assert again == network
    assert again.box(index).box == box
    assert again.features == 19
    assert described["boxes"] == [[index, json.loads(json.dumps(box.describe()))]]


def test_every_box_that_a_file_may_hold_is_tried_here():
    tried = {box.name for box in BUILT_IN} | {BlackBox.name}

    assert tried == set(BOXES)


def test_a_network_without_boxes_is_described_as_ever():
    assert "boxes" not in Network.dense(4, (5,), 3).describe()


def test_widths_follow_the_boxes_and_features_do_not():
    boxes = {0: FrozenNetwork((30,)), 2: BlackBox(np.tanh, width=40)}

    network = Network.dense(12, (20, 25, 10), 3, hinton(), boxes=boxes)

    assert [layer.in_features for layer in network.layers] == [30, 20, 40]
    assert network.features == 12
    assert [network.entering(i) for i in range(3)] == [12 + 3, 20, 25]
    assert network.text == "12-20-25-10-3"


@pytest.mark.parametrize(
    "boxes",
    [
        {2: Quantizer()}, {-1: Quantizer()}, {"1": Quantizer()}, {True: Quantizer()},
        {1: np.tanh}, {1: Quantizer}, {1: None}, [Quantizer()],
        {1: FrozenNetwork((100_000, 100_000))},
    ],
)  # fmt: skip
def test_boxes_that_cannot_stand_there_are_refused(boxes):
    with pytest.raises(ConfigError, match=r"Network|FrozenNetwork"):
        Network.dense(4, (5, 6), 3, boxes=boxes)


def test_slots_that_do_not_meet_their_layers_are_refused():
    layers = Network.dense(4, (5, 6), 3).layers
    for slots in (
        (Slot(1, 9, Quantizer()),),
        (Slot(1, 5, FrozenNetwork((7,))),),
        (Slot(1, 5, Quantizer()), Slot(1, 5, Quantizer())),
        (Slot(1, 5, Quantizer()), Slot(0, 4, Quantizer())),
        (Slot(2, 6, Quantizer()),),
    ):
        with pytest.raises(ConfigError, match="Network: expected"):
            Network(layers, 3, Readout(), boxes=slots)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Quantizer(1), lambda: Quantizer(17), lambda: Quantizer(8.0),
        lambda: Quantizer(True), lambda: Quantizer(top=0.0), lambda: Quantizer(top=np.inf),
        lambda: Quantizer(top="8"), lambda: Quantizer(normalize=1), lambda: Converter(gain=0.0),
        lambda: Converter(noise=-1.0), lambda: Converter(offset=float("nan")),
        lambda: Converter(bits=0), lambda: Converter(top=-1.0), lambda: Permutation(-1),
        lambda: Permutation(2**32), lambda: Permutation(0.5), lambda: FrozenNetwork(()),
        lambda: FrozenNetwork((0,)), lambda: FrozenNetwork((True,)), lambda: FrozenNetwork([4]),
        lambda: FrozenNetwork((4,) * 17), lambda: FrozenNetwork(4), lambda: NoisyDropout(0.96),
        lambda: NoisyDropout(noise=None), lambda: BlackBox("tanh"), lambda: BlackBox(title=""),
        lambda: BlackBox(title="x" * 81), lambda: BlackBox(title=3), lambda: BlackBox(width=0),
        lambda: BlackBox(width=1 << 40), lambda: BlackBox(stochastic=None),
    ],
)  # fmt: skip
def test_a_box_with_values_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=r": expected .*, got "):
        wrong()


@pytest.mark.parametrize(
    "boxes",
    [
        None, {}, 3, "boxes", [[1]], [[1, None]], [[1, {}]], [["1", {"name": "quantizer"}]],
        [[1, {"name": "eval"}]], [[1, {"name": "quantizer", "bits": 10**400}]],
        [[1, {"name": "quantizer", "step": 3}]], [[7, {"name": "quantizer"}]],
        [[1, {"name": "quantizer"}], [1, {"name": "quantizer"}]],
        [[1, {"name": "quantizer"}]] * 3, [[1, {"name": "function", "title": ["a"]}]],
        [[1, {"name": "function", "function": "os.system"}]],
        [[1, {"name": "frozen-network", "widths": [131_071] * 16}]],
        [[1, {"name": "perturbed", "inner": {"name": "quantizer"}}]],
        [[1, {"name": "perturbed", "inner": {"name": "perturbed"}}]],
        [[1, {"name": "perturbed", "inner": None}]], [[1, {"name": "perturbed", "inner": []}]],
        [[1, {"name": "function", "parameters": 1 << 30}]],
        [[1, {"name": "frozen-network", "widths": [[4]]}]], [[1, {"name": ["quantizer"]}]],
    ],
)  # fmt: skip
def test_a_hostile_description_is_refused(boxes):
    described = Network.dense(4, (5, 6), 3).describe() | {"boxes": boxes}

    with pytest.raises(ConfigError, match="network description: ") as caught:
        Network.parse(described)

    assert len(str(caught.value)) < 700
