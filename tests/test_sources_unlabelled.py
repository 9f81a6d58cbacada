"""load_features: every kind of source, columns by name, the width, refusals, memory, fuzz."""

import contextlib
import gzip
import re
import shutil
import struct

import numpy as np
import pytest
from conftest import memory_below
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_sources_csv import write
from test_sources_npz import write_npz

from ffedge.errors import ConfigError, DataError
from ffedge.sources import load, load_features, load_unlabelled, named

X = np.arange(12, dtype=np.uint8).reshape(3, 4)
NAMED = "id,length,label,width\na7,1.5,rose,2\na8,-3,,4e1\n"


def save(path, array):
    np.save(path, array)
    return path


def from_csv(tmp_path, text, **options):
    return load_features(write(tmp_path / "new.csv", text), **options).tolist()


# --- to learn from ----------------------------------------------------------------------------


def test_digits_to_learn_from_are_their_train_part_in_one_class():
    data = load_unlabelled("digits")

    assert np.array_equal(data.features, load("digits")[0].features)
    assert data.classes == ("normal",)
    assert data.feature_shape == (8, 8)
    assert not data.labels.any()


def test_npz_to_learn_from_leaves_the_test_part_alone(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X, x_test=X[:1])

    assert load_unlabelled(tmp_path / "d.npz").n_samples == 3


def test_csv_to_learn_from_has_all_columns_but_one_called_label(tmp_path):
    named_columns = load_unlabelled(write(tmp_path / "a.csv", "x,Label,y2\n1,rose,2\n3,,4\n"))
    without_header = load_unlabelled(write(tmp_path / "b.csv", "1,2,3\n4,5,6\n"))

    assert named_columns.features.tolist() == [[1, 2], [3, 4]]
    assert named_columns.feature_names == ("x", "y2")
    assert without_header.width == 3


def test_csv_with_a_label_alone_is_refused(tmp_path):
    with pytest.raises(DataError, match="got a label alone"):
        load_unlabelled(write(tmp_path / "a.csv", "label\n1\n"))


# --- names ------------------------------------------------------------------------------------


def test_digits_give_their_test_part():
    features = load_features("digits", width=64)

    assert np.array_equal(features, load("digits")[1].features)


def test_a_named_set_gives_its_test_part(tmp_path, monkeypatch):
    monkeypatch.delenv("FFEDGE_DATA", raising=False)
    y = np.array([0, 1, 0])
    write_npz(tmp_path / "mnist.npz", x_train=X, y_train=y, x_test=X[1:], y_test=y[1:])

    features = load_features("mnist", width=4, data_dir=tmp_path)

    assert features.tolist() == X[1:].tolist()


def test_a_named_set_without_a_test_part_gives_its_train_part(tmp_path, monkeypatch):
    monkeypatch.setattr(named, "_SYSTEM_FOLDERS", {})
    write_npz(tmp_path / "fashion-mnist.npz", x_train=X, y_train=np.array([0, 1, 0]))

    features = load_features("fashion-mnist", width=4, data_dir=tmp_path)

    assert features.tolist() == X.tolist()


# --- .npy, .npz, IDX --------------------------------------------------------------------------


def test_npy_needs_no_labels_and_is_mapped_plain_writable_and_private(tmp_path):
    path = save(tmp_path / "new.npy", X.astype(np.float32))

    features = load_features(path, width=4)
    features[0, 0] = 9

    assert type(features) is np.ndarray
    assert features.flags.carray
    assert np.load(path)[0, 0] == 0


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        (X, np.uint8),
        (X.astype(np.int64), np.uint8),
        (X.astype(np.int32) - 1, np.int16),
        (X.astype(np.uint32) << 16, np.float32),
        (X.astype(bool), np.uint8),
        (X.astype(">f8"), np.float32),
        (np.asfortranarray(X.astype(np.int16)), np.int16),
        (X.reshape(3, 2, 2), np.uint8),
    ],
)
def test_features_get_the_dtype_that_load_gives(tmp_path, stored, dtype):
    path = save(tmp_path / "X.npy", stored)
    save(tmp_path / "y.npy", np.array([0, 1, 0]))

    features = load_features(path, width=4)

    assert features.dtype == dtype == load(path)[0].features.dtype
    assert features.flags.c_contiguous
    assert features.tolist() == stored.reshape(3, 4).tolist()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("first", "others"),
    [
        ("x_test", ("X", "x_train", "y_test")),
        ("X_test", ("x", "y")),
        ("X", ("x", "data")),
        ("x", ("data", "x_train")),
        ("data", ("x_train", "target")),
        ("x_train", ("y_train",)),
        ("X_train", ()),
        ("sensors", ()),
    ],
)
def test_the_array_of_an_npz_is_found(tmp_path, compressed, first, others):
    rest = dict.fromkeys(others, np.zeros((3, 4), np.uint8))
    path = write_npz(tmp_path / "a.npz", compressed, **rest, **{first: X})

    assert load_features(path, width=4).tolist() == X.tolist()


