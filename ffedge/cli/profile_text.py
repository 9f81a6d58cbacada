"""A profile for a terminal: the timeline as stacked bars, then tables; at most 100 columns."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ..units import short_bytes, show_bytes

#: One sign for each category, in the profile's order; then the mark of the budget.
_BLOCKS, _BLOCK_MARK = "█▓▒░▄·", "│"
_ASCII, _ASCII_MARK = "#=+-o.", "|"

#: Rows of the timeline and of the buffers that are shown.
_ROWS, _BUFFERS = 40, 24

_NARROW, _WIDE = 80, 100

#: A budget beyond so many times the peak would press the bars into nothing.
_FAR = 4


def report(profile: dict[str, Any], *, columns: int | None = None, ascii_only: bool | None = None,
           ) -> str:  # fmt: skip
    """All of it. columns: of the terminal. ascii_only: by default, if stdout cannot show blocks."""
    if columns is None:
        columns = shutil.get_terminal_size((_WIDE, 24)).columns
    width = min(max(columns, _NARROW), _WIDE)
    if ascii_only is None:
        ascii_only = not shows_blocks(getattr(sys.stdout, "encoding", None))
    signs = (_ASCII, _ASCII_MARK) if ascii_only else (_BLOCKS, _BLOCK_MARK)
    parts = [
        _about(profile), _timeline(profile, width, *signs), _memory(profile),
        _buffers(profile, width, signs[0]), _process(profile), _rest(profile),
        _fits(profile, width),
    ]  # fmt: skip
    return "\n".join(line.rstrip() for part in parts for line in part)


def shows_blocks(encoding: str | None) -> bool:
    """Whether text of this encoding can hold the block characters."""
    try:
        (_BLOCKS + _BLOCK_MARK).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _about(profile: dict[str, Any]) -> list[str]:
    recipe = profile["recipe"]
    details = [f"{key} {recipe[name]}" for key, name in
               (("batch", "batch_size"), ("epochs", "epochs")) if name in recipe]  # fmt: skip
    return [
        f"profile   {profile['network']}, {profile['precision']}, rule {profile['rule']}; "
        f"{', '.join([profile['data'], *details])}",
        f"trained   {profile['samples']:,} samples in {profile['steps']:,} steps, "
        f"{profile['seconds']:.2f} s",
    ]


def _timeline(profile: dict[str, Any], width: int, signs: str, mark: str) -> list[str]:
    rows, categories = profile["timeline"], profile["categories"]
    label = max(len(_label(row, profile)) for row in rows)
    room = width - label - 28
    budget = profile["budget"]
    most = max(profile["planned_bytes"], *(sum(row["bytes"].values()) for row in rows), 1)
    near = budget is not None and budget <= _FAR * most
    full = max(most, budget) if near else most
    place = round(budget / full * room) if near else None
    signs = (signs + signs[-1] * len(categories))[: len(categories)]
    lines = [
        "",
        "memory over a step, a row for each phase; bytes alive and seconds at the right",
    ]
    for row in _shortened(rows):
        if row is None:
            lines.append(f"  {'...':<{label}}  {len(rows) - _ROWS:,} more in --json and --html")
            continue
        sizes = [row["bytes"].get(name, 0) for name in categories]
        bar = _bar(sizes, full, room, signs).ljust(room + 1)
        if place is not None:
            bar = bar[:place] + mark + bar[place + 1 :]
        lines.append(
            f"  {_label(row, profile):<{label}}  {bar} {short_bytes(sum(sizes)):>10} "
            f"{row['seconds']:>9.3f} s"
        )
    used = [(sign, name) for sign, name in zip(signs, categories, strict=True)
            if any(row["bytes"].get(name, 0) for row in rows)]  # fmt: skip
    lines.append("  " + "   ".join(f"{sign} {name}" for sign, name in used))
    if near:
        lines.append(f"  {mark} budget {show_bytes(budget)}")
    elif budget is not None:
        lines.append(f"  budget {show_bytes(budget)}, far beyond the right edge")
    return lines


def _label(row: dict[str, Any], profile: dict[str, Any]) -> str:
    several = profile["timeline"][-1]["stage"] > 1 and row["stage"] > 0
    return f"stage {row['stage']} {row['label']}" if several else str(row["label"])


def _shortened(rows: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any] | None]:
    if len(rows) <= _ROWS:
        return rows
    half = _ROWS // 2
    return [*rows[:half], None, *rows[-half:]]


def _bar(sizes: Sequence[int], full: int, room: int, signs: str) -> str:
    """Whole columns, rounded at the running sum, so that the bar's end is right."""
    bar, total = "", 0
    for size, sign in zip(sizes, signs, strict=True):
        total += size
        bar += sign * (round(total / full * room) - len(bar))
    return bar


