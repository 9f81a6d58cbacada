"""Time from the start of Python to the first finished training step, kernels cached or not.

    python tools/bench_start.py [--runs 7] [--json]

Each run is a fresh process that imports ffedge, plans 784-500-500, and trains on one batch.
"cold" has an empty kernel cache. Median seconds, and the process's peak memory.
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
from typing import Any

_CODE = """
import numpy as np
from ffedge.memory import process_peak_bytes
from ffedge.network import Network
from ffedge.recipe import Recipe
from ffedge.sources import from_arrays
from ffedge.trainer import Trainer
data = from_arrays(np.zeros((64, 784), np.uint8), np.arange(64) % 10)
trainer = Trainer(Network.dense(784, (500, 500), 10), Recipe())
trainer.learn_scaling(data)
trainer.run.begin_stage(None)
trainer.learn(data, 0, 64)
print(process_peak_bytes())
"""


def start(cache: str) -> tuple[float, int]:
    """Seconds and peak bytes of one fresh process."""
    environment = os.environ | {"NUMBA_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CODE], env=environment, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - started, int(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="default: 7")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        cold, _ = start(cache)
        runs = [start(cache) for _ in range(options.runs)]
    result: dict[str, Any] = {
        "cold_seconds": cold,
        "cached_seconds": statistics.median(seconds for seconds, _ in runs),
        "process_peak_bytes": int(statistics.median(peak for _, peak in runs)),
        "runs": options.runs,
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(f"first step after {result['cold_seconds']:.2f} s cold, "
              f"{result['cached_seconds']:.2f} s with cached kernels (median of {options.runs}); "
              f"process peak {result['process_peak_bytes'] / 2**20:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