def test_the_only_array_of_two_dimensions_is_found_among_others(tmp_path):
    objects = np.array([{}, None], object)
    path = write_npz(tmp_path / "a.npz", ids=np.arange(3), sensors=X, notes=objects)

    assert load_features(path, width=4).tolist() == X.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": X}, "or as the only array of 2 or more dimensions, got a, b; save them"),
        ({"a": [1], "b": [2]}, "got a, b; save them under one of these names"),
        ({}, "got none; save them"),
        ({"a": [1, 2]}, "[a]: expected features of shape (samples, width), got shape (2,)"),
        ({"a": np.array([[{}]], object)}, "[a]: expected numbers or text, got Python objects"),
    ],
)
def test_an_npz_without_a_plain_choice_is_refused(tmp_path, arrays, message):
    path = write_npz(tmp_path / "a.npz", **arrays)

    with pytest.raises(DataError, match=re.escape(message)):
        load_features(path, width=4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_images_are_read_without_labels(tmp_path, pack):
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 2, 2) + X.tobytes()
    path = write(tmp_path / "new-images", pack(content))

    features = load_features(path, width=4)

    assert features.tolist() == X.tolist()


# --- csv: by name -----------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_columns_are_taken_by_name_in_the_order_of_the_model(tmp_path, pack):
    path = write(tmp_path / "new.csv.gz", pack(NAMED.encode()))

    features = load_features(path, width=2, names=("width", "length"))

    assert features.dtype == np.float32
    assert features.tolist() == [[2, 1.5], [40, -3]]


def test_one_column_may_be_all_there_is(tmp_path):
    assert from_csv(tmp_path, "a\n1\n2\n", width=1, names=["a"]) == [[1], [2]]


def test_a_column_without_a_name_is_no_obstacle(tmp_path):
    assert from_csv(tmp_path, ",a,b\n0,1,2\n", width=2, names=["a", "b"]) == [[1, 2]]


def test_a_header_of_numbers_is_known_by_the_names_of_the_model(tmp_path):
    (tmp_path / "train.csv").write_text("0,1,label\n5,6,x\n7,8,y\n")
    names = load(tmp_path / "train.csv")[0].feature_names

    assert from_csv(tmp_path, "1,0\n6,5\n", width=2, names=names) == [[5, 6]]


def test_a_name_that_the_model_has_twice_must_stand_there_twice(tmp_path):
    names = ("a", "b", "a")

    assert from_csv(tmp_path, "b,a,a\n1,2,3\n", width=3, names=names) == [[2, 1, 3]]
    with pytest.raises(DataError, match="a header without 'a'; add or rename them"):
        from_csv(tmp_path, "b,a,c\n1,2,3\n", width=3, names=names)


def test_absent_columns_are_refused_by_name(tmp_path):
    names = ["length", "a", "b", "c", "d", "e", "f"]

    with pytest.raises(DataError) as caught:
        from_csv(tmp_path, NAMED, width=7, names=names)

    assert str(caught.value) == (
        f"{tmp_path / 'new.csv'}: line 1: expected the 7 columns that the model was trained on, "
        f"got a header without 'a', 'b', 'c', 'd', 'e' and 1 more; add or rename them"
    )


def test_a_column_that_stands_there_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="line 1: expected one column 'a', got several"):
        from_csv(tmp_path, "a,b,a\n1,2,3\n", width=2, names=["a", "b"])


def test_the_file_that_a_model_was_trained_on_can_be_predicted(tmp_path):
    path = write(tmp_path / "a.csv", "a,kind,b\n1,rose,2\n3,tulip,4\n")
    train, _ = load(path, label="kind")

    features = load_features(path, width=2, names=train.feature_names)

    assert np.array_equal(features, train.features)


# --- csv: by position -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n3,4\n",
        "a,label\n1,2\n3,4\n",
        "a,Label,b\n1,rose,2\n3,,4\n",
        "a,b,kind\n1,2,rose\n3,4,tulip\n",
        "1,2\n3,4\n",
        "1,2,0\n3,4,rose\n",
        "1\t2\r\n3\t4\r\n",
    ],
)
def test_without_names_all_columns_but_a_label_are_taken(tmp_path, text):
    assert from_csv(tmp_path, text, width=2) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "1,2,0\n3,4,1\n"])
def test_without_a_header_the_names_do_not_count(tmp_path, text):
    assert from_csv(tmp_path, text, width=2, names=("b", "a")) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("text", ["a\n1\n", "1\n", "a,b,c,d\n1,2,3,4\n", "1,2,3,4\n"])
