"""The .npz reader: keys, mapping in place, one dtype for both parts, refusals, memory, fuzz."""

import contextlib
import io
import re
import struct
import zipfile

import numpy as np
import pytest
from conftest import memory_below
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffedge.errors import DataError
from ffedge.sources import Dataset, load

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def npy_bytes(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array))
    return stream.getvalue()


def header_bytes(text, version=(1, 0)):
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text.encode("latin-1")


def write_npz(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def pixels(n=6, dtype=np.uint8):
    return np.arange(n * 4).reshape(n, 2, 2).astype(dtype), np.arange(n) % 2


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize("names", [("X", "y"), ("x", "y"), ("data", "target"), ("X_train",)])
def test_npz_keys_are_found(tmp_path, names):
    X, y = pixels()
    names = (*names, "y_train")[:2]
    path = write_npz(tmp_path / "a.npz", **dict(zip(names, (X, y), strict=True)))

    train, test = load(path)

    assert train.features.tolist() == X.reshape(6, 4).tolist()
    assert test is None


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.int64, ">f4"])
def test_npz_gives_train_and_test(tmp_path, compressed, dtype):
    X, y = pixels(dtype=dtype)
    path = write_npz(
        tmp_path / "a.npz", compressed, x_train=X, y_train=y, x_test=X[:3], y_test=y[:3]
    )

    train, test = load(path)

    assert train.features.tolist() == X.reshape(6, 4).tolist()
    assert test.features.tolist() == X[:3].reshape(3, 4).tolist()
    assert test.labels.tolist() == [0, 1, 0]
    assert train.feature_shape == test.feature_shape == (2, 2)
    assert train.features.flags.carray
    assert train.features.flags.aligned


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_in_fortran_order_is_turned(tmp_path, compressed):
    X = np.asfortranarray(np.arange(24, dtype=np.int16).reshape(4, 3, 2))
    path = write_npz(tmp_path / "a.npz", compressed, X=X, y=np.arange(4) % 2)

    train, _ = load(path)

    assert train.features.tolist() == X.reshape(4, 6).tolist()


def test_a_stored_member_is_mapped_in_place(tmp_path):
    path = write_npz(tmp_path / "a.npz", X=np.zeros((6, 4), np.uint8), y=np.arange(6) % 2)
    reported = []

    load(path, progress=lambda done, total: reported.append((done, total)))

    assert reported == []


def test_progress_reaches_the_total_of_each_part(tmp_path):
    X, y = pixels(dtype=np.int64)
    path = write_npz(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X, y_test=y)
    reported = []

    load(path, progress=lambda done, total: reported.append((done, total)))

    assert reported[-1] == (2 * X.nbytes, 2 * X.nbytes)
    assert reported.count((2 * X.nbytes, 2 * X.nbytes)) == 2


def test_train_and_test_get_one_dtype(tmp_path):
    X, y = pixels(dtype=np.int64)
    path = write_npz(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X * -1, y_test=y)

    train, test = load(path)

    assert train.features.dtype == test.features.dtype == np.int16
    assert test.features.min() == -23


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": [1], "b": [2]}, "and target, got a, b; save them under these names"),
        ({"x_train": [[1], [2]]}, "got x_train;"),
        ({}, "got none;"),
        ({"X": np.zeros((2, 2)), "y": [1, 2, 3]}, "got 3 labels and 2 samples"),
        ({"X": np.zeros(()), "y": [1]}, "a.npz[X]: expected features of shape"),
        ({"X": np.zeros((2, 2)), "y": np.zeros((2, 2))}, "a.npz[y]: expected labels of shape"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0)}, "expected at least 1 sample, got 0"),
        ({"X": np.array(["a", "b"]), "y": [0, 1]}, "expected features of a real number type"),
    ],
)
def test_unusable_npz_contents_are_refused(tmp_path, arrays, message):
    path = write_npz(tmp_path / "a.npz", **arrays)

    with pytest.raises(DataError, match=re.escape(message)):
        load(path)


def test_test_labels_unknown_to_train_are_refused(tmp_path):
    X, y = pixels()
    path = write_npz(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X, y_test=y + 1)

    with pytest.raises(DataError, match=re.escape("[y_test]: expected labels among the 2 classes")):
        load(path)


def test_a_test_part_of_another_shape_is_refused(tmp_path):
    X, y = pixels()
    path = write_npz(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X.reshape(6, 4), y_test=y)

    with pytest.raises(DataError, match=r"expected samples of shape \(2, 2\) as in the train part"):
        load(path)


