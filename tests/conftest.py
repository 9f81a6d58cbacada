"""What several test files share: real data, an allocation limit, small data and models."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

# scikit-learn checks array API input only if this stands before SciPy is first imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

# Never a library that happens to lie in a cache; FFEDGE_KERNELS=library asks for one.
os.environ.setdefault("FFEDGE_KERNELS", "jit")
os.environ.setdefault("FFEDGE_BUILD_RUNTIME", "0")

import numpy as np
import pytest

from ffedge.sources import from_arrays


def shared_folder() -> Path | None:
    """The folder of real data sets: $FFEDGE_SHARED_DATA, or ../shared/data of the project."""
    chosen = os.environ.get("FFEDGE_SHARED_DATA")
    if chosen:
        return Path(chosen)
    root = Path(__file__).resolve().parent.parent
    folders = (parent / "shared" / "data" for parent in root.parents)
    return next((folder for folder in folders if folder.is_dir()), None)


@pytest.fixture
def shared_data():
    """``shared_data("mnist")`` is the path of mnist.npz; skips the test where it is absent."""

    def path_of(name: str) -> Path:
        folder = shared_folder()
        path = None if folder is None else folder / f"{name}.npz"
        if path is None or not path.is_file():
            pytest.skip(f"no real data: {name}.npz is not in the shared data folder")
        return path

    return path_of


@contextlib.contextmanager
def memory_below(nbytes: int) -> Iterator[None]:
    """Fails if the block allocates more at any moment; file mappings do not count."""
    with measured_allocations() as measured:
        yield
    assert measured.peak < nbytes


@contextlib.contextmanager
def measured_allocations() -> Iterator[SimpleNamespace]:
    """``peak``: most bytes of Python and NumPy alive at once inside the block."""
    measured = SimpleNamespace(peak=0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield measured
        measured.peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def clouds(samples=200, features=7, classes=3, seed=0, dtype=np.float32, spread=1.0):
    """Gaussian clouds, one per class, that a small network separates almost perfectly.

    spread: standard deviation; from about 5 on the clouds overlap.
    """
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, features)) * 3
    labels = np.arange(samples) % classes
    rng.shuffle(labels)
    X = centres[labels] + spread * rng.standard_normal((samples, features))
    return from_arrays(X.astype(dtype), labels, classes=range(classes))
