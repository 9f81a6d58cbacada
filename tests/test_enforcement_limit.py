"""What the limit refuses, what it lets pass, and that it goes again, down to some bytes.

A limit is of the whole process, so what runs under one runs in a child.
"""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from checks import child_environment

from ffedge import enforcement
from ffedge.enforcement import SLACK, data_bytes, enforced
from ffedge.errors import ConfigError

pytestmark = pytest.mark.skipif(not data_bytes(), reason="no /proc: no limit to be had")

START = """
import errno, mmap, resource, threading
import numpy as np
from ffedge.enforcement import SLACK, data_bytes, enforced
from ffedge.errors import ConfigError

def refused(ask, planned=0):
    try:
        with enforced(planned):
            ask()
    except MemoryError as error:
        print("refused")
    else:
        print("given")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before

before = resource.getrlimit(resource.RLIMIT_DATA)
"""


def child(code):
    """The words that a process under a limit prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + code], env=child_environment(),
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_planned_is_given_and_what_exceeds_the_slack_is_not():
    words = child("""
refused(lambda: np.zeros(9 << 20, np.uint8), planned=9 << 20)
refused(lambda: np.zeros((9 << 20) + SLACK + 8192, np.uint8), planned=9 << 20)
refused(lambda: np.zeros(SLACK + 8192, np.uint8))
refused(lambda: bytearray(SLACK + 8192))
refused(lambda: [np.zeros(40000, np.uint8) for _ in range(SLACK // 40000 + 1)])
refused(lambda: np.zeros(SLACK // 2, np.uint8))
""")

    assert words == ["given", "refused", "refused", "refused", "refused", "given"]


def test_memory_that_was_freed_before_does_not_help():
    words = child("""
blocks = [np.ones(100 << 10, np.uint8) for _ in range(41)]
last = blocks.pop()
del blocks
refused(lambda: np.zeros(SLACK + 8192, np.uint8))
with enforced(1 << 20) as held:
    arena = np.zeros(1 << 20, np.uint8)
    held.look()
print(held.peak - held.before >= arena.nbytes)
""")

    assert words == ["refused", "True"]


def test_a_refused_mapping_and_a_refused_thread_are_memory_errors_too():
    words = child("""
def mapping():
    mmap.mmap(-1, SLACK + 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

threading.stack_size(2 << 20)
refused(mapping)
refused(lambda: threading.Thread(target=print).start())
""")

    assert words == ["refused", "refused"]


def test_other_errors_pass_and_the_limit_goes_all_the_same():
    words = child("""
for kind in (FileNotFoundError, RuntimeError, KeyboardInterrupt):
    try:
        with enforced(0):
            assert resource.getrlimit(resource.RLIMIT_DATA) != before
            raise kind("words")
    except kind as error:
        print(resource.getrlimit(resource.RLIMIT_DATA) == before, error)
""")

    assert words == ["True", "words"] * 3


def test_a_limit_inside_another_never_loosens_it():
    words = child("""
with enforced(1 << 20):
    inner = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        with enforced(64 << 20):
            print("entered")
    except ConfigError as error:
        print("soft limit of" in str(error))
    assert resource.getrlimit(resource.RLIMIT_DATA) == inner
    with enforced(0, slack=256 << 10):
        print("entered")
""")

    assert words == ["True", "entered"]


def test_a_hard_limit_below_the_plan_is_refused_in_words():
    words = child("""
resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + (32 << 20),) * 2)
try:
    with enforced(64 << 20):
        print("entered")
except ConfigError as error:
    print("ulimit -d" in str(error))
""")

    assert words == ["True"]


def test_without_proc_it_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(enforcement, "data_bytes", lambda: 0)

    with pytest.raises(ConfigError, match="leave --enforce out"), enforced(0):
        pytest.fail("entered")


def test_a_system_that_does_not_keep_its_limit_is_found_out(monkeypatch):
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: None)

    with pytest.raises(ConfigError, match="got the memory all the same"), enforced(0):
        pytest.fail("entered")


def test_the_data_of_a_process_grow_with_private_memory_only(tmp_path):
    before = data_bytes()
    block = np.zeros(40 << 20, np.uint8)
    grown = data_bytes() - before
    np.save(tmp_path / "x.npy", block)
    del block

    between = data_bytes()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")

    assert 40 << 20 <= grown < 41 << 20
    assert mapped.nbytes == 40 << 20
    assert data_bytes() - between < 1 << 20


def test_the_slack_is_less_than_what_a_forgotten_array_of_the_default_network_takes():
    # The activities of one batch of its layers, with their deltas: 4 * 64 * 512 * 4 bytes.
    assert SLACK <= 4 * 64 * 512 * 4


TRAINING = """
import sys
from ffedge import Network, Recipe, load
from ffedge.enforcement import warm_up
from ffedge.planner import choose
from ffedge.trainer import Trainer

def training(features, rows):
    X, y = np.eye(40, features, dtype=np.float32) * 9, np.arange(40) % 2
    from ffedge.sources import from_arrays
    data = from_arrays(X, y, classes=(0, 1))
    test = from_arrays(X.astype(np.uint8), y, classes=(0, 1))
    choice = choose(Network.dense(features, (99, 99), 2), [Recipe(batch_size=16, epochs=3)], None)
    warm_up(choice, data, test)
    compiled = kernels()
    with enforced(choice.plan.peak) as held:
        trainer = Trainer(choice.network, choice.recipe)
        trainer.learn_scaling(data)
        for _ in trainer.train(data, tick=0.0):
            held.look()
        print(trainer.evaluate(test) >= 0.5)
    print(held.before + held.planned + 128 + held.slack == held.limit)
    print(held.before < held.peak <= held.limit)
    print(kernels() == compiled)

def kernels():
    "How many versions of kernels there are in this process."
    found = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("ffedge.kernels"):
            found += sum(len(getattr(value, "signatures", ())) for value in vars(module).values())
    return found

training(7, 40)
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="nothing is compiled")
def test_after_warming_up_a_training_from_python_compiles_nothing_and_keeps_the_limit():
    assert child(TRAINING) == ["True"] * 4
