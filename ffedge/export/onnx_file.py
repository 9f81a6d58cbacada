"""``export_onnx``: build the graph, write it, have it judged, and only then put it in place."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..atomic import atomic_write
from ..errors import ConfigError, ExportError
from ..model import Array, Model
from ..predict import Predictor
from .onnx_check import check_file, check_probe, default_probe, judges
from .onnx_float import build
from .onnx_int8 import FORMS
from .onnx_int8 import build as build_int8
from .onnx_int8 import metadata as int8_metadata
from .onnx_interface import metadata
from .onnx_writer import IR_VERSION, OPSET, write


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and who checked it.

    form: "float", or of an int8 model "integer" or "qdq".
    checked_with: such as ("onnx 1.23.2 checker", "onnxruntime 1.32.0"). largest_difference: of
    a goodness between ONNX Runtime and the model, as a share of its magnitude. labels_equal:
    on every probe row. differing_values: goodness values of an int8 model with another bit: 0,
    or there would be no file. The last three are None where no runtime ran, and the last for
    float32 models.
    """

    path: Path
    nbytes: int
    opset: int
    ir_version: int
    checked_with: tuple[str, ...]
    largest_difference: float | None
    labels_equal: bool | None
    form: str
    differing_values: int | None


def export_onnx(
    model: Model,
    path: str | os.PathLike[str],
    *,
    form: str = "integer",
    probe: Array | None = None,
    check: str = "auto",
) -> ExportReport:
    """Write ``model`` to ``path`` as one ONNX file: scaling, network and class names.

    The graph reads the network out as the model says; layers that never run are left out. A static
    graph cannot leave early.

    form: of an int8 model: "integer" has the device's bits in every runtime; "qdq" is for tools
    that look for QuantizeLinear and DequantizeLinear, see ``onnx_int8``.
    probe: raw samples (n, features) to compare on; by default 64 made from the scaler.
    check: "auto" asks ``onnx`` and ``onnxruntime`` if they are installed, "require" demands
    both, "off" asks neither and imports neither. An int8 model's goodness and labels have to
    be equal in every bit, with and without ONNX Runtime's optimiser; "require" also asks
    ``onnx``'s reference evaluator (form "integer").

    Raises ExportError if the model cannot be expressed or a judge disagrees,
    MissingDependencyError, ConfigError for an unknown option, DataError for a probe that does
    not fit, and OSError as the system does. In each case an old file at ``path`` stays as it was.
    """
    if form not in FORMS:
        raise ConfigError(f"export: expected form to be one of {', '.join(FORMS)}, got {form!r}")
    found, model = judges(check), model.trimmed()
    rows = default_probe(model) if probe is None else check_probe(model, probe)
    for name, array in model.params.items():
        if not np.isfinite(array).all():
            raise ExportError(
                f"export: expected finite numbers in {name}, got NaN or infinity; train the "
                "model again with a lower learning rate"
            )
    words, exact = metadata(model), None
    if model.precision == "int8":
        graph = build_int8(model, form)
        exact = Predictor(model).scores(rows)
        words |= int8_metadata(model, form) | _fingerprint(rows, exact)
        if form == "qdq":
            # It knows DequantizeLinear from opset 19 on.
            found.pop("onnx.reference", None)
    elif form == "qdq":
        raise ExportError(
            f"export: expected an int8 model for form qdq, got precision {model.precision}; leave "
            "the form out, or train the network with precision int8"
        )
    else:
        graph, form = build(model), "float"
    with atomic_write(path) as file:
        nbytes = write(graph, file, metadata=words, producer=("ffedge", __version__))
        file.flush()
        verdict = check_file(file.name, model, rows, found, exact)
    return ExportReport(
        Path(path), nbytes, OPSET, IR_VERSION, verdict.checked_with,
        verdict.largest_difference, verdict.labels_equal, form, verdict.differing_values,
    )  # fmt: skip


def _fingerprint(probe: Array, goodness: Array) -> dict[str, str]:
    """SHA-256 of the probe and of the goodness that it must give: float32, little-endian, C order.

    With them a program can check the runtime of the day.
    """

    def digest(array: Array) -> str:
        return hashlib.sha256(array.astype("<f4").tobytes()).hexdigest()

    return {"ffedge.probe": digest(probe), "ffedge.check": digest(goodness)}
