"""What runtimes compute from an exported file, against what the model computes.

float32 has a tolerance, since the order of sums is a runtime's own; int8 has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ..errors import ExportError
from ..model import Array, Model
from ..predict import Predictor

#: Largest accepted difference of a goodness, as a share of 1 + the row's largest goodness. The
#: order of sums makes about 1e-6; a runtime that computes in 16 bits makes 1e-2.
TOLERANCE = 1e-4

#: Share of the rows that may differ by more behind a box that rounds, where a sum that is off by
#: 1e-6 can fall to the other side of a step.
ROUNDED_OTHERWISE = 0.1

#: ONNX Runtime's optimiser off and at its most inventive: integers must survive both.
_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")


def compare_values(
    path: str, model: Model, probe: Array, onnxruntime: ModuleType
) -> tuple[str, float, bool | None]:
    """Judge's name, largest difference and whether all labels agree; ExportError beyond TOLERANCE.

    The difference is that of a goodness, as a share of 1 + the row's largest; of a regression that
    of a value, as a share of what its bins span (and of a probability), and there are no labels.
    """
    judge = f"onnxruntime {onnxruntime.__version__}"
    if model.network.rule.numeric:
        return judge, _compare_numbers(path, model, probe, onnxruntime, judge), None
    alone = model.network.rule.unlabelled
    names = ["score"] if alone else ["goodness", "label"]
    goodness, *others = _run(path, probe, onnxruntime, judge, "ORT_ENABLE_ALL", names)
    predictor = Predictor(model)
    expected = predictor.scores(probe)
    magnitude = 1.0 + np.abs(expected).max(axis=1, keepdims=True)
    off = (np.abs(goodness - expected) / magnitude).max(axis=1)
    # A NaN compares as false, and is refused as well.
    near = off <= TOLERANCE
    allowed = ROUNDED_OTHERWISE if any(slot.box.rounds for slot in model.network.boxes) else 0.0
    agrees = bool(np.isfinite(goodness).all()) and int((~near).sum()) <= allowed * len(probe)
    other, same = 0, True
    if not alone:
        top = np.sort(expected, axis=1)[:, -2:]
        # Where two classes are as good as equal, rounding may choose.
        clear = top[:, 1] - top[:, 0] > 2 * TOLERANCE * magnitude[:, 0]
        equal = others[0] == np.asarray(model.classes)[expected.argmax(axis=1)]
        other, same = int((clear & near & ~equal).sum()), bool(equal.all())
    difference = float(off.max())
    if not agrees or other:
        raise ExportError(
            f"export: expected {judge} to agree with the model on {len(probe):,} probe rows, got "
            f"goodness off by up to {difference:.2g} of its magnitude (allowed {TOLERANCE:g}) and "
            f"{other:,} other labels; nothing was written; try another version of "
            "onnxruntime"
        )
    return judge, difference, same


def _compare_numbers(
    path: str, model: Model, probe: Array, onnxruntime: ModuleType, judge: str
) -> float:
    outputs = ["value", "probabilities"]
    values, chances = _run(path, probe, onnxruntime, judge, "ORT_ENABLE_ALL", outputs)
    predictor = Predictor(model)
    centres = predictor.centres.astype(np.float64)
    span = centres[-1] - centres[0]
    # The value itself is a float32, however far it lies from 0.
    rounding = np.spacing(np.float32(np.abs(centres).max())).astype(np.float64)
    off = np.abs(values[:, 0].astype(np.float64) - predictor.values(probe))
    difference = float(np.maximum(off - rounding, 0.0).max() / span)
    difference = max(difference, float(np.abs(chances - predictor.probabilities(probe)).max()))
    # A NaN compares as false, and is refused as well.
    if not difference <= TOLERANCE or np.isnan(off).any():
        raise ExportError(
            f"export: expected {judge} to agree with the model on {len(probe):,} probe rows, got "
            f"values or probabilities off by up to {difference:.2g} of their range (allowed "
            f"{TOLERANCE:g}); nothing was written; try another version of onnxruntime"
        )
    return difference


def compare_bits(
    path: str, model: Model, probe: Array, expected: Array, found: dict[str, ModuleType]
) -> tuple[str, ...]:
    """The judges among ``found`` that ran the file; ExportError if one met another bit.

    expected: the model's goodness, int32 (n, C). ONNX Runtime runs with and without its
    optimiser.
    """
    judges = []
    if "onnxruntime" in found:
        judge = f"onnxruntime {found['onnxruntime'].__version__}"
        for level in _LEVELS:
            results = _run(path, probe, found["onnxruntime"], judge, level, ["label", "goodness"])
            _demand_bits(results, model, expected, f"{judge} at {level}")
        judges.append(judge)
    if "onnx.reference" in found:
        judge = f"onnx {found['onnx'].__version__} reference evaluator"
        evaluator = found["onnx.reference"].ReferenceEvaluator(path)
        # A feature scaled beyond float32 is clipped a few steps later.
        with np.errstate(over="ignore"):
            results = evaluator.run(["label", "goodness"], {"X": probe})
        _demand_bits(results, model, expected, judge)
        judges.append(judge)
    return tuple(judges)


def _demand_bits(results: list[Array], model: Model, expected: Array, judge: str) -> None:
    labels, goodness = results
    values = int((goodness != expected.astype(np.float32)).sum())
    other = int((labels != np.asarray(model.classes)[expected.argmax(axis=1)]).sum())
    if values or other:
        raise ExportError(
            f"export: expected {judge} to compute the model's own bits on {len(expected):,} probe "
            f"rows, got {values:,} of {expected.size:,} goodness values and {other:,} labels that "
            "differ; nothing was written; try another version of onnxruntime, and report this"
        )


def _run(
    path: str, probe: Array, onnxruntime: ModuleType, judge: str, level: str,
    outputs: Sequence[str] = ("label", "goodness"),
) -> list[Array]:  # fmt: skip
    """Outputs of ``probe``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        results: list[Array] = session.run(list(outputs), {"X": probe})
    # ONNX Runtime raises a class of its own for each of its error codes.
    except Exception as error:
        raise ExportError(
            f"export: expected {judge} to run the graph, got {error}; nothing was written"
        ) from error
    return results
