"""``ffedge train``: plan, train inside the budget, test, save, export."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from ..checkpointing import Checkpoints
from ..enforcement import SLACK, Enforcement, enforced, warm_up
from ..memory import process_peak_bytes
from ..model import Model
from ..model_file import read_model, save_model
from ..planner import Choice
from ..progress import Progress
from ..recipe import Recipe
from ..rules import word_for
from ..sources import Dataset
from ..trainer import Trainer
from ..units import show_bytes
from ..unlabelled import set_threshold
from .checkpoints import (
    add_checkpoints,
    check_checkpoints,
    open_checkpoints,
    stop_on_signals,
)
from .numbers import number_words
from .options import check_writable, read_data
from .prepare import add_training, open_trainer, prepare, split_validation
from .progress import ProgressLine
from .start import add_start, identity_of, open_start
from .unlabelled import add_unlabelled, learn_layers, read_unlabelled

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
    add_start(parser)
    add_checkpoints(parser)
    add_unlabelled(parser)
    parser.add_argument("--enforce", action="store_true",
                        help="let the system refuse the process any memory beyond the plan: a "
                             "training that takes more fails")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="model file to write (default: NAME.ffedge)")  # fmt: skip
    parser.add_argument("--export", metavar="FILE", help="also export to ONNX")


def run(options: argparse.Namespace) -> int:
    """Train; exit code 0, or 130 after an interrupt, with the last good state saved."""
    started = time.perf_counter()
    check_checkpoints(options)
    with ExitStack() as files:
        with ProgressLine(quiet=options.json) as line:
            data, test, rest, validation = _read(options, line)
            start = open_start(options, data)
            choice, asked = prepare(options, rest, None if start is None else start.network)
            output = options.output or f"{re.sub(r'[^A-Za-z0-9._-]+', '_', data.name)}.ffedge"
            for path in filter(None, (output, options.export)):
                check_writable(path, "train")
            if not options.json:
                _announce(choice, asked, data, rest, test, options)
            choice, start = learn_layers(options, choice, rest, start, line)
            with _limited(options.enforce, choice, rest, test) as limit:
                trainer = files.enter_context(open_trainer(choice, data, options.budget, output))
                kept = files.enter_context(
                    open_checkpoints(options, trainer, rest, validation, identity_of(start))
                )
                resume = None
                if kept is not None:
                    resume = kept.resume(must=options.resume)
                    if not options.json:
                        _announce_resume(kept)
                if start is not None:
                    trainer.begin_with(start.params)
                elif resume is None:
                    trainer.learn_scaling(rest)
                after_step = None if kept is None else kept.after_step
                last: Progress | None = None
                with stop_on_signals(trainer) as stopped:
                    steps = trainer.train(rest, validation, resume=resume, after_step=after_step)
                    for last in steps:
                        line.show(last)
                        if limit is not None:
                            limit.look()
                if stopped and kept is not None:
                    return _tell_stop(kept, last, stopped, options)
                training = _figures(trainer, rest, validation, test)
        assert last is not None
        model = Model(
            trainer.network, {} if trainer.file else trainer.params, data.classes,
            data.feature_shape, data.feature_names, training,
        ).first_layers(trainer.reached)  # fmt: skip
        if options.unlabelled and not trainer.file:
            model = set_threshold(model, data.features, options.contamination)
        report = _report(trainer, last, model, options.budget) | {
            "model": output,
            "model_bytes": trainer.save(model) if trainer.file else save_model(model, output),
            "interrupted": bool(stopped),
            "checkpoints": None if kept is None else kept.describe(),
            "plan": choice.describe(),
            "storage": {"read": trainer.bytes_read, "written": trainer.bytes_written},
            "enforced": None if limit is None else asdict(limit),
        }
        if kept is not None:
            # The model is in place: the next command begins anew.
            kept.store.clear()
    if options.export:
        report["export"] = _export(model, output, options.export)
    report["total_seconds"] = time.perf_counter() - started
    report["library"] = None if stopped else begin_library()
    print(json.dumps(report) if options.json else _summary(report))
    return _exit_code(stopped)


def _read(
    options: argparse.Namespace, line: ProgressLine
) -> tuple[Dataset, Dataset | None, Dataset, Dataset | None]:
    """All data, the test part, and what of the former is trained and validated on."""
    if options.unlabelled:
        data = read_unlabelled(options, line)
        return data, None, data, None
    data, test = read_data(options, line)
    return data, test, *split_validation(data, options.validation)


def _exit_code(stopped: list[int]) -> int:
    """130 after Ctrl-C; a SIGTERM is somebody's wish that was fulfilled."""
    return 130 if signal.SIGINT in stopped else 0


def _announce_resume(kept: Checkpoints) -> None:
    for words in kept.store.skipped:
        print(f"resume   damaged, gone past: {words}")
    if kept.resumed is not None:
        turn, epoch, first = kept.resumed.turn, kept.resumed.epoch, kept.resumed.first
        stage = f"layer {turn}, " if turn else ""
        print(f"resume   from {kept.store.folder}: {stage}epoch {epoch + 1}, sample {first:,}")
    sys.stdout.flush()


def _tell_stop(
    kept: Checkpoints, last: Progress | None, stopped: list[int], options: argparse.Namespace
) -> int:
    """Training was stopped and its state kept; there is no model yet."""
    if options.json:
        done = None if last is None else last.done
        print(json.dumps({"interrupted": True, "done": done, "checkpoints": kept.describe()}))
    elif kept.failure:
        print(f"stopped  the state could not be kept in {kept.store.folder}: {kept.failure}")
    else:
        print(
            f"stopped  the state is kept in {kept.store.folder}; the same command goes on from it"
        )
    return _exit_code(stopped)


