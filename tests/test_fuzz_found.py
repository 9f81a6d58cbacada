"""Files that once got through a reader, cut down to what mattered."""

import gzip
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from conftest import memory_below
from fuzzing import seeds

from ffedge import cli
from ffedge.errors import CheckpointError, ConfigError, DataError
from ffedge.firmware.object32 import Object32
from ffedge.kernels import library_file
from ffedge.lowering.relocations import LinkError
from ffedge.model_file import load_model
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.sources import load

DESCRIPTION = Network.dense(4, (16,), 2).describe()
THREE = Network.dense(9, (16,), 3).describe()


def write_model(path, change=None, header=None):
    """A good model file whose description or header is changed; its checksum is right."""
    data = seeds.models()[0].data
    length = int.from_bytes(data[:8], "little")
    top = json.loads(data[8 : 8 + length])
    about = json.loads(top["__metadata__"]["ffedge"])
    about.update(change or {})
    text = json.dumps(about)
    top["__metadata__"]["ffedge"] = text
    body = data[8 + length :]
    top["__metadata__"]["crc32"] = f"{zlib.crc32(body, zlib.crc32(text.encode())):08x}"
    top.update(header or {})
    raw = json.dumps(top).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + body)
    return path


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_the_file_that_is_changed_below_can_be_read(tmp_path):
    assert load_model(write_model(tmp_path / "m.ffedge")).classes == (0, 1, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": DESCRIPTION | {"hidden": [10**400], "precision": "int8"}}, "below 2\\*\\*40"),
        ({"classes": ["a", "b", "\ud800"]}, "surrogates not allowed"),
        ({"feature_names": ["\udfff"] * 9}, "surrogates not allowed"),
        ({"feature_names": [1] * 9}, "a name of 1"),
        ({"feature_names": [[[]]] * 9}, "a name of"),
        ({"training": [["a", "b"]]}, "training figures of"),
        ({"training": deep(40)}, "nested too deeply"),
        ({"feature_shape": [1] * 33}, "a feature shape of"),
        ({"feature_shape": [True, 9]}, "a length of True"),
        ({"feature_shape": {"3": 3}}, "a feature shape of"),
        ({"format": "9" * 100_000}, "got format '99999"),
        ({"network": THREE | {"hidden": [16] * 5000}}, "arrays for 5,000 layers"),
    ],
)
def test_a_model_that_describes_something_else_is_refused_in_few_words(tmp_path, change, words):
    path = write_model(tmp_path / "m.ffedge", change)

    with pytest.raises(CheckpointError, match=words) as refusal:
        load_model(path)

    assert len(str(refusal.value)) < 1000


def test_a_header_with_half_a_character_is_refused(tmp_path):
    header = {"__metadata__": {"ffedge": json.dumps({"format": 1}) + "\ud800", "crc32": "0"}}

    with pytest.raises(CheckpointError):
        load_model(write_model(tmp_path / "m.ffedge", header=header))


def test_an_array_with_an_endless_name_is_refused_in_few_words(tmp_path):
    with pytest.raises(CheckpointError, match="different set") as refusal:
        load_model(write_model(tmp_path / "m.ffedge", header={"A" * 100_000: 1}))

    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("value", ["x" * 100, [1], 10**400, True, None, {"a": 1}])
def test_inspect_shows_a_model_whose_figures_are_no_numbers(tmp_path, capsys, value):
    path = write_model(tmp_path / "m.ffedge", {"training": {"test_accuracy": value}})

    assert cli.main(["inspect", str(path)]) == 0

    assert "% right" not in capsys.readouterr().out


def test_inspect_prints_no_numbers_that_json_does_not_have(tmp_path, capsys):
    figures = {"loss": float("nan"), "rates": [float("inf"), 0.5]}
    path = write_model(tmp_path / "m.ffedge", {"training": figures})

    assert cli.main(["inspect", str(path), "--json"]) == 0

    shown = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert shown["training"] == {"loss": None, "rates": [None, 0.5]}


def test_inspect_sends_no_control_characters_to_the_terminal(tmp_path, capsys):
    change = {"classes": ["a", "b\x1b[2J", "c\n\u202e"], "training": {"\x07_accuracy": 0.5}}

    assert cli.main(["inspect", str(write_model(tmp_path / "m.ffedge", change))]) == 0

    shown = capsys.readouterr().out
    assert r"b\x1b[2J, c\n\u202e" in shown
    assert r"\x07" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_a_refusal_is_one_line_whatever_the_file_says(tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text("a\x1b[2J\u2028,b,b\n1,2,3\n")

    assert cli.main(["inspect", str(path), "--label", "b"]) == 4

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said[:-1].isprintable()


def test_a_few_bytes_of_gz_do_not_become_many_in_memory(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"1," + b"0" * (8 << 20) + b"\n1,2\n"))

    with (
        memory_below(16 << 20),
        pytest.raises(DataError, match=r"line 1: expected a record of at most 2,1\d\d,\d\d\d B"),
    ):
        load(path)


