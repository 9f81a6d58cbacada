"""An ONNX model as a black box: run by ONNX Runtime, checked before it is run.

A file from outside is a program. What is checked here keeps it small, whole and of the right shape;
it does not make a stranger's file safe to run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..boxes import BlackBox
from ..errors import DataError, MissingDependencyError
from ..layers import MAX_INPUTS

Array = np.ndarray[Any, Any]

#: Larger files are refused unless the caller allows more.
MAX_BYTES = 64 << 20

#: More nodes than this are refused, in all subgraphs together.
MAX_NODES = 10_000

_FLOAT = 1
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")


class OnnxFunction:
    """float32 (n, inputs) -> float32 (n, outputs) by an ONNX model; one thread, on the processor.

    inputs: None where the model takes rows of any width.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._where = where
        self.input, self.inputs, self.output, self.outputs = check_onnx(data, where)
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependencyError("onnxruntime", "onnx", "a black box in ONNX") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Its errors come as exceptions; nothing else is printed.
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        # The package's errors share no base class.
        except Exception as error:
            raise DataError(
                f"{where}: expected a model that ONNX Runtime {onnxruntime.__version__} loads, got "
                f"{error!s:.300}"
            ) from None

    def __call__(self, rows: Array) -> Array:
        if self.inputs not in (None, rows.shape[1]):
            raise DataError(
                f"{self._where}: expected rows of {self.inputs} numbers, got {rows.shape[1]}; put "
                "the box in front of another layer, or change the width of the one below"
            )
        try:
            found = self._session.run([self.output], {self.input: rows})[0]
        except Exception as error:
            raise DataError(
                f"{self._where}: expected a model that takes in {rows.shape[0]} rows of "
                f"{rows.shape[1]} numbers, got {error!s:.300}"
            ) from None
        return np.asarray(found)


def onnx_box(
    path: str | os.PathLike[str], *, title: str | None = None, normalize: bool = True,
    max_bytes: int = MAX_BYTES,
) -> BlackBox:  # fmt: skip
    """The box of an ONNX file with one input, float32 (N, inputs), and one output (N, outputs).

    title: the file's name without its ending, if not given. max_bytes: larger files are refused.
    Raises DataError if the file cannot be used, MissingDependencyError without the extra ``onnx``.
    """
    where = os.fspath(path)
    try:
        size = os.stat(path).st_size
        if not Path(path).is_file() or not 1 <= size <= max_bytes:
            raise DataError(
                f"{where}: expected a file of 1 to {max_bytes:,} B, got {size:,} B; allow more by "
                "max_bytes="
            )
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{where}: expected an ONNX file, got: {error.strerror or 'an unreadable file'}"
        ) from None
    function = OnnxFunction(data, where)
    name = (Path(path).stem or "onnx")[:80] if title is None else title
    return BlackBox(function, name, width=function.outputs, normalize=normalize)


def check_onnx(data: bytes, where: str) -> tuple[str, int | None, str, int]:
    """Names and widths of a model's input and output; None for an input of any width.

    Raises DataError, saying what is wrong, for anything else than standard operators with all their
    constants inside, one float32 input (N, inputs) and one float32 output (N, outputs).
    """
    onnx = _onnx_module()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise DataError(f"{where}: expected an ONNX model, got {error!s:.200}") from None
    odd = [entry.domain for entry in model.opset_import if entry.domain not in _STANDARD]
    odd += [function.name for function in model.functions]
    if odd:
        raise DataError(f"{where}: expected standard operators, got others: {odd[0]!r:.60}")
    _check_graphs(onnx, model.graph, where)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise DataError(
            f"{where}: expected a model with one input and one output, got {len(inputs)} and "
            f"{len(outputs)}"
        )
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise DataError(f"{where}: expected a sound model, got {error!s:.300}") from None
    taken, made = (_width(value, where) for value in (inputs[0], outputs[0]))
    if made is None:
        raise DataError(
            f"{where}: expected an output whose width is written in the file, got an open one"
        )
    return inputs[0].name, taken, outputs[0].name, made


def _onnx_module() -> Any:
    try:
        import onnx
        import onnx.checker
    except ImportError:
        raise MissingDependencyError("onnx", "onnx", "a black box in ONNX") from None
    return onnx


def _check_graphs(onnx: Any, graph: Any, where: str) -> None:
    """Nodes are few and standard, and all constants are in the file."""
    waiting, nodes = [graph], 0
    while waiting:
        part = waiting.pop()
        nodes += len(part.node)
        tensors = [*part.initializer]
        for sparse in part.sparse_initializer:
            tensors += [sparse.values, sparse.indices]
        for node in part.node:
            if node.domain not in _STANDARD:
                raise DataError(
                    f"{where}: expected standard operators, got {node.op_type!r:.60} of "
                    f"{node.domain!r:.60}"
                )
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs
        if nodes > MAX_NODES:
            raise DataError(f"{where}: expected at most {MAX_NODES:,} nodes, got more")
        if any(
            tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data
            for tensor in tensors
        ):
            raise DataError(
                f"{where}: expected all constants inside the file, got some in other files; save "
                "the model with its weights inside"
            )


def _width(value: Any, where: str) -> int | None:
    """The second length of a float32 (N, width); None if it is open."""
    tensor = value.type.tensor_type
    lengths = tensor.shape.dim
    if tensor.elem_type != _FLOAT or len(lengths) != 2:
        raise DataError(
            f"{where}: expected float32 (N, width) for {value.name!r:.60}, got element type "
            f"{tensor.elem_type} and {len(lengths)} lengths"
        )
    if lengths[0].HasField("dim_value"):
        raise DataError(
            f"{where}: expected an open number of rows for {value.name!r:.60}, got "
            f"{lengths[0].dim_value}; export the model with a dynamic batch"
        )
    if not lengths[1].HasField("dim_value"):
        return None
    if not 1 <= lengths[1].dim_value <= MAX_INPUTS:
        raise DataError(
            f"{where}: expected a width of 1 to {MAX_INPUTS:,} for {value.name!r:.60}, got "
            f"{lengths[1].dim_value}"
        )
    return int(lengths[1].dim_value)
