"""How soon drift is noticed by the layers' goodness alone, and how often it is where there is none.

    python tools/drift.py [--part report|validation] [--signal goodness] [--json]

Streams of 9,000 samples, learned one by one with ``on_drift``; from sample 6,000 on the features
are permuted, inverted, multiplied (all of them, or the one that varies most) or moved, at once or
mixed in over 1,500 samples. Sources: Gaussian clouds, and digits with noise. "validation" has
other clouds, other digits and other seeds than "report", and is what the defaults of
``ffedge.drift`` were chosen on. An alarm before sample 6,000, or in a stream that never changes,
is a false one; one within 3,000 samples after it is a detection, whose delay is counted from there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from ffedge import FFClassifier, load

Array = np.ndarray[Any, Any]

LENGTH, START, GRADUAL = 9_000, 6_000, 1_500
#: What happens, and over how many samples; 0: at once.
DRIFTS = [
    ("none", 0), ("permuted", 0), ("inverted", 0), ("gain 1.5", 0), ("gain 0.7", 0),
    ("one sensor x 3", 0), ("offset", 0), ("permuted", GRADUAL), ("gain 1.5", GRADUAL),
]  # fmt: skip


def clouds(seed: int, half: int) -> tuple[Array, Array, int]:
    """Four classes of twelve features."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, 12)) * 1.5
    labels = rng.integers(4, size=LENGTH)
    return centres[labels] + rng.standard_normal((LENGTH, 12)), labels, 4


def digits(seed: int, half: int) -> tuple[Array, Array, int]:
    """Digits drawn from every second sample of the training part, with noise."""
    train, _ = load("digits")
    rng = np.random.default_rng(seed)
    rows = rng.choice(np.arange(half, train.n_samples, 2), LENGTH)
    features = train.features[rows] + rng.standard_normal((LENGTH, train.width))
    return features, train.labels[rows].astype(np.int64), 10


SOURCES = {"clouds": clouds, "digits": digits}


def drifted(kind: str, X: Array, rng: Any) -> Array:
    """The same samples after the change."""
    if kind == "permuted":
        return X[:, rng.permutation(X.shape[1])]
    if kind == "inverted":
        return X.max(axis=0) + X.min(axis=0) - X
    if kind.startswith("gain"):
        return X * float(kind.split()[1])
    if kind == "offset":
        return X + X.std(axis=0)
    changed = X.copy()
    if kind == "one sensor x 3":
        changed[:, X.std(axis=0).argmax()] *= 3
    return changed


def alarms(X: Array, y: Array, classes: int, precision: str, seed: int, signal: str) -> list[int]:
    """Sample numbers, from 0, at which a learning model was told of drift."""
    found: list[int] = []
    model = FFClassifier(
        (64, 64), precision=precision, batch_size=1, random_state=seed, drift_signal=signal,
        on_drift=lambda drift: found.append(drift.step - 1),
    )  # fmt: skip
    for x, label in zip(X, y.tolist(), strict=True):
        model.learn_one(x, label, range(classes))
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All streams of the part; what was found."""
    report = options.part == "report"
    seeds = range(100, 100 + options.seeds) if report else range(options.seeds)
    quiet_samples = false = 0
    delays: dict[str, list[int | None]] = {}
    for source in SOURCES:
        for precision in ("float32", "int8"):
            for seed in seeds:
                X, y, classes = SOURCES[source](seed, int(report))
                for kind, width in DRIFTS:
                    rng = np.random.default_rng(seed + 7)
                    share = np.clip((np.arange(LENGTH) - START + 1) / max(width, 1), 0, 1)
                    new = rng.random(LENGTH) < share
                    stream = np.where(new[:, None], drifted(kind, X, rng), X).astype(np.float32)
                    found = alarms(stream, y, classes, precision, seed, options.signal)
                    if kind == "none":
                        quiet_samples += LENGTH
                        false += len(found)
                        continue
                    after = [n - START for n in found if n >= START]
                    name = f"{kind}, {'gradual' if width else 'abrupt'}"
                    hit = after[0] if after and after[0] < 3_000 else None
                    delays.setdefault(name, []).append(hit)
    rows = []
    for name, values in delays.items():
        hits = [value for value in values if value is not None]
        rows.append({
            "drift": name, "streams": len(values), "detected": len(hits),
            "median_delay": statistics.median(hits) if hits else None,
            "largest_delay": max(hits, default=None),
        })  # fmt: skip
    return {"quiet_samples": quiet_samples, "false_alarms": false, "rows": rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("report", "validation"), default="report")
    parser.add_argument("--signal", choices=("goodness", "error", "both"), default="goodness")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    started = time.perf_counter()
    result = run(options)
    result |= {"part": options.part, "signal": options.signal, "seeds": options.seeds,
               "seconds": time.perf_counter() - started}  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['false_alarms']} false alarms in {result['quiet_samples']:,} samples")
    for row in result["rows"]:
        print(f"{row['drift']:<26} {row['detected']:>3} of {row['streams']:<3}  median delay "
              f"{row['median_delay']}, largest {row['largest_delay']}")  # fmt: skip


if __name__ == "__main__":
    main()
