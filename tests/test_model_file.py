"""The model file: bit for bit, open to other readers, and proof against damage and malice."""

import contextlib
import json
import os
import struct

import numpy as np
import pytest
from conftest import clouds, memory_below
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_trainer import RULES, model_of, trained

from ffedge.errors import CheckpointError
from ffedge.model import Model
from ffedge.model_file import load_model, save_model
from ffedge.network import Network
from ffedge.predict import Predictor

FUZZ = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def model():
    data = clouds(features=5)
    trained_model = model_of(trained(data, hidden=(6, 4)), data).copy()
    return Model(
        trained_model.network, trained_model.params, ("low", "mid", "high"), (5,),
        tuple("abcde"), {"epochs": 2, "note": "grün"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.ffedge"
    assert save_model(model, path) == path.stat().st_size
    return path.read_bytes()


def split(content):
    """(header, data) by the rules of the safetensors layout."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(content, change):
    """The file after ``change(header, metadata)``."""
    header, data = split(content)
    metadata = json.loads(header["__metadata__"]["ffedge"])
    change(header, metadata)
    if "__metadata__" in header:
        header["__metadata__"]["ffedge"] = json.dumps(metadata)
    return joined(header, data)


def refused(path, content, words=None):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: expected")


def loads_or_refuses(path, content):
    """Whatever the bytes are: a model that predicts, or a CheckpointError that names the file."""
    path.write_bytes(content)
    try:
        loaded = load_model(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: expected")  # noqa: PT017
        return
    Predictor(loaded, batch=2)


# --- round trip -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_model_survives_bit_for_bit(tmp_path, rule):
    data = clouds(features=20, classes=4)
    model = model_of(trained(data, rule=rule, hidden=(33, 16, 5)), data)

    save_model(model, tmp_path / "m.ffedge")
    loaded = load_model(tmp_path / "m.ffedge")

    assert loaded.network == model.network
    assert loaded.classes == model.classes == (0, 1, 2, 3)
    assert loaded.params.keys() == model.params.keys()
    for name, array in model.params.items():
        assert loaded.params[name].tobytes() == array.tobytes()
        assert loaded.params[name].dtype == array.dtype
    ours, theirs = Predictor(model), Predictor(loaded)
    assert ours.scores(data.features).tobytes() == theirs.scores(data.features).tobytes()


def test_names_shapes_and_training_notes_survive(tmp_path, model):
    save_model(model, tmp_path / "m.ffedge")

    loaded = load_model(tmp_path / "m.ffedge")

    assert (loaded.classes, loaded.feature_names) == (("low", "mid", "high"), tuple("abcde"))
    assert (loaded.feature_shape, loaded.training) == ((5,), {"epochs": 2, "note": "grün"})
    assert loaded.precision == "float32"


def test_an_image_shape_survives(tmp_path, model):
    square = Model(Network.dense(6, (4,), 2), {}, (0, 1), (2, 3))
    square.params.update(
        (name, np.zeros(spec, np.float32))
        for name, spec in {
            "input.mean": 6, "input.gain": 6, "layer0.weight": (1, 6, 16),
            "layer0.bias": (1, 1, 16), "layer0.readout": (1, 2, 16),
        }.items()
    )  # fmt: skip

    save_model(square, tmp_path / "m.ffedge")

    assert load_model(tmp_path / "m.ffedge").feature_shape == (2, 3)


def test_the_same_model_gives_the_same_bytes(tmp_path, model, content):
    save_model(model, tmp_path / "again")

    assert (tmp_path / "again").read_bytes() == content


def test_the_file_follows_the_safetensors_layout(model, content):
    header, data = split(content)
    (length,) = struct.unpack("<Q", content[:8])

    metadata = header.pop("__metadata__")
    spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())

    assert content[8:9] == b"{"
    assert (8 + length) % 64 == 0
    assert all(type(value) is str for value in metadata.values())
    assert [first for first, _ in spans] == [0, *(last for _, last in spans[:-1])]
    assert spans[-1][1] == len(data)
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        array = np.frombuffer(data[first:last], "<f4").reshape(entry["shape"])
        assert entry["dtype"] == "F32"
        assert np.array_equal(array, model.params[name])


def test_arrays_are_private_and_can_be_written(tmp_path, content):
    (tmp_path / "m").write_bytes(content)

    one, other = load_model(tmp_path / "m"), load_model(tmp_path / "m")
    one.params["layer0.weight"][...] = 0

    assert other.params["layer0.weight"].any()


# --- damage -----------------------------------------------------------------------------------


def test_a_file_cut_short_anywhere_is_refused(tmp_path, content):
    header_end = 8 + struct.unpack("<Q", content[:8])[0]

    for length in [*range(header_end + 1), *range(header_end, len(content), 64)]:
        refused(tmp_path / "m", content[:length])


def test_bytes_left_over_are_refused(tmp_path, content):
    refused(tmp_path / "m", content + b"\0", "left over")


def test_a_flipped_bit_in_any_array_is_refused(tmp_path, content):
    path = tmp_path / "model.ffedge"
    start = 8 + int.from_bytes(content[:8], "little")

    for place in range(start, len(content), 61):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)

        with pytest.raises(CheckpointError, match=r"model\.ffedge: expected"):
            load_model(path)


def test_a_flipped_bit_in_the_header_never_escapes(tmp_path, content):
    header_end = 8 + struct.unpack("<Q", content[:8])[0]
    damaged = bytearray(content)

    for at in range(header_end):
        damaged[at] ^= 1 << (at % 8)
        loads_or_refuses(tmp_path / "m", bytes(damaged))
        damaged[at] = content[at]


@FUZZ
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path, noise):
    refused(tmp_path / "m", noise)


@FUZZ
@given(st.data())
def test_random_damage_never_escapes(tmp_path, content, data):
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))

    loads_or_refuses(tmp_path / "m", bytes(damaged))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([10**400, 2**63, -1]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@FUZZ
@given(st.data(), JSON)
def test_hostile_values_never_escape(tmp_path, content, data, value):
    header, _ = split(content)
    metadata = json.loads(header["__metadata__"]["ffedge"])
    places = [("metadata", key) for key in metadata]
    places += [("network", key) for key in metadata["network"]]
    places += [("rule", key) for key in metadata["network"]["rule"]]
    places += [("header", key) for key in header]
    places += [(name, key) for name in header if name != "__metadata__" for key in header[name]]
    where, key = data.draw(st.sampled_from(places))

    def spoil(header, metadata):
        owner = {"header": header, "metadata": metadata, "network": metadata["network"],
                 "rule": metadata["network"]["rule"]}  # fmt: skip
        owner.get(where, header.get(where))[key] = value

    with contextlib.suppress(TypeError):  # "__metadata__" itself was replaced
        loads_or_refuses(tmp_path / "m", changed(content, spoil))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format", 2, "expected format 1, got format 2; a newer ffedge wrote it"),
        ("format", None, "expected format 1, got format None"),
        ("classes", ["a", "b"], "2 class names for 3 classes"),
        ("classes", ["a", "b", 3], "neither all text nor all whole numbers"),
        ("classes", ["a", "b", "b"], "twice"),
        ("classes", [1, 2, 2**63], "neither all text nor all whole numbers"),
        ("classes", None, "complete model description"),
        ("feature_shape", [2, 3], "feature shape of 5 values"),
        ("feature_shape", [-5, -1], "a length of -5"),
        ("feature_shape", [10**300], "a length of"),
        ("feature_names", ["a"], "expected 5 feature names, got 1"),
        ("network", {}, "complete model description"),
        ("training", 5, "complete model description"),
    ],
)
def test_a_description_that_cannot_be_is_refused(tmp_path, content, field, value, words):
    refused(tmp_path / "m", changed(content, lambda h, m: m.update({field: value})), words)


@pytest.mark.parametrize("field", ["network", "classes", "feature_shape", "training"])
def test_a_missing_field_is_refused(tmp_path, content, field):
    refused(tmp_path / "m", changed(content, lambda h, m: m.pop(field)), "complete model")


@pytest.mark.parametrize("precision", ["int4", None, 8, "int8"])
def test_a_precision_that_is_not_the_files_is_refused(tmp_path, content, precision):
    def change(header, metadata):
        metadata["network"]["precision"] = precision

    refused(tmp_path / "m", changed(content, change))


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"ffedge": 5}, {"ffedge": "[]"}])
def test_another_programs_safetensors_is_refused(tmp_path, content, metadata):
    header, data = split(content)
    header["__metadata__"] = metadata
    if metadata is None:
        del header["__metadata__"]

    refused(tmp_path / "m", joined(header, data), "safetensors file of another program")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, content, value):
    header, data = split(content)
    first, _ = header["layer0.weight"]["data_offsets"]
    data = data[:first] + struct.pack("<f", value) + data[first + 4 :]

    refused(tmp_path / "m", joined(header, data), "finite numbers in layer0.weight")


def test_missing_and_additional_arrays_are_refused(tmp_path, content):
    def additional(header, metadata):
        header["extra"] = header["input.mean"]

    refused(
        tmp_path / "m",
        changed(content, lambda header, _: header.pop("layer1.bias")),
        "layer1.bias",
    )
    refused(tmp_path / "m", changed(content, additional), "extra")


def test_an_array_that_is_named_twice_cannot_hide_another(tmp_path, content):
    length = struct.unpack("<Q", content[:8])[0]
    text = content[8 : 8 + length].replace(b'"layer1.bias"', b'"layer0.bias"')

    refused(tmp_path / "m", struct.pack("<Q", length) + text + content[8 + length :], "layer1.bias")


@pytest.mark.parametrize(
    "entry",
    [
        {"data_offsets": [0, 24]}, {"data_offsets": [64, 128]}, {"data_offsets": [-64, 0]},
        {"data_offsets": [1e3, 2e3]}, {"data_offsets": [float("inf"), 0]}, {"data_offsets": []},
        {"data_offsets": ["0", "20"]}, {"data_offsets": [10**400, 10**400 + 20]},
        {"data_offsets": None}, {"dtype": "F64"}, {"dtype": []}, {"shape": [6]}, {"shape": None},
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_is_refused(tmp_path, content, entry):
    damaged = changed(content, lambda header, _: header["input.mean"].update(entry))

    refused(tmp_path / "m", damaged, "input.mean|overlap")


def test_arrays_that_overlap_or_leave_a_gap_are_refused(tmp_path, content):
    def overlap(header, metadata):
        header["input.gain"]["data_offsets"] = header["input.mean"]["data_offsets"]

    refused(tmp_path / "m", changed(content, overlap), "a gap, an overlap")


@pytest.mark.parametrize("width", [10**9, 1 << 40, 10**300], ids=["1e9", "2**40", "1e300"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_small_file_that_claims_terabytes_allocates_nothing(tmp_path, content, width, layers):
    hidden = [width] if layers == 1 else [131_071, width]

    def inflate(header, metadata):
        metadata["network"]["hidden"] = hidden
        for name in [name for name in header if name.startswith("layer")]:
            del header[name]
        inputs = 5
        for i, units in enumerate(hidden):
            for part, rows in (("weight", inputs), ("bias", 1), ("readout", 3)):
                shape = [-(-units // 16), rows, 16]
                size = 4 * shape[0] * rows * 16
                header[f"layer{i}.{part}"] = {
                    "dtype": "F32", "shape": shape, "data_offsets": [0, size],
                }  # fmt: skip
            inputs = units

    claim = changed(content, inflate)[:2000]
    header, data = split(changed(content, inflate))
    (tmp_path / "m").write_bytes(joined(header, data[:0]))

    with memory_below(1 << 20), pytest.raises(CheckpointError, match="expected"):
        load_model(tmp_path / "m")
    with memory_below(1 << 20):
        refused(tmp_path / "m", claim)


@pytest.mark.parametrize("length", [0, 1, 1000, 1 << 24, (1 << 24) + 1, 1 << 40, (1 << 64) - 1])
def test_a_header_length_that_cannot_be_is_refused_unread(tmp_path, length):
    with memory_below(1 << 20):
        refused(tmp_path / "m", struct.pack("<Q", length) + b"{}" * 200)


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(tmp_path, bracket):
    text = bracket * 200_000

    refused(tmp_path / "m", struct.pack("<Q", len(text)) + text)


def test_deep_nesting_inside_the_metadata_is_refused(tmp_path):
    refused(tmp_path / "m", joined({"__metadata__": {"ffedge": "[" * 200_000}}))


@pytest.mark.parametrize("text", [b'"text"', b"[1]", b"12", b"\xff\xfe{}", b"{'a': 1}", b"{} {}"])
def test_a_header_that_is_no_json_object_is_refused(tmp_path, text):
    refused(tmp_path / "m", struct.pack("<Q", len(text)) + text)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path, words in ((tmp_path / "no", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(CheckpointError, match=words) as caught:
            load_model(path)
        assert str(path) in str(caught.value)


# --- writing ----------------------------------------------------------------------------------


def test_a_failure_while_writing_leaves_the_old_model(tmp_path, model, content):
    (tmp_path / "m").write_bytes(content)
    broken = Model(model.network, dict(model.params), model.classes, model.feature_shape)
    del broken.params["layer1.readout"]

    with pytest.raises(KeyError):
        save_model(broken, tmp_path / "m")

    assert (tmp_path / "m").read_bytes() == content
    assert os.listdir(tmp_path) == ["m"]


def test_a_missing_folder_is_an_os_error(tmp_path, model):
    with pytest.raises(OSError, match="No such file"):
        save_model(model, tmp_path / "no" / "m")
