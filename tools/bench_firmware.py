"""Train on emulated boards what a float32 network of the same size learns, and count the bytes.

    python tools/bench_firmware.py [--data-dir ../shared/data] [--device-steps 2000]
                                   [--seeds 2] [--emulator NAME] [--json]

MNIST, activity (stm32_har) and keywords (the mfcc features of speech_commands_test). RAM is all of
it: stack, mailbox, arena, counters. Accuracy is on the set's own test part: int8 sample by sample,
predicted by the device; float32 by the defaults of FFClassifier, with the same hidden layers.
``accuracy``, and ``float32`` beside it, are means over the seeds.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ffedge import FFClassifier
from firmware_sim.simulate import simulate


@dataclass(frozen=True)
class Case:
    """features: key of the arrays, without ``_train`` and ``_test``."""

    name: str
    file: str
    features: str
    hidden: tuple[int, ...]
    epochs: int
    scaling: str
    rate: float
    limit: int


# Rates and scaling were chosen on parts held out of the training data: for stm32_har a stretch of
# each activity, for keywords a fifth of the speakers. Epochs are those of the defaults.
CASES = (
    Case("mnist", "mnist", "x", (120, 120), 10, "global", 0.0078, 256 * 1024),
    Case("stm32_har", "stm32_har", "x", (64, 64), 123, "shifted", 0.002, 64 * 1024),
    Case("keywords", "speech_commands_test", "mfcc", (64, 32), 83, "shifted", 0.004, 64 * 1024),
)


def read(case: Case, folder: Path) -> list[np.ndarray]:
    """(training features and labels, test features and labels); features as rows."""
    with np.load(folder / f"{case.file}.npz", allow_pickle=False) as file:
        parts = []
        for part in ("train", "test"):
            rows = file[f"{case.features}_{part}"]
            parts += [rows.reshape(len(rows), -1), file[f"y_{part}"]]
    return parts


def measure(case: Case, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    x, y, x_test, y_test = read(case, folder)
    device, floats, reports = [], [], []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"{case.name}.npz"
        np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        for seed in range(options.seeds):
            report = simulate(
                "nrf52840", path, epochs=case.epochs, hidden=case.hidden, rate=case.rate,
                scaling=case.scaling, seed=seed, emulator=options.emulator,
                device_steps=options.device_steps, test_samples=len(x_test),
            )  # fmt: skip
            reports.append(report)
            device.append(100 * report.test_accuracy)
            model = FFClassifier(case.hidden, random_state=seed).fit(x, y)
            floats.append(100 * model.score(x_test, y_test))
    first = reports[0]
    return {
        "data": case.name, "network": first.network, "ram_bytes": first.ram_bytes,
        "ram_limit": case.limit, "stack_bytes": max(report.stack_bytes for report in reports),
        "code_bytes": first.code_bytes, "instructions_per_step": first.instructions_per_step,
        "seconds_per_step": first.seconds_per_step, "device_steps": first.device_steps,
        "host_identical": all(report.host_identical for report in reports),
        "accuracy": float(np.mean(device)), "float32": float(np.mean(floats)),
    }  # fmt: skip


def main() -> None:
    """Run all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"),
                        help="folder of the .npz files")  # fmt: skip
    parser.add_argument("--device-steps", type=int, default=2000, help="default: 2000")
    parser.add_argument("--seeds", type=int, default=2, help="default: 2")
    parser.add_argument("--emulator", help="default: the first that is installed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = [measure(case, options.data_dir, options) for case in CASES]
    if options.json:
        print(json.dumps({"rows": results}))
        return
    for row in results:
        print(
            f"{row['data']:<10} {row['network']:<16} RAM {row['ram_bytes']:>8,} B of "
            f"{row['ram_limit']:,} B, stack {row['stack_bytes']} B, code {row['code_bytes']:,} B; "
            f"{row['instructions_per_step']:,.0f} instructions a step, "
            f"{1000 * row['seconds_per_step']:.1f} ms; {row['device_steps']:,} steps on the device "
            f"{'equal the host byte for byte' if row['host_identical'] else 'DIFFER'}; "
            f"{row['accuracy']:.2f} % (float32 {row['float32']:.2f} %)"
        )


if __name__ == "__main__":
    main()
