"""``export_onnx``: build the graph, write it, have it judged, and only then put it in place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..atomic import atomic_write
from ..errors import ExportError
from ..model import Array, Model
from .onnx_check import check_file, check_probe, default_probe, judges
from .onnx_float import build
from .onnx_interface import metadata
from .onnx_writer import IR_VERSION, OPSET, write


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and who checked it.

    checked_with: such as ("onnx 1.23.2 checker", "onnxruntime 1.32.0"). largest_difference: of
    a goodness between ONNX Runtime and the model, as a share of its magnitude. labels_equal:
    on every probe row. The last two are None where ONNX Runtime did not run.
    """

    path: Path
    nbytes: int
    opset: int
    ir_version: int
    checked_with: tuple[str, ...]
    largest_difference: float | None
    labels_equal: bool | None


def export_onnx(
    model: Model,
    path: str | os.PathLike[str],
    *,
    probe: Array | None = None,
    check: str = "auto",
) -> ExportReport:
    """Write ``model`` to ``path`` as one ONNX file: scaling, network and class names.

    probe: raw samples (n, features) to compare on; by default 64 made from the scaler.
    check: "auto" asks ``onnx`` and ``onnxruntime`` if they are installed, "require" demands
    both, "off" asks neither and imports neither.

    Raises ExportError if the model cannot be expressed or a judge disagrees,
    MissingDependencyError, DataError for a probe that does not fit, and OSError as the system
    does. In each case an old file at ``path`` stays as it was.
    """
    found = judges(check)
    rows = default_probe(model) if probe is None else check_probe(model, probe)
    for name, array in model.params.items():
        if not np.isfinite(array).all():
            raise ExportError(
                f"export: expected finite numbers in {name}, got NaN or infinity; train the "
                "model again with a lower learning rate"
            )
    graph = build(model)
    with atomic_write(path) as file:
        producer = ("ffedge", __version__)
        nbytes = write(graph, file, metadata=metadata(model), producer=producer)
        file.flush()
        verdict = check_file(file.name, model, rows, found)
    return ExportReport(
        Path(path), nbytes, OPSET, IR_VERSION,
        verdict.checked_with, verdict.largest_difference, verdict.labels_equal,
    )  # fmt: skip
