"""What ``bench_memory`` found: a table, a line chart, and in words where ffedge does not win.

A row is a dict of JSON types: ``system`` ("torch ..." or "ffedge ..."), ``depth`` (hidden layers),
``batch``, ``peak_bytes`` (counted), ``kinds`` (bytes by kind), ``resident_bytes`` (measured),
``seconds`` and ``accuracy`` (0..1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

from ffedge.units import short_bytes

Row = dict[str, Any]

#: What all ratios refer to.
BASELINE = "torch adam"

_COLOURS = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b79a20", "#9d755d", "#b279a2",
    "#ff9da6", "#59636b", "#2f4b26",
)  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _LEGEND, _GAP = 1180, 470, 80, 60, 60, 220, 70


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: bytes (y) against ``label`` (x); both axes logarithmic."""

    title: str
    label: str
    lines: dict[str, list[tuple[int, int]]]


def panels(rows: list[Row], batch: int, depth: int) -> list[Panel]:
    """Peak bytes against depth at that batch size, and against the batch size at that depth."""
    found = []
    for title, label, axis, fixed, value in (
        (f"Batches of {batch}", "hidden layers", "depth", "batch", batch),
        (f"{depth} hidden layers", "samples in a batch", "batch", "depth", depth),
    ):
        lines: dict[str, list[tuple[int, int]]] = {}
        for row in rows:
            if row[fixed] == value:
                lines.setdefault(row["system"], []).append((row[axis], row["peak_bytes"]))
        found.append(Panel(title, label, {name: sorted(line) for name, line in lines.items()}))
    return [panel for panel in found if panel.lines]


def ticks(low: int, high: int) -> list[int]:
    """Powers of four from at or below ``low`` to at or above ``high``, both at least 1."""
    first, last = math.floor(math.log(low, 4)), math.ceil(math.log(high, 4))
    return [4**power for power in range(first, max(last, first + 1) + 1)]


