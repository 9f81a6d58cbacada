"""ONNX models and PyTorch modules as black boxes, and files from outside that are refused."""

import numpy as np
import pytest
from checks import assert_close
from conftest import clouds
from test_boxes_training import model_of, network_of, recipe_of, trained

from ffedge.errors import ConfigError, DataError
from ffedge.export.onnx_writer import Graph, to_bytes
from ffedge.interop import onnx_box as reader
from ffedge.interop.onnx_box import onnx_box
from ffedge.interop.torch_box import torch_box
from ffedge.model_file import load_model, save_model
from ffedge.predict import Predictor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def product(inputs=33, outputs=12, shape_in=None, shape_out=None, dtype="float32"):
    """``relu(x @ A)`` as a file's bytes, and A."""
    matrix = np.random.default_rng(1).normal(size=(inputs, outputs)).astype(np.float32)
    graph = Graph("product")
    x = graph.add_input("rows", dtype, shape_in or ("N", inputs))
    if dtype != "float32":
        x = graph.add_cast(x, "float32")
    y = graph.add_node("Relu", [graph.add_node("MatMul", [x, graph.add_constant("A", matrix)])])
    graph.add_output(y, "float32", shape_out or ("N", outputs))
    return to_bytes(graph), matrix


def changed(change):
    """The file with its model changed by ``change``."""
    model = onnx.load_model_from_string(product()[0])
    change(model)
    return model.SerializeToString()


def put(tmp_path, data):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    return path


def test_an_onnx_model_runs_between_two_layers_and_is_given_again(tmp_path):
    data, matrix = product()
    box = onnx_box(put(tmp_path, data))
    x = np.random.default_rng(0).normal(size=(5, 33)).astype(np.float32)
    samples = clouds(150, 9, 3)

    trainer = trained(network_of("readout", {1: box}), recipe_of(epochs=20), samples)
    save_model(model_of(trainer), tmp_path / "m.ffedge")
    again = Predictor(load_model(tmp_path / "m.ffedge"), boxes={"net": box.function})

    assert (box.title, box.width) == ("net", 12)
    assert_close(box.function(x), np.maximum(x.astype(float) @ matrix, 0))
    assert trainer.evaluate(samples) > 0.9
    assert trainer.step_bytes < 4096
    wanted = Predictor(model_of(trainer)).scores(samples.features)
    assert again.scores(samples.features).tobytes() == wanted.tobytes()


def test_an_onnx_model_is_told_by_its_width(tmp_path):
    network = network_of("readout", {1: onnx_box(put(tmp_path, product(32)[0]))})

    with pytest.raises(DataError, match=r"net.onnx: expected rows of 32 numbers, got 33"):
        trained(network)


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _hidden_external(model):
    node = model.graph.node.add(op_type="Constant", output=["c"])
    attribute = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.t.external_data.add(key="location", value="/etc/passwd")


def _second_input(model):
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "other"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "a file of 1 to"),
        (b"\x08\x07garbage", "an ONNX model, got"),
        (product()[0][:-40], "an ONNX model, got|a sound model|one input"),
        (product(dtype="int32")[0], "for 'rows', got element type 6"),
        (product(shape_in=("N", 1, 33))[0], "for 'rows', got element type 1 and 3 lengths"),
        (product(shape_in=(4, 33))[0], "an open number of rows for 'rows', got 4"),
        (product(shape_out=("N", "W"))[0], "an output whose width is written in the file"),
        (product(shape_in=("N", 0))[0], "a width of 1 to 131,071 for 'rows', got 0"),
        (changed(_external), "all constants inside the file"),
        (changed(_hidden_external), "all constants inside the file"),
        (changed(_second_input), "one input and one output, got 2 and 1"),
        (changed(lambda m: m.graph.node[0].ClearField("input")), "a sound model"),
        (changed(lambda m: setattr(m.graph.node[0], "domain", "evil")), "'MatMul' of 'evil'"),
        (changed(lambda m: m.opset_import.add(domain="evil", version=1)), "others: 'evil'"),
        (changed(lambda m: m.graph.node.extend([m.graph.node[0]] * 10_001)), "at most 10,000"),
    ],
)
def test_a_file_that_is_no_box_is_refused_in_words(tmp_path, data, words):
    with pytest.raises(DataError, match=rf"net\.onnx: expected .*({words})"):
        onnx_box(put(tmp_path, data))


def test_files_that_are_not_there_or_too_large_are_refused(tmp_path):
    path = put(tmp_path, product()[0])

    with pytest.raises(DataError, match="No such file"):
        onnx_box(tmp_path / "other.onnx")
    with pytest.raises(DataError, match="a file of 1 to"):
        onnx_box(tmp_path)
    with pytest.raises(DataError, match=r"a file of 1 to 100 B, got 1,\d+ B; allow more by"):
        onnx_box(path, max_bytes=100)
    assert path.stat().st_size < reader.MAX_BYTES


def test_a_pytorch_module_runs_between_two_layers_without_gradients():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(33, 12), torch.nn.Tanh()).eval()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    samples = clouds(150, 9, 3)

    box = torch_box(module, width=12)
    trainer = trained(network_of("readout", {1: box}), recipe_of(epochs=20), samples)

    assert box.title == "Sequential"
    assert trainer.evaluate(samples) > 0.9
    assert all(parameter.grad is None for parameter in module.parameters())
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_a_random_pytorch_module_is_repeated_with_the_run():
    torch = pytest.importorskip("torch")
    box = torch_box(torch.nn.Dropout(0.3).train(), seeded=True)
    state = torch.random.get_rng_state()

    one, other = (trained(network_of("readout", {1: box})) for _ in range(2))

    assert box.is_random
    for name, array in one.params.items():
        assert array.tobytes() == other.params[name].tobytes()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_anything_but_a_module_is_refused():
    pytest.importorskip("torch")

    with pytest.raises(ConfigError, match=r"torch_box: expected a torch\.nn\.Module, got"):
        torch_box(np.tanh)
