"""What runtimes compute from an exported file, against what the model computes.

float32 has a tolerance, since the order of sums is a runtime's own; int8 has none.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..errors import ExportError
from ..model import Array, Model
from ..predict import Predictor

#: Largest accepted difference of a goodness, as a share of 1 + the row's largest goodness. The
#: order of sums makes about 1e-6; a runtime that computes in 16 bits makes 1e-2.
TOLERANCE = 1e-4

#: ONNX Runtime's optimiser off and at its most inventive: integers must survive both.
_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")


def compare_values(
    path: str, model: Model, probe: Array, onnxruntime: ModuleType
) -> tuple[str, float, bool]:
    """Judge's name, largest difference and whether all labels agree; ExportError beyond TOLERANCE.

    The difference is that of a goodness, as a share of 1 + the row's largest.
    """
    judge = f"onnxruntime {onnxruntime.__version__}"
    alone = model.network.rule.unlabelled
    names = ["score"] if alone else ["goodness", "label"]
    goodness, *others = _run(path, probe, onnxruntime, judge, "ORT_ENABLE_ALL", names)
    predictor = Predictor(model)
    expected = predictor.scores(probe)
    magnitude = 1.0 + np.abs(expected).max(axis=1, keepdims=True)
    difference = float((np.abs(goodness - expected) / magnitude).max())
    other, same = 0, True
    if not alone:
        top = np.sort(expected, axis=1)[:, -2:]
        # Where two classes are as good as equal, rounding may choose.
        clear = top[:, 1] - top[:, 0] > 2 * TOLERANCE * magnitude[:, 0]
        agrees = others[0] == np.asarray(model.classes)[expected.argmax(axis=1)]
        # A NaN compares as false, and is refused as well.
        other, same = int((clear & ~agrees).sum()), bool(agrees.all())
    if not difference <= TOLERANCE or other:
        raise ExportError(
            f"export: expected {judge} to agree with the model on {len(probe):,} probe rows, got "
            f"goodness off by up to {difference:.2g} of its magnitude (allowed {TOLERANCE:g}) and "
            f"{other:,} other labels; nothing was written; try another version of "
            "onnxruntime"
        )
    return judge, difference, same


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
    path: str, probe: Array, onnxruntime: ModuleType, judge: str, level: str, names: list[str]
) -> list[Array]:
    """The outputs ``names`` of ``probe``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        results: list[Array] = session.run(names, {"X": probe})
    # ONNX Runtime raises a class of its own for each of its error codes.
    except Exception as error:
        raise ExportError(
            f"export: expected {judge} to run the graph, got {error}; nothing was written"
        ) from error
    return results
