"""An exported file before its judges: ``onnx``'s checker, and runtimes against the model.

The only file that imports ``onnx`` and ``onnxruntime``, and only when it is asked to. What a
runtime's results have to meet is in ``onnx_compare``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, ExportError, MissingDependencyError
from ..model import Array, Model
from .onnx_compare import compare_bits, compare_values

CHECKS = ("auto", "require", "off")

_PROBE_ROWS = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judges said; None where nothing was compared."""

    checked_with: tuple[str, ...] = ()
    largest_difference: float | None = None
    labels_equal: bool | None = None
    differing_values: int | None = None


def judges(check: str) -> dict[str, ModuleType]:
    """The packages that ``check`` calls in.

    "auto": those installed. "require": both, and ``onnx``'s reference evaluator, which is slow;
    MissingDependencyError without. "off": none.
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
        if check == "require":
            import onnx.reference

            found["onnx.reference"] = onnx.reference
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


def check_file(
    path: str,
    model: Model,
    probe: Array,
    found: dict[str, ModuleType],
    exact: Array | None = None,
) -> Verdict:
    """Judge the file at ``path`` by ``found``; ExportError if it disagrees with ``model``.

    exact: the model's goodness of ``probe``, whose every bit must be met; None allows float32's
    tolerance.
    """
    checked = [_check_structure(path, found["onnx"])] if "onnx" in found else []
    if exact is not None:
        compared = compare_bits(path, model, probe, exact, found)
        if not compared:
            return Verdict(tuple(checked))
        return Verdict((*checked, *compared), 0.0, True, 0)
    if "onnxruntime" in found:
        judge, difference, same = compare_values(path, model, probe, found["onnxruntime"])
        return Verdict((*checked, judge), difference, same)
    return Verdict(tuple(checked))


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
