"""Planned against measured memory of a real training, as one dict of JSON types.

The plan says what is alive when; this module trains and looks. ``measured_bytes`` is what the
allocator held for arrays: all that the trainer reaches, beside the data, and all that watched
passes made. The arena's own margin for alignment and guard is left out, as ``arena.MARGIN``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import __version__
from ..arena import MARGIN
from ..memory import (
    process_peak_bytes,
    process_written_bytes,
    reset_process_peak,
    watch_allocations,
)
from ..plan import ALIGNMENT, CATEGORIES, END, Buffer, Plan, aligned
from ..progress import Progress
from ..rules import word_for
from ..sources import Dataset
from ..trainer import Trainer
from .arrays import ArrayTrace, owned_bytes
from .file import FORMAT
from .process import resident_bytes, split, warm_up
from .watch import PassWatch

#: Of the plan, then what steps allocate beside the arena.
PROFILE_CATEGORIES = (*CATEGORIES, "runtime")

#: What nobody has written; a line that a training leaves so by chance counts as untouched.
_PATTERN = 0xA5

#: Rounds of watched and unwatched training in turn.
_ROUNDS = 5

Show = Callable[[Progress], None]


@dataclass(frozen=True)
class Measurement:
    """What one training showed. All sizes in bytes.

    arrays: most held for arrays at once, margin left out. touched: end of the farthest 64-byte
    line of the arena that was written. step: most that a pass allocated beside the arena.
    scaler: the same of learning the scaler. watch: seconds and passes by stage and phase.
    processor_seconds: of ``seconds``, those that this process used.
    """

    arrays: int
    touched: int
    step: int
    scaler: int
    scaler_seconds: float
    seconds: float
    processor_seconds: float
    watch: PassWatch


def profile_training(
    trainer: Trainer, data: Dataset, validation: Dataset | None = None, *,
    budget: int | None = None, measure_overhead: bool = False, on_progress: Show | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Learn the scaler, run the whole recipe, and return the profile.

    trainer: newly made; it is trained afterwards. Kernels are compiled beforehand, in a tiny
    training of the same kind, so that no time or memory of theirs is charged to a layer.
    budget: bytes, for the report. measure_overhead: train several more times, with and without
    the watch in turn. on_progress: told of every epoch.
    """
    network = trainer.network
    warm_up(network, trainer.recipe, data)
    _warm_up_trace()
    earlier, written = process_peak_bytes(), process_written_bytes()
    reset_process_peak()
    found = measure(trainer, data, validation, on_progress=on_progress)
    peak = max(process_peak_bytes(), earlier)
    written_after = process_written_bytes()
    storage = {name: int(getattr(trainer, f"bytes_{name}", 0)) for name in ("read", "written")}
    if written is not None and written_after is not None:
        storage["process_written"] = written_after - written
    unwatched, overhead = None, None
    if measure_overhead:
        unwatched, overhead = _overhead(trainer, data, validation)
    plan, rows = trainer.plan, timeline(trainer, found)
    # Only now: boards are no part of a training's memory.
    from .fits import fits

    return {
        "format": FORMAT,
        "ffedge": __version__,
        "network": network.text,
        "rule": word_for(network.rule),
        "precision": network.precision,
        "data": data.name,
        "recipe": trainer.recipe.describe(),
        "budget": budget,
        "planned_bytes": plan.peak,
        "measured_bytes": found.arrays,
        "error_percent": 100.0 * (found.arrays - plan.peak) / plan.peak,
        "alive_bytes": max(sum(row["bytes"][c] for c in CATEGORIES) for row in rows),
        "touched_bytes": found.touched,
        "step_bytes": found.step,
        "categories": list(PROFILE_CATEGORIES),
        "timeline": rows,
        "buffers": [_describe(buffer) for buffer in plan.buffers],
        "process": split(resident_bytes(network, trainer.recipe, data), peak),
        "storage": storage,
        "samples": found.watch.samples,
        "steps": found.watch.steps,
        "seconds": found.seconds,
        "seconds_unwatched": unwatched,
        "overhead_percent": overhead,
        "fits": fits(network, trainer.recipe, peak),
    }


def _warm_up_trace() -> None:
    """The first look of a process takes a thousand times as long as any other."""
    trace = ArrayTrace()
    trace.start()
    trace.look()
    trace.stop()


def measure(
    trainer: Trainer, data: Dataset, validation: Dataset | None = None, *,
    on_progress: Show | None = None,
) -> Measurement:  # fmt: skip
    """Train as ``Trainer`` does, watched."""
    theirs = [array for part in (data, validation) if part is not None
              for array in (part.features, part.labels, part.rows)]  # fmt: skip
    scratch = _fill_scratch(trainer)
    watch = PassWatch(trainer, _passes(trainer, data))
    held = owned_bytes(trainer, without=theirs)
    watch.install()
    try:
        started = time.perf_counter()
        with watch_allocations() as allocations:
            trainer.learn_scaling(data)
        scaler_seconds = time.perf_counter() - started
        started, used = time.perf_counter(), time.process_time()
        _train(trainer, data, validation, watch, on_progress)
        seconds, processor = time.perf_counter() - started, time.process_time() - used
    finally:
        watch.remove()
    trainer.arena.check()
    arrays = max(held + watch.trace.extra, owned_bytes(trainer, without=theirs)) - MARGIN
    step = max(watch.step_bytes, trainer.step_bytes)
    return Measurement(
        arrays, _touched(trainer, scratch), step, allocations.peak, scaler_seconds, seconds,
        processor, watch,
    )  # fmt: skip