def draw(found: list[Panel], title: str) -> str:
    """The panels side by side as a self-contained SVG; PyTorch's lines are dashed."""
    names = list(dict.fromkeys(name for panel in found for name in panel.lines))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    counts = [y for panel in found for line in panel.lines.values() for _, y in line]
    marks = ticks(min(counts), max(counts))
    width = (_WIDTH - _LEFT - _LEGEND - _GAP * (len(found) - 1)) / len(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for i, panel in enumerate(found):
        parts += _panel(panel, _LEFT + i * (width + _GAP), width, marks, colours)
    for i, name in enumerate(names):
        x, y = _WIDTH - _LEGEND + 24, _TOP + 8 + 18 * i
        parts.append(
            f'<line x1="{x}" y1="{y}" x2="{x + 28}" y2="{y}" {_stroke(name, colours)}/>'
            f'<text x="{x + 34}" y="{y + 4}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _stroke(name: str, colours: dict[str, str]) -> str:
    dashes = ' stroke-dasharray="6 4"' if name.startswith("torch") else ""
    return f'stroke="{colours[name]}" stroke-width="2" fill="none"{dashes}'


def _panel(
    panel: Panel, left: float, width: float, marks: list[int], colours: dict[str, str]
) -> list[str]:
    height = _HEIGHT - _TOP - _BOTTOM
    places = sorted({x for line in panel.lines.values() for x, _ in line})
    span = math.log(places[-1] / places[0]) or 1.0
    inner = width - 24

    def across(x: int) -> float:
        return left + 12 + inner * math.log(x / places[0]) / span

    def down(y: int) -> float:
        return _TOP + height * (1.0 - math.log(y / marks[0]) / math.log(marks[-1] / marks[0]))

    bottom = _TOP + height
    parts = [
        f'<rect x="{left:.1f}" y="{_TOP}" width="{width:.1f}" height="{height}" fill="#fafafa" '
        f'stroke="#888"/>',
        f'<text x="{left + width / 2:.1f}" y="{_TOP - 8}" text-anchor="middle">'
        f"{escape(panel.title)}</text>",
        f'<text x="{left + width / 2:.1f}" y="{bottom + 36}" text-anchor="middle">'
        f"{escape(panel.label)}</text>",
    ]
    for mark in marks:
        y = down(mark)
        parts.append(
            f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{left + width:.1f}" y2="{y:.1f}" '
            f'stroke="#dddddd"/><text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">'
            f"{short_bytes(mark)}</text>"
        )
    for x in places:
        parts.append(
            f'<text x="{across(x):.1f}" y="{bottom + 18}" text-anchor="middle">{x:,}</text>'
        )
    for name, line in panel.lines.items():
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{points}" {_stroke(name, colours)}/>')
        for x, y in line:
            parts.append(
                f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="{colours[name]}">'
                f"<title>{escape(name)}: {y:,} B at {x:,} {escape(panel.label)}</title></circle>"
            )
    return parts


def points(rows: list[Row]) -> list[tuple[int, int]]:
    """(depth, batch) of the rows, each once, in their order."""
    return list(dict.fromkeys((row["depth"], row["batch"]) for row in rows))


def table(rows: list[Row]) -> str:
    """The rows for people, one block a point; ratios are to ``BASELINE`` there."""
    lines = []
    for depth, batch in points(rows):
        here = [row for row in rows if (row["depth"], row["batch"]) == (depth, batch)]
        base = next((row for row in here if row["system"] == BASELINE), None)
        lines.append(
            f"\n{depth} hidden layers, batches of {batch}\n"
            f"{'system':<28}{'counted':>14}{'ratio':>8}{'resident':>14}{'ratio':>8}"
            f"{'seconds':>10}{'accuracy':>10}"
        )
        for row in here:
            lines.append(
                f"{row['system']:<28}{row['peak_bytes']:>14,}{_ratio(row, base, 'peak_bytes')}"
                f"{row['resident_bytes']:>14,}{_ratio(row, base, 'resident_bytes')}"
                f"{row['seconds']:>10.2f}{100 * row['accuracy']:>9.2f}%"
            )
    return "\n".join(lines)


def _ratio(row: Row, base: Row | None, field: str) -> str:
    return f"{'-' if base is None else f'{row[field] / base[field]:.3f}':>8}"


def shortfalls(rows: list[Row]) -> list[str]:
    """In words, where each ffedge system is behind the best of PyTorch's at the same point.

    Best is the least memory, the fewest seconds or the highest accuracy of any PyTorch system, so
    that three of them may stand against one of ffedge's.
    """
    lines = []
    measures = (
        ("counted memory", "peak_bytes", 1), ("resident memory", "resident_bytes", 1),
        ("seconds", "seconds", 1), ("accuracy", "accuracy", -1),
    )  # fmt: skip
    for system in dict.fromkeys(row["system"] for row in rows if row["system"][:6] == "ffedge"):
        for words, field, sign in measures:
            behind, compared = [], 0
            for depth, batch in points(rows):
                here = [row for row in rows if (row["depth"], row["batch"]) == (depth, batch)]
                own = [row for row in here if row["system"] == system]
                theirs = [row for row in here if row["system"].startswith("torch")]
                if not own or not theirs:
                    continue
                compared += 1
                best = min(theirs, key=lambda row: sign * row[field])
                if sign * own[0][field] > sign * best[field]:
                    behind.append((depth, batch, own[0][field], best))
            if behind:
                lines.append(_shortfall(system, words, field, behind, compared))
    return lines


def _shortfall(system: str, words: str, field: str, behind: list[Any], compared: int) -> str:
    where = f"{system}, {words}: behind at {len(behind)} of {compared} points"
    if field == "accuracy":
        depth, batch, own, best = max(behind, key=lambda item: item[3][field] - item[2])
        amount = f"{100 * (best[field] - own):.2f} points below {best['system']}"
    else:
        depth, batch, own, best = max(behind, key=lambda item: item[2] / item[3][field])
        amount = f"{own / best[field]:.2f} times {best['system']}'s"
    return f"{where}; at worst {amount}, with {depth} hidden layers and batches of {batch}"
