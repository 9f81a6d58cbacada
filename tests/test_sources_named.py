"""mnist and fashion-mnist by name: the places and spellings, the refusal, the real files."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from ffedge.errors import DataError
from ffedge.sources import load, named

IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)


@pytest.fixture(autouse=True)
def no_other_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("FFEDGE_DATA", raising=False)
    monkeypatch.setattr(named, "_SYSTEM_FOLDERS", {"fashion-mnist": tmp_path / "system"})


@pytest.fixture
def shared_data():
    """The folder ../shared/data beside the project, or $FFEDGE_SHARED_DATA."""
    named_folder = os.environ.get("FFEDGE_SHARED_DATA")
    if named_folder:
        return Path(named_folder)
    for folder in Path(__file__).resolve().parents:
        if (folder.parent / "shared" / "data").is_dir():
            return folder.parent / "shared" / "data"
    pytest.skip("the folder ../shared/data is absent")


def write_four(folder, dot="-", ending=""):
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 6), ("t10k", 3)):
        for name, array in (("images{}idx3", IMAGES[:n]), ("labels{}idx1", LABELS[:n])):
            sizes = struct.pack(f">{array.ndim}I", *array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
            path = folder / f"{part}-{name.format(dot)}-ubyte{ending}"
            path.write_bytes(gzip.compress(content) if ending else content)


def write_npz(path, first=0):
    np.savez(path, x_train=IMAGES + first, y_train=LABELS, x_test=IMAGES[:3], y_test=LABELS[:3])


def sizes(parts):
    return tuple(part.n_samples for part in parts)


@pytest.mark.parametrize("folder", [".", "fashion-mnist", "fashion_mnist"])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_four_idx_files_are_found(tmp_path, folder, dot, ending):
    write_four(tmp_path / folder, dot, ending)

    train, test = load("fashion-mnist", data_dir=tmp_path)

    assert sizes((train, test)) == (6, 3)
    assert (train.name, train.feature_shape) == ("fashion-mnist", (2, 2))


@pytest.mark.parametrize("name", ["fashion-mnist.npz", "fashion_mnist.npz"])
def test_an_npz_of_that_name_is_found(tmp_path, name):
    write_npz(tmp_path / name)

    assert sizes(load("fashion-mnist", data_dir=tmp_path)) == (6, 3)


def test_the_environment_variable_adds_a_folder_after_data_dir(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_npz(tmp_path / "b" / "mnist.npz", first=100)
    monkeypatch.setenv("FFEDGE_DATA", str(tmp_path / "b"))

    only_there = load("mnist", data_dir=tmp_path / "a")[0].features[0, 0]
    write_npz(tmp_path / "a" / "mnist.npz")
    in_both = load("mnist", data_dir=tmp_path / "a")[0].features[0, 0]

    assert (only_there, in_both) == (100, 0)


def test_a_folder_of_its_name_goes_before_loose_files(tmp_path):
    write_four(tmp_path)
    write_four(tmp_path / "mnist")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"of another set")

    assert sizes(load("mnist", data_dir=tmp_path)) == (6, 3)


def test_the_debian_folder_is_looked_at_last(tmp_path):
    write_four(tmp_path / "system", ending=".gz")

    assert sizes(load("fashion-mnist")) == (6, 3)


def test_the_debian_folder_is_where_debian_puts_it(monkeypatch):
    monkeypatch.undo()

    assert named._SYSTEM_FOLDERS["fashion-mnist"] == Path("/usr/share/datasets/fashion-mnist")


def test_an_absent_set_is_refused_with_the_places_and_what_to_do(tmp_path):
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=tmp_path)

    assert str(caught.value) == (
        f"mnist: expected mnist.npz or the four IDX files, got none; looked at "
        f"{tmp_path}/mnist.npz, {tmp_path}/mnist, {tmp_path}; put train-images-idx3-ubyte, "
        f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or "
        f".gz) into one of them, or set data_dir"
    )


def test_an_absent_fashion_mnist_is_refused_with_the_package_to_install(tmp_path):
    message = f"looked at {tmp_path}/system; run: apt install dataset-fashion-mnist"
    with pytest.raises(DataError, match=message):
        load("fashion-mnist")


def test_without_any_folder_the_refusal_says_so():
    with pytest.raises(DataError, match=r"looked at no folder .neither data_dir nor FFEDGE_DATA"):
        load("mnist")


def test_an_incomplete_set_is_not_taken(tmp_path):
    write_four(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()

    with pytest.raises(DataError, match="got none; looked at"):
        load("mnist", data_dir=tmp_path)


def test_label_is_refused_for_a_named_set():
    with pytest.raises(DataError, match="mnist: expected no label, got 'y'"):
        load("mnist", label="y")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_sets_are_mapped(shared_data, name):
    train, test = load(name, data_dir=shared_data)

    assert sizes((train, test)) == (60_000, 10_000)
    assert train.feature_shape == test.feature_shape == (28, 28)
    assert train.features.dtype == train.labels.dtype == np.uint8
    assert train.classes == test.classes == tuple(range(10))
    assert train.storage == "mapped"


@pytest.mark.shared_data
def test_a_real_set_has_the_values_that_numpy_reads(shared_data):
    train, test = load(shared_data / "mitbih.npz")

    with np.load(shared_data / "mitbih.npz") as archive:
        assert np.array_equal(train.features, archive["x_train"])
        assert np.array_equal(test.features, archive["x_test"])
        assert np.array_equal(train.labels, archive["y_train"])
    assert train.features.dtype == np.int16


@pytest.mark.shared_data
def test_the_embedded_digits_are_the_uci_test_part(shared_data):
    train, test = load("digits")

    with np.load(shared_data / "optdigits.npz") as archive:
        theirs = archive["x_test"].reshape(-1, 64)
    ours = np.concatenate([train.features, test.features])
    assert np.array_equal(np.sort(ours.view("V64").ravel()), np.sort(theirs.view("V64").ravel()))