def zip_with(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("X.npy", content)
        archive.writestr("y.npy", npy_bytes(np.array([0, 1])))
    return path


def test_a_member_with_more_bytes_than_its_header_promises_is_refused(tmp_path):
    content = npy_bytes(np.zeros((2, 2), np.uint8)) + bytes(1 << 20)
    path = zip_with(tmp_path / "a.npz", content)

    with pytest.raises(DataError, match=r"\[X\]: expected 132 B for shape \(2, 2\) of uint8, got"):
        load(path)


def test_a_header_that_promises_more_than_the_member_holds_is_refused(tmp_path):
    header = GOOD.replace("(2, 3)", "(2, 99999999999999)").replace("<f4", "<f8")
    path = zip_with(tmp_path / "a.npz", header_bytes(header))

    with pytest.raises(DataError, match=r"expected 1,6[0-9,]{18} B for shape"):
        load(path)


def test_other_compression_methods_are_refused(tmp_path):
    path = zip_with(tmp_path / "a.npz", npy_bytes(np.zeros((2, 2))), zipfile.ZIP_BZIP2)

    with pytest.raises(DataError, match="stored or deflated, got compression method 12"):
        load(path)


def test_encrypted_members_are_refused(tmp_path):
    path = zip_with(tmp_path / "a.npz", npy_bytes(np.zeros((2, 2))))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    path.write_bytes(content)

    with pytest.raises(DataError, match="expected a zip without a password, got an encrypted"):
        load(path)


def test_a_flipped_byte_in_a_compressed_member_is_noticed(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    path = write_npz(tmp_path / "a.npz", True, X=X, y=np.arange(64) % 2)
    content = bytearray(path.read_bytes())
    content[2000] ^= 0x10
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.npz\[X\]: expected a readable file, got an error"):
        load(path)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"hello")

    with pytest.raises(
        DataError, match=r"a\.npz: expected a readable file, got an error \(File is"
    ):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("features", ["x_train", "X_train", "X", "x", "data"])
def test_the_labels_of_an_npz_may_be_named(tmp_path, features):
    X, y = pixels()
    path = write_npz(tmp_path / "a.npz", **{features: X, "y": y, "y_train": y, "coarse": y + 7})

    train, test = load(path, label="coarse")

    assert train.features.tolist() == X.reshape(6, 4).tolist()
    assert (train.classes, test) == ((7, 8), None)


def test_named_labels_of_the_train_part_name_those_of_the_test_part(tmp_path):
    X, y = pixels()
    parts = {"x_train": X, "y_train": y, "x_test": X[:2], "y_test": y[:2]}
    path = write_npz(tmp_path / "a.npz", **parts, fine_train=y + 7, fine_test=y[:2] + 7)

    _, test = load(path, label="fine_train")

    assert (test.classes, test.labels.tolist()) == ((7, 8), [0, 1])


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("z", "expected an array 'z' with the labels, got a, y; label names one of its arrays"),
        ("y", "expected the features beside 'y' as x_train, X_train, X, x, data, got a, y; save"),
        (1, "expected label to be the name of the labels in it, got 1"),
    ],
)
def test_a_label_that_leads_nowhere_is_refused_for_npz(tmp_path, label, message):
    path = write_npz(tmp_path / "a.npz", a=np.zeros((2, 2)), y=[0, 1])

    with pytest.raises(DataError, match=re.escape(message)):
        load(path, label=label)


@pytest.mark.parametrize("compressed", [False, True])
def test_64_mb_are_loaded_with_less_than_4_mb_of_memory(tmp_path, compressed):
    X = np.zeros((8192, 1024), np.float64)
    X[::7, ::5] = 0.25
    y = np.arange(8192) % 10
    path = write_npz(tmp_path / "a.npz", compressed, X=X, y=y)
    np.save(tmp_path / "X.npy", X)

    with memory_below(4 << 20):
        train, _ = load(path)

    assert X.nbytes == 64 << 20
    assert np.array_equal(train.features[::100], X[::100])


# --- fuzz -------------------------------------------------------------------------------------


def loads_or_refuses(path):
    """Nothing but a valid data set or DataError; never more memory than a few chunks."""
    with memory_below(8 << 20), contextlib.suppress(DataError):
        train, test = load(path)
        assert isinstance(train, Dataset)
        assert train.features.shape == (train.n_samples, train.width)
        assert train.labels.max() < len(train.classes)
        assert np.isfinite(train.features).all()
        assert test is None or test.width == train.width


def mutated(content, edits):
    content = bytearray(content)
    for position, byte in edits:
        content[position % len(content)] = byte
    return bytes(content)


EDITS = st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 255)), min_size=1, max_size=6)


@FUZZ
@given(edits=EDITS, cut=st.integers(0, 60), compressed=st.booleans())
def test_mutated_npz_files_load_or_are_refused(tmp_path, edits, cut, compressed):
    stream = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(stream, X=np.arange(12, dtype=np.int32).reshape(4, 3), y=np.array([0, 1, 0, 1]))
    content = mutated(stream.getvalue(), edits)
    (tmp_path / "a.npz").write_bytes(content[: len(content) - cut // 10])

    loads_or_refuses(tmp_path / "a.npz")


@FUZZ
@given(content=st.binary(max_size=300))
def test_random_npz_files_are_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04" + content + b"PK\x05\x06" + bytes(18))

    loads_or_refuses(tmp_path / "a.npz")