def _memory(profile: dict[str, Any]) -> list[str]:
    planned, measured = profile["planned_bytes"], profile["measured_bytes"]
    error = profile["error_percent"]
    lines = [
        "",
        f"predicted {show_bytes(planned)}",
        f"measured  {show_bytes(measured)}: {measured - planned:+,} B, error {error:+.3f} %",
        f"alive     {show_bytes(profile['alive_bytes'])} at one moment at most",
        f"written   up to byte {profile['touched_bytes']:,}",
        f"steps     {show_bytes(profile['step_bytes'])} of Python's own numbers at most, beside it",
    ]
    if profile["budget"] is not None:
        left = profile["budget"] - measured
        words = "left" if left >= 0 else "too much"
        lines.append(f"budget    {show_bytes(profile['budget'])}: {show_bytes(abs(left))} {words}")
    return lines


def _buffers(profile: dict[str, Any], width: int, signs: str) -> list[str]:
    found = sorted(profile["buffers"], key=lambda b: (-b["bytes"], b["name"]))
    if not found:
        return []
    sign_of = dict(zip(profile["categories"], signs, strict=False))
    rows = [
        (
            sign_of.get(b["category"], " "), b["name"],
            f"{b['dtype']} {'x'.join(map(str, b['shape']))}",
            f"{b['bytes']:,}", f"{b['offset']:,}", b["lifetime"],
        )
        for b in found[:_BUFFERS]
    ]  # fmt: skip
    titles = ("", "buffer", "shape", "bytes", "at", "lives")
    lines = ["", "buffers, the largest first; those that never live together may share bytes"]
    lines += _table([titles, *rows], ("<", "<", "<", ">", ">", "<"), width)
    if len(found) > _BUFFERS:
        rest = found[_BUFFERS:]
        lines.append(
            f"  and {len(rest):,} smaller ones, {sum(b['bytes'] for b in rest):,} B together"
        )
    return lines


def _table(rows: Sequence[Sequence[str]], sides: Sequence[str], width: int) -> list[str]:
    """Columns as wide as they must be; the last one is cut at ``width``."""
    columns = [max(len(row[i]) for row in rows) for i in range(len(sides))]
    lines = []
    for row in rows:
        cells = [f"{cell:{side}{n}}" for cell, side, n in zip(row, sides, columns, strict=True)]
        line = "  " + "  ".join(cells)
        lines.append(line if len(line.rstrip()) <= width else line[: width - 3] + "...")
    return lines


def _process(profile: dict[str, Any]) -> list[str]:
    process = profile["process"]
    names = ("interpreter", "numpy", "kernels", "ffedge", "training")
    if process["peak"] == 0:
        return ["", "process   unknown: this system does not tell"]
    lines = ["", f"process   {show_bytes(process['peak'])} at its peak, of which"]
    if not any(process[name] for name in names):
        return [*lines, "  unknown: this system has no /proc to look into"]
    words = {
        "interpreter": "Python itself", "numpy": "NumPy", "ffedge": "ffedge",
        "kernels": f"kernels, run by {process['kernels_by']}, compiled or loaded",
        "training": "training: arena, data and all the rest",
    }  # fmt: skip
    return [*lines, *(f"  {short_bytes(process[n]):>10}  {words[n]}" for n in names)]


def _rest(profile: dict[str, Any]) -> list[str]:
    storage = profile["storage"]
    lines = ["", f"storage   {show_bytes(storage.get('read', 0))} of weights and state read, "
                 f"{show_bytes(storage.get('written', 0))} written"]  # fmt: skip
    if "process_written" in storage:
        lines.append(f"          {show_bytes(storage['process_written'])} by the whole process")
    if profile["overhead_percent"] is not None and profile["seconds_unwatched"] is not None:
        lines.append(
            f"overhead  {profile['overhead_percent']:+.1f} % of processor time; "
            f"{profile['seconds_unwatched']:.3f} s unwatched"
        )
    return lines


def _fits(profile: dict[str, Any], width: int) -> list[str]:
    if not profile["fits"]:
        return []
    rows = [
        (
            fit["name"], "yes" if fit["fits"] else "no", short_bytes(fit["memory_bytes"]),
            "-" if fit["needed_bytes"] is None else short_bytes(fit["needed_bytes"]), fit["note"],
        )
        for fit in profile["fits"]
    ]  # fmt: skip
    titles = ("fits on", "", "memory", "needed", "")
    return ["", *_table([titles, *rows], ("<", "<", ">", ">", "<"), width)]
