"""Dataset and from_arrays: what is kept, what is converted, what is refused, how it is split."""

import re

import numpy as np
import pytest
from conftest import memory_below
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.errors import ConfigError, DataError
from ffedge.sources import from_arrays, load

PAIR = [0, 1]


def labelled(*labels):
    return from_arrays(np.zeros((len(labels), 2), np.float32), list(labels))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "float32"])
def test_kept_dtypes_are_not_copied(dtype):
    X = np.arange(6, dtype=dtype).reshape(2, 3)

    data = from_arrays(X, PAIR)

    assert data.features.dtype == dtype
    assert np.shares_memory(data.features, X)


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_floats_become_float32(dtype):
    X = np.array([[0, 1, 1], [1, 0, 1]], dtype)

    data = from_arrays(X, PAIR)

    assert data.features.dtype == np.float32
    assert data.features.tolist() == [[0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("stored", "highest", "dtype"),
    [
        ("bool", 1, np.uint8),
        ("int64", 255, np.uint8),
        (">i4", 256, np.int16),
        ("uint16", 32_767, np.int16),
        ("uint64", 32_768, np.float32),
        ("int32", 1 << 20, np.float32),
    ],
)
def test_integers_become_the_smallest_dtype_that_fits_as_in_load(tmp_path, stored, highest, dtype):
    X = np.array([[0, 1, 1], [1, 0, highest]], stored)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", PAIR)

    data = from_arrays(X, PAIR)

    assert data.features.dtype == dtype == load(tmp_path / "X.npy")[0].features.dtype
    assert data.features.tolist() == X.tolist()


def test_fortran_order_becomes_c_order_of_the_same_dtype():
    X = np.asfortranarray(np.arange(200_000, dtype=np.int16).reshape(400, 500))

    data = from_arrays(X, np.arange(400) % 2)

    assert data.features.flags.c_contiguous
    assert data.features.dtype == np.int16
    assert np.array_equal(data.features, X)


def test_a_fortran_ordered_row_wider_than_a_chunk_is_read_correctly():
    X = np.asfortranarray(np.arange(600_000, dtype=np.float64).reshape(2, 300_000))

    data = from_arrays(X, PAIR)

    assert np.array_equal(data.features, X.astype(np.float32))


def test_features_are_plain_and_writable_even_if_the_input_is_not(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    X = np.load(tmp_path / "x.npy", mmap_mode="r")

    data = from_arrays(X, PAIR)

    assert type(data.features) is np.ndarray
    assert data.features.flags.writeable
    assert data.features.flags.aligned


def test_images_are_flattened_and_their_shape_is_kept():
    data = from_arrays(np.zeros((2, 4, 5), np.uint8), PAIR)

    assert data.features.shape == (2, 20)
    assert data.feature_shape == (4, 5)
    assert (data.n_samples, data.width, data.nbytes) == (2, 20, 42)


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        ([7, -3, 7], (-3, 7), [1, 0, 1]),
        ([True, False, True], (0, 1), [1, 0, 1]),
        (np.array([2.0, 1.0, 2.0], np.float16), (1, 2), [1, 0, 1]),
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (np.array(["dog", "cat", "dog"], object), ("cat", "dog"), [1, 0, 1]),
        (np.array([5, 4, 5], object), (4, 5), [1, 0, 1]),
        (np.array([[5], [4], [5]], ">u2"), (4, 5), [1, 0, 1]),
        (np.array([2**63 - 1, 0, 0], np.uint64), (0, 2**63 - 1), [1, 0, 0]),
    ],
)
def test_labels_become_codes_into_sorted_classes(labels, classes, codes):
    data = from_arrays(np.zeros((3, 2), np.float32), labels)

    assert data.classes == classes
    assert {type(value) for value in data.classes} in ({int}, {str})
    assert data.labels.tolist() == codes
    assert data.labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("n_classes", "dtype"),
    [(256, np.uint8), (257, np.uint16), (65_536, np.uint16), (65_537, np.int32)],
)
def test_codes_take_the_smallest_dtype_that_fits(n_classes, dtype):
    data = from_arrays(np.zeros((n_classes, 1), np.uint8), np.arange(n_classes)[::-1])

    assert data.labels.dtype == dtype
    assert data.labels[:2].tolist() == [n_classes - 1, n_classes - 2]


