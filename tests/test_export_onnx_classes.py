"""Prototypes and the label side-channel as graphs, against ``Predictor``, in ONNX Runtime."""

import numpy as np
import pytest
from test_export_onnx_float import LEVELS, WIDTHS, assert_agrees, random_model, run, samples

from ffedge.export.onnx_float import build
from ffedge.export.onnx_writer import to_bytes
from ffedge.rules import CrossEntropy, Logistic, Prototypes, SideChannel

onnx = pytest.importorskip("onnx")

RULES = {
    "prototypes": Prototypes(tau=7.0),
    "frozen prototypes": Prototypes(frozen=True),
    "side-channel": SideChannel(CrossEntropy(20.0)),
    "logistic side-channel": SideChannel(Logistic(3.0)),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_onnx_runtime_agrees_with_the_predictor(rule, normalize, depth, level):
    model = random_model(RULES[rule], hidden=WIDTHS[:depth], normalize=normalize)
    x = samples(17)

    assert_agrees(run(to_bytes(build(model)), x, level), model, x)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [(0, 1), tuple(range(37))])
def test_two_and_many_classes_agree(rule, classes):
    model = random_model(RULES[rule], classes=classes)
    x = samples(5)

    assert_agrees(run(to_bytes(build(model)), x), model, x)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rows", [0, 1])
def test_any_number_of_rows_runs(rule, rows):
    model = random_model(RULES[rule])

    assert_agrees(run(to_bytes(build(model)), samples(rows)), model, samples(rows))


def test_silent_rows_score_nothing_for_any_prototype():
    model = random_model(RULES["prototypes"])
    for name, array in model.params.items():
        if name.endswith(("weight", "bias")):
            array[:] = 0.0

    label, probabilities, goodness = run(to_bytes(build(model)), samples(4))

    assert label.tolist() == [10] * 4
    assert probabilities == pytest.approx(1 / 3)
    assert np.isfinite(goodness).all()


@pytest.mark.parametrize("rule", ["side-channel", "logistic side-channel"])
def test_the_side_channel_multiplies_the_data_once_for_all_labels(rule):
    model = random_model(RULES[rule], classes=tuple(range(19)))

    nodes = onnx.load_from_string(to_bytes(build(model))).graph.node

    assert sum(node.op_type == "MatMul" for node in nodes) == len(WIDTHS)
