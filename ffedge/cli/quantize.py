"""``ffedge quantize``: a float32 model file as an int8 one."""

from __future__ import annotations

import argparse
import json

from ..model_file import save_model
from ..quantize import quantize
from ..sources import load
from ..units import show_bytes
from .model_argument import add_model, open_model
from .options import add_data

NAME = "quantize"
HELP = "Convert a float32 model to int8, and show what it costs on data."
EXAMPLE = "example: ffedge quantize digits.ffedge digits -o digits8.ffedge"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, calibration data and file."""
    add_model(parser, "float32 model file of `ffedge train`")
    add_data(parser)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")


def run(options: argparse.Namespace) -> int:
    """Convert, compare and write; ConfigError (exit code 2) for a model without int8 form."""
    model = open_model(options, options.model)
    calibration, _ = load(
        options.data, label=options.label, data_dir=options.data_dir, cache_dir=options.cache_dir,
        numeric=model.network.rule.numeric,
    )  # fmt: skip
    twin, report = quantize(model, calibration)
    written = save_model(twin, options.output)
    if options.json:
        print(json.dumps({
            "model": options.output, "model_bytes": written, "network": twin.network.text,
            "accuracy_before": report.accuracy_before, "accuracy_after": report.accuracy_after,
            "clipped": report.clipped, "input_parts": twin.network.input_parts,
        }))  # fmt: skip
        return 0
    print(f"float32  {100 * report.accuracy_before:.2f} % right, {show_bytes(model.nbytes)}")
    print(f"int8     {100 * report.accuracy_after:.2f} % right, {show_bytes(twin.nbytes)}")
    if report.clipped:
        print(f"clipped  {100 * report.clipped:.3f} % of the weights")
    print(f"model    {options.output} ({show_bytes(written)})")
    return 0
