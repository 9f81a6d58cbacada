"""The ONNX writer: the format, read back by the ``onnx`` package; what it refuses."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.errors import ExportError
from ffedge.export import onnx_writer
from ffedge.export.onnx_writer import Graph, to_bytes, write

ARRAYS = [
    np.array([[0.5, -1.5], [np.inf, 1e-40]], np.float32),
    np.array([-(2**63), -1, 0, 2**63 - 1], np.int64),
    np.array([-(2**31), 2**31 - 1], np.int32),
    np.array([[-128, 127, 0]], np.int8),
    np.array([0, 255], np.uint8),
    np.array(["", "cat", "Käse", "犬" * 50]),
    np.float32(3.25),
    np.array("alone"),
    np.zeros((0, 3), np.float32),
    np.arange(6, dtype=np.float32).reshape(2, 3).T,
    np.arange(4, dtype=">i4"),
]


def identities(arrays):
    """A graph that gives each array back."""
    graph = Graph("identities", "a remark")
    for i, array in enumerate(arrays):
        name = graph.add_constant(f"c{i}", array)
        out = graph.add_node("Identity", [name], f"out{i}")
        text = np.asarray(array).dtype.kind == "U"
        dtype = "string" if text else np.asarray(array).dtype.name
        graph.add_output(out, dtype, np.shape(array))
    return graph


def test_constants_of_every_dtype_and_shape_come_back_unchanged():
    onnx = pytest.importorskip("onnx")

    model = onnx.load_from_string(to_bytes(identities(ARRAYS)))

    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.initializer) == len(ARRAYS)
    for tensor, array in zip(model.graph.initializer, ARRAYS, strict=True):
        read = onnx.numpy_helper.to_array(tensor)
        assert read.shape == np.shape(array)
        assert read.tolist() == np.asarray(array).tolist()
        assert tensor.data_location == onnx.TensorProto.DEFAULT


def test_texts_in_an_object_array_are_texts():
    graph = identities([np.array(["a", "b"])])

    name = graph.add_constant("again", np.array(["a", "b"], object))

    assert name == "c0"


@given(
    whole=st.integers(-(2**63), 2**63 - 1),
    real=st.floats(width=32, allow_nan=False),
    text=st.text(st.characters(codec="utf-8"), max_size=300),
    several=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_attributes_of_every_kind_come_back_unchanged(whole, real, text, several):
    onnx = pytest.importorskip("onnx")
    graph = Graph("attributes")
    x = graph.add_input("X", "float32", ("N",))
    graph.add_node("Any", [x], whole=whole, real=real, text=text, several=several)

    node = onnx.load_from_string(to_bytes(graph)).graph.node[0]

    read = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    assert read == {"whole": whole, "real": real, "text": text.encode(), "several": several}


def test_names_versions_shapes_and_metadata_come_back_unchanged():
    onnx = pytest.importorskip("onnx")
    graph = identities([])
    x = graph.add_input("X", "uint8", ("N", 3))
    graph.add_output(graph.add_node("Clip", [x, "", x]), "uint8", ("N", 3))

    model = onnx.load_from_string(
        to_bytes(graph, opset=17, ir_version=8, metadata={"a": "1", "b": ""}, producer=("me", "2"))
    )

    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert (model.producer_name, model.producer_version) == ("me", "2")
    assert {item.key: item.value for item in model.metadata_props} == {"a": "1", "b": ""}
    assert (model.graph.name, model.graph.doc_string) == ("identities", "a remark")
    assert list(model.graph.node[0].input) == ["X", "", "X"]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert (dims[0].dim_param, dims[1].dim_value) == ("N", 3)


def test_an_int8_layer_of_the_next_exporter_runs_exactly():
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (40, 20), dtype=np.int8)
    bias = rng.integers(-(2**12), 2**12, 20, dtype=np.int32)
    x = rng.integers(0, 128, (7, 40), dtype=np.uint8)
    graph = Graph("int8")
    product = graph.add_node(
        "MatMulInteger",
        [
            graph.add_input("X", "uint8", ("N", 40)),
            graph.add_constant("weight", weight),
            graph.add_constant("x_zero", np.uint8(0)),
            graph.add_constant("weight_zero", np.int8(0)),
        ],
    )
    total = graph.add_node("Add", [product, graph.add_constant("bias", bias)])
    real = graph.add_node("Cast", [total], to=1)
    real = graph.add_node("Mul", [real, graph.add_constant("unit", np.float32(2.0**-9))])
    bounds = [graph.add_constant("low", np.float32(0)), graph.add_constant("high", np.float32(127))]
    real = graph.add_node("Clip", [graph.add_node("Floor", [real]), *bounds])
    graph.add_output(graph.add_node("Cast", [real], "Y", to=2), "uint8", ("N", 20))

    session = onnxruntime.InferenceSession(to_bytes(graph), providers=["CPUExecutionProvider"])
    result = session.run(None, {"X": x})[0]

    sums = x.astype(np.int32) @ weight.astype(np.int32) + bias
    assert result.tolist() == np.clip(sums >> 9, 0, 127).tolist()


def test_write_and_to_bytes_agree_and_count_alike():
    graph = identities(ARRAYS)
    file = io.BytesIO()

    count = write(graph, file, metadata={"key": "value"})

    assert file.getvalue() == to_bytes(graph, metadata={"key": "value"})
    assert count == len(file.getvalue())


def test_writing_makes_no_second_copy_of_the_weights(tmp_path):
    graph = identities([np.ones((1024, 2048), np.float32)])

    with open(tmp_path / "large.onnx", "wb") as file:
        tracemalloc.start()
        count = write(graph, file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert count > 8 << 20
    assert peak < 1 << 17


def test_equal_constants_are_stored_once():
    graph = Graph("twice")

    first = graph.add_constant("first", np.ones(3, np.float32))
    again = graph.add_constant("again", np.ones(3, np.float32))
    other_type = graph.add_constant("other_type", np.ones(3, np.int32))
    other_shape = graph.add_constant("other_shape", np.ones((1, 3), np.float32))

    assert (first, again) == ("first", "first")
    assert list(graph.constants) == ["first", "other_type", "other_shape"]
    assert (other_type, other_shape) == ("other_type", "other_shape")


def test_a_constant_that_nothing_uses_is_refused():
    graph = identities(ARRAYS)
    graph.add_constant("idle", np.zeros(9, np.float32))

    with pytest.raises(ExportError, match="expected every constant to be used, got idle unused"):
        to_bytes(graph)


def test_a_value_used_before_it_exists_is_refused():
    graph = Graph("early")

    with pytest.raises(
        ExportError, match="Relu node relu_0 to use a value made before it, got 'Z'"
    ):
        graph.add_node("Relu", ["Z"])
    with pytest.raises(ExportError, match="an output to use a value made before it"):
        graph.add_output("Z", "float32", ("N",))


def test_a_name_given_twice_is_refused():
    graph = Graph("twice")
    graph.add_input("X", "float32", ("N",))

    with pytest.raises(ExportError, match="expected a new name for a value, got 'X'"):
        graph.add_constant("X", np.float32(1))
    with pytest.raises(ExportError, match="expected a new name for a value, got 'X'"):
        graph.add_node("Relu", ["X"], "X")


def test_a_dtype_outside_the_six_is_refused():
    graph = Graph("types")

    with pytest.raises(ExportError, match=r"constant c: expected float32, .*, got float64"):
        graph.add_constant("c", np.zeros(2))
    with pytest.raises(ExportError, match=r"value X: expected float32, .*, got 'float16'"):
        graph.add_input("X", "float16", ("N",))


def test_a_model_above_the_size_limit_is_refused(monkeypatch):
    graph = identities([np.zeros(1000, np.uint8)])
    size = len(to_bytes(graph))

    monkeypatch.setattr(onnx_writer, "MAX_BYTES", size - 1)

    with pytest.raises(ExportError, match=f"at most {size - 1:,} B.*got {size:,} B"):
        to_bytes(graph)
