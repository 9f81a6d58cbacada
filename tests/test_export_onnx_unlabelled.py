"""Graphs of layers that learned without labels, against ``Predictor``."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from test_export_onnx_float import LEVELS, WIDTHS, assert_agrees, random_model, run, samples

from ffedge.export import export_onnx
from ffedge.export.onnx_float import build
from ffedge.export.onnx_writer import to_bytes
from ffedge.predict import Predictor
from ffedge.rules import (
    SCFF,
    Contrast,
    Corrupted,
    Headed,
    Hybrid,
    MeanOfSquares,
    RidgeHead,
    Sum,
    SumOfSquares,
)

LEARNED = {
    "scff": SCFF(),
    "squares": Contrast(negatives=Hybrid(), label=None),
    "minimised, own magnitude": Contrast(
        SumOfSquares(minimise=True), negatives=Corrupted(), label=None, normalize=False
    ),
    "mean of squares": Contrast(MeanOfSquares(), negatives=Hybrid(), label=None),
    "sum": Contrast(Sum(), negatives=Hybrid(), label=None),
}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("learned", LEARNED)
@pytest.mark.parametrize(("head", "first"), [(RidgeHead(), None), (None, 0)])
def test_a_head_computes_what_the_predictor_computes(learned, head, first, depth):
    rule = Headed(LEARNED[learned], first=first) if head is None else Headed(
        LEARNED[learned], head, first
    )  # fmt: skip
    model, x = random_model(rule, hidden=WIDTHS[:depth]), samples(33)

    data = to_bytes(build(model))

    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    for level in LEVELS:
        assert_agrees(run(data, x, level), model, x)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("learned", LEARNED)
def test_a_score_alone_is_exported_and_checked(learned, depth, tmp_path):
    import onnxruntime

    model = random_model(LEARNED[learned], hidden=WIDTHS[:depth], classes=("normal",))
    x = samples(33)

    report = export_onnx(model, tmp_path / "score.onnx", check="require", probe=x)

    session = onnxruntime.InferenceSession(
        str(tmp_path / "score.onnx"), providers=["CPUExecutionProvider"]
    )
    assert [output.name for output in session.get_outputs()] == ["score"]
    np.testing.assert_allclose(
        session.run(None, {"X": x})[0], Predictor(model).scores(x), rtol=2e-5, atol=2e-5
    )
    assert report.largest_difference < 1e-4


def test_another_score_than_the_models_is_refused(tmp_path, monkeypatch):
    from ffedge.errors import ExportError

    model = random_model(SCFF(), classes=("normal",))
    scores = Predictor.scores
    monkeypatch.setattr(Predictor, "scores", lambda self, x: scores(self, x) * 1.1)

    with pytest.raises(ExportError, match="goodness off by up to"):
        export_onnx(model, tmp_path / "score.onnx", check="require")

    assert not (tmp_path / "score.onnx").exists()