def test_another_number_of_columns_is_refused(tmp_path, text):
    columns = text.split("\n")[0].count(",") + 1
    message = f"expected 2 columns as the model has features, or 3 with the label, got {columns};"

    with pytest.raises(DataError, match=message):
        from_csv(tmp_path, text, width=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header line and samples, got an empty file"),
        ("id,b,a\n", "expected at least 1 sample below the header, got 0"),
        ("id,b,a\nx,1\n", "line 2: expected 3 cells as in line 1, got 2"),
        ("id,b,a\nx,1,?\n", "line 2, column 'a': expected a finite number within float32, got '?'"),
        ("id,b,a\nx,1,2\nx,nan,2\n", "line 3, column 'b': expected a finite number"),
        ("id,b,a\nx,1,1e39\n", "line 2, column 'a': expected a finite number within float32, got"),
        (",b,c\n1,2,3\n", "line 1: expected the 2 columns that the model was trained on, got a"),
        ("1,2\n3,x\n", "line 2, column 1: expected a finite number within float32, got 'x'"),
    ],
)
def test_unusable_csv_files_are_refused_with_line_and_column(tmp_path, text, message):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'new.csv'}: {message}")):
        from_csv(tmp_path, text, width=2, names=("a", "b"))


def test_a_column_without_a_name_is_refused_where_positions_count(tmp_path):
    with pytest.raises(DataError, match="expected a name for every column, got none for column 0"):
        from_csv(tmp_path, ",a,b\n0,1,2\n", width=2)


# --- refusals for all kinds -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npy", "npz", "digits"])
def test_another_width_is_refused(tmp_path, kind):
    spec = tmp_path / f"a.{kind}"
    if kind == "npy":
        save(spec, X)
    elif kind == "npz":
        write_npz(spec, X=X)
    else:
        spec = "digits"

    message = r"expected samples of 5 features as the model has, got \d+ \(shape \(\d+, \d+\)\); "
    with pytest.raises(DataError, match=message):
        load_features(spec, width=5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused_with_their_place(tmp_path, bad, dtype):
    stored = X.astype(dtype)
    stored[1, 2] = bad
    path = save(tmp_path / "a.npy", stored)

    with pytest.raises(DataError, match=r"a\.npy: expected finite features .* row 1, column 2"):
        load_features(path, width=4)


@pytest.mark.parametrize("stored", [np.zeros((0, 4)), np.zeros(4), np.array([["a"] * 4])])
def test_arrays_that_hold_no_samples_are_refused(tmp_path, stored):
    with pytest.raises(DataError, match=r"a\.npy: expected (at least 1 sample|features of)"):
        load_features(save(tmp_path / "a.npy", stored), width=4)


def test_an_unknown_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    message = "load_features: expected digits, mnist, fashion-mnist, or the path of a file, got 'm"
    with pytest.raises(DataError, match=message):
        load_features("minst", width=4)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a file, got a folder or a device"):
        load_features(tmp_path, width=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "load_features: expected width >= 1, got 0"),
        ({"width": 4, "names": ["a"]}, "load_features: expected names for 4 features, got 1;"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        load_features("digits", **options)


# --- memory, the temporary file, progress -----------------------------------------------------


@pytest.mark.parametrize("ending", ["npy", "npz", "csv"])
def test_a_large_file_needs_little_memory(tmp_path, ending):
    large = np.tile(np.arange(100) / 4, (20_000, 1))
    path = tmp_path / f"a.{ending}"
    if ending == "npy":
        save(path, large)
    elif ending == "npz":
        write_npz(path, True, X=large)
    else:
        write(path, (",".join(map(str, large[0])) + ",7\n") * 20_000)

    with memory_below(4 << 20):
        features = load_features(path, width=100)

    assert np.array_equal(features, large)


def test_the_temporary_file_goes_to_the_cache_folder(tmp_path, monkeypatch):
    path = save(tmp_path / "a.npy", X.astype(float))
    asked = []
    usage = type("Usage", (), {"free": 1 << 40})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: asked.append(folder) or usage)

    load_features(path, width=4, cache_dir=tmp_path)

    assert asked == [tmp_path]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_progress_ends_at_its_total(tmp_path, dtype):
    path = save(tmp_path / "a.npy", X.astype(dtype))
    reported = []

    load_features(path, width=4, progress=lambda done, total: reported.append((done, total)))

    passes = 2 if dtype == np.int64 else 1  # integers are looked at before they are shrunk
    assert reported[-1] == (passes * 96, passes * 96)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    start=st.sampled_from(["", "b,a\n", "label,a,b\n", "1,2\n", "b,a,id\n1,2,x\n"]),
    content=st.text('ab0123456789.,;\t"\r\n -+enif\0é', max_size=60),
    names=st.sampled_from([None, ("a", "b"), ("0", "1"), ("a", "a")]),
)
def test_random_csv_files_give_features_or_are_refused(tmp_path, start, content, names):
    path = write(tmp_path / "a.csv", start + content)

    with contextlib.suppress(DataError):
        features = load_features(path, width=2, names=names)
        assert features.shape == (len(features), 2)
        assert np.isfinite(features).all()
