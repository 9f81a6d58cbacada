"""What the drawings of a profile show: moments of the timeline, and buffers alive in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

#: More columns than this are thinner than a pixel on a phone.
MOST_COLUMNS = 180


@dataclass(frozen=True, slots=True)
class Column:
    """Neighbouring phases of one stage, drawn as one: the bytes are those of the highest."""

    stage: int
    first: int
    last: int
    layer: int | None
    label: str
    sizes: dict[str, int]
    seconds: float
    passes: int

    @property
    def total(self) -> int:
        """Bytes of all categories."""
        return sum(self.sizes.values())

    @property
    def pace(self) -> float:
        """Seconds of one of its phases, on average."""
        return self.seconds / (self.last - self.first + 1)


def columns(timeline: Sequence[dict[str, Any]], most: int = MOST_COLUMNS) -> list[Column]:
    """The timeline in at most ``most`` columns (or one per stage), none across two stages."""
    together = max(1, -(-len(timeline) // most))
    by_stage = groupby(timeline, key=lambda moment: moment["stage"])
    stages = [list(of_stage) for _, of_stage in by_stage]
    longest = max(map(len, stages), default=0)
    while together < longest and sum(-(-len(stage) // together) for stage in stages) > most:
        together += 1
    return [_merge(moments) for stage in stages for moments in _parts(stage, together)]


def _parts(stage: list[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Neighbours together, at most ``most`` of them, in parts as equal as can be."""
    count = -(-len(stage) // most)
    for i in range(count):
        yield stage[i * len(stage) // count : (i + 1) * len(stage) // count]


def _merge(moments: Sequence[dict[str, Any]]) -> Column:
    highest = max(moments, key=lambda moment: sum(moment["bytes"].values()))
    first, last = moments[0], moments[-1]
    label = first["label"] if first is last else f"{first['label']} to {last['label']}"
    return Column(
        first["stage"], first["phase"], last["phase"], first["layer"], label, highest["bytes"],
        sum(moment["seconds"] for moment in moments), max(moment["passes"] for moment in moments),
    )  # fmt: skip


def show_seconds(seconds: float) -> str:
    """Three figures or so.

    >>> show_seconds(0.0123), show_seconds(2.5), show_seconds(4000)
    ('12.3 ms', '2.50 s', '1 h 7 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def lives_in(buffer: dict[str, Any], stage: int) -> bool:
    """Whether the buffer is alive in that stage."""
    first, last = buffer["stages"]
    return first <= stage and (last is None or stage <= last)


def lowest_turn(profile: dict[str, Any], stage: int, found: Sequence[Column]) -> int | None:
    """The first byte in that stage of a buffer that is not alive all the time; None without one."""
    return min(
        (
            buffer["offset"]
            for buffer in profile["buffers"]
            if lives_in(buffer, stage) and 0 < len(alive_in(buffer, found)) < len(found)
        ),
        default=None,
    )


def alive_in(buffer: dict[str, Any], found: Sequence[Column]) -> range:
    """The columns of one stage in which the buffer is alive: neighbours."""
    start, end = buffer["phases"]
    within = [
        i
        for i, column in enumerate(found)
        if column.last >= start and (end is None or column.first <= end)
    ]
    return range(within[0], within[-1] + 1) if within else range(0)
