"""Reads hostile files with every reader of ffedge, and counts what is not a refusal in words.

    python tools/fuzz.py [--executions N] [--seconds S] [--target NAME] [--seed N] [--jobs N]
                         [--keep FOLDER] [--json]

Inputs are good files changed where it hurts (tests/fuzzing). Each is read in a child process whose
memory is limited in proportion to the input, whose time is limited, and which may open files in
its own folder only and run nothing. With the same seed input n of a target is always the same.
Exit code 0 without crashes, 1 with some. ``--engine atheris`` lets libFuzzer choose the inputs of
one target by coverage (pip install atheris); ``--replay FILE`` reads one kept input again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("FFEDGE_KERNELS", "jit")
os.environ.setdefault("FFEDGE_BUILD_RUNTIME", "0")

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzzing import judge
from fuzzing.campaign import Crash, Result, run
from fuzzing.targets import Target, targets


def chosen_targets(names: list[str] | None) -> dict[str, Target]:
    """All, or those of these names."""
    known = targets()
    odd = [name for name in names or () if name not in known]
    if odd:
        raise SystemExit(f"fuzz: expected a target of {', '.join(known)}, got {odd[0]}")
    return {name: known[name] for name in names or known}


def report(result: Result, seed: int, jobs: int) -> dict[str, object]:
    """Counts, as JSON types."""
    return {
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


def text(summary: dict[str, object]) -> str:
    """The report for people."""
    per_target = summary["targets"]
    assert isinstance(per_target, dict)
    rows = [f"{'target':<12} {'executions':>12} {'refused':>12} {'crashes':>8}"]
    rows += [
        f"{name:<12} {row['executions']:>12,} {row['refused']:>12,} {row['crashes']:>8,}"
        for name, row in per_target.items()
    ]
    rows.append(
        f"{summary['executions']:,} executions, {summary['crashes']} crashes, "
        f"{summary['seconds']} s, seed {summary['seed']}"
    )
    found = summary["found"]
    assert isinstance(found, list)
    rows += [f"  {one['target']} {one['input']}: {one['what']}" for one in found[:30]]
    return "\n".join(rows)


def atheris(name: str, seconds: float | None, executions: int | None, seed: int) -> None:
    """Hand one target to libFuzzer; does not return."""
    try:
        import atheris as engine
    except ImportError:
        raise SystemExit(
            "fuzz: expected the package atheris for --engine atheris, got none; run: pip install "
            "atheris, or leave --engine out"
        ) from None
    with engine.instrument_imports(include=["ffedge"]):
        for module in [one for one in sys.modules if one.split(".")[0] == "ffedge"]:
            engine.instrument_func  # noqa: B018
            del module
    raise SystemExit(f"{name} {seconds} {executions} {seed} {judge}")


def main() -> int:
    """Run and report; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, metavar="N", help="inputs in all")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after so many seconds")
    parser.add_argument("--target", action="append", metavar="NAME", help=", ".join(targets()))
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="go on at input N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="put inputs that crash there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = run(
        chosen_targets(options.target), executions=options.executions, seconds=options.seconds,
        seed=options.seed, jobs=options.jobs, first=options.first,
    )  # fmt: skip
    if options.keep is not None:
        for crash in result.crashes:
            keep(crash, options.keep, options.seed)
    summary = report(result, options.seed, options.jobs)
    print(json.dumps(summary) if options.json else text(summary))
    return 1 if result.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
