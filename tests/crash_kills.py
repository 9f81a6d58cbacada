"""Real processes of ``ffedge train --checkpoint``, killed at random moments until one is done.

SIGKILL leaves no time for anything; what the process has written, the system still has. So no
state may ever be older than one before, and the model must be the uninterrupted run's.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ffedge.checkpoint_store import CheckpointStore
from ffedge.errors import CheckpointError
from ffedge.model_file import load_model

TRAINING = (
    "digits", "--precision", "int8", "--hidden", "100,64", "--batch-size", "8", "--epochs", "4",
    "--validation", "0.1", "--seed", "3",
)  # fmt: skip

EVERY = "4steps"


@dataclass
class Kills:
    """kills: processes ended. working: of them, after the first save. runs: models made in the end.

    lost: states that were gone or older than before. not_identical: models.
    """

    kills: int = 0
    working: int = 0
    runs: int = 0
    lost: int = 0
    not_identical: int = 0


def train(folder: Path, model: Path) -> subprocess.Popen[bytes]:
    """Start a process in ``folder``, in which its states lie as well."""
    command = [
        sys.executable, "-m", "ffedge", "train", *TRAINING, "--json", "-o", str(model),
        "--checkpoint", str(folder / "states"), "--every", EVERY,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "FFEDGE_BUILD_RUNTIME": "0"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def place(states: Path) -> list[int]:
    """[stage, epoch, sample] of the newest state in a folder, [] if there is none."""
    if not states.is_dir():
        return []
    facts = CheckpointStore(states).peek()
    return [] if facts is None else list(facts["cursor"])


def weights(path: Path) -> list[bytes]:
    """All parameters of a model file."""
    return [array.tobytes() for array in load_model(path).params.values()]


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that must succeed."""
    _, words = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"train: expected exit code 0, got {process.returncode}: {words!r}")


def wait_for_save(process: subprocess.Popen[bytes], states: Path) -> None:
    """Until the process has written something, or is done."""
    before = sizes(states)
    while process.poll() is None and sizes(states) == before:
        time.sleep(0.002)


def sizes(states: Path) -> dict[str, int]:
    """Bytes of the state files, temporary ones too."""
    found = {}
    for path in states.glob("*ffstate*"):
        # Files come and go meanwhile.
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.stat().st_size
    return found


def kill_often(kills: int, folder: Path, seed: int = 0, most: int = 10) -> Kills:
    """``kills`` processes killed, up to ``most`` in a run, which is then let go on to its end."""
    chance, found = random.Random(seed), Kills()
    finish(train(folder, folder / "uncut.ffedge"))
    expected = weights(folder / "uncut.ffedge")
    model, states = folder / "cut.ffedge", folder / "states"
    while found.kills < kills:
        found.runs += 1
        model.unlink(missing_ok=True)
        shutil.rmtree(states, ignore_errors=True)
        newest: list[int] = []
        for _ in range(min(most, kills - found.kills)):
            process = train(folder, model)
            if chance.random() < 0.8:
                wait_for_save(process, states)
                time.sleep(chance.uniform(0.0, 0.15))
            else:
                time.sleep(chance.uniform(0.1, 1.5))
            process.kill()
            process.communicate(timeout=60)
            if process.returncode >= 0:
                break
            found.kills += 1
            try:
                now = place(states)
            except CheckpointError:
                now = []
            found.working += bool(now)
            found.lost += now < newest and not model.exists()
            newest = now
        finish(train(folder, model))
        found.not_identical += weights(model) != expected
    return found
