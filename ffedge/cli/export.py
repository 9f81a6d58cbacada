"""``ffedge export``: a model file as ONNX."""

from __future__ import annotations

import argparse
import json

from ..model_file import load_model
from ..units import show_bytes

NAME = "export"
HELP = "Export a model to ONNX: one file, scaling and class names included."
EXAMPLE = "example: ffedge export digits.ffedge -o digits.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, format and file."""
    parser.add_argument("model", metavar="MODEL", help="model file of `ffedge train`")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="default: onnx")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    parser.add_argument("--check", choices=("auto", "require", "off"), default="auto",
                        help="compare with onnxruntime if installed, in any case, or never "
                             "(default: auto)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Export and print the report; ExportError (exit code 6) if a check fails."""
    from ..export import export_onnx

    report = export_onnx(load_model(options.model), options.output, check=options.check)
    if options.json:
        fields = {
            "path": str(report.path), "bytes": report.nbytes, "opset": report.opset,
            "ir_version": report.ir_version, "checked_with": list(report.checked_with),
            "largest_difference": report.largest_difference, "labels_equal": report.labels_equal,
        }  # fmt: skip
        print(json.dumps(fields))
        return 0
    size = show_bytes(report.nbytes)
    print(f"{report.path}: {size}, opset {report.opset}, IR {report.ir_version}")
    if report.checked_with:
        print(f"checked with {', '.join(report.checked_with)}")
    else:
        print('not checked; for that, run: pip install "ffedge[onnx]"')
    if report.largest_difference is not None:
        print(f"largest difference of a goodness: {report.largest_difference:.1e} of its size")
    return 0
