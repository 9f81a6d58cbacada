"""Which samples come next, whether they move, and their way into a float32 network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .kernels import batch, shift
from .scaling import LIMIT
from .shifts import STREAM, Grid, grid_of
from .sources import Dataset

if TYPE_CHECKING:
    from .run import Run
    from .run_int8 import Int8Run

Array = np.ndarray[Any, Any]

ALL_ROWS = np.empty(0, np.int32)
_LIMIT = np.float32(LIMIT)


class Fetched(NamedTuple):
    """Where ``run.chosen`` points: the data, the rows that are samples of it, and how these move.

    subset: int32 or int64, empty for all rows. grid: None where they stay as they are.
    """

    features: Array
    subset: Array = ALL_ROWS
    grid: Grid | None = None


def choose(run: Run | Int8Run, data: Dataset, first: int, count: int, shuffle: int | None) -> Array:
    """Put the numbers of samples first..first+count-1 (of permutation ``shuffle``) and their labels
    into ``run.chosen`` and ``run.labels``; the data's own rows as the kernels take them.
    """
    subset = ALL_ROWS if data.rows is None else data.rows
    seed = 0 if shuffle is None else shuffle
    batch.choose_rows(first, count, data.n_samples, seed, shuffle is not None, run.chosen)
    batch.fetch_labels(data.labels, subset, run.chosen, count, run.labels)
    return subset


def grid_for(run: Run | Int8Run, data: Dataset, moved: bool) -> Grid | None:
    """How the samples of ``data`` move, if they do: where ``moved``, by the recipe's shift."""
    if not moved or run.recipe is None or not run.recipe.shift:
        return None
    return grid_of(run.recipe.shift, data.feature_shape)


def bring(run: Run, fetched: Fetched, count: int) -> None:
    """The chosen samples into ``run.input``, scaled."""
    scale = (run.mean, run.gain, _LIMIT)
    if fetched.grid is None:
        batch.fetch(fetched.features, fetched.subset, run.chosen, count, *scale, run.input)
    else:
        shift.fetch_shifted(
            fetched.features, fetched.subset, run.chosen, count, *scale, *fetched.grid,
            run.seed ^ STREAM, run.samples_seen, run.input,
        )  # fmt: skip


def bring_batch(run: Run, data: Dataset, first: int, count: int, shuffle: int | None) -> Fetched:
    """``choose`` and ``bring`` of samples that stay as they are, in one call of a kernel."""
    fetched = Fetched(data.features, ALL_ROWS if data.rows is None else data.rows)
    batch.fetch_batch(
        data.features, data.labels, fetched.subset, first, count, data.n_samples,
        0 if shuffle is None else shuffle, shuffle is not None, run.mean, run.gain, _LIMIT,
        run.chosen, run.labels, run.input,
    )  # fmt: skip
    return fetched
