"""Read-outs as ONNX graphs against ``Predictor``, or refused with the reason."""

import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
