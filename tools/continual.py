"""Classes that come one after the other: what is forgotten, with and without replay.

    python tools/continual.py [--data digits] [--tasks 5] [--replay 0 50 200] [--json]

The classes are divided into tasks. A model starts with the first task's; for every further one
``add_classes`` makes room, and ``partial_fit`` sees that task's training samples only, in random
order, ``--passes`` times. After every task the accuracy on each task's test samples is measured
among all classes known by then. "joint" sees all classes mixed, with the same number of samples:
what would be possible. Forgetting of a task: its best accuracy less its last, averaged over all
tasks but the last (Chaudhry et al. 2018, "Riemannian Walk", section 4.1). Means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from ffedge import FFClassifier, load

Array = np.ndarray[Any, Any]


def arrays(data: Any) -> tuple[Array, Array]:
    """Features and label codes of a data set."""
    rows = slice(None) if data.rows is None else data.rows
    return data.features[rows], data.labels[rows].astype(np.int64)


def learner(options: argparse.Namespace, precision: str, replay: int, seed: int) -> FFClassifier:
    """A new model."""
    return FFClassifier(
        tuple(options.hidden), precision=precision, replay=replay, random_state=seed,
        batch_size=options.batch_size, scaling=options.scaling,
    )  # fmt: skip


def learn(model: FFClassifier, X: Array, y: Array, passes: int, rng: Any, **first: Any) -> None:
    """Some passes over the samples, each in an order of its own, a batch at a time."""
    for _ in range(passes):
        order = rng.permutation(len(X))
        model.partial_fit(X[order], y[order], **first)


def one_after_the_other(
    options: argparse.Namespace, train: Any, test: Any, precision: str, replay: int, seed: int
) -> dict[str, Any]:
    """Accuracy of each task after each task, and the bytes of the plan."""
    (X, y), (Z, t) = train, test
    tasks = np.array_split(np.arange(y.max() + 1), options.tasks)
    rng = np.random.default_rng(seed)
    model = learner(options, precision, replay, seed)
    table: list[list[float]] = []
    for number, classes in enumerate(tasks):
        if number:
            model.add_classes(classes.tolist())
        mine = np.isin(y, classes)
        first = {} if number else {"classes": classes.tolist()}
        learn(model, X[mine], y[mine], options.passes, rng, **first)
        seen = tasks[: number + 1]
        table.append([model.score(Z[np.isin(t, c)], t[np.isin(t, c)]) for c in seen])
    last = table[-1]
    best = [max(row[k] for row in table[k:]) for k in range(len(tasks))]
    return {
        "accuracy": model.score(Z, t), "old": float(np.mean(last[:-1])), "new": last[-1],
        "forgetting": float(np.mean([best[k] - last[k] for k in range(len(tasks) - 1)])),
        "plan_bytes": model.plan_.peak, "table": table,
    }  # fmt: skip


def joint(
    options: argparse.Namespace, train: Any, test: Any, precision: str, seed: int
) -> dict[str, Any]:
    """All classes mixed, as many samples."""
    (X, y), (Z, t) = train, test
    model = learner(options, precision, 0, seed)
    rng = np.random.default_rng(seed)
    learn(model, X, y, options.passes, rng, classes=range(int(y.max()) + 1))
    return {"accuracy": model.score(Z, t), "plan_bytes": model.plan_.peak}


def means(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Mean of every figure over the seeds, and the spread of the accuracy."""
    found = {key: float(np.mean([run[key] for run in runs])) for key in runs[0] if key != "table"}
    return found | {"accuracy_std": float(np.std([run["accuracy"] for run in runs]))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="as for `ffedge train`")
    parser.add_argument("--tasks", type=int, default=5, metavar="N")
    parser.add_argument("--replay", type=int, nargs="+", default=[0, 50, 200, 500], metavar="N")
    parser.add_argument("--precision", nargs="+", default=["float32", "int8"])
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 128], metavar="N")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--scaling", default="auto")
    parser.add_argument("--passes", type=int, default=5, metavar="N", help="per task (default: 5)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    train, test = load(options.data)
    assert test is not None
    parts = arrays(train), arrays(test)
    started, rows = time.perf_counter(), []
    for precision in options.precision:
        for replay in options.replay:
            runs = [
                one_after_the_other(options, *parts, precision, replay, seed)
                for seed in range(options.seeds)
            ]
            rows.append({"precision": precision, "replay": replay} | means(runs))
            show(rows[-1], options.json)
        runs = [joint(options, *parts, precision, seed) for seed in range(options.seeds)]
        rows.append({"precision": precision, "replay": "joint"} | means(runs))
        show(rows[-1], options.json)
    if options.json:
        print(json.dumps({
            "data": options.data, "tasks": options.tasks, "passes": options.passes,
            "seeds": options.seeds, "hidden": options.hidden, "batch_size": options.batch_size,
            "seconds": time.perf_counter() - started, "rows": rows,
        }))  # fmt: skip


def show(row: dict[str, Any], quiet: bool) -> None:
    """One line of the table."""
    if quiet:
        return
    figures = "  ".join(
        f"{key} {100 * row[key]:5.1f} %" for key in ("accuracy", "old", "new", "forgetting")
        if key in row
    )  # fmt: skip
    print(f"{row['precision']:<8} replay {row['replay']:>5}  {figures}  "
          f"plan {row['plan_bytes']:>9,.0f} B", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
