"""Learn from one sample a million times, and see that nothing grows, drifts or slows down.

    python tools/long_stream.py [--samples 1000000] [--precision float32|int8] [--json]

Digits in random order, over and over, with small noise: ``predict_one``, then ``learn_one``, in
one process. Memory is read after a warm-up of 10,000 samples, in which kernels are loaded and the
scaler comes to rest, and at every report. Exits with 1 if anything on the list is not as promised.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from ffedge import FFClassifier, load

WARM_UP = 10_000
#: Most bytes that the process may grow by.
ALLOWED = 1 << 20
#: float32 numbers below this, other than 0, are denormal.
SMALLEST = np.finfo(np.float32).tiny


def process_memory() -> dict[str, int]:
    """Bytes resident and bytes of data (heap, stacks, anonymous mappings) of this process."""
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in ("VmRSS", "VmData"):
            found[key] = int(rest.split()[0]) * 1024
    return found


def denormals(arrays: dict[str, Any]) -> int:
    """How many numbers of the float32 arrays are denormal, and slow."""
    return sum(
        int(np.count_nonzero((np.abs(array) < SMALLEST) & (array != 0)))
        for array in arrays.values()
        if array.dtype == np.float32
    )


def kept(model: FFClassifier) -> dict[str, Any]:
    """Everything that lives on from sample to sample, by name."""
    trainer = model._trainer
    return {
        buffer.name: trainer.arena[buffer.name]
        for buffer in trainer.plan.buffers
        if buffer.category in ("weights", "optimizer state")
    }


def weights_range(model: FFClassifier) -> dict[str, float]:
    """Largest magnitude of each of the model's parameters, in its own units."""
    return {
        name: float(np.abs(array.astype(np.float64)).max())
        for name, array in model._trainer.params.items()
    }


def stream(options: argparse.Namespace) -> dict[str, Any]:
    """The run; what was measured."""
    train, _ = load("digits")
    features, labels = train.features, train.labels
    rows = np.arange(train.n_samples) if train.rows is None else train.rows
    rng = np.random.default_rng(options.seed)
    drifts: list[Any] = []
    model = FFClassifier(
        tuple(options.hidden), precision=options.precision, rule=options.rule,
        batch_size=options.batch_size, replay=options.replay, random_state=options.seed,
        on_drift=drifts.append if options.watch else None,
    )  # fmt: skip
    sample, noise = np.empty(train.width, np.float32), np.empty(train.width, np.float32)
    reports: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    right = since = found = 0
    classes = range(len(train.classes))
    started = before = time.perf_counter()
    for n in range(1, options.samples + 1):
        row = rows[int(rng.integers(len(rows)))]
        rng.standard_normal(out=noise, dtype=np.float32)
        np.add(features[row], noise, out=sample)
        label = int(labels[row])
        right += model.predict_one(sample) == label
        model.learn_one(sample, label, classes)
        since += 1
        if n == options.warm_up:
            scaler = {
                key: model._trainer.params[key].tobytes() for key in ("input.mean", "input.gain")
            }
            first = {"arena": model._trainer.measured_bytes, "scaler": scaler} | process_memory()
        if n % options.every == 0 or n == options.samples:
            now = time.perf_counter()
            found += (slow := denormals(kept(model)))
            reports.append({
                "samples": n, "accuracy": right / since,
                "microseconds_per_sample": 1e6 * (now - before) / since,
                "denormals": slow, "largest": weights_range(model),
            } | process_memory())  # fmt: skip
            if not options.json:
                print(
                    f"{n:>10,}  accuracy {100 * right / since:6.2f} %  "
                    f"{reports[-1]['microseconds_per_sample']:6.1f} us a sample  "
                    f"data {reports[-1]['VmData']:,} B  denormals {slow}",
                    flush=True,
                )
            right = since = 0
            before = time.perf_counter()
    last = process_memory()
    params = model._trainer.params
    return {
        "samples": options.samples, "precision": options.precision, "rule": options.rule,
        "network": model._trainer.network.text, "seconds": time.perf_counter() - started,
        "arena_bytes": model._trainer.measured_bytes,
        "arena_growth": model._trainer.measured_bytes - first["arena"],
        "resident_growth": last["VmRSS"] - first["VmRSS"],
        "data_growth": last["VmData"] - first["VmData"],
        "process_growth": max(last[key] - first[key] for key in last),
        "scaler_moved": any(params[k].tobytes() != v for k, v in first["scaler"].items()),
        "denormals": found, "finite": bool(all(
            np.isfinite(array).all() for array in kept(model).values()
        )),
        "updates": model.n_iter_, "drifts": len(drifts), "reports": reports,
    }  # fmt: skip


def failures(result: dict[str, Any]) -> list[str]:
    """What is not as promised."""
    checks = {
        "the arena grew": result["arena_growth"] != 0,
        "the process grew by 1 MiB or more": result["process_growth"] >= ALLOWED,
        "the scaler moved after it had come to rest": result["scaler_moved"],
        "numbers became denormal": result["denormals"] > 0,
        "numbers became infinite or NaN": not result["finite"],
        "updates were lost": result["updates"] != result["samples"],
    }
    return [text for text, bad in checks.items() if bad]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--rule", default="readout")
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64], metavar="N")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    parser.add_argument("--replay", type=int, default=0, metavar="N", help="samples kept")
    parser.add_argument("--watch", action="store_true", help="look for drift: on_drift")
    parser.add_argument("--every", type=int, default=50_000, metavar="N", help="samples a report")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.samples <= options.warm_up:
        parser.error(f"expected more samples than the warm-up's {options.warm_up:,}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    options = parse(arguments)
    result = stream(options)
    broken = failures(result)
    if options.json:
        print(json.dumps(result | {"failures": broken}))
    else:
        for key in ("seconds", "arena_growth", "resident_growth", "data_growth", "denormals"):
            print(f"{key:<16}{result[key]:>16,.1f}" if key == "seconds"
                  else f"{key:<16}{result[key]:>16,}")  # fmt: skip
        print("as promised" if not broken else "; ".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