def test_the_widest_table_can_be_packed_as_tightly_as_it_gets(tmp_path):
    path = tmp_path / "x.csv.gz"
    row = ",".join(["0.0000000000000e+00"] * 99_999)
    path.write_bytes(gzip.compress(f"{row},0\n{row},1\n".encode(), mtime=0))

    train, _ = load(path)

    assert train.features.shape == (2, 99_999)


def test_a_column_with_an_endless_name_is_quoted_in_few_words(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a" * 60_000 + ",b\nx,1\n")

    with pytest.raises(DataError, match="line 2, column 'aaa") as refusal:
        load(path)

    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("value", [np.float32(3), np.uint8(3)])
def test_a_single_number_is_no_data_set(tmp_path, value):
    np.save(tmp_path / "X.npy", value)
    np.save(tmp_path / "y.npy", np.arange(3))
    np.save(tmp_path / "good.npy", np.ones((3, 2), np.float32))

    with pytest.raises(DataError, match="expected features of shape"):
        load(tmp_path / "X.npy")
    with pytest.raises(DataError, match="expected labels of shape"):
        load(tmp_path / "good.npy", label=tmp_path / "X.npy")


@pytest.mark.parametrize(
    "change",
    [
        {"input_parts": 0},
        {"rule": "x"},
        {"rule": ["abc"]},
        {"rule": {"name": []}},
        {"rule": {"name": "readout", "seed": 10**4000}},
        {"classes": 10**4000},
        {"hidden": [10**400]},
        {"hidden": [16] * 70_000},
        {"hidden": [[16] * 70_000]},
        {"precision": ["int8"] * 70_000},
        {"features": 10**4299, "input_parts": 2, "precision": "int8"},
    ],
)
def test_an_impossible_network_is_refused_in_few_words(change):
    with pytest.raises(ConfigError) as refusal:
        Network.parse(DESCRIPTION | change)

    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize(
    "change", [{"epochs": 10**4000}, {"schedule": "x" * 10**5}, {"x" * 9999: 1}]
)
def test_an_impossible_recipe_is_refused_in_few_words(change):
    with pytest.raises(ConfigError) as refusal:
        Recipe.parse(Recipe().describe() | change)

    assert len(str(refusal.value)) < 1000


def sealed(path, old, new):
    """The good library with one text of its note changed to another of the same length."""
    data = seeds.libraries()[0].data
    assert old in data
    path.write_bytes(library_file.seal(data.replace(old, new.ljust(len(old), b"\n"))))
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"target test", b"   \n  "),
        (b"target test", b"checksum"),
        (b"paths int8 generic", b"paths int4 generic"),
        (b"paths float generic", b"paths"),
        (b"kernel int8.delta.peak", b"kernel"),
    ],
)
def test_a_library_whose_note_lacks_something_is_refused(tmp_path, old, new):
    with pytest.raises(library_file.NotOursError, match="cannot be read"):
        library_file.read(sealed(tmp_path / "l.so", old, new))


def test_a_library_whose_note_is_empty_is_refused(tmp_path):
    data = bytearray(seeds.libraries()[0].data)
    start, _ = library_file.note_of(data)
    data[start - 16 : start - 12] = struct.pack("<I", 0)
    (tmp_path / "l.so").write_bytes(data)

    with pytest.raises(library_file.NotOursError, match="interface is ''"):
        library_file.read(tmp_path / "l.so")


def test_a_small_file_is_not_read_into_the_room_of_the_largest_library(tmp_path):
    (tmp_path / "l.so").write_bytes(b"\x7fELF")
    tracemalloc.start()
    try:
        with pytest.raises(library_file.NotOursError):
            library_file.read(tmp_path / "l.so")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


def object_with(rows, names=0, size=40, count=None):
    """An Arm object with these section headers."""
    head = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 1, 40, 1, 0, 0, 52, 0, 52, 0, 0, size,
        len(rows) if count is None else count, names,
    )  # fmt: skip
    return head + b"".join(struct.pack("<10I", *row) for row in rows)


def test_an_object_that_promises_many_sections_costs_nothing():
    data = object_with([(0,) * 10], count=65535, size=0)
    tracemalloc.start()
    try:
        with pytest.raises(LinkError, match="table of section names"):
            Object32(data, "a.o")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


def test_an_object_whose_sections_are_all_the_whole_file_is_refused():
    row = (0, 1, 6, 0, 0, 52 + 40 * 9, 0, 0, 4, 0)

    with pytest.raises(LinkError, match="sections that do not overlap"):
        Object32(object_with([row] * 9), "a.o")


def test_an_object_with_an_endless_name_is_refused():
    data = object_with([(0, 1, 6, 0, 0, 4, 0, 0, 4, 0)]) + b"A" * 5000 + b"\0"
    data = data.replace(struct.pack("<10I", 0, 1, 6, 0, 0, 4, 0, 0, 4, 0),
                        struct.pack("<10I", 92, 1, 6, 0, 0, 4, 0, 0, 4, 0))  # fmt: skip

    with pytest.raises(LinkError, match="less than 512 characters"):
        Object32(data, "a.o")
