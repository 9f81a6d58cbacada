"""A drawing of the RAM over the time of a training step, as a self-contained SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ffedge.plan import END, Plan

_COLOURS = {
    "weights": "#4c78a8", "optimizer state": "#f58518", "activations": "#54a24b",
    "workspace": "#b79a20", "data": "#9d755d", "stack": "#e45756", "mailbox": "#72b7b2",
    "unused": "#eeeeee",
}  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _TOP, _LEGEND = 860, 560, 90, 40, 150
_READABLE = 11


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes ``first``..``first`` + ``nbytes`` - 1 of RAM, in phases ``start``..``end``."""

    name: str
    category: str
    first: int
    nbytes: int
    start: int
    end: int


def blocks(
    plan: Plan, phases: int, arena: int, others: list[tuple[str, str, int, int]]
) -> list[Block]:
    """What lies where and when: the plan's buffers from ``arena`` on, then ``others``.

    others: (name, category, first byte, bytes) of what is there all the time.
    """
    found = [Block(*other, 0, phases - 1) for other in others]
    for buffer in plan.buffers:
        start, end = buffer.need.phases
        end = phases - 1 if end >= END else min(end, phases - 1)
        found.append(
            Block(buffer.name, buffer.category, arena + buffer.offset, buffer.spec.nbytes,
                  start, end)
        )  # fmt: skip
    return found


def draw(found: list[Block], layers: int, ram_bytes: int, title: str) -> str:
    """The SVG. layers: columns are fetching a sample, then one for each layer."""
    phases = layers + 1
    column = (_WIDTH - _LEFT - _LEGEND) / phases
    scale = (_HEIGHT - 2 * _TOP) / ram_bytes
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{column * phases:.1f}" '
        f'height="{ram_bytes * scale:.1f}" fill="{_COLOURS["unused"]}" stroke="#888"/>',
    ]
    bottom = _TOP + ram_bytes * scale
    for block in sorted(found, key=lambda b: b.first):
        x, width = _LEFT + block.start * column, (block.end - block.start + 1) * column
        height = block.nbytes * scale
        y = bottom - block.first * scale - height
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{max(height, 0.3):.2f}" '
            f'fill="{_COLOURS.get(block.category, "#bbbbbb")}" stroke="white" stroke-width="0.3">'
            f"<title>{escape(block.name)}: {block.nbytes:,} B from byte {block.first:,}</title>"
            "</rect>"
        )
        if height >= _READABLE:
            parts.append(
                f'<text x="{x + 4:.1f}" y="{y + height / 2 + 4:.1f}" fill="white">'
                f"{escape(block.name)} {block.nbytes:,} B</text>"
            )
    for phase in range(phases):
        name = "fetch" if phase == 0 else f"layer {phase - 1}"
        x = _LEFT + (phase + 0.5) * column
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{name}</text>')
    for share in range(5):
        y, count = bottom - share / 4 * ram_bytes * scale, ram_bytes * share // 4
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{count:,} B</text>')
    used = sorted({block.category for block in found}, key=list(_COLOURS).index)
    for line, category in enumerate([*used, "unused"]):
        y = _TOP + 18 * line
        parts.append(
            f'<rect x="{_WIDTH - _LEGEND + 16}" y="{y}" width="12" height="12" '
            f'fill="{_COLOURS[category]}"/>'
            f'<text x="{_WIDTH - _LEGEND + 34}" y="{y + 10}">{escape(category)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
