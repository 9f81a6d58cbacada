"""ONNX files with NumPy alone: neither ``onnx`` nor ``protobuf`` is needed on the device.

A protobuf message is a sequence of fields: key (field number * 8 + wire type), then a varint
(wire type 0), four bytes (5) or a length and that many bytes (2). Field numbers are those of
``onnx.proto``; see the comments. A message is held as a list of chunks whose sizes are known, so
that weights go from their own memory to the file: nothing joins them to a second copy.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import ExportError

Array = np.ndarray[Any, Any]
Attribute = int | float | str | Sequence[int]
Shape = Sequence[int | str]
_Chunks = list[bytes | memoryview]

#: Read by every ONNX Runtime since 1.15 and by onnx2c; Forward-Forward needs nothing newer.
OPSET, IR_VERSION = 13, 7

#: Protobuf readers refuse longer messages.
MAX_BYTES = 2**31 - 1

#: TensorProto.DataType
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "string": 8}


class Graph:
    """Nodes, constants, inputs and outputs, in the order in which they are added.

    Every value has a name and is made before it is used, so the order of the nodes is one in
    which they can be computed. Constants keep the arrays they are given, without a copy.
    All methods raise ExportError for what ONNX cannot express.

    >>> graph = Graph("double")
    >>> x = graph.add_input("X", "float32", ("N", 3))
    >>> y = graph.add_node("Add", [x, x], "Y")
    >>> graph.add_output(y, "float32", ("N", 3))
    >>> len(to_bytes(graph))
    95
    """

    def __init__(self, name: str, doc: str = "") -> None:
        self.name, self.doc = name, doc
        self.constants: dict[str, Array] = {}
        self._nodes: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._known: set[str] = set()
        self._used: set[str] = set()
        self._contents: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add_input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declare an input and return its name; a text in ``shape`` is a length left open."""
        self._inputs.append(_value(name, dtype, shape))
        return self._new(name)

    def add_output(self, name: str, dtype: str, shape: Shape) -> None:
        """Declare the value ``name`` an output."""
        self._use(name, "an output")
        self._outputs.append(_value(name, dtype, shape))

    def add_constant(self, name: str, array: Any) -> str:
        """Store ``array`` and return its name: an earlier one if the same contents are there.

        array: float32, int64, int32, int8 or uint8, or text; written as it is at that moment.
        """
        array = np.asarray(array, order="C")
        if array.dtype.kind == "O" and all(isinstance(text, str) for text in array.flat):
            array = array.astype(np.str_)
        dtype = _type_name(array, name)
        digest = hashlib.sha256()
        for chunk in _contents(array, dtype):
            digest.update(chunk)
        contents = (dtype, array.shape, digest.digest())
        if contents not in self._contents:
            self._contents[contents] = self._new(name)
            self.constants[name] = array
        return self._contents[contents]

    def add_node(
        self,
        op: str,
        inputs: Sequence[str],
        output: str | None = None,
        *,
        unused: int = 0,
        **attributes: Attribute,
    ) -> str:
        """Append the operation ``op`` and return the name of its output, numbered if not given.

        inputs: names of values that exist already; "" leaves an optional one out. unused: further
        outputs that the operation has and nobody reads.
        """
        label = f"{op.lower()}_{len(self._nodes)}"
        for name in inputs:
            if name:
                self._use(name, f"{op} node {label}")
        output = self._new(label if output is None else output)
        # NodeProto: 1 input, 2 output, 3 name, 4 op_type, 5 attribute
        parts = [_bytes(1, name) for name in inputs]
        parts.append(_bytes(2, output))
        parts += [_bytes(2, self._new(f"{output}.{n + 1}")) for n in range(unused)]
        parts += [_bytes(3, label), _bytes(4, op)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return output

    def add_top(self, value: str, count: int) -> tuple[str, str]:
        """Append a TopK along axis 1: the ``count`` largest, from the largest on, and their places.

        Ties go to the lower place.
        """
        wanted = self.add_constant(f"count_{count}", np.array([count]))
        values = self.add_node("TopK", [value, wanted], unused=1, axis=1)
        return values, f"{values}.1"

    def add_cast(self, value: str, dtype: str, output: str | None = None) -> str:
        """Append a Cast of ``value`` to ``dtype``, such as "int32"."""
        if dtype not in _TYPES:
            raise ExportError(f"cast of {value}: expected {', '.join(_TYPES)}, got {dtype!r}")
        return self.add_node("Cast", [value], output, to=_TYPES[dtype])

    def _new(self, name: str) -> str:
        if not name or name in self._known:
            raise ExportError(f"graph {self.name}: expected a new name for a value, got {name!r}")
        self._known.add(name)
        return name

    def _use(self, name: str, user: str) -> None:
        if name not in self._known:
            raise ExportError(
                f"graph {self.name}: expected {user} to use a value made before it, got {name!r}"
            )
        self._used.add(name)

    def _message(self) -> _Chunks:
        idle = [name for name in self.constants if name not in self._used]
        if idle:
            raise ExportError(
                f"graph {self.name}: expected every constant to be used, got {', '.join(idle)} "
                "unused; ONNX Runtime would warn each time it loads the file"
            )
        # GraphProto: 1 node, 2 name, 5 initializer, 10 doc_string, 11 input, 12 output
        chunks: _Chunks = [_bytes(1, node) for node in self._nodes]
        chunks.append(_bytes(2, self.name))
        for name, array in self.constants.items():
            chunks += _message(5, _tensor(name, array))
        if self.doc:
            chunks.append(_bytes(10, self.doc))
        chunks += [_bytes(11, value) for value in self._inputs]
        chunks += [_bytes(12, value) for value in self._outputs]
        return chunks


def write(
    graph: Graph,
    file: BinaryIO,
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    metadata: Mapping[str, str] | None = None,
    producer: tuple[str, str] = ("ffedge", ""),
) -> int:
    """Write ``graph`` as a model to ``file`` and return the bytes written.

    Weights lie inside the file. Raises ExportError for an unused constant and above 2 GiB.
    """
    chunks = _model(graph, opset, ir_version, metadata or {}, producer)
    for chunk in chunks:
        file.write(chunk)
    return _size(chunks)


def to_bytes(
    graph: Graph,
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    metadata: Mapping[str, str] | None = None,
    producer: tuple[str, str] = ("ffedge", ""),
) -> bytes:
    """What ``write`` writes, in memory."""
    return b"".join(_model(graph, opset, ir_version, metadata or {}, producer))


def _model(
    graph: Graph, opset: int, ir: int, metadata: Mapping[str, str], producer: tuple[str, str]
) -> _Chunks:
    # ModelProto: 1 ir_version, 2 producer_name, 3 producer_version, 7 graph, 8 opset_import
    # (2 version; the standard operators have no domain), 14 metadata_props (1 key, 2 value)
    chunks: _Chunks = [_number(1, ir), _bytes(2, producer[0]), _bytes(3, producer[1])]
    chunks += _message(7, graph._message())
    chunks.append(_bytes(8, _bytes(1, "") + _number(2, opset)))
    chunks += [_bytes(14, _bytes(1, key) + _bytes(2, text)) for key, text in metadata.items()]
    size = _size(chunks)
    if size > MAX_BYTES:
        raise ExportError(
            f"graph {graph.name}: expected at most {MAX_BYTES:,} B, the limit of an ONNX file "
            f"with its weights inside, got {size:,} B; narrow the layers"
        )
    return chunks


def _size(chunks: _Chunks) -> int:
    return sum(len(chunk) for chunk in chunks)


def _varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; negative numbers as their 64-bit complement."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _message(field: int, chunks: _Chunks) -> _Chunks:
    return [_varint(field << 3 | 2) + _varint(_size(chunks)), *chunks]


def _attribute(name: str, value: Attribute) -> bytes:
    # AttributeProto: 1 name, 2 f, 3 i, 4 s, 8 ints, 20 type (1 float, 2 int, 3 string, 7 ints)
    if isinstance(value, float):
        return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return _bytes(1, name) + _bytes(4, value) + _number(20, 3)
    return _bytes(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _type_name(array: Array, name: str) -> str:
    dtype = "string" if array.dtype.kind == "U" else array.dtype.name
    if dtype not in _TYPES:
        raise ExportError(f"constant {name}: expected {', '.join(_TYPES)}, got {array.dtype}")
    return dtype


def _contents(array: Array, dtype: str) -> _Chunks:
    """The elements in C order: raw little-endian memory, or string_data fields (6)."""
    if dtype == "string":
        return [_bytes(6, str(text)) for text in array.flat]
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return [little.reshape(-1).view(np.uint8).data]


def _tensor(name: str, array: Array) -> _Chunks:
    # TensorProto: 1 dims, 2 data_type, 6 string_data, 8 name, 9 raw_data
    dtype = _type_name(array, name)
    chunks: _Chunks = [_number(1, length) for length in array.shape]
    chunks += [_number(2, _TYPES[dtype]), _bytes(8, name)]
    contents = _contents(array, dtype)
    return chunks + (contents if dtype == "string" else _message(9, contents))


def _value(name: str, dtype: str, shape: Shape) -> bytes:
    # ValueInfoProto: 1 name, 2 type (TypeProto: 1 tensor_type: 1 elem_type, 2 shape: 1 dim:
    # 1 dim_value, 2 dim_param)
    if dtype not in _TYPES:
        raise ExportError(f"value {name}: expected {', '.join(_TYPES)}, got {dtype!r}")
    dims = [_bytes(2, n) if isinstance(n, str) else _number(1, n) for n in shape]
    tensor = _number(1, _TYPES[dtype]) + _bytes(2, b"".join(_bytes(1, dim) for dim in dims))
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))
