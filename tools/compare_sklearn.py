"""FFClassifier's defaults against scikit-learn's MLPClassifier of the same hidden layers.

    python tools/compare_sklearn.py [--hidden 256,256] [--seeds 3] [--limit 8000]
                                    [--data-dir FOLDER] [--json]

Both get their own defaults; MLPClassifier's inputs are standardised first, as its documentation
asks. Test accuracy in percent, mean over the seeds, on each set's own test part; seconds of
fitting, one thread. Nothing is chosen on these figures: the defaults come from
choose_defaults.py.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import time
import warnings
from typing import Any

import numpy as np
from datasets import NAMES, available, read, rows
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ffedge import FFClassifier

SYSTEMS = ("ffedge", "ffedge-int8", "sklearn")


def make(system: str, hidden: tuple[int, ...], seed: int) -> Any:
    """One unfitted classifier with its own defaults."""
    if system == "sklearn":
        return make_pipeline(StandardScaler(), MLPClassifier(hidden, random_state=seed))
    precision = "int8" if system.endswith("int8") else "float32"
    return FFClassifier(hidden, precision=precision, random_state=seed)


def compare(
    name: str, hidden: tuple[int, ...], seeds: int, limit: int, data_dir: str | None
) -> dict[str, Any]:
    """One row: accuracy and seconds of all systems."""
    train, test = read(name, data_dir, limit)
    x, y = rows(train)
    x_test, y_test = rows(test)
    result: dict[str, Any] = {
        "set": name, "train": len(x), "features": x.shape[1], "classes": len(train.classes),
    }  # fmt: skip
    for system in SYSTEMS:
        accuracies, seconds = [], []
        for seed in range(seeds):
            model = make(system, hidden, seed)
            started = time.perf_counter()
            model.fit(x, y)
            seconds.append(time.perf_counter() - started)
            accuracies.append(100 * model.score(x_test, y_test))
        result[system] = float(np.mean(accuracies))
        result[f"{system}_seconds"] = float(np.median(seconds))
    return result


def main() -> None:
    """Run all sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", default="256,256", help="default: 256,256")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--data-dir", help="folder of the .npz files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--limit", type=int, default=8000,
                        help="training samples a set at most (default: 8000)")  # fmt: skip
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    hidden = tuple(int(width) for width in options.hidden.split(","))
    results = []
    if not options.json:
        print(
            f"{'set':<22}{'train':>8}" + "".join(f"{name + ' %':>15}{'s':>7}" for name in SYSTEMS)
        )
    for name in ("digits", *available(NAMES, options.data_dir)):
        row = compare(name, hidden, options.seeds, options.limit, options.data_dir)
        results.append(row)
        if not options.json:
            cells = (f"{row[name]:>15.2f}{row[name + '_seconds']:>7.1f}" for name in SYSTEMS)
            print(f"{name:<22}{row['train']:>8,}" + "".join(cells), flush=True)
    means = {system: float(np.mean([row[system] for row in results])) for system in SYSTEMS}
    if options.json:
        print(
            json.dumps({"hidden": hidden, "seeds": options.seeds, "rows": results, "mean": means})
        )
    else:
        print(f"{'mean':<22}{'':>8}" + "".join(f"{means[name]:>15.2f}{'':>7}" for name in SYSTEMS))


if __name__ == "__main__":
    main()
