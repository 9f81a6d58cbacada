"""An exported file before its judges: ``onnx``'s checker, and ONNX Runtime against the model.

The only file that imports ``onnx`` and ``onnxruntime``, and only when it is asked to.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, ExportError, MissingDependencyError
from ..model import Array, Model
from ..predict import Predictor

CHECKS = ("auto", "require", "off")

#: Largest accepted difference of a goodness, as a share of 1 + the row's largest goodness. The
#: order of sums makes about 1e-6; a runtime that computes in 16 bits makes 1e-2.
TOLERANCE = 1e-4

_PROBE_ROWS = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judges said; None where nothing was compared."""

    checked_with: tuple[str, ...] = ()
    largest_difference: float | None = None
    labels_equal: bool | None = None


def judges(check: str) -> dict[str, ModuleType]:
    """The packages that ``check`` calls in.

    "auto": those installed. "require": both; MissingDependencyError without. "off": none.
    """
    if check not in CHECKS:
        raise ConfigError(f"export: expected check to be one of {', '.join(CHECKS)}, got {check!r}")
    found: dict[str, ModuleType] = {}
    if check == "off":
        return found
    try:
        import onnx
        import onnx.checker
        import onnx.shape_inference

        found["onnx"] = onnx
    except ImportError:
        _miss("onnx", check)
    try:
        import onnxruntime

        found["onnxruntime"] = onnxruntime
    except ImportError:
        _miss("onnxruntime", check)
    return found


def _miss(package: str, check: str) -> None:
    if check == "require":
        raise MissingDependencyError(package, "onnx", "checking an exported model") from None


def default_probe(model: Model) -> Array:
    """Rows around the scaler's mean, from none to four units of 1 / gain away; always the same."""
    mean = model.params["input.mean"].astype(np.float64)
    gain = model.params["input.gain"].astype(np.float64)
    unit = np.divide(1.0, gain, out=np.zeros_like(gain), where=gain != 0.0)
    spread = np.linspace(0.0, 4.0, _PROBE_ROWS)[:, None]
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((_PROBE_ROWS, len(mean)))
    largest = np.finfo(np.float32).max
    return np.clip(mean + spread * noise * unit, -largest, largest).astype(np.float32)


def check_probe(model: Model, probe: Any) -> Array:
    """``probe`` as float32 rows; DataError for a wrong shape, no rows, NaN or infinity."""
    rows = np.ascontiguousarray(probe, dtype=np.float32)
    features = model.network.features
    if rows.ndim != 2 or rows.shape[1] != features or not len(rows):
        raise DataError(
            f"export: expected probe rows of {features:,} features, got an array of shape "
            f"{rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise DataError("export: expected finite numbers in the probe, got NaN or infinity")
    return rows


def check_file(path: str, model: Model, probe: Array, found: dict[str, ModuleType]) -> Verdict:
    """Judge the file at ``path`` by ``found``; ExportError if it disagrees with ``model``."""
    checked = []
    verdict = Verdict()
    if "onnx" in found:
        checked.append(_check_structure(path, found["onnx"]))
    if "onnxruntime" in found:
        checked.append(f"onnxruntime {found['onnxruntime'].__version__}")
        verdict = _compare(path, model, probe, found["onnxruntime"], checked[-1])
    return Verdict(tuple(checked), verdict.largest_difference, verdict.labels_equal)


def _check_structure(path: str, onnx: ModuleType) -> str:
    judge = f"onnx {onnx.__version__} checker"
    try:
        onnx.checker.check_model(path, full_check=True)
        onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True)
    # The package's own errors share no base class.
    except Exception as error:
        raise ExportError(
            f"export: expected a graph that passes the {judge}, got {error}; nothing was "
            "written; this is a bug in ffedge, report it with the network's widths and rule"
        ) from error
    return judge


def _compare(path: str, model: Model, probe: Array, onnxruntime: ModuleType, judge: str) -> Verdict:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        labels, goodness = session.run(["label", "goodness"], {"X": probe})
    # ONNX Runtime raises a class of its own for each of its error codes.
    except Exception as error:
        raise ExportError(
            f"export: expected {judge} to run the graph, got {error}; nothing was written"
        ) from error
    predictor = Predictor(model)
    expected = predictor.scores(probe)
    magnitude = 1.0 + np.abs(expected).max(axis=1, keepdims=True)
    difference = float((np.abs(goodness - expected) / magnitude).max())
    top = np.sort(expected, axis=1)[:, -2:]
    # Where two classes are as good as equal, rounding may choose.
    clear = top[:, 1] - top[:, 0] > 2 * TOLERANCE * magnitude[:, 0]
    same = labels == np.asarray(model.classes)[expected.argmax(axis=1)]
    # A NaN compares as false, and is refused as well.
    other = int((clear & ~same).sum())
    if not difference <= TOLERANCE or other:
        raise ExportError(
            f"export: expected {judge} to agree with the model on {len(probe):,} probe rows, got "
            f"goodness off by up to {difference:.2g} of its magnitude (allowed {TOLERANCE:g}) and "
            f"{other:,} other labels; nothing was written; try another version of "
            "onnxruntime"
        )
    return Verdict((), difference, bool(same.all()))
