"""Black boxes in an exported graph: the Predictor's numbers, or a refusal with the reason."""

import numpy as np
import pytest
from conftest import clouds
from test_boxes_training import model_of, network_of, trained

from ffedge import export_onnx
from ffedge.boxes import (
    BlackBox,
    Converter,
    FrozenNetwork,
    NoisyDropout,
    Permutation,
    Quantizer,
)
from ffedge.errors import ExportError
from ffedge.export.onnx_boxes import _add_quantizer
from ffedge.export.onnx_writer import Graph, to_bytes
from ffedge.predict import Predictor

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

EXPORTED = {
    "quantizer": Quantizer(),
    "coarse quantizer": Quantizer(3, 2.0, normalize=False),
    "converter": Converter(gain=0.7, offset=0.1, bits=6),
    "permutation": Permutation(5),
    "frozen network": FrozenNetwork((12, 23), 1),
}


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("rule", ["readout", "group", "hinton"])
@pytest.mark.parametrize("box", EXPORTED.values(), ids=EXPORTED)
def test_a_graph_with_boxes_gives_the_models_goodness(tmp_path, rule, box):
    boxes = {1: box, 2: Permutation(2)} if rule == "hinton" else {0: box, 2: box}
    model = model_of(trained(network_of(rule, boxes)))
    X = clouds(200, 9, 3, seed=4).features

    report = export_onnx(model, tmp_path / "m.onnx", probe=X)

    assert any("onnxruntime" in judge for judge in report.checked_with)
    goodness = session_of(str(tmp_path / "m.onnx")).run(["goodness"], {"X": X})[0]
    wanted = Predictor(model).scores(X)
    # A sum rounded otherwise may fall to the other side of a step: rare, and not far.
    off = np.abs(goodness - wanted).max(axis=1) > 1e-3 * np.abs(wanted).max()
    assert off.mean() < 0.05
    assert (goodness.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.98


def test_round_takes_halves_as_numpy_does():
    graph, box = Graph("round"), Quantizer(8, 127.0)
    x = graph.add_input("X", "float32", ("N", 5))
    made = _add_quantizer(graph, box, "box", x, 5)
    graph.add_output(made, "float32", ("N", 5))
    rows = np.array([[0.5, 1.5, 2.5, -0.5, -1.5], [-2.5, 126.5, 300.0, -300.0, 3.49]], np.float32)

    found = session_of(to_bytes(graph)).run(None, {"X": rows})[0]

    out = np.empty_like(rows)
    box.apply(rows, out, {}, 0)
    assert found.tobytes() == out.tobytes()
    assert found[0].tolist() == [0.0, 2.0, 2.0, 0.0, -2.0]


@pytest.mark.parametrize(("box", "words"), [
    (BlackBox(np.tanh, "mine"), "got the function 'mine' in front of layer 1; a graph holds"),
    (NoisyDropout(), "got noisy-dropout in front of layer 1, which is random"),
    (Converter(noise=0.1), "got converter in front of layer 1, which is random"),
])  # fmt: skip
def test_a_box_that_a_graph_cannot_hold_is_refused(tmp_path, box, words):
    model = model_of(trained(network_of("readout", {1: box})))

    with pytest.raises(ExportError, match=words):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_box_below_the_labels_and_boxes_in_int8_are_refused(tmp_path):
    label = model_of(trained(network_of("hinton", {0: Quantizer()})))
    eight = model_of(trained(network_of("readout", {1: Quantizer()}, "int8")))

    with pytest.raises(ExportError, match="no black box in front of layer 0 with a rule that"):
        export_onnx(label, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="int8 network without black boxes"):
        export_onnx(eight, tmp_path / "m.onnx")
