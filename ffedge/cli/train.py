"""``ffedge train``: plan, train inside the budget, test, save, export."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..memory import process_peak_bytes
from ..model import Model
from ..model_file import save_model
from ..sources import Dataset, load
from ..trainer import Progress, Trainer
from ..units import show_bytes
from .prepare import add_training, prepare, split_validation
from .progress import ProgressLine

NAME = "train"
HELP = "Train a model on a data set, inside a byte budget."
EXAMPLE = """\
examples:
  ffedge train digits --budget 512KiB --export digits.onnx
  ffedge train sensor.csv --label state --hidden 64,64 --budget 96KiB
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, recipe, budget and what to write."""
    add_training(parser)
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="model file to write (default: NAME.ffedge)")  # fmt: skip
    parser.add_argument("--export", metavar="FILE", help="also export to ONNX")


def run(options: argparse.Namespace) -> int:
    """Train; exit code 0, or 130 after an interrupt, with the last good state saved."""
    started = time.perf_counter()
    with ProgressLine(quiet=options.json) as line:
        data, test = load(
            options.data, label=options.label, data_dir=options.data_dir,
            cache_dir=options.cache_dir, progress=line.reading,
        )  # fmt: skip
        rest, validation = split_validation(data, options.validation)
        trainer = prepare(options, rest)
        output = options.output or f"{re.sub(r'[^A-Za-z0-9._-]+', '_', data.name)}.ffedge"
        for path in filter(None, (output, options.export)):
            check_writable(path, "train")
        if not options.json:
            _announce(trainer, data, rest, test, options)
        trainer.learn_scaling(rest)
        last: Progress | None = None
        with _stop_on_interrupt(trainer) as interrupted:
            for last in trainer.train(rest, validation):
                line.show(last)
    assert last is not None
    training: dict[str, Any] = {
        "recipe": trainer.recipe.describe(),
        "epochs": trainer.epochs_done,
        "samples": rest.n_samples,
        "data": data.name,
    }
    for name, part in (("test_accuracy", test), ("validation_accuracy", validation)):
        if part is not None:
            training[name] = trainer.evaluate(part)
    model = Model(
        trainer.network, trainer.params, data.classes, data.feature_shape, data.feature_names,
        training,
    ).first_layers(trainer.reached)  # fmt: skip
    report = _report(trainer, last, model, options.budget) | {
        "model": output,
        "model_bytes": save_model(model, output),
        "interrupted": bool(interrupted),
    }
    if options.export:
        report["export"] = _export(model, options.export)
    report["total_seconds"] = time.perf_counter() - started
    report["library"] = None if interrupted else begin_library()
    print(json.dumps(report) if options.json else _summary(report))
    return 130 if interrupted else 0


def begin_library() -> str | None:
    """Begin to build the compiled kernels for later runs, if this one had to do without."""
    from ..lowering.background import begin

    path = begin()
    return None if path is None else str(path)


def check_writable(path: str, command: str) -> None:
    """Refuse now, in ``command``'s name, what would fail after the training."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise ConfigError(
            f"{command}: expected a folder for {path}, got none at {folder}; create it"
        )
    if Path(path).is_dir():
        raise ConfigError(f"{command}: expected a file to write, got the folder {path}; add a name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{command}: expected a folder that can be written to, got {folder}; choose another one"
        )


def _announce(
    trainer: Trainer, data: Dataset, rest: Dataset, test: Dataset | None,
    options: argparse.Namespace,
) -> None:  # fmt: skip
    recipe, network = trainer.recipe, trainer.network
    tests = f", {test.n_samples:,} to test" if test is not None else ""
    print(
        f"data     {data.name}: {rest.n_samples:,} samples to train, "
        f"{data.n_samples - rest.n_samples:,} to validate{tests}; "
        f"{data.width} features, {len(data.classes)} classes"
    )
    chosen = "" if options.hidden else ", chosen to fit" if options.budget else ", the default"
    print(f"network  {network.text}{chosen}; {network.precision}, rule {options.rule}, "
          f"{recipe.optimizer.name}, batch {recipe.batch_size}, {recipe.epochs} epochs, "
          f"{recipe.schedule}")  # fmt: skip
    budget = f" of {show_bytes(options.budget)}" if options.budget else ""
    print(f"plan     {show_bytes(trainer.plan.peak)}{budget} for all training buffers")
    sys.stdout.flush()


@contextmanager
def _stop_on_interrupt(trainer: Trainer) -> Iterator[list[int]]:
    """Ctrl-C ends training after the batch in hand; a second one ends the program."""
    seen: list[int] = []

    def stop(number: int, frame: Any) -> None:
        seen.append(number)
        trainer.stop()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, stop)
    except ValueError:  # not in the main thread: somebody else handles signals
        yield seen
        return
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _report(trainer: Trainer, last: Progress, model: Model, budget: int | None) -> dict[str, Any]:
    recipe = trainer.recipe
    report = {key: value for key, value in model.training.items() if key.endswith("_accuracy")}
    return report | {
        "planned_bytes": trainer.plan.peak,
        "measured_bytes": trainer.measured_bytes,
        "budget": budget,
        "categories": trainer.plan.by_category(),
        "step_bytes": trainer.step_bytes,
        "process_peak_bytes": process_peak_bytes(),
        "seconds": last.seconds,
        "epochs": trainer.epochs_done,
        "loss": last.loss,
        "goodness": list(last.goodness),
        "changed": last.changed,
        "rule": model.network.rule.name,
        "precision": model.precision,
        "network": model.network.text,
        "recipe": recipe.describe(),
        "data": {
            "name": model.training["data"], "train_samples": model.training["samples"],
            "features": model.network.features, "classes": list(model.classes),
        },
    }  # fmt: skip


def _export(model: Model, path: str) -> dict[str, Any]:
    from ..export import export_onnx

    report = export_onnx(model, path)
    return {
        "path": path, "bytes": report.nbytes, "checked_with": list(report.checked_with),
        "largest_difference": report.largest_difference,
    }  # fmt: skip


def _summary(report: dict[str, Any]) -> str:
    lines = []
    if report["interrupted"]:
        lines.append(f"stopped  after {report['epochs']} whole epochs; the last state was kept")
    for name, words in (("test_accuracy", "test"), ("validation_accuracy", "valid")):
        if name in report:
            lines.append(f"{words:<8} {100 * report[name]:.2f} % right")
    lines.append(
        f"memory   {report['measured_bytes']:,} B measured, {report['planned_bytes']:,} B planned; "
        f"the whole process {show_bytes(report['process_peak_bytes'])}"
    )
    lines.append(
        f"time     {report['seconds']:.1f} s of training, {report['total_seconds']:.1f} s in all"
    )
    lines.append(f"model    {report['model']} ({show_bytes(report['model_bytes'])})")
    if "export" in report:
        done = report["export"]
        judges = ", ".join(done["checked_with"]) or "not checked: onnx is not installed"
        lines.append(f"export   {done['path']} ({show_bytes(done['bytes'])}; {judges})")
    if report["library"]:
        lines.append(
            "kernels  being compiled in the background, for quicker starts with less memory "
            "(FFEDGE_BUILD_RUNTIME=0 switches this off)"
        )
    return "\n".join(lines)