def _train(
    trainer: Trainer, data: Dataset, validation: Dataset | None, watch: PassWatch,
    on_progress: Show | None,
) -> None:  # fmt: skip
    epochs = trainer.recipe.epochs
    watch.expect_stage()
    for progress in trainer.train(data, validation):
        if on_progress is not None:
            on_progress(progress)
        if progress.epoch_ended and progress.epoch % epochs == 0 < progress.epochs - progress.epoch:
            watch.expect_stage()


def _passes(trainer: Trainer, data: Dataset) -> int:
    return -(-data.n_samples // trainer.run.capacity) * trainer.recipe.epochs


def _overhead(
    trainer: Trainer, data: Dataset, validation: Dataset | None
) -> tuple[float, float]:  # fmt: skip
    """(seconds of training on unwatched, percent of processor time that watching adds): medians.

    Processor time, because other programs take their share of the clock's.
    """
    seconds, plain, watched = [], [], []
    for turn in range(2 * _ROUNDS):
        # Either goes first as often: whoever trains later meets sparser activities.
        if turn % 4 in (0, 3):
            watched.append(measure(trainer, data, validation).processor_seconds)
            continue
        started, used = time.perf_counter(), time.process_time()
        for _ in trainer.train(data, validation):
            pass
        plain.append(time.process_time() - used)
        seconds.append(time.perf_counter() - started)
    cost = statistics.median(watched) / statistics.median(plain) - 1.0
    return statistics.median(seconds), 100.0 * cost


def _bytes(trainer: Trainer) -> np.ndarray[Any, Any]:
    return trainer.arena.words.view(np.uint8)


def _fill_scratch(trainer: Trainer) -> np.ndarray[Any, Any]:
    """Write the pattern wherever no weights lie; True for the bytes where they do."""
    weights = np.zeros(trainer.plan.peak // ALIGNMENT, bool)
    for buffer in trainer.plan.buffers:
        if buffer.category == "weights":
            weights[buffer.offset // ALIGNMENT : buffer.end // ALIGNMENT] = True
    lines = _bytes(trainer).reshape(-1, ALIGNMENT)
    for first in range(0, len(lines), 1024):
        part = slice(first, first + 1024)
        lines[part][~weights[part]] = _PATTERN
    return weights


def _touched(trainer: Trainer, weights: np.ndarray[Any, Any]) -> int:
    """End of the last line that holds weights or something else than the pattern."""
    lines = _bytes(trainer).reshape(-1, ALIGNMENT)
    for index in range(len(lines) - 1, -1, -1):
        if weights[index] or (lines[index] != _PATTERN).any():
            return (index + 1) * ALIGNMENT
    return 0


def timeline(trainer: Trainer, found: Measurement) -> list[dict[str, Any]]:
    """Rows of the profile: the scaler, then every phase of every stage."""
    rows = [
        _row(trainer.plan, 0, 0, "scaler", found.scaler_seconds, 1, found.scaler)
    ]  # fmt: skip
    depth = len(trainer.network.layers)
    for stage in range(1, trainer.recipe.stages(depth) + 1):
        record = found.watch.stages.get(stage)
        last = stage if trainer.recipe.schedule == "layerwise" else depth
        for phase in range(last + 1):
            seconds = 0.0 if record is None else record.nanoseconds[phase] / 1e9
            passes = 0 if record is None else record.passes
            runtime = 0 if record is None else record.runtime[phase]
            label = "fetch" if phase == 0 else f"layer {phase - 1}"
            rows.append(_row(trainer.plan, stage, phase, label, seconds, passes, runtime))
    return rows


def _row(
    plan: Plan, stage: int, phase: int, label: str, seconds: float, passes: int, runtime: int
) -> dict[str, Any]:
    sizes = dict.fromkeys(PROFILE_CATEGORIES, 0)
    for buffer in plan.buffers:
        stages, phases = buffer.need.stages, buffer.need.phases
        if stages[0] <= stage <= stages[1] and phases[0] <= phase <= phases[1]:
            sizes[buffer.category] += aligned(buffer.spec.nbytes)
    sizes["runtime"] = runtime
    return {
        "stage": stage, "phase": phase, "label": label,
        "layer": phase - 1 if stage and phase else None,
        "seconds": seconds, "passes": passes, "bytes": sizes,
    }  # fmt: skip


def _describe(buffer: Buffer) -> dict[str, Any]:
    need = buffer.need
    return {
        "name": buffer.name, "category": buffer.category, "shape": list(buffer.spec.shape),
        "dtype": buffer.spec.dtype, "bytes": buffer.spec.nbytes, "offset": buffer.offset,
        "stages": _interval(need.stages), "phases": _interval(need.phases),
        "lifetime": need.life,
    }  # fmt: skip


def _interval(interval: tuple[int, int]) -> list[int | None]:
    first, last = interval
    return [first, None if last >= END else last]
