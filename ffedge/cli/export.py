"""``ffedge export``: a model file as ONNX, or as firmware for a microcontroller."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from ..errors import ConfigError, ExportError
from ..units import show_bytes
from . import export_firmware
from .model_argument import add_model, open_model
from .options import add_reading

NAME = "export"
HELP = "Export a model to ONNX (one file, all included) or to firmware that goes on training it."
EXAMPLE = """\
examples:
  ffedge export digits.ffedge -o digits.onnx
  ffedge export digits.ffedge --format firmware --board nrf52840 -o digits-nrf52840
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, format and file."""
    add_model(parser)
    parser.add_argument("--format", choices=("onnx", "onnx-int8", "firmware"), default="onnx",
                        help="onnx: in the model's own precision; onnx-int8: refuse any other "
                             "than int8; firmware: a bootable image and a C library for --board, "
                             "of an int8 model (default: onnx)")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", required=True,
                        help="file to write; for firmware the folder")  # fmt: skip
    add_reading(parser)
    export_firmware.add_arguments(parser)
    parser.add_argument("--form", choices=("integer", "qdq"), default="integer",
                        help="of an int8 model: qdq for tools that demand quantise-dequantise "
                             "pairs, less portable (default: integer)")  # fmt: skip
    parser.add_argument("--check", choices=("auto", "require", "off"), default="auto",
                        help="compare with onnxruntime if installed, in any case, or never "
                             "(default: auto)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Export and print the report; ExportError (exit code 6) if a check fails."""
    from ..export import export_onnx

    model = open_model(options, options.model)
    if options.reading is not None:
        model = replace(model, reading=options.reading)
    if options.format == "firmware":
        return export_firmware.run(options, model)
    for name in export_firmware.OPTIONS:
        if getattr(options, name) is not None:
            raise ConfigError(
                f"export: expected --{name} with --format firmware only, got it with "
                f"{options.format}"
            )
    if options.format == "onnx-int8" and model.precision != "int8":
        raise ExportError(
            f"export: expected an int8 model for onnx-int8, got {model.precision}; train with "
            "--precision int8, or convert it with `ffedge quantize`"
        )
    report = export_onnx(model, options.output, form=options.form, check=options.check)
    if options.json:
        fields = {
            "path": str(report.path), "bytes": report.nbytes, "opset": report.opset,
            "ir_version": report.ir_version, "checked_with": list(report.checked_with),
            "largest_difference": report.largest_difference, "labels_equal": report.labels_equal,
            "form": report.form, "differing_values": report.differing_values,
        }  # fmt: skip
        print(json.dumps(fields))
        return 0
    size = show_bytes(report.nbytes)
    print(f"{report.path}: {size}, opset {report.opset}, IR {report.ir_version}")
    if report.checked_with:
        print(f"checked with {', '.join(report.checked_with)}")
    else:
        print('not checked; for that, run: pip install "ffedge[onnx]"')
    if report.differing_values is not None:
        print(f"goodness values with another bit than the model's own: {report.differing_values}")
    elif report.largest_difference is not None:
        print(f"largest difference of a goodness: {report.largest_difference:.1e} of its size")
    return 0
