"""Memory, start and speed of the compiled library, beside Numba and PyTorch.

    python tools/bench_runtime.py [--data mnist.npz] [--runs 5] [--json]

Every figure of memory is the peak resident set (VmHWM) of a fresh process that trains
784-500-500 in int8, batch 64, for 200 batches in order on a mapped .npy file of 10,000 images
(or random bytes); "anonymous" is the part that no file stands behind. "shuffled" is one whole epoch
in random order over all images there are (60,000 of MNIST): the system maps as much of the file as
it likes around every sample, and that comes on top. Times of the library and of Numba are medians
of interleaved runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

_READ = """
import os, sys, time
started = time.perf_counter()
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if "kB" in line}
folder, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
"""

_TRAIN = (
    _READ
    + """
from ffedge.network import Network
from ffedge.optimizers import SGD
from ffedge.recipe import Recipe
from ffedge.sources import load
from ffedge.trainer import Trainer
data, _ = load(folder + "/x.npy", label=folder + "/y.npy")
network = Network.dense(784, (500, 500), 10, precision="int8")
trainer = Trainer(network, Recipe(SGD(0.1), batch_size=batch, scaling="global"))
trainer.learn_scaling(data)
trainer.run.begin_stage(None)
trainer.learn(data, 0, batch)
first = time.perf_counter() - started
took = []
for step in range(1, steps):
    at = time.perf_counter()
    trainer.learn(data, step * batch % (data.n_samples - batch), batch)
    took.append(time.perf_counter() - at)
now = resident()
"""
)

_SHUFFLED = (
    _TRAIN.split("trainer.run.begin_stage")[0]
    + """
for _ in trainer.train(data):
    pass
first, took, now = 0.0, [], resident()
"""
)

_PREDICT = (
    _READ
    + """
from ffedge.model_file import load_model
from ffedge.predict import Predictor
from ffedge.sources import load_features
features = load_features(folder + "/x.npy", width=784)
predictor = Predictor(load_model(folder + "/model.ffedge"), batch=batch)
first = time.perf_counter() - started
took = []
for step in range(steps):
    at = time.perf_counter()
    predictor.codes(features[step * batch % 1000 : step * batch % 1000 + batch])
    took.append(time.perf_counter() - at)
now = resident()
"""
)

_TORCH = (
    _READ
    + """
import numpy as np, torch
torch.set_num_threads(1)
x, y = np.load(folder + "/x.npy", mmap_mode="r"), np.load(folder + "/y.npy")
model = torch.nn.Sequential(torch.nn.Linear(784, 500), torch.nn.ReLU(), torch.nn.Linear(500, 500),
                            torch.nn.ReLU(), torch.nn.Linear(500, 10))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
took = []
for step in range(steps):
    at = time.perf_counter()
    first = step * batch % (len(x) - batch)
    inputs = torch.from_numpy(x[first : first + batch].astype(np.float32) / 255)
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(inputs), torch.from_numpy(y[first:first+batch]))
    loss.backward()
    optimizer.step()
    took.append(time.perf_counter() - at)
first = took[0]
now = resident()
"""
)

_END = """
import json
took = sorted(took) or [0.0]
found = {"peak": now["VmHWM"], "own": now["RssAnon"], "first": first, "step": took[len(took) // 2]}
print(json.dumps(found))
"""


def run(program: str, folder: str, batch: int, steps: int, **environment: str) -> dict[str, Any]:
    """The JSON that a fresh process prints."""
    fixed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program + _END, folder, str(batch), str(steps)],
        env=os.environ | fixed | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def prepare(folder: Path, data: str | None) -> None:
    """x.npy and y.npy of 10,000 images, of all in a folder of their own, and a trained model."""
    if data:
        with np.load(data) as archive:
            x = archive["x_train"].reshape(-1, 784)
            y = archive["y_train"].astype(np.int64)
    else:
        random = np.random.default_rng(0)
        x = random.integers(0, 256, (60_000, 784), np.uint8)
        y = random.integers(0, 10, 60_000)
    (folder / "all").mkdir()
    for place, count in ((folder, 10_000), (folder / "all", len(x))):
        np.save(place / "x.npy", x[:count])
        np.save(place / "y.npy", y[:count])
    subprocess.run(
        [sys.executable, "-m", "ffedge", "train", str(folder / "x.npy"), "--label",
         str(folder / "y.npy"), "--hidden", "500,500", "--precision", "int8", "--epochs", "1",
         "-o", str(folder / "model.ffedge")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "FFEDGE_BUILD_RUNTIME": "0"}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FILE", help="mnist.npz (default: random bytes)")
    parser.add_argument("--library", metavar="FILE", help="default: one is built")
    parser.add_argument("--runs", type=int, default=5, help="default: 5")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o700)
        prepare(folder, options.data)
        library = options.library or str(folder / "kernels.so")
        result: dict[str, Any] = {}
        if not options.library:
            at = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "ffedge", "build-runtime", "--json", "-o", library],
                env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            result["build_seconds"] = time.perf_counter() - at
        compiled = {"FFEDGE_KERNELS": "library", "FFEDGE_LIBRARY": library}
        result["library_bytes"] = os.path.getsize(library)
        programs = (("train", _TRAIN), ("predict", _PREDICT), ("shuffled", _SHUFFLED))
        for label, program in programs:
            place = str(folder / "all") if label == "shuffled" else name
            found = run(program, place, 64, 200, **compiled)
            result[f"{label}_peak_bytes"] = found["peak"]
            result[f"{label}_anonymous_bytes"] = found["own"]
        result["numba_train_peak_bytes"] = run(_TRAIN, name, 64, 200, FFEDGE_KERNELS="jit")["peak"]
        for batch, steps in ((1, 3000), (64, 300)):
            times: dict[str, list[float]] = {"library": [], "jit": []}
            starts = []
            for _ in range(options.runs):
                found = run(_TRAIN, name, batch, steps, **compiled)
                times["library"].append(found["step"])
                starts.append(found["first"])
                jit = run(_TRAIN, name, batch, steps, FFEDGE_KERNELS="jit")
                times["jit"].append(jit["step"])
            medians = {kind: statistics.median(all_) for kind, all_ in times.items()}
            result[f"step_seconds_batch_{batch}"] = medians
            result[f"ratio_batch_{batch}"] = medians["library"] / medians["jit"]
            result["start_to_first_step_seconds"] = statistics.median(starts)
        try:
            torch = run(_TORCH, name, 64, 200)
            result["torch_train_peak_bytes"] = torch["peak"]
            result["share_of_torch"] = result["train_peak_bytes"] / torch["peak"]
        except subprocess.CalledProcessError:
            result["torch_train_peak_bytes"] = None
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        shown = f"{value / 2**20:.1f} MiB" if key.endswith("_bytes") and value else value
        print(f"{key:<36} {shown}")


if __name__ == "__main__":
    main()
