"""A limit on training memory in users' own tests: ``@pytest.mark.ffedge_memory("2MiB")``.

The test fails if the arenas that it and its fixtures made, of trainings and of predictions, were
more than that together at any moment. An arena is all the memory that a training uses, to the
byte, and the same on every machine: this is what fits a device or does not. Not counted: the
data, Python, compiled kernels, and arenas that were there before the test. An arena counts as
long as any of its arrays can be reached: kept weights keep the whole of it.

Loads nothing, and costs nothing, until a test with the marker runs.
"""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from .errors import ConfigError
from .units import parse_bytes, show_bytes

if TYPE_CHECKING:
    from .arena import Arena

MARKER = "ffedge_memory"


class ArenaWatch:
    """Bytes of the arenas made since ``start``: alive ``now``, and at most (``peak``)."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        #: Bytes of each arena that was alive at the peak.
        self.largest: list[int] = []
        self._alive: dict[int, int] = {}
        self._numbers = itertools.count()
        self._original: Any = None

    def start(self) -> None:
        """Watch every arena that is made from now on."""
        from .arena import Arena

        original = self._original = Arena.__init__

        def made(arena: Arena, *arguments: Any, **options: Any) -> None:
            original(arena, *arguments, **options)
            self._made(arena)

        Arena.__init__ = made  # type: ignore[method-assign,assignment]

    def stop(self) -> None:
        """Leave arenas alone again."""
        from .arena import Arena

        if self._original is not None:
            Arena.__init__ = self._original  # type: ignore[method-assign]
            self._original = None

    def _made(self, arena: Arena) -> None:
        if self._alive:
            # A trainer refers to itself in a circle: without this, when an arena that nobody
            # holds any more goes would be a matter of chance.
            gc.collect()
        block, size = arena.words.base, arena.plan.peak
        number = next(self._numbers)
        self._alive[number] = size
        self.now += size
        if self.now > self.peak:
            self.peak, self.largest = self.now, sorted(self._alive.values(), reverse=True)
        weakref.finalize(block, self._gone, number)

    def _gone(self, number: int) -> None:
        self.now -= self._alive.pop(number)


_WATCH = pytest.StashKey[ArenaWatch]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(limit): fails the test if the arenas of its ffedge trainings and predictions "
        "alive at once exceed limit, such as 2MiB or a number of bytes",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch from before the fixtures to after them."""
    if item.get_closest_marker(MARKER) is None:
        return (yield)
    watch = item.stash[_WATCH] = ArenaWatch()
    watch.start()
    try:
        return (yield)
    finally:
        watch.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Judge after the test, if it did not fail on its own."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return (yield)
    limit = _limit(marker)
    result = yield
    watch = item.stash[_WATCH]
    if watch.peak > limit:
        several = ", ".join(f"{size:,} B" for size in watch.largest[:8])
        pytest.fail(
            f"{MARKER}: expected at most {show_bytes(limit)} of training memory, got "
            f"{show_bytes(watch.peak)}: {watch.peak - limit:,} B too much. Arenas alive then: "
            f"{several}; `ffedge plan` lists every buffer",
            pytrace=False,
        )
    return result


def _limit(marker: pytest.Mark) -> int:
    given = [*marker.args, *marker.kwargs.values()]
    try:
        if len(given) != 1 or not isinstance(given[0], str | int):
            raise ConfigError(f"expected one limit, such as '2MiB', got {given}")
        return parse_bytes(given[0])
    except ConfigError as error:
        pytest.fail(f"{MARKER}: {error}", pytrace=False)
