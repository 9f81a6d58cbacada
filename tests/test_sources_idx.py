"""The IDX reader: plain and .gz, the companions found by name, refusals, bombs, fuzz."""

import contextlib
import gzip
import re
import struct

import numpy as np
import pytest
from conftest import memory_below
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffedge.errors import DataError
from ffedge.sources import Dataset, load
from ffedge.sources.idx import is_idx, read_idx

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def idx_bytes(array, kind="u1"):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, CODES[kind], array.ndim]) + sizes + array.astype(kind).tobytes()


def write_pair(folder, part="train", ending="", dot="-", images=IMAGES, labels=LABELS):
    pack = gzip.compress if ending else bytes
    path = folder / f"{part}-images{dot}idx3-ubyte{ending}"
    path.write_bytes(pack(idx_bytes(images)))
    labels_path = folder / f"{part}-labels{dot}idx1-ubyte{ending}"
    labels_path.write_bytes(pack(idx_bytes(labels)))
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("test_word", ["t10k", "test"])
def test_images_labels_and_test_pair_are_found_by_name(tmp_path, ending, dot, test_word):
    path = write_pair(tmp_path, "train", ending, dot)
    write_pair(tmp_path, test_word, ending, dot, IMAGES[:3], LABELS[:3])

    train, test = load(path)

    assert train.features.tolist() == IMAGES.reshape(6, 4).tolist()
    assert (train.feature_shape, train.classes, train.storage) == ((2, 2), (0, 1, 2), "mapped")
    assert test.features.tolist() == IMAGES[:3].reshape(3, 4).tolist()
    assert test.labels.tolist() == [0, 1, 2]
    assert train.features.flags.carray


def test_labels_may_be_compressed_where_images_are_not(tmp_path):
    path = write_pair(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()

    assert load(path)[0].labels.tolist() == LABELS.tolist()


def test_the_labels_file_may_be_named(tmp_path):
    (tmp_path / "pictures").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "answers").write_bytes(idx_bytes(LABELS))

    train, test = load(tmp_path / "pictures", label=tmp_path / "answers")

    assert (train.n_samples, test) == (6, None)


@pytest.mark.parametrize(("kind", "dtype"), [("i1", "int8"), (">i2", "int16"), (">f4", "float32")])
@pytest.mark.parametrize("compressed", [False, True])
def test_big_endian_elements_become_native(tmp_path, kind, dtype, compressed):
    values = np.array([[-1, 2], [3, 4]])
    content = idx_bytes(values, kind)
    (tmp_path / "x-images-idx2").write_bytes(gzip.compress(content) if compressed else content)
    (tmp_path / "x-labels-idx1").write_bytes(idx_bytes(np.array([0, 1])))

    train, _ = load(tmp_path / "x-images-idx2")

    assert train.features.dtype == dtype
    assert train.features.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the IDX format, got other bytes at the start"),
        (b"\0\0\x07\x01", "expected the IDX format"),
        (b"\0\0\x08\x00", "expected 1 to 8 dimensions, got 0"),
        (b"\0\0\x08\xff", "expected 1 to 8 dimensions, got 255"),
        (b"\0\0\x08\x03\0\0", "expected 3 sizes in the header, got the end of the file"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "expected 18,446,744,065,119,617,037 B for shape"),
        (idx_bytes(IMAGES)[:-1], "expected 40 B for shape (6, 2, 2) of uint8, got 39 B; the file"),
        (idx_bytes(IMAGES) + b"\0", "expected 40 B for shape (6, 2, 2) of uint8, got 41 B"),
    ],
)
def test_headers_that_do_not_fit_the_file_are_refused(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'a'}: {message}")):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx_bytes(IMAGES))[:-12], "expected a readable file, got an error"),
        (gzip.compress(idx_bytes(IMAGES)[:-1]), "expected 24 B after the header, got 23 B"),
        (gzip.compress(idx_bytes(IMAGES) + b"\0"), "expected 24 B after the header, got more"),
    ],
)
def test_compressed_files_that_end_early_or_late_are_refused(tmp_path, content, message):
    path = write_pair(tmp_path, ending=".gz")
    path.write_bytes(content)

    with pytest.raises(DataError, match=f"{path.name}: {message}"):
        load(path)


def test_a_gzip_bomb_is_left_after_what_the_header_promises(tmp_path):
    path = write_pair(tmp_path, ending=".gz")
    path.write_bytes(gzip.compress(idx_bytes(IMAGES) + bytes(64 << 20), 1))

    message = "got more; the header and the data do not belong"
    with memory_below(1 << 20), pytest.raises(DataError, match=message):
        load(path)


def test_a_compressed_file_that_promises_more_than_the_disk_holds_is_refused(tmp_path):
    path = write_pair(tmp_path, ending=".gz")
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 6, 2**31, 2**20)
    path.write_bytes(gzip.compress(header + bytes(100)))

    with pytest.raises(DataError, match=r"B free for the temporary file in .*; set cache_dir"):
        load(path)


def test_missing_labels_are_refused_with_the_name_looked_for(tmp_path):
    path = write_pair(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()

    message = "expected the labels beside it as train-labels-idx1-ubyte, got no such file; give"
    with pytest.raises(DataError, match=message):
        load(path)


def test_a_labels_file_given_as_features_is_refused(tmp_path):
    write_pair(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"

    with pytest.raises(DataError, match=r"expected features of shape \(samples, width\)"):
        load(path, label=path)


def test_files_without_samples_are_refused(tmp_path):
    path = write_pair(tmp_path, images=IMAGES[:0], labels=LABELS[:0])

    with pytest.raises(DataError, match="expected at least 1 sample, got 0"):
        load(path)


def test_other_files_are_not_taken_for_idx(tmp_path):
    for number, content in enumerate((b"", b"\x1f\x8b", gzip.compress(b"hello"), b"\0\0\x08\0")):
        (tmp_path / str(number)).write_bytes(content)

        assert not is_idx(tmp_path / str(number))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    edits=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4),
    tail=st.binary(max_size=5),
    inside=st.booleans(),
    compressed=st.booleans(),
)
def test_mutated_idx_files_load_or_are_refused(tmp_path, edits, tail, inside, compressed):
    content = bytearray(idx_bytes(IMAGES) + tail)
    if not inside and compressed:
        content = bytearray(gzip.compress(bytes(content)))
    for position, byte in edits:
        content[position % len(content)] = byte
    if inside and compressed:
        content = bytearray(gzip.compress(bytes(content)))
    path = write_pair(tmp_path)
    path.write_bytes(content)

    with memory_below(8 << 20), contextlib.suppress(DataError):
        train, _ = load(path)
        assert isinstance(train, Dataset)
        assert train.features.shape == (6, train.width)


def test_a_signalling_nan_among_the_labels_is_refused_without_a_warning(tmp_path):
    labels = np.zeros(6, ">f4")
    path = write_pair(tmp_path)
    content = bytearray(idx_bytes(labels, ">f4"))
    content[-4:] = bytes.fromhex("7f800001")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(content)

    with pytest.raises(DataError, match="expected whole numbers or texts"):
        load(path)
