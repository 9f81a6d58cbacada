"""The drawings of a profile's page, as SVG: bytes over time, buffers in the arena, shares of a bar.

Heights are pixels, widths are percentages: a drawing is as wide as the page allows while its
letters keep their size. Labels say from which width of the plot on they fit (``style``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby, pairwise
from typing import Any

from ..units import short_bytes, show_bytes
from .columns import Column, alive_in, lives_in, show_seconds
from .style import NARROWEST, STEPS

#: Lines between more stages than this hide what they part.
MOST_LINES = 20

_PLOT, _TOP, _STRIP = 260, 38, 40
_LETTER = 7.0


def _fits_from(pixels: float, share: float) -> str | None:
    """The class of a label that needs ``pixels`` in ``share`` of the plot; None if it never fits.

    >>> _fits_from(100, 0.25), _fits_from(50, 0.5), _fits_from(50, 0.01)
    ('from400', '', None)
    """
    needed = pixels / share
    if needed <= NARROWEST:
        return ""
    return next((f"from{step}" for step in STEPS if step >= needed), None)


def _percent(share: float) -> str:
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect x="{_percent(x)}" y="{y:.2f}" width="{_percent(width)}" height="{height:.2f}" '
        f'class="{kind}"/>'
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{_percent(x)}" y="{y:.1f}" text-anchor="{anchor}"{chosen}>{escape(text)}</text>'
    )


def _beside(y: float, text: str, kind: str = "") -> str:
    """Left of the plot, where the page leaves room."""
    chosen = f' class="{kind}"' if kind else ""
    return f'<text x="-8" y="{y:.1f}" text-anchor="end"{chosen}>{escape(text)}</text>'


def _level(y: float, kind: str) -> str:
    return f'<line x1="0" x2="100%" y1="{y:.2f}" y2="{y:.2f}" class="{kind}"/>'


def _upright(x: float, top: float, bottom: float) -> str:
    at = _percent(x)
    return f'<line x1="{at}" x2="{at}" y1="{top}" y2="{bottom}" class="between"/>'


def _svg(height: float, label: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{height:.0f}" role="img" '
        f'aria-label="{escape(label)}">'
    )
    return "\n".join([head, *parts, "</svg>"])


def _scale(low: int, high: int, bottom: float, height: float) -> Iterator[str]:
    """Lines at round numbers of bytes in low..high: multiples of a power of two, at most five."""
    step = 1
    while step * 4 < high - low:
        step *= 2
    for count in range(-(-low // step) * step, high + 1, step):
        y = bottom - (count - low) / (high - low) * height
        yield _level(y, "grid")
        # Far above 0, a rounded MiB would say the same on every line.
        size = short_bytes(count) if low == 0 else _exact(count, step)
        yield _beside(y + 4, size)


def _exact(count: int, step: int) -> str:
    """A multiple of ``step`` in KiB, in bytes where that is not whole.

    >>> _exact(3 << 20, 1 << 14), _exact(1280, 256)
    ('3,072 KiB', '1,280 B')
    """
    return f"{count:,} B" if step % 1024 else f"{count // 1024:,} KiB"


def _moments(found: Sequence[Column], y: float) -> Iterator[str]:
    """What happens in each column: in words where there is room, else every nth layer's number."""
    share = 1 / len(found)
    several = len({column.stage for column in found if column.stage > 0}) > 1
    merged = any(column.first != column.last for column in found)
    longest = max(len(column.label) for column in found)
    words = None if merged else _fits_from(longest * _LETTER + 6, share)
    digits = max(len(str(column.layer or 0)) for column in found)
    least = digits * _LETTER + 4
    # Stages follow each other closely: all of their layers are numbered, or none.
    if words != "" and (fits := _fits_from(least, share if several else 1)) is not None:
        yield _beside(y, "layer", f"{fits} {_until(words)}".strip())
    for i, column in enumerate(found):
        x = (i + 0.5) * share
        if words is not None:
            yield _text(x, y, column.label, words)
        if words == "":
            continue
        if column.layer is None:
            kind = _fits_from(len(column.label) * _LETTER + 4, share)
            text = column.label
        else:
            stride = 1 if several else _stride(i if merged else column.layer)
            kind, text = _fits_from(least, min(share * stride, 1)), str(column.layer)
        if kind is not None:
            yield _text(x, y, text, f"{kind} {_until(words)}".strip())


