"""``ffedge profile``: predicted against measured memory of a short training."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any

from ..atomic import atomic_write
from ..errors import BudgetError, ConfigError
from ..profiling.file import compare, load_profile, save_profile
from ..units import show_bytes
from .options import argument, check_writable, read_data
from .prepare import add_training, open_trainer, prepare, split_validation
from .profile_text import report
from .progress import ProgressLine

NAME = "profile"
HELP = "Train briefly (2 epochs unless told) and show predicted against measured memory."
EXAMPLE = """\
exit code 3: the training peak grew by more than --fail-if-peak-grows allows
examples:
  ffedge profile digits --budget 512KiB --html digits.html
  ffedge profile digits --hidden 64,64 --precision int8 -o new.json
  ffedge profile digits -o new.json --fail-if-peak-grows 3% --against old.json
"""

#: Enough for every kind of step; a peak does not depend on the epochs.
EPOCHS = 2


def percent(text: str) -> float:
    """``"3%"``, ``"3 %"`` or ``"0.5"`` as a number, at least 0."""
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*%?\s*", text)
    if match is None:
        raise ConfigError(f"expected a percentage such as 3%, got {text!r}")
    return float(match[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of a training, and what to do with the profile."""
    add_training(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="save the profile as JSON")
    parser.add_argument("--html", metavar="FILE", help="save the profile as a page to look at")
    parser.add_argument(
        "--fail-if-peak-grows", metavar="PERCENT", type=argument(percent),
        help="with --against: exit code 3 if the measured training peak grew by more",
    )  # fmt: skip
    parser.add_argument("--against", metavar="FILE", help="an older profile, of -o, to compare")
    parser.add_argument(
        "--overhead", action="store_true",
        help="also measure what the profiling costs: trains ten more times",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Profile; exit code 0, or 3 if the training peak grew."""
    if options.fail_if_peak_grows is not None and options.against is None:
        raise ConfigError(
            "profile: expected --against FILE with --fail-if-peak-grows, got none; save an older "
            "profile with -o"
        )
    older = None if options.against is None else load_profile(options.against)
    for path in filter(None, (options.output, options.html)):
        check_writable(path, "profile")
    if options.epochs is None:
        options.epochs = EPOCHS
    profile = _measure(options)
    comparison = None
    if older is not None:
        comparison = compare(profile, older, options.fail_if_peak_grows or 0.0)
    if options.output:
        save_profile(profile, options.output)
    if options.html:
        from ..profiling.page import page

        with atomic_write(options.html) as file:
            file.write(page(profile).encode())
    _print(profile, comparison, options)
    if comparison is None or options.fail_if_peak_grows is None or not comparison["grew"]:
        return 0
    print(f"ffedge: {_refusal(comparison)}", file=sys.stderr)
    return BudgetError.exit_code


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    from ..profiling.measure import profile_training

    with ProgressLine(quiet=options.json) as line:
        data, _ = read_data(options, line)
        rest, validation = split_validation(data, options.validation)
        choice, _ = prepare(options, rest)
        with open_trainer(choice, data, options.budget) as trainer:
            return profile_training(
                trainer, rest, validation, budget=options.budget,
                measure_overhead=options.overhead, on_progress=line.show,
            )  # fmt: skip


def _print(
    profile: dict[str, Any], comparison: dict[str, Any] | None, options: argparse.Namespace
) -> None:
    if options.json:
        extra = {} if comparison is None else {"comparison": comparison}
        print(json.dumps(profile | extra))
        return
    print(report(profile))
    if comparison is not None:
        print("\n".join(_compared(comparison, options.against)))
    for path in filter(None, (options.output, options.html)):
        print(f"saved     {path}")


def _compared(comparison: dict[str, Any], path: str) -> list[str]:
    words = {
        "measured": "training peak, measured", "planned": "training peak, planned",
        "process": "process peak",
    }  # fmt: skip
    lines = [f"against   {path}"]
    if comparison["differs"]:
        lines.append(f"  another training: {', '.join(comparison['differs'])} differ")
    for name, title in words.items():
        found = comparison[name]
        grown = found["grown_percent"]
        shown = "" if grown is None else f"  {grown:+.2f} %"
        lines.append(f"  {title:<24} {found['old']:>15,} -> {found['new']:>13,} B{shown}")
    return lines


def _refusal(comparison: dict[str, Any]) -> str:
    found = comparison["measured"]
    grown = found["grown_percent"]
    return (
        f"profile: expected a training peak of at most {comparison['allowed_percent']:g} % above "
        f"{show_bytes(found['old'])}, got {show_bytes(found['new'])}"
        f"{'' if grown is None else f': {grown:+.2f} %'}; look for the buffer that grew, or save "
        "this profile as the new measure"
    )
