"""Who is told of a run's way through its layers."""

from __future__ import annotations

from typing import Protocol


class Visits(Protocol):
    """Who is told of a run's way through its layers, before each is touched.

    A pass begins when samples are fetched, enters layers from the first on, each at most once in
    a row, and ends when the next one begins or the last of these samples' work has been done.
    """

    def begin(self) -> None:
        """Samples are about to be fetched; the pass before is over."""

    def enter(self, index: int) -> None:
        """Layer ``index`` is about to run forward; the one entered before is done with.

        Said again for the layer that is in hand, it means nothing.
        """

    def end(self) -> None:
        """The pass is over."""
