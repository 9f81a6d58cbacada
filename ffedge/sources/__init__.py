"""From a user's data to rows that can be addressed, without holding a file in memory.

``load`` finds the reader for a name, file or folder: ``csv_file``, ``idx``, ``npy``, ``npz``.
A reader checks the header against the real size and gives a ``part`` of two ``stored`` arrays.
``part`` walks them in chunks: ``labels`` to codes or ``targets`` to numbers, ``features`` to one of
four dtypes, no NaN.
What cannot be mapped as it lies goes through a ``spool``: a temporary file, written once, mapped.
The result is a ``Dataset``; ``from_arrays`` makes the same from arrays that are in memory already.
``load_features`` takes the same way with samples that have no labels, or whose labels do not count.
"""

from .dataset import Dataset, from_arrays, from_features
from .load import load
from .unlabelled import load_features, load_unlabelled

__all__ = ["Dataset", "from_arrays", "from_features", "load", "load_features", "load_unlabelled"]
