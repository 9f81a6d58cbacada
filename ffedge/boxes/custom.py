"""Any function of rows as a black box."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError, DataError
from ..layers import MAX_INPUTS
from ..memory import set_apart
from ..ranges import whole_in
from .base import MAX_NUMBERS, Array, Box


@dataclass(frozen=True)
class BlackBox(Box):
    """``function(rows) -> rows``: another program, a device, a model of another kind.

    function: takes float32 (n, width), C-contiguous, its own to spoil and valid during the call
    only; returns as many rows of real, finite numbers. What it allocates is its own affair and not
    in the plan. A model file does not hold it: whoever uses the file gives it again, by its title.
    title: what it is called there. width: of the rows that come out; None: as wide as they went in.
    stochastic: ``function(rows, seed)`` is called, with a seed of 32 bits that is another one in
    every call and the same when the run is repeated or resumed.
    parameters: how many numbers ``Perturbed`` may change, 0 to 16,777,216: ``function(rows, v)`` or
    ``function(rows, v, seed)`` is called, with v float32, to be read only; all 0 to begin with.

    >>> BlackBox(np.tanh, "tanh").outputs(500)
    500
    """

    function: Callable[..., Any] | None = field(default=None, compare=False)
    title: str = "function"
    width: int | None = None
    stochastic: bool = False
    parameters: int = 0
    name: ClassVar[str] = "function"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.title, str) or not 1 <= len(self.title) <= 80:
            raise ConfigError(
                f"BlackBox: expected a title of 1 to 80 characters, got {self.title!r:.100}"
            )
        if self.width is not None:
            whole_in(self, "width", 1, MAX_INPUTS)
        whole_in(self, "parameters", 0, MAX_NUMBERS)
        if not isinstance(self.stochastic, bool):
            raise ConfigError(
                f"BlackBox: expected stochastic True or False, got {self.stochastic!r:.40}"
            )
        if self.function is not None and not callable(self.function):
            raise ConfigError(f"BlackBox: expected a function, got {self.function!r:.60}")

    @property
    def is_random(self) -> bool:
        """What was said of the function."""
        return self.stochastic

    @property
    def size(self) -> int:
        """``parameters``."""
        return self.parameters

    @property
    def custom(self) -> BlackBox:
        """Itself."""
        return self

    def giving(self, function: Callable[..., Any]) -> BlackBox:
        """The same with this function."""
        return replace(self, function=function)

    def outputs(self, inputs: int) -> int:
        """``width``."""
        return inputs if self.width is None else self.width

    def describe(self) -> dict[str, Any]:
        """All but the function."""
        return {
            "name": self.name, "title": self.title, "width": self.width,
            "stochastic": self.stochastic, "parameters": self.parameters,
            "normalize": self.normalize,
        }  # fmt: skip

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """Call the function and look at what it returns; DataError if that cannot be used."""
        assert self.function is not None
        with set_apart():
            more = (arrays["v"],) if self.parameters else ()
            found = self.function(x, *more, *([seed] if self.stochastic else []))
            if not isinstance(found, np.ndarray):
                raise self._error(out, f"an object of type {type(found).__name__}")
            if found.shape != out.shape:
                raise self._error(out, f"an array of shape {found.shape}")
            if found.dtype.kind not in "fiu":
                raise self._error(out, f"numbers of type {found.dtype}")
            with np.errstate(over="ignore"):
                np.copyto(out, found, casting="same_kind")

    def _error(self, out: Array, got: str) -> DataError:
        return DataError(
            f"black box {self.title!r}: expected a function that returns real numbers of shape "
            f"{out.shape}, got {got}; change the function, or width= of its BlackBox"
        )

    def __deepcopy__(self, memo: Any) -> BlackBox:
        # A device or a session cannot be copied; the description is frozen anyway.
        return self


def with_functions(boxes: tuple[Any, ...], given: Mapping[str, Callable[..., Any]]) -> Any:
    """The slots with the functions of ``given``, by title; ConfigError for a title not there."""
    titles = {slot.box.custom.title for slot in boxes if slot.box.custom is not None}
    for title in given:
        if title not in titles:
            there = ", ".join(map(repr, sorted(titles))) or "none"
            raise ConfigError(
                f"boxes: expected functions for the black boxes of the network ({there}), got one "
                f"for {title!r:.60}"
            )
    return tuple(
        replace(slot, box=slot.box.giving(given[slot.box.custom.title]))
        if slot.box.custom is not None and slot.box.custom.title in given else slot
        for slot in boxes
    )  # fmt: skip
