"""The .npy reader: a bounded header, mapping in place, conversion, refusals, fuzz."""

import contextlib
import io
import os
import re
import struct

import numpy as np
import pytest
from conftest import memory_below
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffedge.errors import DataError
from ffedge.sources import Dataset, load
from ffedge.sources.npy import read_npy, read_npy_header
from ffedge.sources.spool import map_file

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


def header_of(content):
    return read_npy_header(io.BytesIO(content), "file.npy")


# --- the header -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), np.float32),
        np.zeros((3, 4), ">f8"),
        np.zeros((3, 4, 5), bool),
        np.asfortranarray(np.zeros((3, 4), np.int16)),
        np.array(["a", "bcd"]),
        np.zeros(7, np.uint64),
        np.float16(3),
    ],
)
def test_headers_of_numpy_are_read(array):
    array = np.asanyarray(array)

    header = header_of(npy_bytes(array))

    assert (header.dtype, header.shape) == (array.dtype, array.shape)
    assert header.fortran_order == (array.flags.fnc)
    assert header.data_offset + array.nbytes == len(npy_bytes(array))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_headers_of_other_writers_are_read(version):
    text = '{"shape":(2,3), "fortran_order": True,"descr" :"|u1"}'

    header = header_of(header_bytes(text, version))

    assert (header.dtype, header.shape, header.fortran_order) == (np.uint8, (2, 3), True)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the .npy format, got other bytes at the start"),
        (b"\x93NUMPX\x01\x00", "expected the .npy format"),
        (b"\x93NUMPY\x04\x00\x00\x00", "expected .npy version 1, 2 or 3, got 4.0"),
        (b"\x93NUMPY\x01\x00\x10", "expected a header, got the end of the file"),
        (b"\x93NUMPY\x01\x00\x10\x00{", "expected a header of 16 B, got 1 B; the file is cut"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "at most 10,000 B, got 4,294,967,295 B"),
        (header_bytes("[1, 2]"), "expected a header with descr, fortran_order and shape"),
        (header_bytes(GOOD.replace("shape", "shade")), "with descr, fortran_order and shape"),
        (header_bytes(GOOD[:-1] + "'more': 1}"), "with descr, fortran_order and shape"),
        (header_bytes(GOOD.replace("(2, 3)", "(2, -3)")), "none negative, got (2, -3)"),
        (header_bytes(GOOD.replace("(2, 3)", "(" + "9" * 5000 + ",)")), "expected a shape of at"),
        (header_bytes(GOOD.replace("(2, 3)", "(" + "1," * 33 + ")")), "at most 32 sizes"),
        (header_bytes(GOOD.replace("(2, 3)", "(0, 9999999999)")), "a shape with data in it"),
        (header_bytes(GOOD.replace("<f4", "<c8")), "got dtype <c8"),
        (header_bytes(GOOD.replace("<f4", "<f16")), "got dtype <f16"),
        (header_bytes(GOOD.replace("<f4", "<M8[ns]")), "got dtype <M8[ns]"),
        (header_bytes(GOOD.replace("<f4", "<U0")), "got dtype <U0"),
        (header_bytes(GOOD.replace("'<f4'", "[('a', '<f4')]")), "expected a header with descr"),
        (header_bytes("{" * 9000), "expected a header with descr"),
        (header_bytes("{'shape': (" + "(" * 9000 + "}"), "expected a header with descr"),
    ],
)
def test_headers_out_of_bounds_are_refused(content, message):
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        header_of(content)

    assert str(caught.value).startswith("file.npy: expected ")


def test_python_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pickled"),))

    np.save(tmp_path / "X.npy", np.array([[Trap()], [Trap()]], object), allow_pickle=True)
    np.save(tmp_path / "y.npy", np.array([0, 1]))

    with pytest.raises(DataError, match="got Python objects, which are never loaded"):
        load(tmp_path / "X.npy")

    assert not (tmp_path / "pickled").exists()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_one_byte_short_or_long_is_refused(tmp_path, change):
    content = npy_bytes(np.zeros((4, 4), np.float32))
    content = content[:-1] if change < 0 else content + b"\0"
    (tmp_path / "X.npy").write_bytes(content)

    message = f"X.npy: expected 192 B for shape (4, 4) of float32, got {192 + change} B"
    with pytest.raises(DataError, match=re.escape(message)):
        read_npy(tmp_path / "X.npy")


# --- .npy -------------------------------------------------------------------------------------