def _figures(
    trainer: Trainer, rest: Dataset, validation: Dataset | None, test: Dataset | None
) -> dict[str, Any]:
    """How the model came about, and how well it does."""
    figures: dict[str, Any] = {
        "recipe": trainer.recipe.describe(),
        "epochs": trainer.epochs_done,
        "samples": rest.n_samples,
        "data": rest.name,
    }
    for name, part in (("test", test), ("validation", validation)):
        if part is not None:
            score = trainer.account(part)
            figures |= {f"{name}_{key}": value for key, value in score.figures().items()}
    return figures


@contextmanager
def _limited(
    wanted: bool, choice: Choice, data: Dataset, test: Dataset | None
) -> Iterator[Enforcement | None]:
    """The operating system holds the process to the plan inside, if that is ``wanted``."""
    if not wanted:
        yield None
        return
    warm_up(choice, data, *filter(None, [test]))
    try:
        with enforced(choice.plan.peak) as limit:
            yield limit
    except MemoryError as error:
        raise MemoryError(
            f"train: expected to train within the plan's {show_bytes(choice.plan.peak)} and "
            f"{show_bytes(SLACK)} for the interpreter, got a request for more, which the system "
            f"refused ({error}); please report it with the plan, or leave --enforce out"
        ) from error


def begin_library() -> str | None:
    """Begin to build the compiled kernels for later runs, if this one had to do without."""
    from ..lowering.background import begin

    path = begin()
    return None if path is None else str(path)


def _announce(
    choice: Choice, asked: Recipe, data: Dataset, rest: Dataset, test: Dataset | None,
    options: argparse.Namespace,
) -> None:  # fmt: skip
    recipe, network = choice.recipe, choice.network
    tests = f", {test.n_samples:,} to test" if test is not None else ""
    told = f"{len(data.classes)} classes"
    if data.numeric:
        told = f"numbers to predict in {network.classes} bins"
    print(
        f"data     {data.name}: {rest.n_samples:,} samples to train, "
        f"{data.n_samples - rest.n_samples:,} to validate{tests}; "
        f"{data.width} features, {told}"
    )
    chosen = ", chosen to fit" if options.budget else ", the default"
    if options.hidden or options.start:
        chosen = ""
    print(f"network  {network.short_text}{chosen}; {network.precision}, rule {options.rule}, "
          f"{recipe.optimizer.name}, batch {recipe.batch_size}, {recipe.epochs} epochs, "
          f"{recipe.schedule}")  # fmt: skip
    budget = f" of {show_bytes(options.budget)}" if options.budget else ""
    print(f"plan     {show_bytes(choice.plan.peak)}{budget} for all training buffers")
    for words in choice.words(asked):
        print(f"         {words}")
    sys.stdout.flush()


def _report(trainer: Trainer, last: Progress, model: Model, budget: int | None) -> dict[str, Any]:
    recipe = trainer.recipe
    report = {
        key: value for key, value in model.training.items()
        if key.partition("_")[0] in ("test", "validation")
    }  # fmt: skip
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
        "rule": word_for(model.network.rule),
        "precision": model.precision,
        "network": model.network.text,
        "recipe": recipe.describe(),
        "data": {
            "name": model.training["data"], "train_samples": model.training["samples"],
            "features": model.network.features, "classes": list(model.classes),
        },
    }  # fmt: skip


def _export(model: Model, output: str, path: str) -> dict[str, Any]:
    from ..export import export_onnx

    if not model.params:
        # Its layers lay in the file that is the model now.
        with open(output, "rb") as file:
            model = read_model(file, output)
    report = export_onnx(model, path)
    return {
        "path": path, "bytes": report.nbytes, "checked_with": list(report.checked_with),
        "largest_difference": report.largest_difference,
    }  # fmt: skip


def _summary(report: dict[str, Any]) -> str:
    lines = []
    if report["interrupted"]:
        lines.append(f"stopped  after {report['epochs']} whole epochs; the last state was kept")
    for name, words in (("test", "test"), ("validation", "valid")):
        if f"{name}_accuracy" in report:
            lines.append(f"{words:<8} {100 * report[f'{name}_accuracy']:.2f} % right")
        elif f"{name}_r2" in report:
            lines.append(f"{words:<8} {number_words(report, f'{name}_')}")
    lines.append(
        f"memory   {report['measured_bytes']:,} B measured, {report['planned_bytes']:,} B planned; "
        f"the whole process {show_bytes(report['process_peak_bytes'])}"
    )
    if report["enforced"]:
        held = report["enforced"]
        lines.append(
            f"enforced {show_bytes(held['limit'])} of process data at most, "
            f"{show_bytes(held['before'])} before training; it reached {show_bytes(held['peak'])}"
        )
    if report["checkpoints"]:
        kept = report["checkpoints"]
        put_off = f", {kept['put_off']} put off" if kept["put_off"] else ""
        failed = f", {kept['failed']} refused by the disk" if kept["failed"] else ""
        lines.append(
            f"saved    {kept['saves']} states{put_off}{failed}: {show_bytes(kept['bytes_written'])}"
        )
    storage = report["storage"]
    if storage["written"]:
        lines.append(
            f"disk     {show_bytes(storage['read'])} of layers read, "
            f"{show_bytes(storage['written'])} written"
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
