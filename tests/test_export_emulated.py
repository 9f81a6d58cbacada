"""The int8 export on processors that nobody here owns: ONNX Runtime inside an emulator.

Needs qemu-user (Debian: `apt install qemu-user`), and for Arm what tools/arm_root.py makes.
"""

import subprocess
import sys

import numpy as np
import pytest
from checks import child_environment
from emulated import arm_python, x86_emulator

from ffedge.export import export_onnx
from ffedge.model import Model
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.predict import Predictor
from ffedge.recipe import Recipe
from ffedge.rules import Group, Readout
from ffedge.sources import load
from ffedge.trainer import Trainer

onnxruntime = pytest.importorskip("onnxruntime")

SCRIPT = """
import sys
import numpy as np
import onnxruntime
onnxruntime.set_default_logger_severity(3)
samples = np.load(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for path in sys.argv[2:]:
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    np.save(path + ".npy", session.run(["goodness"], {"X": samples})[0])
"""


def trained(rule, parts):
    train, test = load("digits")
    network = Network.dense(64, (100, 70), 10, rule, precision="int8", input_parts=parts)
    scaling = "standard" if parts == 2 else "global"
    trainer = Trainer(network, Recipe(SGD(0.1), epochs=5, scaling=scaling))
    trainer.learn_scaling(train)
    for _ in trainer.train(train):
        pass
    return Model(network, trainer.params, train.classes, train.feature_shape), test


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(models, samples, the scores that ffedge computes here)."""
    folder = tmp_path_factory.mktemp("models")
    paths, expected = [], []
    for i, (rule, parts) in enumerate([(Readout(), 1), (Readout(), 2), (Group(), 2)]):
        model, test = trained(rule, parts)
        paths.append(str(folder / f"{i}.onnx"))
        export_onnx(model, paths[-1], check="off")
        expected.append(Predictor(model).scores(test.features).astype(np.float32))
    np.save(folder / "samples.npy", test.features.astype(np.float32))
    return paths, str(folder / "samples.npy"), expected


def assert_same_bits(exported, *python):
    paths, samples, expected = exported

    subprocess.run(
        [*python, "-c", SCRIPT, samples, *paths],
        env=child_environment(PYTHONPATH=None), check=True, timeout=300,
    )  # fmt: skip

    for path, scores in zip(paths, expected, strict=True):
        assert np.load(path + ".npy").tobytes() == scores.tobytes()


# Haswell: AVX2 without VNNI, where full-range bytes are wrong. SandyBridge: no AVX2 either.
@pytest.mark.parametrize("processor", ["Haswell", "SandyBridge"])
def test_onnxruntime_on_an_older_processor_gives_the_same_bits(exported, processor):
    assert_same_bits(exported, x86_emulator(), "-cpu", processor, sys.executable)


@pytest.mark.arm
@pytest.mark.parametrize("processor", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_onnxruntime_on_arm_gives_the_same_bits(exported, processor):
    assert_same_bits(exported, arm_python(processor, numba=False))