def test_npy_is_mapped_plain_writable_and_private(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((4, 3), np.float32))
    np.save(tmp_path / "y.npy", np.array([0, 1, 0, 1]))

    train, test = load(tmp_path / "X.npy")
    train.features[0, 0] = 5

    assert test is None
    assert (train.storage, train.name, train.classes) == ("mapped", "X", (0, 1))
    assert type(train.features) is np.ndarray
    assert train.features.flags.carray
    assert np.load(tmp_path / "X.npy")[0, 0] == 1


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        (np.array([[0, 255], [3, 4]], np.int64), np.uint8),
        (np.array([[-1, 255], [3, 4]], np.int32), np.int16),
        (np.array([[0, 256], [3, 4]], ">u2"), np.int16),
        (np.array([[0, 32768], [3, 4]], np.uint64), np.float32),
        (np.array([[-128, 5], [3, 4]], ">i2"), np.int16),
        (np.array([[0.5, 5], [3, 4]], np.float16), np.float32),
        (np.array([[0.5, 5], [3, 4]], ">f8"), np.float32),
        (np.array([[True, False], [False, True]]), np.uint8),
        (np.asfortranarray(np.array([[1, 2], [3, 4]], np.int8)), np.int8),
        (np.asfortranarray(np.array([[1, 2], [3, 4]], np.float64)), np.float32),
    ],
)
def test_npy_of_other_dtypes_is_converted(tmp_path, stored, dtype):
    np.save(tmp_path / "X.npy", stored)
    np.save(tmp_path / "y.npy", np.array(["no", "yes"]))

    train, _ = load(tmp_path / "X.npy")

    assert train.features.dtype == dtype
    assert train.features.flags.carray
    assert train.features.tolist() == stored.tolist()


def test_any_byte_but_zero_is_a_true_bool(tmp_path):
    content = npy_bytes(np.zeros((2, 2), bool))
    (tmp_path / "X.npy").write_bytes(content[:-4] + b"\x00\x01\x02\xff")
    np.save(tmp_path / "y.npy", np.array([0, 1]))

    train, _ = load(tmp_path / "X.npy")

    assert train.features.tolist() == [[0, 1], [1, 1]]


def test_nan_in_a_mapped_file_is_refused_with_its_place(tmp_path):
    X = np.zeros((5, 3), np.float32)
    X[2, 1] = np.nan
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.arange(5) % 2)

    with pytest.raises(DataError, match=r"X\.npy: expected finite .* nan at row 2, column 1"):
        load(tmp_path / "X.npy")


def test_labels_that_are_not_unicode_are_refused(tmp_path):
    content = npy_bytes(np.array(["ab", "cd"]))
    np.save(tmp_path / "X.npy", np.zeros((2, 1), np.uint8))
    (tmp_path / "y.npy").write_bytes(content[:-4] + struct.pack("<I", 0x110000))

    with pytest.raises(DataError, match=r"y\.npy: expected labels of Unicode .* at row 1"):
        load(tmp_path / "X.npy")


def test_a_file_larger_than_memory_can_be_mapped(tmp_path):
    size = 4 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with (tmp_path / "sparse").open("wb") as file:
        try:
            file.truncate(size)
        except OSError:
            pytest.skip("this file system holds no file of that size")

    with (tmp_path / "sparse").open("rb") as file:
        mapped = map_file(file.fileno(), 0, np.dtype(np.uint8), (size // 64, 64))

    assert mapped[-1].sum() == 0
    assert mapped.flags.writeable


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
@given(content=st.binary(max_size=300))
def test_random_headers_give_a_header_or_a_refusal(content):
    for start in (b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00\x80\x00{'descr': '"):
        with contextlib.suppress(DataError):
            header = header_of(start + content)
            assert header.nbytes >= 0


@FUZZ
@given(edits=EDITS, cut=st.integers(0, 60))
def test_mutated_npy_files_load_or_are_refused(tmp_path, edits, cut):
    content = mutated(npy_bytes(np.arange(12, dtype=np.float32).reshape(4, 3)), edits)
    (tmp_path / "X.npy").write_bytes(content[: len(content) - cut // 10])
    labels = npy_bytes(np.array(["a", "b", "a", "c"]))
    (tmp_path / "y.npy").write_bytes(mutated(labels, edits[:cut]) if cut < 3 else labels)

    loads_or_refuses(tmp_path / "X.npy")
