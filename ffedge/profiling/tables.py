"""The sections of a profile's page that are tables and lists; each function gives its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ..units import short_bytes, show_bytes
from .columns import show_seconds
from .drawing import draw_bar
from .markup import Html, facts, legend, markup, meter, no, note, swatch, table, yes

_KERNELS = {
    "jit": "kernels (Numba)", "library": "kernels (library)", "python": "kernels (Python)",
}  # fmt: skip
_KINDS = {"microcontroller": "Microcontrollers", "computer": "Computers"}

Profile = dict[str, Any]


def error(profile: Profile) -> str:
    """The planned peak's error in percent, with its sign."""
    # The zero of + 0.0 turns a rounded -0.00 into +0.00.
    return f"{round(profile['error_percent'], 2) + 0.0:+.2f} %"


def tell_fits(targets: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Which boards and computers it fits, and what is missing on the others."""
    if not targets:
        return
    fitting = sum(target["fits"] for target in targets)
    yield "<section><h2>Where it fits</h2>"
    yield f"<p>{fitting} of {len(targets)} boards and computers can train this.</p>"
    heads = [("target", "wrap"), ("fits", ""), ("needed", "n"), ("memory", "n"), ("used", "")]
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


def tell_measured(profile: Profile) -> Iterator[str]:
    """The plan beside what was measured."""
    planned = profile["planned_bytes"]
    sizes = [
        ("Planned peak", planned, "size of the arena"),
        ("Measured peak", profile["measured_bytes"], "what the allocator really held"),
        ("Alive at once", profile["alive_bytes"], "largest sum of buffers at one moment"),
        ("Touched", profile["touched_bytes"], "the arena up to its last byte ever written"),
        ("Beside the arena", profile["step_bytes"], "most that a step allocated: Python's numbers"),
    ]
    yield "<section><h2>Predicted against measured</h2>"
    heads = [("figure", ""), ("bytes", "n"), ("of the plan", "n"), ("what it counts", "")]
    rows = [
        [name, show_bytes(size), f"{100 * size / max(planned, 1):.2f} %", meaning]
        for name, size, meaning in sizes
    ]
    yield f"<p>Error of the planned peak: <b>{error(profile)}</b>.</p>"
    yield from table("Bytes planned and measured", heads, [("", rows)])
    yield "</section>"


def tell_process(process: dict[str, Any]) -> Iterator[str]:
    """The resident memory of the process, part by part."""
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


def tell_run(profile: Profile) -> Iterator[str]:
    """Time, storage, what profiling cost, and the recipe."""
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


def tell_buffers(profile: Profile) -> Iterator[str]:
    """Every buffer of the plan, by category."""
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