def _until(kind: str | None) -> str:
    """The class of what is shown only where a label of class ``kind`` is not."""
    return kind.replace("from", "until") if kind else ""


def _stride(index: int) -> int:
    """The largest power of two that divides it: a label of that rank has as much room.

    >>> [_stride(i) for i in (0, 1, 2, 6, 8)]
    [1024, 1, 2, 2, 8]
    """
    return index & -index if index else 1024


def _stages(found: Sequence[Column], y: float) -> Iterator[str]:
    """The number of every stage, or of every nth."""
    share = 1 / len(found)
    by_stage = groupby(found, key=lambda column: column.stage)
    counts = [(stage, len(list(of_stage))) for stage, of_stage in by_stage]
    narrowest = min(count for stage, count in counts if stage) * share
    yield _beside(y, "stage")
    start = 0
    for stage, count in counts:
        room = min(narrowest * _stride(stage), 1)
        kind = _fits_from(len(str(stage)) * _LETTER + 6, room)
        if stage and kind is not None:
            yield _text((start + count / 2) * share, y, str(stage), kind)
        start += count


def _limits(planned: int, budget: int | None, limit: int, bottom: float) -> Iterator[str]:
    y = bottom - planned / limit * _PLOT
    yield _level(y, "planned")
    if budget is not None and budget > limit:
        yield _text(1, 13, f"budget {short_bytes(budget)} ↑", "mark", "end")
    elif budget is not None:
        above = bottom - budget / limit * _PLOT
        yield _level(above, "limit")
        text = f"budget {short_bytes(budget)}"
        if y - above < 16:
            # On a phone the two labels do not fit beside each other.
            yield _text(1, above - 21, text, "mark over until400", "end")
            yield _text(1, above - 7, text, "mark over from400", "end")
        else:
            yield _text(1, above - 7, text, "mark over", "end")
    yield _text(0, y - 7, f"planned {short_bytes(planned)}", "mark", "start")


def draw_timeline(
    found: Sequence[Column], categories: Sequence[str], planned: int, budget: int | None
) -> str:
    """Bytes alive in each column, stacked by category, above the time that was spent there.

    A budget far above the plan is written, not drawn: it would press everything else flat.
    """
    limit = max(planned, *(column.total for column in found), 1)
    if budget is not None and budget <= 2 * limit:
        limit = max(limit, budget)
    bottom, share = _TOP + _PLOT, 1 / len(found)
    longest = max(column.pace for column in found) or 1.0
    floor = bottom + 12 + _STRIP
    parts = [*_scale(0, limit, bottom, _PLOT), _level(floor, "grid")]
    parts.append(_beside(floor - _STRIP / 2 - 3, "time"))
    parts.append(_beside(floor - _STRIP / 2 + 11, f"≤ {show_seconds(longest)}"))
    parts.append(f'<g class="blocks{" few" if len(found) <= 24 else ""}">')
    for i, column in enumerate(found):
        x, y = i * share, float(bottom)
        parts.append(f"<g><title>{escape(_describe(column, categories))}</title>")
        for rank, category in enumerate(categories):
            height = column.sizes.get(category, 0) / limit * _PLOT
            if height > 0:
                y -= height
                parts.append(_rect(x, y, share, height, f"c{rank}"))
        height = column.pace / longest * _STRIP
        parts.append(_rect(x, floor - height, share, height, "time"))
        parts.append(_rect(x, _TOP, share, floor - _TOP, "hit") + "</g>")
    parts.append("</g>")
    count = len({column.stage for column in found})
    for i, (before, after) in enumerate(pairwise(found)):
        if before.stage != after.stage and (count <= MOST_LINES or before.stage == 0):
            parts.append(_upright((i + 1) * share, _TOP, floor))
    parts += _limits(planned, budget, limit, bottom)
    parts += _moments(found, floor + 17)
    if count > 2:
        parts += _stages(found, floor + 34)
    highest = max(found, key=lambda column: column.total)
    label = (
        f"Bytes alive over time: at most {short_bytes(highest.total)}, in {highest.label}; "
        f"planned {short_bytes(planned)}"
    )
    return _svg(floor + (42 if count > 2 else 24), label, parts)


