"""The csv reader: header and label column, delimiters, refusals with line and column, fuzz."""

import contextlib
import gzip
import re

import numpy as np
import pytest
from conftest import memory_below
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffedge.errors import DataError
from ffedge.sources import Dataset, load

FLOWERS = "length,width,kind\n1.5,2,rose\n-3,4e1,tulip\n"


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loaded(tmp_path, text, **options):
    return load(write(tmp_path / "a.csv", text), **options)[0]


def test_the_last_column_is_the_label_by_default(tmp_path):
    data = loaded(tmp_path, FLOWERS)

    assert data.features.dtype == np.float32
    assert data.features.tolist() == [[1.5, 2], [-3, 40]]
    assert (data.classes, data.labels.tolist()) == (("rose", "tulip"), [0, 1])
    assert (data.feature_names, data.feature_shape) == (("length", "width"), (2,))
    assert (data.name, data.storage) == ("a", "mapped")


@pytest.mark.parametrize("name", ["label", "Class", "TARGET", "y"])
def test_a_column_of_a_usual_name_is_the_label(tmp_path, name):
    data = loaded(tmp_path, f"a,{name},b\n1,0,2\n3,1,4\n")

    assert data.feature_names == ("a", "b")
    assert data.features.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("label", ["a", 0, "0"])
def test_the_label_column_may_be_named_or_numbered(tmp_path, label):
    data = loaded(tmp_path, "a,label,c\n5,0,2\n6,1,4\n", label=label)

    assert data.classes == (5, 6)
    assert data.feature_names == ("label", "c")


def test_a_column_called_by_a_number_wins_over_the_position(tmp_path):
    data = loaded(tmp_path, "a,b,0\n1,7,5\n2,8,6\n", label="0")

    assert data.classes == (5, 6)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_delimiter_newline_bom_and_compression_are_found(tmp_path, delimiter, newline, bom, pack):
    text = FLOWERS.replace(",", delimiter).replace("\n", newline).encode()
    path = write(tmp_path / "a.csv.gz", pack(bom + text))

    data, _ = load(path)

    assert data.feature_names == ("length", "width")
    assert data.features.tolist() == [[1.5, 2], [-3, 40]]
    assert data.name == "a"


def test_quoted_cells_blank_lines_and_spaces_are_read(tmp_path):
    data = loaded(
        tmp_path, '"size, cm",kind\n\n "1" , red \n2,"dark\nred"\n   \n3,red'.replace(' "1"', "1")
    )

    assert data.feature_names == ("size, cm",)
    assert data.classes == ("dark\nred", "red")
    assert data.labels.tolist() == [1, 0, 1]


def test_a_file_without_header_is_read(tmp_path):
    data = loaded(tmp_path, "1,2,0\n3,4,1\n5,6,0\n")

    assert data.feature_names is None
    assert data.features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert data.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("1.0", "2"), (1, 2)),
        (("-01", "+2."), (-1, 2)),
        (("1", "a"), ("1", "a")),
        (("999999999999999999", "2"), (2, 999999999999999999)),
    ],
)
def test_labels_become_integers_only_if_all_are_whole(tmp_path, labels, classes):
    data = loaded(tmp_path, f"a,label\n1,{labels[0]}\n2,{labels[1]}\n")

    assert data.classes == classes


@pytest.mark.parametrize("names", ["train test", "a_train a_test", "a_train a-test"])
def test_the_test_file_beside_the_train_file_is_used(tmp_path, names):
    train_name, test_name = names.split()
    path = write(tmp_path / f"{train_name}.csv", FLOWERS)
    write(tmp_path / f"{test_name}.csv", "length,width,kind\n7,8,tulip\n")

    train, test = load(path)

    assert train.n_samples == 2
    assert (test.features.tolist(), test.labels.tolist()) == ([[7, 8]], [1])


def test_whole_number_labels_of_the_test_file_stay_texts_if_train_has_texts(tmp_path):
    path = write(tmp_path / "train.csv", "a,label\n1,1\n2,b\n")
    write(tmp_path / "test.csv", "a,label\n1,1\n")

    train, test = load(path)

    assert train.classes == ("1", "b")
    assert test.labels.tolist() == [0]


@pytest.mark.parametrize("label", ["kind", None])
def test_a_test_file_that_lacks_only_the_labels_is_left_alone(tmp_path, label):
    path = write(tmp_path / "train.csv", FLOWERS)
    write(tmp_path / "test.csv", "length;width\n1;2\n")

    train, test = load(path, label=label)

    assert (train.n_samples, test) == (2, None)


def test_a_test_file_without_labels_is_known_by_a_header_of_numbers(tmp_path):
    path = write(tmp_path / "train.csv", "0,1,label\n5,6,x\n7,8,y\n")
    write(tmp_path / "test.csv", "0,1\n5,6\n")

    assert load(path)[1] is None


def test_the_test_file_may_have_another_delimiter(tmp_path):
    path = write(tmp_path / "train.csv", FLOWERS)
    write(tmp_path / "test.csv", "length;width;kind\n7;8;tulip\n")

    assert load(path)[1].features.tolist() == [[7, 8]]


