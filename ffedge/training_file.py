"""The model file while its network is trained: layers that are not in hand lie in it.

    header     room for ``model_file``'s, written at the end
    arrays     the model's, in the model file's own order and layout
    kept       each layer's optimiser state and the rule's memory, then whatever it is extended
               by; cut off at the end

So a layer is read and written where it will stay, and the end of a training of any size is a
checksum and a header. The file is as large as it ever gets before training begins: a full disk is
met then, not later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from .buffers import kept_state, model_needs
from .errors import CheckpointError, ConfigError
from .model import Model
from .model_file import header
from .network import Network
from .plan import aligned
from .recipe import Recipe
from .tensor import TensorSpec

#: Bytes for what a training adds to the header: recipe, figures.
HEADER_SPARE = 1 << 16


class TrainingFile:
    """Named arrays in ``file``, opened to read and write.

    model: as it will be saved, its parameters aside (see ``Model``); says how long the header can
    get. Raises ConfigError if the disk has no room. ``bytes_read`` and ``bytes_written`` count
    what layers cost in training.
    """

    def __init__(self, file: BinaryIO, model: Model, recipe: Recipe) -> None:
        self._file = file
        self._network: Network = model.network
        self._room = len(header(model, ())) + HEADER_SPARE
        self._room = aligned(self._room)
        self._spans: dict[str, tuple[int, int]] = {}
        self.bytes_read = self.bytes_written = 0
        end = self._room
        for need in model_needs(self._network):
            end = self._add(need.name, end, need.spec)
        for index in range(len(self._network.layers)):
            end = aligned(end)
            for name, spec in kept_state(self._network, recipe, index).items():
                end = self._add(f"layer{index}.{name}", end, spec)
        self.size = 0
        self.extend(end)

    def extend(self, nbytes: int) -> int:
        """Make it longer; the first of the new bytes. ConfigError if the disk has no room."""
        first, self.size = self.size, self.size + nbytes
        try:
            os.posix_fallocate(self._file.fileno(), 0, self.size)
        except OSError as error:
            raise ConfigError(
                f"{self._file.name}: expected {self.size:,} B of disk for what does not stay in "
                f"memory, got: {error.strerror}; free some space or choose another folder"
            ) from None
        return first

    def _add(self, name: str, first: int, spec: TensorSpec) -> int:
        self._spans[name] = (first, spec.nbytes)
        return first + spec.nbytes

    def place(self, name: str) -> int:
        """First byte of an array."""
        return self._spans[name][0]

    def read(self, first: int, buffers: Sequence[memoryview]) -> None:
        """Fill ``buffers`` with the bytes from ``first`` on.

        Raises CheckpointError if the file has become shorter, OSError as the system does.
        """
        self.bytes_read += _move(os.preadv, self._file, first, buffers)

    def write(self, first: int, buffers: Sequence[memoryview]) -> None:
        """Write ``buffers``, one behind the other, from ``first`` on."""
        self.bytes_written += _move(os.pwritev, self._file, first, buffers)

    def array(self, name: str, spec: TensorSpec) -> np.ndarray[Any, Any]:
        """A copy of a whole array."""
        array = np.empty(spec.shape, spec.dtype)
        _move(os.preadv, self._file, self.place(name), [array.data.cast("B")])
        return array

    def finish(self, model: Model, space: memoryview) -> int:
        """Make it the model file of ``model``, whose parameters are not looked at; its bytes.

        model: of this file's network or of its first layers. space: memory to read through.
        """
        end = self._room
        for need in model_needs(model.network):
            known = self._spans.get(need.name)
            if known is None:
                # What only the last layer has, such as hinton's head, and this was not the last.
                self.write(end, [memoryview(bytes(need.spec.nbytes))])
            elif known[0] != end:
                raise CheckpointError(
                    f"{self._file.name}: expected {need.name} at byte {end:,}, got it elsewhere; "
                    "only the first layers of a network can be saved without the others"
                )
            end += need.spec.nbytes
        head = header(model, self._pieces(self._room, end, space), self._room)
        if len(head) != self._room:
            raise CheckpointError(
                f"{self._file.name}: expected a header of at most {self._room:,} B, got "
                f"{len(head):,} B; shorten what describes the training"
            )
        self._file.seek(0)
        self._file.write(head)
        self._file.truncate(end)
        return end

    def _pieces(self, first: int, end: int, space: memoryview) -> Iterator[memoryview]:
        while first < end:
            piece = space[: end - first]
            _move(os.preadv, self._file, first, [piece])
            yield piece
            first += len(piece)


def _move(
    call: Callable[[int, Sequence[memoryview], int], int], file: BinaryIO, first: int,
    buffers: Sequence[memoryview],
) -> int:  # fmt: skip
    """``os.preadv`` or ``os.pwritev`` until all bytes have moved; how many that were."""
    wanted = sum(map(len, buffers))
    moved = call(file.fileno(), buffers, first)
    while moved < wanted:
        # A signal, or more than the 2 GiB that Linux moves at once.
        rest, skip = [], moved
        for buffer in buffers:
            if skip < len(buffer):
                rest.append(buffer[skip:])
            skip = max(skip - len(buffer), 0)
        more = call(file.fileno(), rest, first + moved)
        if more == 0:
            raise CheckpointError(
                f"{file.name}: expected {wanted:,} B from byte {first:,} on, got {moved:,}; the "
                "file must not be changed while it is in use"
            )
        moved += more
    return wanted
