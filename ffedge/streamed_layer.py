"""Where the bytes of a streamed layer are, in the training file and in the arena."""

from __future__ import annotations

from collections.abc import Iterable

from .arena import Arena
from .buffers import kept_state, parameters
from .network import Network
from .recipe import Recipe
from .streaming import Streaming, bounds
from .tensor import panels
from .training_file import TrainingFile

#: First byte in the file, and the memory whose bytes lie there, one piece behind the other.
Move = tuple[int, list[memoryview]]


class StreamedLayer:
    """What is moved of one layer.

    A layer in one piece: parameters, and what it keeps from step to step (optimiser state, the
    rule's memory). Of a layer in slices the weight and its state move slice by slice, see
    ``bring``; all else moves as of a whole one. In schedule layerwise, ``lower`` names another
    place: that of a layer that has learned, while one above does.
    """

    def __init__(
        self, index: int, arena: Arena, file: TrainingFile, network: Network, recipe: Recipe,
        streaming: Streaming,
    ) -> None:  # fmt: skip
        self.index, self._arena, self._file = index, arena, file
        self.sliced = streaming.slices(network, index)
        has_lower = f"layer{index}.bias.lower" in arena
        self.suffix = ".lower" if has_lower else ""
        params = list(parameters(network, index))
        kept = list(kept_state(network, recipe, index))
        self._slices: list[tuple[list[Move], list[Move], list[Move]]] = []
        if self.sliced:
            states = [name for name in kept if name.split(".")[0] == "weight"]
            for part in bounds(panels(network.hidden[index]), streaming.panels[index]):
                moves = self._slice(["weight"], part), self._slice(states, part)
                self._slices.append((*moves, self._slice(["weight"], part, self.suffix)))
            params.remove("weight")
            kept = [name for name in kept if name not in states]
        self._params, self._kept = self._moves(params), self._moves(kept)
        self._lower = self._moves(params, self.suffix)
        #: The slice in memory, -1: none; whether its state is too, and both will change.
        self._number, self._changing = -1, False

    def read(self, *, kept: bool = False, lower: bool = False) -> None:
        """Bring in all that moves as a whole; ``kept``: with what is kept from step to step."""
        self._read(self._lower if lower else self._params)
        if kept:
            self._read(self._kept)

    def write(self, *, kept: bool = True) -> None:
        """Write it back, and the slice in memory if it changed."""
        self._write(self._params)
        if kept:
            self._write(self._kept)
        self.put_away()

    def write_kept(self) -> None:
        """Write what is kept alone, as a stage begins; every slice begins alike."""
        self._write(self._kept)
        for _, states, _ in self._slices:
            self._write(states)

    def bring(self, number: int, *, change: bool = False, lower: bool = False) -> None:
        """Have slice ``number`` in memory; ``change``: with its state, to be written back."""
        if number != self._number:
            self.put_away()
            self._read(self._slices[number][2 if lower else 0])
            self._number = number
        if change and not self._changing:
            self._read(self._slices[number][1])
            self._changing = True

    def put_away(self) -> None:
        """Write the slice in memory if it changed; then there is none."""
        if self._changing:
            weight, states, _ = self._slices[self._number]
            self._write(weight)
            self._write(states)
        self._number, self._changing = -1, False

    def write_slice(self, number: int) -> None:
        """Write a slice of weights that were just made."""
        self._write(self._slices[number][0])

    @property
    def space(self) -> memoryview:
        """The bytes that its weight, or a slice of it, is in while it is in hand."""
        return self._bytes("weight", "")

    def _read(self, moves: list[Move]) -> None:
        for first, buffers in moves:
            self._file.read(first, buffers)

    def _write(self, moves: list[Move]) -> None:
        for first, buffers in moves:
            self._file.write(first, buffers)

    def _bytes(self, name: str, suffix: str) -> memoryview:
        return self._arena[f"layer{self.index}.{name}{suffix}"].data.cast("B")

    def _moves(self, names: Iterable[str], suffix: str = "") -> list[Move]:
        """As many moves as there are gaps between the arrays in the file."""
        moves: list[Move] = []
        end = -1
        for name in names:
            first, view = self._file.place(f"layer{self.index}.{name}"), self._bytes(name, suffix)
            if first == end:
                moves[-1][1].append(view)
            else:
                moves.append((first, [view]))
            end = first + len(view)
        return moves

    def _slice(self, names: Iterable[str], part: tuple[int, int], suffix: str = "") -> list[Move]:
        moves: list[Move] = []
        for name in names:
            window = self._arena[f"layer{self.index}.{name}{suffix}"]
            panel = window.nbytes // len(window)
            first = self._file.place(f"layer{self.index}.{name}") + part[0] * panel
            moves.append((first, [self._bytes(name, suffix)[: (part[1] - part[0]) * panel]]))
        return moves
