"""load: digits, the choice of reader, companions in a folder, the temporary file, refusals."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ffedge.sources
from ffedge.errors import DataError
from ffedge.sources import load

X = np.arange(12, dtype=np.uint8).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])


def save(folder, **arrays):
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder / f"{next(iter(arrays))}.npy"


# --- digits -----------------------------------------------------------------------------------


def test_digits_are_embedded():
    train, test = load("digits")

    assert (train.n_samples, test.n_samples) == (1438, 359)
    assert train.feature_shape == test.feature_shape == (8, 8)
    assert train.features.dtype == np.uint8
    assert train.features.max() == 16
    assert train.classes == tuple(range(10))
    assert train.rows is None
    assert np.bincount(test.labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    original = datasets.load_digits()

    train, test = load("digits")

    ours = np.concatenate([train.features, test.features])
    assert ours.astype(int).sum() == original.data.sum()
    assert sorted(map(bytes, ours)) == sorted(map(bytes, original.data.astype(np.uint8)))


def test_digits_stay_small_and_carry_their_licence():
    folder = Path(ffedge.sources.__file__).parent

    assert (folder / "digits.npz").stat().st_size < 100_000
    assert "CC BY 4.0" in (folder / "DIGITS-LICENSE.txt").read_text()


# --- .npy companions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        ("a", "a_labels"),
        ("a", "a_y"),
        ("X_train", "y_train"),
        ("x_train", "y_train"),
        ("train_X", "train_y"),
        ("X", "y"),
        ("x", "Y"),
    ],
)
def test_npy_labels_are_found_beside_the_features(tmp_path, features, labels):
    path = save(tmp_path, **{features: X, labels: Y})

    train, test = load(path)

    assert (train.n_samples, test) == (6, None)


def test_the_labels_of_an_npy_file_may_be_named(tmp_path):
    path = save(tmp_path, maxima=X, answers=Y)

    assert load(path, label=tmp_path / "answers.npy")[0].classes == (0, 1)


def test_the_npy_test_pair_is_used(tmp_path):
    path = save(tmp_path, X_train=X, y_train=Y, X_test=X[:2], y_test=Y[:2])

    _, test = load(path)

    assert test.features.tolist() == X[:2].tolist()


def test_npy_test_features_without_labels_are_left_alone(tmp_path):
    path = save(tmp_path, X_train=X, y_train=Y, X_test=X[:2])

    assert load(path)[1] is None


def test_npy_without_labels_is_refused_with_the_names_looked_for(tmp_path):
    path = save(tmp_path, X_train=X)

    message = "the labels beside it as X_train_labels.npy, X_train_y.npy, y_train.npy, Y_train.npy"
    with pytest.raises(DataError, match=message):
        load(path)


# --- folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("X_train.npy", "y_train.npy", "X_test.npy", "y_test.npy"),
        ("a.npy", "a_labels.npy"),
        ("a.npz", "README.md"),
    ],
)
def test_a_folder_with_one_data_set_is_loaded(tmp_path, names):
    for name in names:
        if name.endswith(".npz"):
            np.savez(tmp_path / name, X=X, y=Y)
        elif name.endswith(".npy"):
            np.save(tmp_path / name, Y if "y_" in name or "labels" in name else X)
        else:
            (tmp_path / name).write_text("about")

    train, test = load(tmp_path)

    assert train.n_samples == 6
    assert (test is not None) == ("X_test.npy" in names)


def test_a_folder_with_a_csv_pair_is_loaded(tmp_path):
    (tmp_path / "a_train.csv").write_text("a,label\n1,0\n2,1\n")
    (tmp_path / "a_test.csv").write_text("a,label\n1,0\n")

    train, test = load(tmp_path)

    assert (train.n_samples, test.n_samples) == (2, 1)


def test_a_folder_with_labels_named_by_the_caller_is_loaded(tmp_path):
    save(tmp_path, values=X, answers=Y)

    assert load(tmp_path, label=tmp_path / "answers.npy")[0].n_samples == 6


def test_a_folder_with_several_data_sets_is_refused(tmp_path):
    for name in "abcdefg":
        np.savez(tmp_path / f"{name}.npz", X=X, y=Y)

    with pytest.raises(DataError, match=r"got a.npz, b.npz, c.npz, d.npz, e.npz and 2 more; give"):
        load(tmp_path)


def test_a_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected one data set as \.npz, .* got no such file"):
        load(tmp_path)


# --- refusals and the temporary file ----------------------------------------------------------


@pytest.mark.parametrize("spec", ["minst", "Digits", "a/b.npz", "nul\0byte", "x" * 5000])
def test_an_unknown_name_is_refused(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match=r"expected digits, mnist|expected a readable file"):
        load(spec)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")

    with pytest.raises(DataError, match=r"a\.txt: expected \.npz, \.npy, .* got another kind"):
        load(tmp_path / "a.txt")


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "a.npz")

    with pytest.raises(DataError, match="expected a file, got a folder or a device"):
        load(tmp_path / "a.npz")


def test_a_number_as_label_is_refused_for_npy(tmp_path):
    with pytest.raises(DataError, match="expected label to be the path of a labels file, got 3"):
        load(save(tmp_path, X=X, y=Y), label=3)


def test_an_absent_labels_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no\.npy: expected a file, got none of that name"):
        load(save(tmp_path, X=X, y=Y), label=tmp_path / "no.npy")


def test_an_absent_cache_folder_is_refused(tmp_path):
    path = save(tmp_path, X=X.astype(float), y=Y)

    message = re.escape(f"got {tmp_path / 'no'} (No such file or directory); set cache_dir")
    with pytest.raises(DataError, match=message):
        load(path, cache_dir=tmp_path / "no")


def test_a_full_disk_is_refused_before_writing(tmp_path, monkeypatch):
    path = save(tmp_path, X=X.astype(float), y=Y)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    with pytest.raises(
        DataError, match=r"expected 67,108,864 B free .* got 1,000 B; set cache_dir"
    ):
        load(path, cache_dir=tmp_path)


def test_the_temporary_file_leaves_nothing_in_the_cache_folder(tmp_path):
    (tmp_path / "cache").mkdir()
    path = save(tmp_path, X=X.astype(float), y=Y)

    train, _ = load(path, cache_dir=tmp_path / "cache")

    assert train.features.tolist() == X.tolist()
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_error_in_progress_reaches_the_caller(tmp_path):
    path = save(tmp_path, X=X.astype(float), y=Y)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(path, progress=stop)


def test_sources_need_neither_numba_nor_scikit_learn():
    code = (
        "import sys, types; package = types.ModuleType('ffedge'); "
        f"package.__path__ = [{str(Path(ffedge.sources.__file__).parents[1])!r}]; "
        "sys.modules['ffedge'] = package; from ffedge.sources import load; load('digits'); "
        "sys.exit(bool({'numba', 'sklearn', 'pandas'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
