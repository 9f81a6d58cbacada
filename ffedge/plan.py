"""Every buffer of a run, its size and its place, before anything is allocated.

A run is a sequence of stages (prepare the scaler; then one stage that trains all layers, or
one stage per layer), a stage repeats a step, and a step passes through phases (phase 0 fetches
the batch, phase l + 1 works on layer l). A buffer lives in an interval of stages and, within a
step, in an interval of phases. Two buffers may share bytes if one of the two intervals of the
one lies apart from the other's. ``peak`` is the size of the arena that holds them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .errors import BudgetError
from .tensor import TensorSpec

#: Every buffer starts at a multiple of this: a cache line, the widest vector register.
ALIGNMENT = 64

#: What a buffer is for, in the order of the tables.
CATEGORIES = ("weights", "optimizer state", "activations", "workspace", "data")

#: Later than any stage or phase.
END = 1 << 30


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to a multiple of the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Need:
    """A buffer somebody needs: name, spec, category and life, not yet a place.

    stages, phases: first and last (inclusive) interval; by default always.
    """

    name: str
    spec: TensorSpec
    category: str
    stages: tuple[int, int] = (0, END)
    phases: tuple[int, int] = (0, END)

    def meets(self, other: Need) -> bool:
        """Whether both are alive at the same moment."""
        return _overlap(self.stages, other.stages) and _overlap(self.phases, other.phases)

    @property
    def life(self) -> str:
        """The lifetime in words: stages, then phases of a step.

        >>> Need("x", TensorSpec((1,), "int8"), "data", (1, END), (1, 2)).life
        'training, layers 0-1 of a step'
        """
        first, last = self.stages
        if last == 0:
            stages = "preparation"
        elif last != END:
            stages = f"layer {first - 1}'s stage" if first == last else f"stages {first}-{last}"
        else:
            stages = "always" if first == 0 else "training" if first == 1 else f"from stage {first}"
        start, end = self.phases
        if end == END:
            return stages
        begin = "fetch" if start == 0 else f"layer {start - 1}"
        if start == end:
            return f"{stages}, {begin} of a step"
        between = f"fetch to layer {end - 1}" if start == 0 else f"layers {start - 1}-{end - 1}"
        return f"{stages}, {between} of a step"


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A need with its place: ``offset`` in bytes from the arena's start."""

    need: Need
    offset: int

    @property
    def name(self) -> str:
        return self.need.name

    @property
    def spec(self) -> TensorSpec:
        return self.need.spec

    @property
    def category(self) -> str:
        return self.need.category

    @property
    def end(self) -> int:
        """First byte behind the buffer, rounded up to the alignment."""
        return self.offset + aligned(self.spec.nbytes)


@dataclass(frozen=True, slots=True)
class Plan:
    """All buffers with their places. ``peak``: bytes of the arena that holds them."""

    buffers: tuple[Buffer, ...]

    @property
    def peak(self) -> int:
        return max((buffer.end for buffer in self.buffers), default=0)

    def by_category(self) -> dict[str, int]:
        """Bytes of each category alive at the fullest moment, aligned; gaps are left out."""
        _, stage, phase = fullest(buffer.need for buffer in self.buffers)
        sizes = dict.fromkeys(CATEGORIES, 0)
        for buffer in self.buffers:
            stages, phases = buffer.need.stages, buffer.need.phases
            if stages[0] <= stage <= stages[1] and phases[0] <= phase <= phases[1]:
                sizes[buffer.category] += aligned(buffer.spec.nbytes)
        return sizes

    def check(self, budget: int, advice: str) -> None:
        """Raise BudgetError if the peak exceeds ``budget`` bytes."""
        if self.peak > budget:
            raise self.refusal(budget, advice)

    def refusal(self, budget: int, advice: str) -> BudgetError:
        """The error that says by how much ``budget`` bytes are too few, and what to do."""
        largest = sorted(self.buffers, key=lambda b: -b.spec.nbytes)[:3]
        listed = ", ".join(f"{b.name} ({b.spec.nbytes:,} B)" for b in largest)
        return BudgetError(
            f"plan needs {self.peak:,} B, budget is {budget:,} B: "
            f"{self.peak - budget:,} B missing. Largest buffers: {listed}. {advice}",
            required=self.peak,
            budget=budget,
        )


def place(needs: Iterable[Need]) -> Plan:
    """Give every need an offset: largest first, each at the lowest place that is free.

    Greedy by size, as TFLM's memory planner; optimal wherever lifetimes nest.
    """
    # Layer 10 behind layer 9: buffers of neighbours then take turns in the same places.
    ordered = sorted(needs, key=lambda n: (-n.spec.nbytes, *_words(n.name)))
    lives = np.array([(*n.stages, *n.phases) for n in ordered], np.int64).reshape(-1, 4)
    spans: list[tuple[int, int]] = []
    for k, need in enumerate(ordered):
        size = aligned(need.spec.nbytes)
        first, last, begin, end = lives[k]
        before = lives[:k]
        meets = (before[:, 0] <= last) & (first <= before[:, 1])
        meets &= (before[:, 2] <= end) & (begin <= before[:, 3])
        offset = 0
        for start, stop in sorted(spans[i] for i in np.flatnonzero(meets)):
            if offset + size <= start:
                break
            offset = max(offset, stop)
        spans.append((offset, offset + size))
    placed = [Buffer(need, span[0]) for need, span in zip(ordered, spans, strict=True)]
    order = {category: i for i, category in enumerate(CATEGORIES)}
    return Plan(tuple(sorted(placed, key=lambda b: (order[b.category], b.offset))))


def _words(name: str) -> tuple[str, int, str]:
    """A name in parts that sort as people count: text, number, rest."""
    found = re.match(r"([^\d]*)(\d*)(.*)", name)
    assert found is not None
    text, number, rest = found.groups()
    return text, int(number or -1), rest


def most_alive(needs: Iterable[Need]) -> int:
    """Largest sum of bytes alive at one moment, aligned: no plan of these needs can be smaller."""
    return fullest(needs)[0]


def fullest(needs: Iterable[Need]) -> tuple[int, int, int]:
    """That sum, and the first moment of it: stage and phase.

    The sum only rises where some need's life begins.
    """
    kept = list(needs)
    lives = np.array([(*n.stages, *n.phases) for n in kept], np.int64).reshape(-1, 4)
    # Whole numbers up to 2**53, and not too small for any width that somebody may ask for.
    sizes = np.array([float(aligned(n.spec.nbytes)) for n in kept])
    most = (0, 0, 0)
    for stage in np.unique(lives[:, 0]):
        now = (lives[:, 0] <= stage) & (stage <= lives[:, 1])
        begins, ends, alive = lives[now, 2], lives[now, 3], sizes[now]
        phases = np.unique(begins)
        here = (begins[None] <= phases[:, None]) & (phases[:, None] <= ends[None])
        sums = (here * alive).sum(axis=1)
        best = int(sums.argmax())
        if sums[best] > most[0]:
            most = int(sums[best]), int(stage), int(phases[best])
    return most