@pytest.mark.parametrize("other", ["length,kind\n1,rose\n", "width,length,kind\n1,2,rose\n"])
def test_a_test_file_of_other_columns_is_refused(tmp_path, other):
    path = write(tmp_path / "train.csv", FLOWERS)
    write(tmp_path / "test.csv", other)

    with pytest.raises(DataError, match=r"test\.csv: line 1: expected the 3 columns of the train"):
        load(path, label="kind")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header line and samples, got an empty file"),
        ("a,label\n", "expected at least 1 sample below the header, got 0"),
        ("a\n1\n", "line 1: expected at least 2 columns with comma, semicolon or tab"),
        (",a,label\n0,1,2\n", "line 1: expected a name for every column, got none for column 0"),
        ("a,b,label\n1,2,0\n1,2\n", "line 3: expected 3 cells as in line 1, got 2"),
        ("a,b,label\n1,2,0\n\n1,2,0,9\n", "line 4: expected 3 cells as in line 1, got 4"),
        (
            "a,b,label\n1,,0\n",
            "line 2, column 'b': expected a finite number within float32, got ''",
        ),
        ("label,b\n1,x\n", "line 2, column 'b': expected a finite number within float32, got 'x'"),
        (
            "a,label\n1,0\nnan,1\n",
            "line 3, column 'a': expected a finite number within float32, got",
        ),
        ("a,label,b\n1,0,2\n1,0,inf\n", "line 3, column 'b': expected a finite number"),
        (
            "a,label\n1e39,0\n",
            "line 2, column 'a': expected a finite number within float32, got 1e+39",
        ),
        ("1,2\nx,3\n", "line 2, column 0: expected a finite number within float32, got 'x'"),
        ("a,label\n1,\n", "line 2, column 'label': expected a label of 1 to 250 characters, got 0"),
        ("a,label\n1,0\n2,0\n", "expected at least 2 classes, got only 0"),
        ("a,label\n1,0\n2,1.5\n", "line 3, column 'label': expected a whole number or a text"),
        (b"a,label\n1,\xff\n", "line 2: expected UTF-8, got other bytes; save it as UTF-8"),
        (b"\xff\xfea\0,\0b\0", "line 1: expected UTF-8, got other bytes"),
        ('a,label\n1,"x\n', "expected at least 2 classes, got only 'x'"),
        ('a,label\n"' + "x" * 140_000, "line 2: expected comma-separated cells, got an error"),
    ],
)
def test_unusable_files_are_refused_with_line_and_column(tmp_path, text, message):
    path = write(tmp_path / "a.csv", text)

    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        load(path)


def test_the_first_bad_number_of_a_large_file_is_named_by_line(tmp_path):
    rows = [f"{n},0.5,{n % 2}" for n in range(100_000)]
    rows[77_777] = "5,nan,0"

    with pytest.raises(DataError, match="line 77779, column 'b': expected a finite number"):
        loaded(tmp_path, "a,b,label\n" + "\n".join(rows))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("colour", "line 1: expected the label column 'colour', got length, width, kind"),
        (3, "expected a label column in 0..2 (counted from 0), got 3"),
        (-1, "expected a label column in 0..2 (counted from 0), got -1"),
    ],
)
def test_an_unknown_label_column_is_refused(tmp_path, label, message):
    with pytest.raises(DataError, match=re.escape(message)):
        loaded(tmp_path, FLOWERS, label=label)


def test_a_label_name_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected one column 'a', got several"):
        loaded(tmp_path, "a,a,b\n1,2,3\n", label="a")


@pytest.mark.parametrize(
    "text", ["a,b\n1," + "x" * (17 << 20), '"' + "a\n" * (9 << 20), "a,b\n" + '"1\n",' * (5 << 20)]
)
def test_a_record_of_more_than_16_mib_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"16,777,216 B, got more|columns|got an error"):
        loaded(tmp_path, text)


@pytest.mark.parametrize("text", ["a" + ",a" * 100_000, "a,b\n" + "1," * 100_001])
def test_more_than_100_000_columns_are_refused(tmp_path, text):
    with pytest.raises(DataError, match="expected at most 100,000 columns, got more"):
        loaded(tmp_path, text)


def test_more_than_100_000_classes_are_refused(tmp_path):
    text = "a,label\n" + "".join(f"1,{n}\n" for n in range(100_001))

    with pytest.raises(DataError, match="expected at most 100,000 classes, got more"):
        loaded(tmp_path, text)


def test_a_compressed_csv_that_is_cut_short_is_refused(tmp_path):
    path = write(tmp_path / "a.csv.gz", gzip.compress(b"a,label\n" + b"1,0\n2,1\n" * 50)[:-12])

    with pytest.raises(DataError, match=r"a\.csv\.gz: line \d+: expected a readable file"):
        load(path)


def test_progress_ends_at_the_size_of_the_file(tmp_path):
    path = write(tmp_path / "a.csv", FLOWERS)
    reported = []

    load(path, progress=lambda done, total: reported.append((done, total)))

    assert reported == [(len(FLOWERS), len(FLOWERS))]


def test_a_large_file_needs_little_memory(tmp_path):
    line = ",".join(["0.25"] * 50) + ",{}\n"
    path = write(tmp_path / "a.csv", (line.format(0) + line.format(1)) * 15_000)

    with memory_below(4 << 20):
        train, _ = load(path)

    assert train.nbytes > 6_000_000


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    start=st.sampled_from([b"", b"a,b,label\n", b"1,2,0\n", FLOWERS.encode()]),
    content=st.one_of(
        st.binary(max_size=100),
        st.text('abc0123456789.,;\t"\r\n -+enif\0é', max_size=100).map(str.encode),
    ),
    compressed=st.booleans(),
)
def test_random_csv_files_load_or_are_refused(tmp_path, start, content, compressed):
    raw = start + content
    path = write(tmp_path / "a.csv", gzip.compress(raw) if compressed else raw)

    with contextlib.suppress(DataError):
        train, _ = load(path)
        assert isinstance(train, Dataset)
        assert train.features.shape == (train.n_samples, train.width)
        assert np.isfinite(train.features).all()
        assert train.labels.max() < len(train.classes)
