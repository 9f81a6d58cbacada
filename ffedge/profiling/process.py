"""What a process takes before it trains: Python, NumPy, the kernels, ffedge; from a fresh one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..kernels import provider
from ..memory import process_bytes
from ..network import Network
from ..recipe import Recipe
from ..sources import Dataset, from_arrays
from ..trainer import Trainer

#: Resident bytes are read after each of these imports.
STAGES = {
    "interpreter": "import os, sys, json",
    "numpy": "import numpy",
    "kernels": "from ffedge.kernels import provider\n"
    "if provider.NAME == 'jit':\n    from ffedge.kernels import jit",
    "ffedge": "import ffedge.trainer",
}

_SCRIPT = """\
import resource
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
found = {{}}
{stages}
from ffedge.profiling.process import warm_up_described
warm_up_described(sys.stdin.read())
found["compiled"] = resident()
print(json.dumps(found))
"""

_SECONDS = 60.0


def warm_up(network: Network, recipe: Recipe, data: Dataset) -> None:
    """Compile or load every kernel of such a training, by a tiny one."""
    width = max(16, network.classes)
    small = network.small(width, len(network.layers))
    count = min(data.n_samples, 2 * recipe.batch_size)
    rows = np.arange(count, dtype=np.int32) if data.rows is None else data.rows[:count]
    trainer = Trainer(small, replace(recipe, epochs=1))
    part = replace(data, rows=rows)
    trainer.learn_scaling(part)
    for _ in trainer.train(part, part):
        pass


def warm_up_described(text: str) -> None:
    """``warm_up`` on made-up data, from the JSON that ``resident_bytes`` sends."""
    told = json.loads(text)
    network, recipe = Network.parse(told["network"]), Recipe.parse(told["recipe"])
    count = min(told["samples"], 2 * recipe.batch_size)
    # Without numpy.random, which alone is some MiB that a training does not need.
    values = np.arange(count * network.features) * 37 % 101
    features = values.reshape(count, network.features).astype(told["dtype"])
    labels = np.arange(count) % network.classes
    warm_up(network, recipe, from_arrays(features, labels, classes=range(network.classes)))


def resident_bytes(network: Network, recipe: Recipe, data: Dataset) -> dict[str, int]:
    """Resident bytes that each of ``STAGES`` adds, in a new process of the same environment.

    The kernels' share includes what compiling or loading those of such a training adds.
    All 0 where /proc is missing or the process fails.
    """
    nothing = dict.fromkeys(STAGES, 0)
    if process_bytes() == 0 or not sys.executable:
        return nothing
    stages = "\n".join(f"{code}\nfound[{name!r}] = resident()" for name, code in STAGES.items())
    folders = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, folders)), "FFEDGE_KERNELS": provider.NAME,
    }  # fmt: skip
    told = {
        "network": network.describe(), "recipe": recipe.describe(), "samples": data.n_samples,
        "dtype": str(data.features.dtype),
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _SCRIPT.format(stages=stages)],
            input=json.dumps(told), capture_output=True, text=True, env=environment,
            timeout=_SECONDS, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        after = [int(found[name]) for name in (*STAGES, "compiled")]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return nothing
    added = [max(b - a, 0) for a, b in zip([0, *after[:-1]], after, strict=True)]
    shares = dict(zip(STAGES, added, strict=False))
    shares["kernels"] += added[-1]
    return shares


def split(shares: dict[str, int], peak: int) -> dict[str, int | str]:
    """The ``process`` of a profile: "training" is all that is left of the peak.

    That is the arena, the data and whatever else the process holds; 0 if nothing is known.
    """
    rest = max(peak - sum(shares.values()), 0) if any(shares.values()) else 0
    return {**shares, "training": rest, "peak": peak, "kernels_by": provider.NAME}
