"""Outputs of finished layers, kept on disk in schedule layerwise instead of being made again.

One row of bytes for each sample: the normalised activity that the next layer takes in. An int8
network's are its own bytes, so training ends with the same bits; a float32 network's are rounded
to 1/16 of the activity's root mean square.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .buffers_int8 import padded
from .fetching import choose
from .network import Network
from .run_int8 import AnyRun, Int8Run
from .sources import Dataset
from .training_file import TrainingFile

Array = np.ndarray[Any, Any]

#: Steps of a stored float32 activity per root mean square.
STEPS = np.float32(16.0)


class KeptOutputs:
    """The last finished layer's output for every sample of ``data``, behind the layers in ``file``.

    layer: which one, None: none yet. Raises ConfigError if the disk has no room.
    """

    def __init__(self, run: AnyRun, data: Dataset, file: TrainingFile) -> None:
        self._run, self._data, self._file = run, data, file
        self._stride = stride(run.network)
        self._start = file.extend(data.n_samples * self._stride)
        self.layer: int | None = None

    def keep(self, layer: int) -> None:
        """Run ``layer``, which has just learned, for all samples; the one below must be kept."""
        run, samples = self._run, self._data.n_samples
        for first in range(0, samples, run.capacity):
            count = min(run.capacity, samples - first)
            self.fetch(first, count, None)
            x = run.input if self.layer is None else run.layers[self.layer].out
            run.layers[layer].forward(x, count)
            run.network.rule.hand_on(run.layers[layer], count)
            rows = self._rows_of(layer, count)
            for n in range(count):
                self._file.write(self._start + (first + n) * self._stride, [rows[n].data])
            if run.visits is not None:
                run.visits.end()
        self.layer = layer

    def fetch(self, first: int, count: int, order: int | None) -> None:
        """Bring in samples first..first+count-1 (of permutation ``order``), for the next layer."""
        run = self._run
        if self.layer is None:
            run.fetch(self._data, first, count, shuffle=order)
            return
        if run.visits is not None:
            run.visits.begin()
        choose(run, self._data, first, count, order)
        rows = self._buffer(self.layer)
        for n in range(count):
            place = self._start + int(run.chosen[n]) * self._stride
            self._file.read(place, [rows[n].data])
        if not isinstance(run, Int8Run):
            out = run.layers[self.layer].out
            np.divide(_panels(rows, count), STEPS, out=out[:, :count])

    def _buffer(self, layer: int) -> Array:
        """Rows of bytes in memory, (capacity, padded width): int8 activity is such already."""
        run = self._run
        if isinstance(run, Int8Run):
            return run.layers[layer].out
        width = padded(run.network.hidden[layer])
        flat: Array = run.arena["kept"].reshape(-1)[: run.capacity * width]
        return flat.reshape(run.capacity, width)

    def _rows_of(self, layer: int, count: int) -> Array:
        """The normalised activity as rows of bytes; float32 activity is spoiled."""
        rows = self._buffer(layer)
        if not isinstance(self._run, Int8Run):
            out = self._run.layers[layer].out[:, :count]
            np.multiply(out, STEPS, out=out)
            np.rint(out, out=out)
            np.minimum(out, np.float32(255.0), out=out)
            np.copyto(_panels(rows, count), out, casting="unsafe")
        return rows


def stride(network: Network) -> int:
    """Bytes of one sample's row: of the widest layer that another one takes in."""
    return max((padded(width) for width in network.hidden[:-1]), default=0)


def _panels(rows: Array, count: int) -> Array:
    """Rows (capacity, panels * 16) seen as float32 activity lies, (panels, count, 16)."""
    return rows[:count].reshape(count, -1, 16).transpose(1, 0, 2)
