"""The embedded data set: 1,797 handwritten digits of 8 x 8 pixels, values 0..16.

``digits.npz`` lies beside this file; DIGITS-LICENSE.txt tells where it comes from.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .dataset import Dataset, from_arrays

TEST_FRACTION = 0.2
TEST_SEED = 0


def load_digits(*, numeric: bool = False) -> tuple[Dataset, Dataset]:
    """1,438 samples to train with and 359 to test, in memory (117 KB).

    The test part is ``split(TEST_FRACTION, TEST_SEED)``, copied out, so both have rows None.
    numeric: the digits as numbers.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as archive:
        data = from_arrays(archive["x"], archive["y"], name="digits")
    rest, part = data.split(TEST_FRACTION, TEST_SEED)
    return _copied(rest, numeric), _copied(part, numeric)


def _copied(part: Dataset, numeric: bool) -> Dataset:
    labels = part.labels[part.rows]
    copied = replace(part, features=part.features[part.rows], labels=labels, rows=None)
    return replace(copied, labels=labels.astype(np.float32), classes=()) if numeric else copied
