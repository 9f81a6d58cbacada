"""The int8 export on processors that nobody here owns: ONNX Runtime inside an emulator.

Needs qemu-user (Debian: `apt install qemu-user`); skips by name without it, and fails instead
where FFEDGE_REQUIRE_EMULATORS is set.
"""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

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

EMULATOR = "qemu-x86_64"

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


@pytest.fixture(scope="module")
def emulator():
    found = shutil.which(EMULATOR)
    if found is None:
        if os.environ.get("FFEDGE_REQUIRE_EMULATORS"):
            pytest.fail(f"{EMULATOR} is required and not installed")
        pytest.skip(f"{EMULATOR} is not installed")
    return found


def trained(rule, parts):
    train, test = load("digits")
    network = Network.dense(64, (100, 70), 10, rule, precision="int8", input_parts=parts)
    scaling = "standard" if parts == 2 else "global"
    trainer = Trainer(network, Recipe(SGD(0.1), epochs=5, scaling=scaling))
    trainer.learn_scaling(train)
    for _ in trainer.train(train):
        pass
    return Model(network, trainer.params, train.classes, train.feature_shape), test


# Haswell: AVX2 without VNNI, where full-range bytes are wrong. SandyBridge: no AVX2 either.
@pytest.mark.parametrize("processor", ["Haswell", "SandyBridge"])
def test_onnxruntime_on_an_older_processor_gives_the_same_bits(emulator, tmp_path, processor):
    paths, expected = [], []
    for i, (rule, parts) in enumerate([(Readout(), 1), (Readout(), 2), (Group(), 2)]):
        model, test = trained(rule, parts)
        paths.append(str(tmp_path / f"{i}.onnx"))
        export_onnx(model, paths[-1], check="off")
        expected.append(Predictor(model).scores(test.features).astype(np.float32))
    np.save(tmp_path / "samples.npy", test.features.astype(np.float32))

    command = [emulator, "-cpu", processor, sys.executable, "-c", SCRIPT]
    subprocess.run([*command, str(tmp_path / "samples.npy"), *paths], check=True, timeout=300)

    for path, scores in zip(paths, expected, strict=True):
        assert np.load(path + ".npy").tobytes() == scores.tobytes()
