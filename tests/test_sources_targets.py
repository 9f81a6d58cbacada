"""Numbers to be predicted, from arrays and files: float32, no classes, refusals in words."""

import numpy as np
import pytest

from ffedge.errors import ConfigError, DataError
from ffedge.sources import from_arrays, load

SENSORS = "time,heat,rate\n1.5,2,0.25\n-3,4e1,-1e3\n7,8,9\n"


def write(path, text):
    path.write_text(text)
    return path


def test_numbers_from_arrays_are_float32_without_classes():
    data = from_arrays([[1.0], [2.0]], [0.5, 7], numeric=True)

    assert data.numeric
    assert data.labels.dtype == np.float32
    assert (data.labels.tolist(), data.classes) == ([0.5, 7], ())
    assert "numbers to predict" in repr(data)
    assert not from_arrays([[1.0], [2.0]], [0, 1]).numeric


@pytest.mark.parametrize(
    "y",
    [
        np.array([3, 200], np.uint8), np.array([3, -2**40]), np.array([True, False]),
        np.array([1.5, 2.5], ">f8"), np.array([1, 2.5], object), np.array([[1.0], [2.0]]),
    ],
)  # fmt: skip
def test_numbers_of_every_kind_become_float32(y):
    data = from_arrays([[1.0], [2.0]], y, numeric=True)

    assert np.array_equal(data.labels, y.reshape(-1).astype(np.float32))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, float("nan")], "expected finite targets within float32, got nan at row 1"),
        ([1e39, 1.0], r"expected finite targets within float32, got 1e\+39 at row 0"),
        (["a", "b"], "expected targets of a real number type of at most 64 bits, got <U1; texts"),
        (np.array([1.0, "x"], object), r"expected numbers as targets, got 'x' \(str\) at row 1"),
        (np.array([1.0, None], object), r"expected numbers as targets, got None \(NoneType\)"),
        ([1 + 2j, 3], "expected targets of a real number type"),
        ([1.0], "expected as many labels as samples"),
        ([[1.0, 2.0], [3.0, 4.0]], r"expected labels of shape \(samples,\)"),
    ],
)
def test_what_is_no_finite_number_is_refused(y, words):
    with pytest.raises(DataError, match=words):
        from_arrays([[1.0], [2.0]], y, numeric=True)


def test_a_split_divides_numbers_at_random_and_without_overlap():
    data = from_arrays(np.arange(100.0)[:, None], np.arange(100) * 0.5, numeric=True)

    rest, part = data.split(0.2, 0)

    assert (rest.n_samples, part.n_samples) == (80, 20)
    assert sorted([*rest.rows, *part.rows]) == list(range(100))
    assert part.rows.tolist() != list(range(20))
    assert part.numeric


def test_a_csv_column_of_numbers_is_read(tmp_path):
    data, test = load(write(tmp_path / "a.csv", SENSORS), numeric=True)

    assert test is None
    assert data.labels.dtype == np.float32
    assert data.labels.tolist() == [0.25, -1000, 9]
    assert data.features.tolist() == [[1.5, 2], [-3, 40], [7, 8]]
    assert data.feature_names == ("time", "heat")


def test_any_csv_column_can_be_the_target(tmp_path):
    data, _ = load(write(tmp_path / "a.csv", SENSORS), numeric=True, label="time")

    assert data.labels.tolist() == [1.5, -3, 7]
    assert data.feature_names == ("heat", "rate")


def test_a_test_file_beside_it_comes_along(tmp_path):
    write(tmp_path / "a_test.csv", "time,heat,rate\n1,2,3.5\n")

    _, test = load(write(tmp_path / "a_train.csv", SENSORS), numeric=True)

    assert test.labels.tolist() == [3.5]


@pytest.mark.parametrize("cell", ["x", "", "nan", "inf", "1e39"])
def test_a_csv_cell_that_is_no_finite_number_is_refused_with_its_line(tmp_path, cell):
    path = write(tmp_path / "a.csv", SENSORS + f"1,2,{cell}\n")

    with pytest.raises(DataError, match="line 5, column 'rate': expected a finite number within"):
        load(path, numeric=True)


def test_many_different_numbers_are_no_problem(tmp_path):
    rows = "".join(f"1,{i / 7}\n" for i in range(101_000))

    data, _ = load(write(tmp_path / "a.csv", "a,b\n" + rows), numeric=True)

    assert np.allclose(data.labels, np.arange(101_000) / 7)


def test_npz_and_npy_labels_may_be_numbers(tmp_path):
    x, y = np.eye(3, dtype=np.float32), np.array([0.5, 1.5, -2.5])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.save(tmp_path / "b.npy", x)
    np.save(tmp_path / "b_y.npy", y)

    for name in ("a.npz", "b.npy"):
        data, _ = load(tmp_path / name, numeric=True)
        assert data.labels.tolist() == [0.5, 1.5, -2.5]


def test_digits_may_be_numbers():
    train, test = load("digits", numeric=True)

    assert train.numeric
    assert test.labels.max() == 9.0
    assert train.labels.dtype == np.float32


def test_numbers_and_classes_are_told_apart():
    numbers = from_arrays([[1.0], [2.0]], [0.5, 7], numeric=True)

    numbers.check_numeric(True, "here")
    with pytest.raises(DataError, match="here: expected classes, got numbers to predict"):
        numbers.check_numeric(False, "here")
    with pytest.raises(ConfigError):
        numbers.split(1.5, 0)
