"""A profile as one page to look at: self-contained HTML without scripts, for a browser or paper.

``page`` takes the profile's JSON types and trusts no text in them: names may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from .profile_drawing import (
    Column,
    columns,
    draw_arena,
    draw_bar,
    draw_timeline,
    lives_in,
    lowest_turn,
    show_seconds,
)
from .profile_markup import Html, facts, legend, markup, meter, no, note, swatch, table, yes
from .profile_style import style_sheet
from .units import short_bytes, show_bytes

#: Most stages whose arena is drawn.
MOST_PANELS = 4

_KERNELS = {
    "jit": "kernels (Numba)", "library": "kernels (library)", "python": "kernels (Python)",
}  # fmt: skip
_KINDS = {"microcontroller": "Microcontrollers", "computer": "Computers"}

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
        *_fits(profile["fits"]),
        *_compared(profile),
        *_process(profile["process"]),
        *_run(profile),
        *_buffers(profile),
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
    error = "exactly as planned" if measured == planned else f"error {_error(profile)}"
    apart = sum(buffer["bytes"] for buffer in profile["buffers"])
    cards: list[tuple[str, str, str]] = [
        ("Planned peak", short_bytes(planned), f"{planned:,} B"),
        ("Measured peak", short_bytes(measured), f"{measured:,} B: {error}"),
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


def _error(profile: Profile) -> str:
    # The zero of + 0.0 turns a rounded -0.00 into +0.00.
    return f"{round(profile['error_percent'], 2) + 0.0:+.2f} %"


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


def _fits(targets: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not targets:
        return
    fitting = sum(target["fits"] for target in targets)
    yield "<section><h2>Where it fits</h2>"
    yield f"<p>{fitting} of {len(targets)} boards and computers can train this.</p>"
    heads = [("", "wrap"), ("fits", ""), ("needed", "n"), ("memory", "n"), ("used", "")]
    groups = [
        (_KINDS.get(kind, kind), [_target(target) for target in of_kind])
        for kind, of_kind in groupby(targets, key=lambda target: target["kind"])
    ]
    yield from table("Memory needed and there", heads, groups)
    yield "</section>"


def _target(target: dict[str, Any]) -> list[str]:
    needed, memory = target["needed_bytes"], target["memory_bytes"]
    about = f"{target['name']}: {target['note']}" if target["note"] else target["name"]
    name = Html(f"{markup(target['title'])}<br>{note(about)}")
    verdict = yes("✓ yes") if target["fits"] else no("✗ no")
    if needed is None:
        return [name, verdict, "–", short_bytes(memory), ""]
    if not target["fits"] and needed > memory:
        verdict = Html(f"{verdict}<br>{note(f'{short_bytes(needed - memory)} missing')}")
    percent = 100 * needed / max(memory, 1)
    used = f"{percent:.1f} %" if percent < 1000 else f"{percent / 100:,.0f} times"
    used = Html(f"{used}{meter(percent, not target['fits'])}")
    return [name, verdict, short_bytes(needed), short_bytes(memory), used]


def _compared(profile: Profile) -> Iterator[str]:
    planned = profile["planned_bytes"]
    sizes = [
        ("Planned peak", planned, "size of the arena"),
        ("Measured peak", profile["measured_bytes"], "what the allocator really held"),
        ("Alive at once", profile["alive_bytes"], "largest sum of buffers at one moment"),
        ("Touched", profile["touched_bytes"], "the arena up to its last byte ever written"),
        ("Beside the arena", profile["step_bytes"], "most that a step allocated: Python's numbers"),
    ]
    yield "<section><h2>Predicted against measured</h2>"
    heads = [("", ""), ("bytes", "n"), ("of the plan", "n"), ("what it counts", "")]
    rows = [
        [name, show_bytes(size), f"{100 * size / max(planned, 1):.2f} %", meaning]
        for name, size, meaning in sizes
    ]
    yield f"<p>Error of the planned peak: <b>{_error(profile)}</b>.</p>"
    yield from table("Bytes planned and measured", heads, [("", rows)])
    yield "</section>"


def _process(process: dict[str, Any]) -> Iterator[str]:
    parts = [
        ("interpreter", process["interpreter"]),
        ("numpy", process["numpy"]),
        (_KERNELS.get(process["kernels_by"], "kernels"), process["kernels"]),
        ("ffedge", process["ffedge"]),
        ("training", process["training"]),
    ]
    known, peak = sum(size for _, size in parts), process["peak"]
    yield "<section><h2>Memory of the whole process</h2>"
    if not known:
        yield "<p>Not measured: this system does not tell a process its resident memory.</p>"
        yield "</section>"
        return
    share = 100 * process["training"] / max(peak, known)
    yield (
        f"<p>At its peak the process held {show_bytes(peak)}; {share:.0f} % of that is the "
        "training: the arena and all that came with it.</p>"
    )
    if peak > known:
        parts.append(("other", peak - known))
    picture = draw_bar(parts, "Resident memory of the process, part by part")
    yield f'<div class="bar">{picture}</div>'
    entries = [(f"p{rank}", name, show_bytes(size)) for rank, (name, size) in enumerate(parts)]
    yield from legend(entries, "Parts of the process, with their bytes")
    yield "</section>"


def _run(profile: Profile) -> Iterator[str]:
    storage = profile["storage"]
    pairs = [
        ("samples", f"{profile['samples']:,}"),
        ("steps", f"{profile['steps']:,}"),
        ("time", show_seconds(profile["seconds"])),
        ("read from storage", show_bytes(storage["read"])),
        ("written to storage", show_bytes(storage["written"])),
    ]
    if storage.get("process_written") is not None:
        pairs.append(("written by the whole process", show_bytes(storage["process_written"])))
    if profile["seconds_unwatched"] is not None:
        pairs.append(("time without profiling", show_seconds(profile["seconds_unwatched"])))
    if profile["overhead_percent"] is not None:
        pairs.append(("overhead of profiling", f"{profile['overhead_percent']:.1f} %"))
    yield "<section><h2>The run</h2>"
    yield from facts(pairs)
    yield "<details><summary>Recipe</summary>"
    recipe = [(name, _plain(value)) for name, value in profile["recipe"].items()]
    yield from facts([("network", profile["network"]), *recipe])
    yield "</details></section>"


def _plain(value: object) -> str:
    """A recipe's value in words: yes, no, none; a description's fields one after the other."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _buffers(profile: Profile) -> Iterator[str]:
    planned = max(profile["planned_bytes"], 1)
    heads = [
        ("buffer", ""), ("bytes", "n"), ("of the plan", "n"), ("type and shape", ""),
        ("offset", "n"), ("lives", ""),
    ]  # fmt: skip
    groups = []
    for rank, category in enumerate(profile["categories"]):
        own = [buffer for buffer in profile["buffers"] if buffer["category"] == category]
        if not own:
            continue
        own.sort(key=lambda buffer: (-buffer["bytes"], buffer["name"]))
        rows = [
            [
                buffer["name"],
                f"{buffer['bytes']:,}",
                f"{100 * buffer['bytes'] / planned:.1f} %",
                f"{buffer['dtype']} {'×'.join(map(str, buffer['shape']))}",
                f"{buffer['offset']:,}",
                buffer["lifetime"],
            ]
            for buffer in own
        ]
        total = show_bytes(sum(buffer["bytes"] for buffer in own))
        title = Html(f"{swatch(f'c{rank}')}{markup(f'{category}: {len(own)}, {total}')}")
        groups.append((title, rows))
    yield '<section class="long"><h2>Every buffer</h2>'
    yield "<p>Largest first. Buffers that share bytes are each counted in full.</p>"
    yield from table("Every buffer of the plan", heads, groups, "scroll tall")
    yield "</section>"
