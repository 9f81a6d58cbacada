"""Progress on long work: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

from ..progress import Progress

#: Plain lines of a whole run, about, and the longest silence in seconds.
_LINES, _PAUSE = 20, 10.0

#: Layers whose goodness is shown one by one.
_SHOWN = 6


class ProgressLine:
    """Writes to stderr, so that stdout stays for results; ``quiet`` writes nothing at all."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._width = 0
        self._shown: float | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._width:
            self._stream.write("\n")
            self._stream.flush()

    def reading(self, done: int, total: int) -> None:
        """Bytes of a data file read so far."""
        if self._terminal and not self._quiet and total > 0:
            self._rewrite(f"reading {100 * done // total:3d} %")

    def show(self, progress: Progress) -> None:
        """One report of the trainer; off a terminal at some epochs' ends: a log is read later."""
        if self._quiet:
            return
        text = describe(progress)
        if self._terminal:
            self._rewrite(text)
        elif progress.epoch_ended and self._is_due(progress):
            self._shown = progress.seconds
            self._stream.write(text + "\n")
            self._stream.flush()

    def _is_due(self, progress: Progress) -> bool:
        """The first epoch, then about ``_LINES`` of them, and one after every ``_PAUSE``."""
        share = progress.epoch % max(1, progress.epochs // _LINES) == 0
        return share or self._shown is None or progress.seconds - self._shown >= _PAUSE

    def _rewrite(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)


def describe(progress: Progress) -> str:
    """``epoch 3/10  layer all  goodness 1.21 0.98  train 97.1 %  valid 96.4 %  4 s left``"""
    layer = "all" if progress.layer is None else str(progress.layer)
    values = progress.goodness
    goodness = " ".join(f"{value:.2f}" for value in values)
    if len(values) > _SHOWN:
        goodness = f"{min(values):.2f} to {max(values):.2f} in {len(values)} layers"
    parts = [
        f"epoch {progress.epoch}/{progress.epochs}",
        f"layer {layer}",
        f"goodness {goodness}",
        f"{'nearest bin' if progress.numeric else 'train'} {100 * progress.accuracy:.1f} %",
    ]
    if progress.validation is not None:
        value = progress.validation
        parts.append(f"valid R2 {value:.4f}" if progress.numeric else f"valid {100 * value:.1f} %")
    if progress.changed is not None:
        parts.append(f"changed {100 * progress.changed:.2f} %")
    parts.append(f"{duration(progress.seconds_left)} left")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(7), duration(95), duration(7500)
    ('7 s', '1 min 35 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
