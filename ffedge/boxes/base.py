"""What a black box is: rows in, rows out; and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..described import describe
from ..errors import ConfigError
from ..tensor import TensorSpec

Array = np.ndarray[Any, Any]

#: More numbers than this in a box are refused: 64 MiB of float32.
MAX_NUMBERS = 1 << 24


@dataclass(frozen=True)
class Box:
    """Base of the black boxes: frozen descriptions; their arrays come from the plan.

    normalize: divide each row that comes out by its root mean square, as a layer's output is:
    the next layer's input has the size it expects, and no goodness shows through.
    """

    name: ClassVar[str]
    #: Whether it has steps, at which two numbers that are as good as equal part.
    rounds: ClassVar[bool] = False

    normalize: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.normalize, bool):
            raise ConfigError(
                f"{type(self).__name__}: expected normalize True or False, got "
                f"{self.normalize!r:.40}"
            )

    @property
    def is_random(self) -> bool:
        """Whether the same rows may come out differently another time."""
        return False

    @property
    def size(self) -> int:
        """Numbers that ``Perturbed`` may change, ``arrays["v"]``; all 0: as described."""
        return 0

    @property
    def custom(self) -> Any:
        """The ``BlackBox`` that it is or holds, or None."""
        return None

    def settled(self, params: dict[str, Array]) -> Box:
        """The box as its learned ``params`` have made it."""
        return self

    def params(self, inputs: int) -> dict[str, TensorSpec]:
        """What it learns, kept in the model file; all begin at 0."""
        return {}

    def check(self, inputs: int) -> None:
        """Raise ConfigError if it cannot take in rows of ``inputs`` numbers."""

    def outputs(self, inputs: int) -> int:
        """Numbers that come out for ``inputs`` that go in."""
        return inputs

    def kept(self, inputs: int) -> dict[str, TensorSpec]:
        """Buffers that live as long as the box, filled by ``begin``; not in the model file."""
        return {}

    def workspace(self, inputs: int, rows: int) -> dict[str, TensorSpec]:
        """Buffers of one call."""
        return {}

    def begin(self, inputs: int, arrays: dict[str, Array]) -> None:
        """Fill the buffers of ``kept``."""

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """Write what becomes of the rows ``x`` to ``out``.

        x       float32 (n, inputs), C-contiguous   read, may be spoiled
        out     float32 (n, outputs), C-contiguous  written
        arrays  the buffers of ``kept`` and ``workspace`` by name
        seed    0..2**32-1, another one in every call; the same again if a run is repeated
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """JSON types, from which ``described.parse`` makes the box again."""
        described: dict[str, Any] = describe(self)
        return described


@dataclass(frozen=True, slots=True)
class Slot:
    """A box in its place: in front of layer ``index``, whose input it changes.

    index: 0 stands in front of the first layer. inputs: width of what goes in.
    Raises ConfigError if the box cannot take that in.
    """

    index: int
    inputs: int
    box: Box

    def __post_init__(self) -> None:
        if not isinstance(self.box, Box):
            raise ConfigError(
                f"Network: expected a box in front of layer {self.index!r:.20}, such as "
                f"BlackBox(function), got {self.box!r:.60}"
            )
        if type(self.index) is not int or self.index < 0:
            raise ConfigError(
                f"Network: expected the number of a layer (from 0) for each box, got "
                f"{self.index!r:.40}"
            )
        self.box.check(self.inputs)

    @property
    def outputs(self) -> int:
        """Width of what comes out."""
        return self.box.outputs(self.inputs)
