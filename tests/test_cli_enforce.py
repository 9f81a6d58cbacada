"""``ffedge train --enforce``: honest trainings pass, and who takes more memory than planned fails.

Each training is a process of its own, since the limit is. What is patched in it is said in
``SABOTAGE``; the rest is the program as users have it.
"""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import child_environment
from test_cli import one_object

from ffedge.enforcement import SLACK, data_bytes
from ffedge.heap import BLOCK

pytestmark = pytest.mark.skipif(not data_bytes(), reason="no /proc: no limit to be had")

QUICK = ["train", "digits", "--epochs", "2", "--hidden", "40,32"]
INT8 = [*QUICK, "--precision", "int8"]
STREAMED = ["train", "digits", "--epochs", "1", "--hidden", "200,200,200", "--budget", "300KiB"]

PROGRAM = """
import sys
import threading
import numpy as np
from ffedge.cli import main
from ffedge.run_int8 import Int8Run
from ffedge.trainer import Trainer

def sabotage(kind, name, size, *, keep=False, thread="MainThread"):
    "Let a method of ffedge allocate ``size`` bytes at each call of a real training."
    honest, kept = getattr(kind, name), []

    def greedy(self, *given, **named):
        real = self.network.hidden in ((40, 32), (200, 200, 200))  # not the one that warms up
        if real and threading.current_thread().name == thread:
            array = np.ones(size, np.uint8)
            if keep:
                kept.append(array)
        return honest(self, *given, **named)

    setattr(kind, name, greedy)
"""

SABOTAGE = {
    "an array that a step forgets to plan": (
        QUICK, f"sabotage(Trainer, '_step', {SLACK} + 8192)"),
    "a little more at every step": (
        QUICK, "sabotage(Trainer, '_step', 40000, keep=True)"),
    "an array in scoring": (
        QUICK, f"sabotage(Trainer, 'evaluate', {SLACK} + 8192)"),
    "an array in learning the scaler": (
        QUICK, f"sabotage(Trainer, 'learn_scaling', {SLACK} + 8192)"),
    "an array in int8": (
        INT8, f"sabotage(Trainer, '_step', {SLACK} + 8192)"),
    "an array in the second thread": (
        [*INT8, "--threads", "2"],
        f"sabotage(Int8Run, 'train_layers', {SLACK} + 8192, thread='ffedge-upper')"),
    "an array while layers lie on disk": (
        STREAMED, f"sabotage(Trainer, '_step', {SLACK} + 8192)"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(*words, patch=None, **options):
    """The finished process of one command, with ffedge changed by ``patch`` beforehand."""
    code = f"{PROGRAM}\n{patch or ''}\nsys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words], env=child_environment(),
        capture_output=True, text=True, check=False, timeout=120, **options,
    )  # fmt: skip


# --- honest trainings -------------------------------------------------------------------------


def npz_file(dtype):
    values = np.random.default_rng(0).integers(0, 255, (300, 200)).astype(dtype)
    np.savez("rows.npz", x=values, y=np.arange(300) % 3)


HONEST = {
    "sweep": (QUICK, None),
    "int8 with two threads": ([*INT8, "--threads", "2"], None),
    "layers on disk": (STREAMED, None),
    "mapped pixels": (
        ["train", "rows.npz", "--hidden", "64", "--epochs", "2"], lambda: npz_file(np.uint8)),
    "mapped numbers in int8": (
        ["train", "rows.npz", "--hidden", "64", "--epochs", "2", "--precision", "int8"],
        lambda: npz_file(np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_training_keeps_the_limit(case):
    words, make = HONEST[case]
    if make is not None:
        make()

    done = train(*words, "--enforce", "--json")

    assert done.returncode == 0, done.stderr
    report = one_object(done.stdout)
    held = report["enforced"]
    assert held["planned"] == report["planned_bytes"]
    assert held["limit"] - held["before"] - held["planned"] - held["slack"] == 128
    # The arena was made inside; little else was. Pages and a thread's heap make the difference.
    grown = held["peak"] - held["before"]
    if held["planned"] >= BLOCK:
        assert grown >= held["planned"]
    assert grown - held["planned"] < held["slack"] // 2


def test_the_first_training_of_all_compiles_before_the_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    done = train(*QUICK, "--enforce", "--json")

    assert done.returncode == 0, done.stderr
    held = one_object(done.stdout)["enforced"]
    # What the compiler freed is not used for the arena: it counts.
    assert held["planned"] <= held["peak"] - held["before"] <= held["planned"] + SLACK // 2


def test_the_limit_changes_no_bit_and_is_told_in_one_line():
    held = train(*QUICK, "--enforce", "-o", "held")
    free = train(*QUICK, "-o", "free")

    assert Path("held").read_bytes() == Path("free").read_bytes()
    lines = [line for line in held.stdout.splitlines() if line.startswith("enforced ")]
    assert len(lines) == 1
    assert re.search(r"of process data at most, .* before training; it reached ", lines[0])
    assert "enforced" not in free.stdout


def test_without_enforcement_the_report_says_so():
    done = train(*QUICK, "--json")

    assert one_object(done.stdout)["enforced"] is None


# --- dishonest ones ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", SABOTAGE)
def test_what_takes_more_than_planned_ends_with_3_and_leaves_nothing(case):
    words, patch = SABOTAGE[case]

    done = train(*words, "--enforce", patch=patch)

    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.match(r"ffedge: train: expected to train within the plan's .*, got a request", last)
    assert os.listdir() == []


def test_the_same_goes_unnoticed_without_enforcement():
    for words, patch in (SABOTAGE[case] for case in list(SABOTAGE)[::2]):
        assert train(*words, patch=patch).returncode == 0


def test_a_refused_training_says_so_in_json_and_the_old_model_stays():
    assert train(*QUICK).returncode == 0
    before = Path("digits.ffedge").read_bytes()

    done = train(*QUICK, "--enforce", "--json", patch=next(iter(SABOTAGE.values()))[1])

    error = one_object(done.stdout)["error"]
    assert (done.returncode, error["exit_code"], error["kind"]) == (3, 3, "MemoryError")
    assert Path("digits.ffedge").read_bytes() == before
    assert os.listdir() == ["digits.ffedge"]


# --- a limit from outside ---------------------------------------------------------------------


def test_memory_that_the_system_refuses_anyway_ends_with_3_in_words():
    held = one_object(train(*QUICK, "--enforce", "--json").stdout)["enforced"]
    limit = held["limit"] + (16 << 20)

    def from_outside():
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    honest = train(*QUICK, preexec_fn=from_outside)
    greedy = train(*QUICK, preexec_fn=from_outside, patch="sabotage(Trainer, '_step', 64 << 20)")

    assert honest.returncode == 0, honest.stderr
    assert greedy.returncode == 3, greedy.stderr
    assert "Traceback" not in greedy.stderr
    assert greedy.stderr.startswith("ffedge: ")