def test_classes_may_be_given_and_need_not_all_occur():
    data = from_arrays(np.zeros((2, 2)), ["b", "b"], classes=["c", "b", "a"])

    assert data.classes == ("a", "b", "c")
    assert data.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, 2.0], "X: expected features of shape (samples, width), got shape (2,); for one"),
        (np.zeros((0, 2)), "X: expected at least 1 sample, got 0 (shape (0, 2))"),
        (np.zeros((2, 0)), "X: expected at least 1 feature, got 0 (shape (2, 0))"),
        (np.zeros((2, 2), complex), "got complex128"),
        (np.zeros((2, 2), np.longdouble), "at most 64 bits"),
        ([["a", "b"], ["c", "d"]], "X: expected features of a real number type"),
        (np.zeros((2, 2), object), "got object; turn categories into numbers first"),
        ([[1.0], [1.0, 2.0]], "X: expected rows of equal length"),
        (np.ma.masked_equal([[1, 2], [3, 4]], 3), "X: expected values without gaps"),
    ],
)
def test_unusable_features_are_refused(X, message):
    with pytest.raises(DataError, match=re.escape(message)):
        from_arrays(X, PAIR)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_counted_and_the_first_is_named(bad, dtype):
    X = np.zeros((50_000, 5), dtype)
    X[30_000, 3] = X[40_000, 0] = X[49_999, 4] = bad

    with pytest.raises(DataError) as caught:
        from_arrays(X, np.arange(50_000) % 2)

    assert str(caught.value) == (
        f"X: expected finite features within float32, got {bad} at row 30000, column 3 "
        f"(counted from 0), 3 such in all; drop those rows or fill the gaps"
    )


def test_a_value_beyond_float32_is_refused_not_made_infinite():
    with pytest.raises(DataError, match=r"within float32, got 1e\+300 at row 1, column 0"):
        from_arrays([[0.0], [1e300]], PAIR)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 1], "y: expected as many labels as samples, got 3 labels and 2 samples"),
        ([1, 1], "y: expected at least 2 classes, got only 1"),
        ([[0, 1], [1, 0]], "y: expected labels of shape (samples,), got shape (2, 2); one-hot"),
        ([0.0, 0.5], "y: expected whole numbers or texts as labels, got 0.5 at row 1 (counted"),
        ([0.0, np.nan], "y: expected whole numbers or texts as labels, got nan at row 1"),
        (["a", ""], "y: expected a label in every row as labels, got '' at row 1"),
        (np.array(["a", None], object), "all integers, got None (NoneType) at row 1"),
        (np.array(["a", 1], object), "all integers, got 1 (int) at row 1"),
        ([1j, 2j], "y: expected labels of an integer, whole float or text type, got complex128"),
        (np.array([0, 2**64 - 1], np.uint64), "y: expected labels within 64 bits"),
        (np.array([0, 2**70], object), "y: expected labels within 64 bits"),
        (["a" * 251, "b"], "y: expected labels of at most 250 characters, got 251 at row 0"),
    ],
)
def test_unusable_labels_are_refused(labels, message):
    with pytest.raises(DataError, match=re.escape(message)):
        from_arrays(np.zeros((2, 2)), labels)


def test_more_than_100_000_classes_are_refused():
    with pytest.raises(DataError, match="at most 100,000 classes, got more; the labels look like"):
        from_arrays(np.zeros((100_001, 1), np.uint8), np.arange(100_001))


def test_labels_outside_the_given_classes_are_refused_by_name():
    with pytest.raises(DataError) as caught:
        from_arrays(np.zeros((8, 1)), [9, 0, 1, 8, 7, 6, 5, 4], classes=[0, 1])

    assert str(caught.value) == (
        "y: expected labels among the 2 classes 0, 1, got 4, 5, 6, 7, 8 and 1 more"
    )


