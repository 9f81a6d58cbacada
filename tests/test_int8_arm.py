"""The int8 kernels on emulated 64-bit Arm: every bit as on this machine.

Needs what tools/arm_root.py makes, and minutes: run it with ``pytest -m arm``. Kernels come from
a library built here for the processors, without Numba there, or are compiled by Numba under
emulation. The latter takes 100 s a run, so the runs of all selected tests are started at once, as
many at a time as this machine has cores.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import int8_runs
import numpy as np
import pytest
from checks import child_environment
from emulated import arm_python

pytestmark = pytest.mark.arm

HERE = Path(__file__).resolve().parent

#: The best path of each processor, and the one that every processor can run.
PATHS = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "dotprod"}
CASES = [*PATHS.items(), ("cortex-a76", "neon"), ("cortex-a76", "generic")]

ASK = "from ffedge.kernels.int8 import vector; print(*vector.available_paths())"


def answer(command, **environment):
    """Standard output of an emulated process; its last words where it fails."""
    environment = {"FFEDGE_SIMD": None, "NUMBA_DISABLE_JIT": None} | environment
    done = subprocess.run(
        [str(word) for word in command], cwd=HERE.parent, env=child_environment(**environment),
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def train(folder, provider, processor, path):
    """(the path taken, all arrays of int8_runs) of one emulated process."""
    out = folder / f"{provider}-{processor}-{path}.npz"
    command = [arm_python(processor, numba=provider == "jit"), HERE / "int8_runs.py", out]
    taken = answer(
        command, FFEDGE_SIMD=path, FFEDGE_KERNELS=provider,
        FFEDGE_LIBRARY=str(folder / "kernels.so"),
    ).strip()  # fmt: skip
    with np.load(out) as arrays:
        return taken, dict(arrays)


def build(folder):
    """The library of all 64-bit Arm paths, made on this machine."""
    answer([sys.executable, "-m", "ffedge", "build-runtime", "--target", "pi4",
            "-o", folder / "kernels.so"], FFEDGE_KERNELS="jit")  # fmt: skip


def check_primitives(processor):
    """The test files of the intrinsics, in an emulated process."""
    files = [HERE / f"test_int8_{name}.py" for name in ("vector", "dot4", "single")]
    return answer([arm_python(processor), "-m", "pytest", "-p", "no:cacheprovider", *files])


@pytest.fixture(scope="module")
def jobs(request, tmp_path_factory):
    """What the selected tests wait for, by provider, processor and path, or processor alone."""
    for processor in PATHS:
        arm_python(processor)
    folder = tmp_path_factory.mktemp("arm")
    selected = [item for item in request.session.items if "jobs" in item.fixturenames]
    cases = [item.callspec.params for item in selected]
    if any(case.get("provider") == "library" for case in cases):
        build(folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {}
        for case in cases:
            key = tuple(case[name] for name in ("provider", "processor", "path") if name in case)
            work = (train, folder) if "provider" in case else (check_primitives,)
            started[key] = pool.submit(*work, *key)
        yield started


@pytest.fixture(scope="module")
def computed_here():
    return int8_runs.results()


@pytest.mark.parametrize(("processor", "path"), PATHS.items())
def test_each_processor_offers_its_own_path_and_the_slower_ones(processor, path):
    paths = answer([arm_python(processor), "-c", ASK]).split()

    assert paths == [path, *(["neon"] if path == "dotprod" else []), "generic"]


@pytest.mark.parametrize(("processor", "path"), CASES)
@pytest.mark.parametrize("provider", ["library", "jit"])
def test_training_gives_the_same_bits(jobs, computed_here, provider, processor, path):
    taken, arrays = jobs[provider, processor, path].result()

    assert taken == path
    assert arrays.keys() == computed_here.keys()
    different = [
        name for name, array in computed_here.items() if arrays[name].tobytes() != array.tobytes()
    ]
    assert not different


@pytest.mark.parametrize("processor", PATHS)
def test_the_tests_of_the_primitives_pass(jobs, processor):
    assert " passed" in jobs[processor,].result()
