"""The operating system's limit: honest trainings fit, a broken promise is a MemoryError."""

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from test_cli import ROOT, one_object

from ffedge.enforcement import SLACK, data_bytes, enforced
from ffedge.errors import ConfigError

ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def python(code, *, environment=ENVIRONMENT, folder=None):
    """Run code in a process of its own: a limit is the whole process's."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, cwd=folder, check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_what_was_promised_is_there_and_a_megabyte_more_is_not():
    done = python("""
        import numpy as np
        from ffedge.enforcement import enforced

        with enforced(64 << 20) as limit:
            arena = np.ones(64 << 20, np.uint8)
            limit.look()
            try:
                np.ones((1 << 20) + limit.slack, np.uint8)
            except MemoryError:
                print("refused", limit.before < limit.peak <= limit.limit)
        print(len(np.ones(256 << 20, np.uint8)))
    """)

    assert done.stdout.split() == ["refused", "True", str(256 << 20)], done.stderr


def test_the_limit_before_comes_back_also_after_an_error():
    before = resource.getrlimit(resource.RLIMIT_DATA)

    with enforced(1 << 30) as limit:
        inside = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ZeroDivisionError), enforced(1 << 30):
        raise ZeroDivisionError

    assert inside == (limit.limit, before[1])
    assert limit.limit == limit.before + (1 << 30) + 128 + SLACK
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_the_process_knows_its_data():
    before = data_bytes()
    block = np.ones(50 << 20, np.uint8)

    assert data_bytes() - before >= block.nbytes > 0


def test_a_limit_that_is_lower_already_is_refused_in_words():
    done = python("""
        import resource
        from ffedge.enforcement import enforced
        from ffedge.errors import ConfigError

        resource.setrlimit(resource.RLIMIT_DATA, (1 << 33, resource.RLIM_INFINITY))
        try:
            with enforced(1 << 34):
                pass
        except ConfigError as error:
            print(error)
    """)

    assert "expected room for" in done.stdout
    assert "got a soft limit of 8,589,934,592 B" in done.stdout


def test_a_system_without_the_figures_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_: "VmRSS: 5 kB\n")

    with pytest.raises(ConfigError, match="expected a system that can limit"), enforced(1000):
        pass


KINDS = {
    "float32 adam": "--hidden 60,60",
    "layerwise": "--hidden 60,60 --schedule layerwise",
    "hinton": "--hidden 40,40 --rule hinton",
    "int8": "--hidden 60,60 --precision int8",
    "int8 group": "--hidden 60,60 --precision int8 --rule group --batch-size 1",
    "two threads": "--hidden 60,60 --precision int8 --threads 2",
    "read ahead": "--hidden 200,200,200,200,200,200 --precision int8 --budget 170KiB",
    "slices": "--hidden 200,200,200 --budget 300KiB --optimizer adam",
    "outputs on disk":
        "--hidden 100,100,100 --budget 250KiB --schedule layerwise --outputs-on-disk",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_training_fits(tmp_path, kind):
    words = ["train", "digits", "--epochs", "2", "--enforce", "--json", *KINDS[kind].split()]
    done = subprocess.run(
        [sys.executable, "-m", "ffedge", *words], env=ENVIRONMENT, cwd=tmp_path, check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    held = one_object(done.stdout)["enforced"]
    assert held["planned"] < held["peak"] - held["before"] + SLACK
    assert held["peak"] <= held["limit"] == held["before"] + held["planned"] + 128 + SLACK


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_an_honest_training_on_a_file_fits(tmp_path, suffix):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 12)).astype(np.float32), np.arange(400) % 3
    if suffix == "csv":
        lines = [",".join(f"{value:.3f}" for value in row) + f",{label}"
                 for row, label in zip(X, y, strict=True)]  # fmt: skip
        heads = ",".join(f"f{i}" for i in range(12)) + ",state"
        (tmp_path / "data.csv").write_text("\n".join([heads, *lines]))
        words = ["data.csv", "--label", "state"]
    else:
        np.savez(tmp_path / "data.npz", X=X, y=y)
        words = ["data.npz"]
    command = [sys.executable, "-m", "ffedge", "train", *words, "--enforce", "--epochs", "2"]
    done = subprocess.run(
        [*command, "--hidden", "30,30"], env=ENVIRONMENT, cwd=tmp_path, check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "\nenforced " in done.stdout


GREEDY = """
    import sys
    import numpy as np
    from ffedge.cli import main
    from ffedge.rules import Readout

    class Kept:
        arrays = []

    learn = Readout.learn

    def greedy(self, run, layer, rows):
        learn(self, run, layer, rows)
        # The warm-up's layers are narrower.
        if layer.width == 60 and len(Kept.arrays) < 40:
            Kept.arrays.append(np.ones(100_000, np.uint8))

    Readout.learn = greedy
    sys.exit(main(["train", "digits", "--epochs", "2", "--hidden", "60,60", *sys.argv[1:]]))
"""


def test_an_array_kept_by_every_step_ends_the_training_in_words(tmp_path):
    done = python(GREEDY.replace("*sys.argv[1:]", '"--enforce"'), folder=tmp_path)

    assert done.returncode == 3
    assert done.stderr.count("Traceback") == 0
    assert "train: expected to train within the plan's" in done.stderr
    assert "which the system refused" in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_same_training_goes_unnoticed_without_the_limit(tmp_path):
    done = python(GREEDY, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["digits.ffedge"]


CGROUP = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group():
    """A memory cgroup inside this process's own one, where the machine allows."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    if "memory" in own:
        parent, name = CGROUP / own["memory"], "memory.limit_in_bytes"
    else:
        parent, name = CGROUP.parent / own.get("", ""), "memory.max"
    folder = parent / f"ffedge-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("memory cgroups cannot be made here")
    if not (folder / name).is_file():
        folder.rmdir()
        pytest.skip("a cgroup without a memory limit")
    try:
        yield folder, folder / name
    finally:
        folder.rmdir()


def in_group(folder, command, cwd):
    """Run a command that joins the group first; its exit code (negative: the signal)."""
    join = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    return subprocess.run(
        [sys.executable, "-c", join, str(folder / "cgroup.procs"), *command], env=ENVIRONMENT,
        cwd=cwd, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_a_network_larger_than_its_cgroup_trains_on_disk_and_dies_in_memory(group, tmp_path):
    folder, limit = group
    # 16 layers of 1500 are 144 MB of weights. Python and Numba need about 90 MB of their own.
    limit.write_text(str(160 << 20))
    words = ["-m", "ffedge", "train", "digits", "--hidden", ",".join(["1500"] * 16)]
    words += ["--epochs", "1", "--optimizer", "sgd", "--rate", "0.02", "--batch-size", "256"]

    streamed = in_group(folder, [*words, "--budget", "24MiB"], tmp_path)
    resident = in_group(folder, words, tmp_path)

    assert streamed.returncode == 0, streamed.stderr
    assert "layers on disk" in streamed.stdout
    assert resident.returncode != 0