def _describe(column: Column, categories: Sequence[str]) -> str:
    lines = [f"stage {column.stage}, {column.label}: {show_bytes(column.total)}"]
    lines += [
        f"{category}: {show_bytes(column.sizes[category])}"
        for category in reversed(categories) if column.sizes.get(category)
    ]  # fmt: skip
    passes = "pass" if column.passes == 1 else "passes"
    lines.append(f"{show_seconds(column.seconds)} in {column.passes:,} {passes}")
    return "\n".join(lines)


def draw_arena(
    profile: dict[str, Any], stage: int, found: Sequence[Column], height: int, name: str,
    low: int = 0,
) -> str:  # fmt: skip
    """The arena in one stage: x is the way through a step, y the offset, free bytes hatched.

    found: the stage's columns. height: pixels of the plot. name: a word of its own in the page.
    low: the offset at the bottom.
    """
    high, categories = max(profile["planned_bytes"], low + 1), profile["categories"]
    share, top = 1 / len(found), 8
    bottom, scale = top + height, height / (high - low)
    parts = [
        f'<defs><pattern id="{name}" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="7" height="7" class="free"/>'
        '<line x1="0" x2="0" y1="0" y2="7" class="hatch"/></pattern></defs>',
        f'<g><title>free at this moment</title><rect x="0" y="{top}" width="100%" '
        f'height="{height}" fill="url(#{name})"/></g>',
        *_scale(low, high, bottom, height),
        '<g class="blocks">',
    ]
    labels = []
    for buffer in profile["buffers"]:
        within = alive_in(buffer, found)
        first, end = buffer["offset"], buffer["offset"] + buffer["bytes"]
        if not within or not lives_in(buffer, stage) or end <= low:
            continue
        x, width = within[0] * share, len(within) * share
        y, tall = bottom - (end - low) * scale, (end - max(first, low)) * scale
        rank = categories.index(buffer["category"])
        title = (
            f"{buffer['name']}: {show_bytes(buffer['bytes'])} from byte {first:,}\n"
            f"{buffer['category']}; {buffer['lifetime']}"
        )
        edge = " edge" if tall > 4 else ""
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f"{_rect(x, y, width, max(tall, 0.75), f'c{rank}{edge}')}</g>"
        )
        if tall >= 13:
            labels.append(_label(buffer["name"], buffer["bytes"], x, width, y + tall / 2, rank))
    parts += ["</g>", *labels, *_moments(found, bottom + 17)]
    label = f"Buffers in bytes {low:,} to {high:,} of the arena in stage {stage}"
    return _svg(bottom + 24, label, parts)


def _label(name: str, nbytes: int, x: float, width: float, middle: float, rank: int) -> str:
    """A buffer's name inside its rectangle, its size behind it where both fit; "" for neither."""
    size = short_bytes(nbytes)
    short = _fits_from(len(name) * _LETTER + 8, width)
    both = _fits_from((len(name) + len(size) + 2) * _LETTER + 8, width)
    if short is None:
        return ""
    behind = "" if both is None else f'<tspan class="{both}">  {size}</tspan>'
    return (
        f'<text x="{_percent(x)}" dx="5" y="{middle + 4:.1f}" class="in on{rank} {short}">'
        f"{escape(name)}{behind}</text>"
    )


def draw_bar(parts: Sequence[tuple[str, int]], label: str) -> str:
    """Sizes side by side, each with its name and bytes where they fit."""
    total, before, height = sum(size for _, size in parts), 0, 46
    drawn = ['<g class="blocks few">']
    labels = []
    for rank, (name, size) in enumerate(parts):
        if size <= 0:
            continue
        x, share = before / total, size / total
        drawn.append(
            f"<g><title>{escape(name)}: {show_bytes(size)}</title>"
            f"{_rect(x, 0, share, height, f'p{rank}')}</g>"
        )
        for y, text in ((19, name), (35, short_bytes(size))):
            kind = _fits_from(max(len(name), len(short_bytes(size))) * _LETTER + 10, share)
            if kind is not None:
                labels.append(_text(x + share / 2, y, text, f"in onp{rank} {kind}".strip()))
        before += size
    return _svg(height, label, [*drawn, "</g>", *labels])
