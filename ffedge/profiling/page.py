"""A profile as one page to look at: self-contained HTML without scripts, for a browser or paper.

``page`` takes the profile's JSON types and trusts no text in them: names may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ..units import short_bytes, show_bytes
from .columns import Column, columns, lives_in, lowest_turn, show_seconds
from .drawing import draw_arena, draw_timeline
from .markup import Html, legend, markup, no, table, yes
from .style import style_sheet
from .tables import (
    error,
    tell_buffers,
    tell_fits,
    tell_measured,
    tell_process,
    tell_run,
)

#: Most stages whose arena is drawn.
MOST_PANELS = 4

Profile = dict[str, Any]


def page(profile: Profile) -> str:
    """The whole document. Nothing is fetched from anywhere, and nothing in it can run."""
    name = markup(f"{_short(profile['network'])} on {profile['data']}")
    found = columns(profile["timeline"])
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        # Should a text ever slip through unescaped, it still may neither run nor call home.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{name}: memory profile</title>",
        f"<style>{style_sheet()}</style>\n</head>\n<body>",
        f"<header><h1>{name}</h1>",
        _under_the_title(profile),
        "</header><main>",
        *_headline(profile),
        *_timeline(profile, found),
        *_arena(profile),
        *tell_fits(profile["fits"]),
        *tell_measured(profile),
        *tell_process(profile["process"]),
        *tell_run(profile),
        *tell_buffers(profile),
        f'</main><footer class="note">Made by ffedge {markup(profile["ffedge"])}. '
        "KiB, MiB and GiB count in steps of 1,024.</footer>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _short(network: str) -> str:
    """Widths that repeat are counted, not listed, where there are many.

    >>> _short("784-500-500-10"), _short("784-128-128-128-128-128-128-128-128-10")
    ('784-500-500-10', '784-[8×128]-10')
    """
    if len(network) <= 30:
        return network
    runs = [(width, len(list(same))) for width, same in groupby(network.split("-"))]
    return "-".join(f"[{count}×{width}]" if count > 1 else width for width, count in runs)


def _under_the_title(profile: Profile) -> str:
    words = [
        f"rule {profile['rule']}",
        profile["precision"],
        f"{profile['samples']:,} samples in {profile['steps']:,} steps",
        show_seconds(profile["seconds"]),
    ]
    return f'<p class="soft">{markup(" · ".join(words))}</p>'


def _headline(profile: Profile) -> Iterator[str]:
    planned, measured = profile["planned_bytes"], profile["measured_bytes"]
    off = "exactly as planned" if measured == planned else f"error {error(profile)}"
    apart = sum(buffer["bytes"] for buffer in profile["buffers"])
    cards: list[tuple[str, str, str]] = [
        ("Planned peak", short_bytes(planned), f"{planned:,} B"),
        ("Measured peak", short_bytes(measured), f"{measured:,} B: {off}"),
        ("Budget", *_budget(profile["budget"], measured)),
    ]
    if apart > planned:
        share = 100 * (apart - planned) / apart
        more = f"{share:.0f} % less than all buffers' sum, {short_bytes(apart)}"
        cards.append(("Saved by sharing", short_bytes(apart - planned), more))
    yield '<dl class="cards">'
    for term, big, more in cards:
        yield (
            f'<div><dt>{term}</dt><dd class="big">{big}</dd>'
            f'<dd class="more">{markup(more)}</dd></div>'
        )
    yield "</dl>"


def _budget(budget: int | None, measured: int) -> tuple[str, str]:
    if budget is None:
        return "none", "no limit was set"
    if measured <= budget:
        left = short_bytes(budget - measured)
        return short_bytes(budget), Html(f"{yes('✓ held')} {left} to spare")
    over = short_bytes(measured - budget)
    return short_bytes(budget), Html(f"{no('✗ exceeded')} by {over}")


def _timeline(profile: Profile, found: Sequence[Column]) -> Iterator[str]:
    if not found:
        return
    categories = profile["categories"]
    highest = max(found, key=lambda column: column.total)
    slowest = max(found, key=lambda column: column.seconds)
    spent = sum(column.seconds for column in found)
    yield "<section><h2>Memory over time</h2>"
    yield f"<p>Most is alive in <b>{_where(highest, found)}</b>: {show_bytes(highest.total)}."
    if spent > 0:
        yield (
            f"Most time is spent in <b>{_where(slowest, found)}</b>: "
            f"{100 * slowest.seconds / spent:.0f} % of {show_seconds(spent)}."
        )
    yield "</p>"
    entries = [
        (f"c{rank}", category, short_bytes(highest.sizes[category]))
        for rank, category in enumerate(categories)
        if highest.sizes.get(category)
    ]
    yield from legend(entries, "Categories, with their bytes at the highest moment")
    picture = draw_timeline(found, categories, profile["planned_bytes"], profile["budget"])
    yield f'<div class="plot">{picture}</div>'
    yield (
        '<p class="note">From left to right: the phases of a step, all equally wide; the strip '
        "below shows the seconds spent in each over the whole run. Point at a column for its "
        "numbers.</p>"
    )
    yield "<details><summary>The same as a table</summary>"
    heads = [("moment", ""), *((name, "n") for name in (*categories, "sum", "time", "passes"))]
    rows = [
        [
            _where(column, found),
            *(f"{column.sizes.get(category, 0):,}" for category in categories),
            f"{column.total:,}",
            show_seconds(column.seconds),
            f"{column.passes:,}",
        ]
        for column in found
    ]
    yield from table("Bytes alive in each phase", heads, [("", rows)], "scroll tall")
    yield "</details></section>"


def _where(column: Column, found: Sequence[Column]) -> Html:
    """A column in words; the stage is named where there are several to train in."""
    several = len({other.stage for other in found}) > 2
    return markup(f"stage {column.stage}, {column.label}" if several else column.label)


def _arena(profile: Profile) -> Iterator[str]:
    """The stage of highest use at full width, then others that differ, in order."""
    if not profile["timeline"] or not profile["buffers"]:
        return
    by_stage = groupby(profile["timeline"], key=lambda moment: moment["stage"])
    stages = {stage: columns(list(of_stage)) for stage, of_stage in by_stage}
    drawn = _different(profile, stages)
    tall = max(300, min(600, 14 * sum(lives_in(b, drawn[0]) for b in profile["buffers"])))
    yield "<section><h2>Where each buffer lies</h2>"
    yield (
        "<p>The arena is one block of memory. Each rectangle is a buffer: as high as its bytes, "
        "from the phase that first needs it to the last. <b>Rectangles side by side share the "
        "same bytes</b>; hatched bytes are free at that moment.</p>"
    )
    colours = [
        (f"c{rank}", category, "")
        for rank, category in enumerate(profile["categories"])
        if any(buffer["category"] == category for buffer in profile["buffers"])
    ]
    yield from legend(colours, "Categories")
    highest, *others = drawn
    picture = draw_arena(profile, highest, stages[highest], tall, "free")
    yield _panel(_stage_title(highest, stages), picture)
    yield '<div class="panels">'
    low = lowest_turn(profile, highest, stages[highest])
    if low is not None and 2 * low > profile["planned_bytes"]:
        size = short_bytes(profile["planned_bytes"] - low)
        picture = draw_arena(profile, highest, stages[highest], 240, "closer", low)
        yield _panel(f"Closer: the last {size}, where buffers take turns", picture)
    for stage in others:
        picture = draw_arena(profile, stage, stages[stage], 240, f"free{stage}")
        yield _panel(_stage_title(stage, stages), picture)
    yield "</div>"
    if len(drawn) < len(stages):
        yield (
            f'<p class="note">Drawn: {len(drawn)} of {len(stages)} stages, those that need the '
            "most and differ.</p>"
        )
    yield "</section>"


def _panel(title: str, picture: str) -> str:
    return f'<div><h3>{title}</h3><div class="plot">{picture}</div></div>'


def _different(profile: Profile, stages: dict[int, list[Column]]) -> list[int]:
    """At most four stages with buffers of their own: the one of highest use, then in order."""
    chosen: dict[tuple[object, ...], int] = {}
    for stage in sorted(stages, key=lambda s: (-max(c.total for c in stages[s]), s)):
        alive = tuple(b["name"] for b in profile["buffers"] if lives_in(b, stage))
        if len(chosen) < MOST_PANELS:
            chosen.setdefault((len(stages[stage]), *alive), stage)
    first, *others = chosen.values()
    return [first, *sorted(others)]


def _stage_title(stage: int, stages: dict[int, list[Column]]) -> str:
    highest = short_bytes(max(column.total for column in stages[stage]))
    if stage == 0:
        return f"Learning the scaling: at most {highest} alive"
    one = sum(number > 0 for number in stages) == 1
    return f"{'Training' if one else f'Stage {stage}'}: at most {highest} alive"
