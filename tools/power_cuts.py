#!/usr/bin/env python3
"""Cut the power of trainings that keep checkpoints, in every way, and count what is lost.

    python tools/power_cuts.py [--runs N] [--kills N] [--long] [--seed S] [--json [FILE]]

On a simulated disk (tests/crash_disk.py): before and after every operation; all pairs; random
runs with several cuts, tearing, reordering and failures; full disks, failed syncs, permissions
denied; flipped bits. On the real one: processes of `ffedge train` that are killed. The same runs
must find every store that is known to be bad. Exit code 1 if anything is lost or not identical.

cuts            power cuts and kills that happened
lost            runs in which a state whose save had returned was gone or could not be loaded
not_identical   runs whose loaded state or last weights were not the uncut run's, bit for bit
flips           bits flipped; loading took an older state or refused, unless it did not need it
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import errno
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from crash_bad_stores import BAD_STORES
from crash_kills import kill_often
from crash_runs import (
    ALL_PAIRS,
    KINDS,
    LOST,
    NOT_IDENTICAL,
    REFUSED,
    SOME_PAIRS,
    Campaign,
    Tally,
    flips,
    pairs,
    singles,
    unreadable,
    wander,
)
from crash_trainings import Scribbles, Training, whole_store

RUNS, KILLS = 2_000, 15
LONG_RUNS, LONG_KILLS = 10_000, 200

FAILURES = ("sync failed", "folder sync failed", "disk full", "permission denied")

#: Trainings of the long job: precision, schedule and depth as they may be.
TRAININGS: dict[str, dict[str, Any]] = {
    "int8": {},
    "int8, layer by layer": {"hidden": (24, 16), "schedule": "layerwise"},
    "float32, Adam": {"precision": "float32"},
    "float32, layer by layer": {
        "precision": "float32", "hidden": (24, 16), "schedule": "layerwise",
    },
}  # fmt: skip


def main() -> int:
    """Run everything, print a line for each kind, and write ``--json``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, help=f"random runs (default: {RUNS:,})")
    parser.add_argument("--kills", type=int, help=f"processes killed (default: {KILLS})")
    parser.add_argument(
        "--long", action="store_true",
        help=f"all pairs of all kinds of cuts, every byte flipped, {LONG_RUNS:,} random runs and "
             f"{LONG_KILLS} processes killed",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the random runs (default: 0)")
    parser.add_argument("--json", metavar="FILE", nargs="?", const="-", help="default: print it")
    options = parser.parse_args()
    if options.runs is None:
        options.runs = LONG_RUNS if options.long else RUNS
    if options.kills is None:
        options.kills = LONG_KILLS if options.long else KILLS
    report = run(options, sys.stderr if options.json == "-" else sys.stdout)
    text = json.dumps(report, indent=1)
    if options.json == "-":
        print(text)
    elif options.json:
        Path(options.json).write_text(text + "\n")
    good = report["known_bad"]["caught"] == report["known_bad"]["stores"]
    return 0 if good and not report["lost"] and not report["not_identical"] else 1


def run(options: argparse.Namespace, out: Any) -> dict[str, Any]:
    """The report."""
    begun = time.perf_counter()
    kinds: dict[str, dict[str, Any]] = {}
    for name, work in campaigns(options):
        started = time.perf_counter()
        kinds[name] = describe(work(), name) | {"seconds": since(started)}
        show(name, kinds[name], out)
    if options.kills:
        kinds["processes killed"] = killed(options.kills, options.seed)
        show("processes killed", kinds["processes killed"], out)
    caught = {name: is_caught(name) for name in BAD_STORES}
    missed = sorted(name for name, yes in caught.items() if not yes)
    print(f"known-bad stores: {sum(caught.values())} of {len(caught)} caught", *missed, file=out)
    report = {
        key: sum(kind.get(key, 0) for kind in kinds.values())
        for key in ("runs", "cuts", "lost", "not_identical", "flips")
    }
    total = report | {"seconds": since(begun), "seed": options.seed, "kinds": kinds}
    total["known_bad"] = {
        "stores": len(caught), "caught": sum(caught.values()), "missed": missed,
    }  # fmt: skip
    print(
        f"{report['runs']:,} runs, {report['cuts']:,} cuts: {report['lost']} lost, "
        f"{report['not_identical']} not identical; {total['seconds']:.0f} s",
        file=out,
    )
    return total


def campaigns(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Tally]]]:
    """(name, what runs it) of all that happens on the simulated disk."""
    steps = Scribbles(8)
    small = Training(samples=32)
    yield "every operation", lambda: singles(steps, seeds=8 if options.long else 3)
    for name, how in TRAININGS.items():
        if options.long or name == "int8":
            training = Training(**how)
            yield f"every operation of a training, {name}", lambda t=training: singles(t)
    modes = ALL_PAIRS if options.long else SOME_PAIRS
    yield "all pairs", lambda: pairs(Scribbles(4), modes)
    yield "all pairs of a training", lambda: pairs(small, modes)
    half = options.runs // 2
    mixed = [(steps, half // 2), (Scribbles(5, whole_store), half - half // 2)]
    yield (
        "random",
        lambda: both(
            wander(campaign, runs, options.seed + 10**6 * turn, most=6)
            for turn, (campaign, runs) in enumerate(mixed)
        ),
    )
    rest, deep = options.runs - half, Training((24, 16), schedule="layerwise", samples=32)
    yield (
        "random, of a training",
        lambda: both(
            wander(campaign, runs, options.seed + 10**7 + 10**6 * turn, most=6)
            for turn, (campaign, runs) in enumerate([(small, rest // 2), (deep, rest - rest // 2)])
        ),
    )
    for kind in FAILURES:
        yield kind, lambda kind=kind: KINDS[kind](Scribbles(5))
    for error in (errno.EACCES, errno.EIO):
        yield (
            f"unreadable, {errno.errorcode[error]}",
            lambda e=error: both(unreadable(campaign, e) for campaign in (Scribbles(5), small)),
        )
    every = 1 if options.long else 7
    yield "bits flipped", lambda: flips(Scribbles(5), every=every, seed=options.seed)
    yield "bits flipped, one file", lambda: flips(Scribbles(1), every=every, seed=options.seed)


def both(tallies: Iterator[Tally]) -> Tally:
    """Their sum."""
    total = Tally()
    for tally in tallies:
        total.lives += tally.lives
        total.cuts += tally.cuts
        total.endings += tally.endings
        total.failure = total.failure or tally.failure
    return total


def describe(tally: Tally, name: str) -> dict[str, Any]:
    """JSON types. What is rotten may be refused; a cut may not make it so."""
    flipped = name.startswith("bits flipped")
    lost = tally.endings[LOST] + (0 if flipped else tally.endings[REFUSED])
    wrong = tally.endings[NOT_IDENTICAL]
    found = {"runs": tally.lives, "cuts": tally.cuts, "lost": lost, "not_identical": wrong}
    if flipped:
        found["flips"] = tally.lives
    return found | ({"first": tally.failure} if lost or wrong else {})


def killed(kills: int, seed: int) -> dict[str, Any]:
    """Of real processes, in a folder that is removed."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="ffedge-kills-") as folder:
        found = kill_often(kills, Path(folder), seed)
    return {
        "runs": found.runs, "cuts": found.kills, "with_a_state": found.working,
        "lost": found.lost, "not_identical": found.not_identical, "seconds": since(started),
    }  # fmt: skip


def is_caught(name: str) -> bool:
    """Whether all that should find a known-bad store does."""
    store, kinds, _ = BAD_STORES[name]
    campaign: Campaign = Scribbles(5, store)
    return all(not KINDS[kind](campaign).clean for kind in kinds)


def since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


def show(name: str, kind: dict[str, Any], out: Any) -> None:
    print(
        f"{name:<50} {kind['runs']:>7,} runs {kind['cuts']:>8,} cuts {kind['lost']:>4} lost "
        f"{kind['not_identical']:>4} not identical {kind['seconds']:>7.1f} s "
        f"{kind.get('first', '')}",
        file=out,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
