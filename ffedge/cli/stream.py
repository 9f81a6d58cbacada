"""``ffedge stream``: learn a file as a stream, test-then-train, and say how it goes."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

from ..drift import Drift
from ..errors import DataError
from ..estimator import FFClassifier
from ..layers import PRECISIONS
from ..memory import process_peak_bytes
from ..prequential import Report, prequential, samples_of
from ..rules import NAMED_RULES, word_for
from ..sources import Dataset
from ..units import show_bytes
from .options import add_data, bytes_argument, check_writable, read_data, widths_argument
from .progress import ProgressLine

NAME = "stream"
HELP = "Learn a data set as a stream: predict every sample, then learn from it."
EXAMPLE = "example: ffedge stream sensor.csv --precision int8 --replay 200 --every 500"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, model and reports."""
    add_data(parser)
    add = parser.add_argument
    add("--hidden", type=widths_argument, default=(64, 64), metavar="WIDTHS",
        help="widths of the hidden layers (default: 64,64)")  # fmt: skip
    add("--rule", choices=tuple(NAMED_RULES), default="readout",
        help="learning rule (default: readout)")  # fmt: skip
    add("--precision", choices=PRECISIONS, default="float32",
        help="int8: weights, activations and updates in 8 bits (default: float32)")  # fmt: skip
    add("--batch-size", type=int, default=8, metavar="N",
        help="a sample weighs one in N; what is replayed fills the rest (default: 8)")  # fmt: skip
    add("--replay", type=int, default=0, metavar="N",
        help="samples kept and learned again beside new ones (default: 0)")  # fmt: skip
    add("--budget", metavar="BYTES", type=bytes_argument, help="refuse a plan above this size")
    add("--every", type=int, default=1000, metavar="N",
        help="samples between two reports (default: 1000)")  # fmt: skip
    add("--window", type=int, default=1000, metavar="N",
        help="samples of the recent accuracy (default: 1000)")  # fmt: skip
    add("--model", metavar="FILE", help="write the model here at the end")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")


def run(options: argparse.Namespace) -> int:
    """Run the stream and print; DataError (exit code 4) for data that cannot be used."""
    if options.model is not None:
        check_writable(options.model, "stream")
    with ProgressLine(quiet=options.json) as line:
        parts = [part for part in read_data(options, line) if part is not None]
    drifts: list[Drift] = []
    model = FFClassifier(
        options.hidden, rule=options.rule, precision=options.precision,
        batch_size=options.batch_size, replay=options.replay, max_memory=options.budget,
        random_state=options.seed, on_drift=drifts.append,
    )  # fmt: skip
    reports = []
    for report in prequential(
        model, _samples(parts), every=options.every, window=options.window, classes=parts[0].classes
    ):
        reports.append(report)
        if not options.json:
            print(_line(report, drifts), flush=True)
    if options.model is not None:
        model.save(options.model)
    if options.json:
        print(json.dumps(_result(model, reports, drifts)))
    else:
        print(f"{show_bytes(model.plan_.peak)} of buffers, {len(drifts)} drifts")
    return 0


def _samples(parts: list[Dataset]) -> Iterator[tuple[Any, Any]]:
    """All samples, the test part behind the training part."""
    if any(part.classes != parts[0].classes for part in parts):
        raise DataError("stream: expected the same classes in both parts of the data, got others")
    return chain.from_iterable(samples_of(part) for part in parts)


def _line(report: Report, drifts: list[Drift]) -> str:
    late = f"  drift at {drifts[-1].step:,}" if drifts else ""
    return (
        f"{report.samples:>10,} samples  accuracy {_percent(report.accuracy)}  recent "
        f"{_percent(report.recent)}  kappa {report.kappa:.3f}  "
        f"{1e6 * report.seconds / report.samples:.0f} us a sample{late}"
    )


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _result(model: FFClassifier, reports: list[Report], drifts: list[Drift]) -> dict[str, Any]:
    def figures(one: Report | Drift) -> dict[str, Any]:
        found = {name: getattr(one, name) for name in one.__slots__}
        return {key: None if value != value else value for key, value in found.items()}

    return {
        "network": model.model_.network.text, "rule": word_for(model.model_.network.rule),
        "precision": model.precision, "replay": model.replay,
        "planned_bytes": model.plan_.peak, "process_peak_bytes": process_peak_bytes(),
        **figures(reports[-1]),
        "reports": [figures(report) for report in reports],
        "drifts": [figures(drift) for drift in drifts],
    }  # fmt: skip
