"""Reads hostile files with every reader of ffedge, and counts what is not a refusal in words.

    python tools/fuzz.py [--executions N] [--seconds S] [--target NAME] [--seed N] [--first N]
                         [--jobs N] [--keep FOLDER] [--engine own|atheris] [--json]
    python tools/fuzz.py --target NAME --replay FILE

Inputs are good files changed where it hurts (tests/fuzzing). Each is read in a child process whose
memory is limited in proportion to the input, whose time is limited, and which may open files in
its own folder only and run nothing. With the same seed, input n of a target is always the same.
``--engine atheris`` lets libFuzzer choose the inputs of one target by coverage (pip install
atheris). SIGTERM and SIGINT end a run early, with its report so far. Exit code 0 without crashes,
1 with some, 2 for an impossible request.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("FFEDGE_KERNELS", "jit")
os.environ.setdefault("FFEDGE_BUILD_RUNTIME", "0")

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

if TYPE_CHECKING:
    from fuzzing.campaign import Crash, Result
    from fuzzing.targets import Target


def chosen(names: list[str] | None) -> dict[str, Target]:
    """The targets of these names, or all."""
    from fuzzing.targets import targets

    known = targets()
    for name in names or ():
        if name not in known:
            refuse(f"expected a target of {', '.join(known)}, got {name}")
    return {name: known[name] for name in names or known}


def refuse(words: str) -> None:
    """Exit code 2."""
    print(f"fuzz: {words}", file=sys.stderr)
    raise SystemExit(2)


def report(result: Result, seed: int, jobs: int) -> dict[str, Any]:
    """Counts, as JSON types."""
    return {
        "engine": "own",
        "executions": sum(result.executions.values()),
        "crashes": len(result.crashes),
        "seconds": round(result.seconds, 1),
        "seed": seed,
        "jobs": jobs,
        "targets": {
            name: {
                "executions": count,
                "refused": result.refused[name],
                "crashes": sum(crash.target == name for crash in result.crashes),
            }
            for name, count in result.executions.items()
        },
        "found": [
            {"target": crash.target, "input": crash.number, "what": crash.what}
            for crash in result.crashes[:100]
        ],
    }


def keep(crash: Crash, folder: Path, seed: int) -> None:
    """The input as a file, and what happened beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{crash.target}-{seed}-{crash.number}.bin"
    path.write_bytes(crash.data)
    path.with_suffix(".txt").write_text(f"{crash.what}\n\n{crash.trace}")


def text(summary: dict[str, Any]) -> str:
    """The report for people."""
    rows = [f"{'target':<12} {'executions':>12} {'refused':>12} {'crashes':>8}"]
    rows += [
        f"{name:<12} {row['executions']:>12,} {row['refused']:>12,} {row['crashes']:>8,}"
        for name, row in summary["targets"].items()
    ]
    rows.append(
        f"{summary['executions']:,} executions, {summary['crashes']:,} crashes, "
        f"{summary['seconds']} s, seed {summary['seed']}"
    )
    rows += [f"  {one['target']} {one['input']}: {one['what']}" for one in summary["found"][:30]]
    return "\n".join(rows)


def guided(options: argparse.Namespace) -> dict[str, Any]:
    """One target by atheris."""
    from fuzzing import guided as engine

    if len(options.target or ()) != 1:
        refuse("expected one --target for --engine atheris, which follows the coverage of one")
    try:
        return engine.run(
            options.target[0], executions=options.executions, seconds=options.seconds,
            seed=options.seed, keep=options.keep,
        )  # fmt: skip
    except ImportError:
        refuse("expected the package atheris, got none; pip install atheris, or --engine own")
        raise


def replay(options: argparse.Namespace) -> int:
    """Read one kept input again, in this process, and say what happens."""
    if len(options.target or ()) != 1:
        refuse("expected one --target for --replay")
    (target,) = chosen(options.target).values()
    from fuzzing.judge import examine
    from fuzzing.targets import place

    with tempfile.TemporaryDirectory(prefix="ffedge-fuzz-") as folder:
        place.folder = Path(folder)
        verdict = examine(target.read, options.replay.read_bytes())
    print(verdict.trace or verdict.crash or ("refused" if verdict.refused else "read"))
    return 1 if verdict.crash else 0


def campaign(options: argparse.Namespace) -> Result:
    """All targets or some by own inputs; crashes are kept as they come."""
    several = chosen(options.target)
    from fuzzing.campaign import run

    going_on, kept = [True], [0]

    def stop(*_: object) -> None:
        going_on[0] = False

    def tell(result: Result) -> bool:
        if options.keep is not None:
            for crash in result.crashes[kept[0] :]:
                keep(crash, options.keep, options.seed)
        kept[0] = len(result.crashes)
        return going_on[0]

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    result = run(
        several, executions=options.executions, seconds=options.seconds, seed=options.seed,
        jobs=options.jobs, first=options.first, tell=tell,
    )  # fmt: skip
    tell(result)
    return result


def main() -> int:
    """Run and report; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, metavar="N", help="inputs in all")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after so many seconds")
    parser.add_argument("--target", action="append", metavar="NAME", help="(default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="go on at input N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="put inputs that crash there")
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read one kept input again")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.executions is None and options.seconds is None:
        options.executions = 50_000
    if options.replay is not None:
        return replay(options)
    if options.engine == "atheris":
        summary = guided(options)
    else:
        summary = report(campaign(options), options.seed, options.jobs)
    print(json.dumps(summary) if options.json else text(summary))
    return 1 if summary["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())