@pytest.mark.parametrize("classes", [[], [1], [1, 1], [1, "a"], [1.5, 2.5]])
def test_impossible_classes_are_refused(classes):
    with pytest.raises(DataError, match="classes: expected classes to be 2 or more different"):
        from_arrays(np.zeros((2, 1)), PAIR, classes=classes)


def test_conversion_needs_little_memory_beyond_its_result():
    X = np.ones((65_536, 100))
    y = np.arange(65_536) % 10

    with memory_below(65_536 * 401 + (8 << 20)):
        from_arrays(X, y)


def test_the_finite_check_of_kept_features_needs_little_memory():
    X = np.ones((65_536, 100), np.float32)
    y = np.arange(65_536) % 10

    with memory_below(4 << 20):
        from_arrays(X, y)


def test_split_shares_features_and_gives_each_class_its_share():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    data = from_arrays(np.arange(100, dtype=np.uint8).reshape(100, 1), y)

    rest, part = data.split(0.2, seed=1)

    assert rest.features is part.features is data.features
    assert part.rows.dtype == np.int32
    assert np.bincount(part.labels[part.rows]).tolist() == [10, 6, 4]
    assert sorted([*rest.rows, *part.rows]) == list(range(100))
    assert (np.diff(part.rows) > 0).all()
    assert (rest.n_samples, part.n_samples, part.nbytes) == (80, 20, 200)


def test_split_repeats_with_its_seed_and_differs_without():
    data = from_arrays(np.zeros((1000, 1), np.uint8), np.arange(1000) % 4)

    first, again, other = (data.split(0.3, seed)[1].rows for seed in (5, 5, 6))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_split_rows_are_the_same_in_every_release():
    data = from_arrays(np.zeros((20, 1), np.uint8), np.arange(20) % 2)

    assert data.split(0.3, seed=0)[1].rows.tolist() == [3, 4, 7, 8, 11, 16]


def test_a_split_part_can_be_split_again():
    y = np.arange(60) % 3
    data = from_arrays(np.arange(60, dtype=np.uint8).reshape(60, 1), y)
    rest, part = data.split(0.25, seed=2)

    inner, held_out = rest.split(1 / 3, seed=3)

    assert (inner.n_samples, held_out.n_samples) == (30, 15)
    assert sorted([*inner.rows, *held_out.rows, *part.rows]) == list(range(60))


def test_a_class_with_one_sample_stays_in_rest():
    rest, part = labelled(0, 0, 0, 0, 1).split(0.9, seed=0)

    assert 4 in rest.rows
    assert part.n_samples == 3


@pytest.mark.parametrize(("labels", "fraction"), [((0, 1), 0.5), ((0, 0, 1, 1), 0.1)])
def test_split_refuses_an_empty_part(labels, fraction):
    message = f"split: expected at least 1 sample in each part, got {len(labels)} samples at"
    with pytest.raises(DataError, match=message):
        labelled(*labels).split(fraction, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan")])
def test_split_refuses_a_fraction_out_of_range(fraction):
    with pytest.raises(ConfigError, match="split: expected a fraction above 0 and below 1, got"):
        labelled(0, 0, 1, 1).split(fraction, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_split_refuses_a_seed_out_of_range(seed):
    with pytest.raises(ConfigError, match=r"split: expected a seed in 0..4294967295, got"):
        labelled(0, 0, 1, 1).split(0.5, seed)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_split_divides_any_data_without_loss(counts, fraction, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    data = from_arrays(np.zeros((len(y), 1), np.uint8), y)
    try:
        rest, part = data.split(fraction, seed)
    except DataError:
        return

    assert sorted([*rest.rows, *part.rows]) == list(range(len(y)))
    assert set(y[rest.rows]) == set(range(len(counts)))
    taken = np.bincount(y[part.rows], minlength=len(counts))
    assert (np.abs(taken - fraction * np.array(counts)) <= 1).all()
