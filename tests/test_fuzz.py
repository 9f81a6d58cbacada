"""Hostile files: no reader crashes on them, and the harness finds readers that do."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzzing import bad_readers, containers, judge, seeds
from fuzzing.campaign import make_input
from fuzzing.mutations import mutate
from fuzzing.targets import memory_folder, place, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffedge.errors import CheckpointError
from ffedge.kernels import library_file
from ffedge.model_file import load_model
from ffedge.sources import load

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "fuzz.py"
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path):
    place.folder = tmp_path
    yield
    place.folder = None


def fuzz(*words, code=0, before=""):
    """stdout of the tool."""
    start = (
        [str(TOOL)]
        if not before
        else [
            "-c",
            f"{before}; import runpy; import sys; "
            f"sys.argv = {[str(TOOL), *words]!r}; runpy.run_path({str(TOOL)!r}, None, '__main__')",
        ]
    )
    done = subprocess.run(
        [sys.executable, *start, *([] if before else words)], capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code < 2 else done.stderr


@pytest.mark.parametrize("name", targets())
def test_good_files_are_read(name):
    target = targets()[name]

    verdicts = [judge.examine(target.read, seed.prefix + seed.data) for seed in target.seeds()]

    assert not [verdict for verdict in verdicts if verdict.crash]
    # A csv seed holds NaN; inspect also meets two npy files of labels and two libraries.
    few = {"csv": 1, "inspect": 5}
    assert sum(verdict.refused for verdict in verdicts) == few.get(name, 0)


@pytest.mark.parametrize("name", targets())
@FEW
@given(number=st.integers(0, 2**32))
def test_no_reader_crashes_on_a_changed_file(name, number):
    data = mutate(random.Random(number), targets()[name].seeds())

    assert judge.examine(targets()[name].read, data).crash is None


@pytest.mark.parametrize("name", targets())
@FEW
@given(data=st.binary(max_size=300))
def test_no_reader_crashes_on_any_bytes(name, data):
    assert judge.examine(targets()[name].read, data).crash is None


def test_all_readers_together_survive_thousands_of_files_in_limited_processes(tmp_path):
    kept = tmp_path / "kept"

    found = json.loads(fuzz("--executions", "2400", "--jobs", "2", "--json", "--keep", str(kept)))

    assert (found["executions"], found["crashes"], found["found"]) == (2400, 0, [])
    assert set(found["targets"]) == set(targets())
    for name, row in found["targets"].items():
        assert row["executions"] >= 2400 // len(targets()) - 1, name
        assert 0 < row["refused"] < row["executions"], name
    assert not kept.exists()


@pytest.fixture(scope="module")
def found_out():
    """What the harness says of each of the bad readers, and of the good one."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzzing.bad_readers"], cwd=ROOT / "tests", capture_output=True,
        text=True, timeout=600, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KINDS = {
    "trusts_a_length": "allocation",
    "hides_a_lack_of_memory": "allocation",
    "unpacks_a_bomb": "allocation",
    "maps_memory_outside_of_python": "allocation",
    "recurses": "RecursionError",
    "never_ends": "hang",
    "waits": "hang",
    "evaluates": "forbidden: compile",
    "unpickles": "forbidden: pickle.find_class",
    "leaves_its_folder": "forbidden: opened",
    "reads_other_files": "forbidden: opened '/etc/hostname'",
    "starts_a_program": "forbidden: os.system",
    "raises_something_else": "BadZipFile",
    "warns": "UserWarning",
    "fails_while_it_is_collected": "unraisable: ValueError",
    "dies": "the process died, exit code -11",
    "forgets_nothing": "leak",
    "quotes_the_file": "message of",
}


def test_every_bad_reader_is_tried():
    assert set(KINDS) == {reader.__name__ for reader in bad_readers.BAD}


@pytest.mark.parametrize("name", KINDS)
def test_a_bad_reader_is_found_out(found_out, name):
    assert found_out[name]["crashes"] > 0
    assert found_out[name]["first"].startswith(KINDS[name])


def test_the_campaign_goes_on_behind_a_dead_process(found_out):
    assert found_out["dies"]["executions"] == 12
    assert found_out["dies"]["crashes"] > 1


def test_a_reader_that_looks_first_is_not_blamed(found_out):
    assert found_out["good"] == {"executions": 40, "crashes": 0, "first": None}


def test_the_same_numbers_give_the_same_input_in_every_process():
    code = (
        "import sys, hashlib; sys.path[:0] = sys.argv[1:]\n"
        "from fuzzing.campaign import make_input\n"
        "from fuzzing.targets import targets\n"
        "made = [make_input(3, name, n, t) for name, t in targets().items() for n in range(40, 60)]"
        "\nprint(hashlib.sha256(b'|'.join(made)).hexdigest())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code, str(ROOT / "tests"), str(ROOT)], text=True, check=True,
            stdout=subprocess.PIPE, env=os.environ | {"PYTHONHASHSEED": hashing},
        ).stdout
        for hashing in ("1", "2")
    }  # fmt: skip

    assert len(answers) == 1


def refusals(change, seed, read, error):
    """The words of 200 changes by one structured mutation; None for what was read."""
    words = []
    for number in range(200):
        try:
            read(change(random.Random(number), seed.data))
            words.append(None)
        except error as refused:
            words.append(str(refused))
    return words


def test_changes_of_a_model_get_past_its_checksum():
    words = refusals(
        containers.model, seeds.models()[0], lambda d: load_model(place.put("a.ffedge", d)),
        CheckpointError,
    )  # fmt: skip

    assert sum(w is not None and "checksum" in w for w in words) < 20
    assert sum(w is None for w in words) > 20
    assert len({w.split(": ", 1)[1][:40] for w in words if w}) > 10


def test_changes_of_a_library_get_past_its_checksum():
    words = refusals(
        containers.library, seeds.libraries()[0],
        lambda d: library_file.read(place.put("a.so", d)), library_file.NotOursError,
    )  # fmt: skip

    assert sum(w is not None and "checksum does not fit" in w for w in words) < 20
    assert sum(w is not None and "cannot be read" in w for w in words) > 10


def test_changes_of_an_archive_reach_the_arrays_in_it():
    words = refusals(
        containers.npz, seeds.archives()[0],
        lambda d: load(place.put("a.npz", d), cache_dir=place.path), Exception,
    )  # fmt: skip

    assert sum(w is None for w in words) > 20
    assert sum(w is not None and "header" in w for w in words) > 3
    assert sum(w is not None and "not a zip file" in w for w in words) < 20


def test_a_kept_input_can_be_read_again(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(make_input(0, "model", 0, targets()["model"]))

    assert fuzz("--target", "model", "--replay", str(path)) == "read\n"
    path.write_bytes(b"PK")
    assert fuzz("--target", "model", "--replay", str(path)) == "refused\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "nix"), "expected a target of model, npz"),
        (("--engine", "atheris"), "expected one --target for --engine atheris"),
        (("--replay", "x"), "expected one --target for --replay"),
    ],
)
def test_the_tool_refuses_in_words(words, said):
    assert said in fuzz(*words, code=2)


def test_the_tool_says_where_atheris_is_missing():
    said = fuzz(
        "--engine", "atheris", "--target", "npy", code=2,
        before="import sys; sys.modules['atheris'] = None",
    )  # fmt: skip

    assert said == (
        "fuzz: expected the package atheris, got none; pip install atheris, or --engine own\n"
    )


def test_coverage_chooses_inputs_where_atheris_is_installed():
    pytest.importorskip("atheris", reason="atheris is not installed")

    found = json.loads(
        fuzz("--engine", "atheris", "--target", "npy", "--executions", "300", "--json")
    )

    assert (found["executions"], found["crashes"]) == (300, 0)


def test_a_long_run_that_is_ended_reports_what_it_has_read():
    before = set(memory_folder().glob("ffedge-fuzz-*"))
    run = subprocess.Popen(
        [sys.executable, str(TOOL), "--executions", "100000000", "--json", "--jobs", "1"],
        stdout=subprocess.PIPE,
    )
    while run.poll() is None and not set(memory_folder().glob("ffedge-fuzz-*")) - before:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    found = json.loads(run.communicate(timeout=60)[0])

    assert run.returncode == 0
    assert 0 < found["executions"] < 100_000_000
    assert found["crashes"] == 0


def test_nothing_is_left_behind(tmp_path):
    before = set(memory_folder().glob("ffedge-fuzz-*"))
    fuzz("--executions", "50", "--target", "network", "--jobs", "1")

    left = set(memory_folder().glob("ffedge-fuzz-*")) - before
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    assert not left


def test_processes_are_replaced_now_and_then_and_no_input_is_lost():
    words = ["--executions", "1300", "--target", "idx", "--seed", "5", "--json"]
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "

    kept, replaced = (
        json.loads(fuzz(*words, before=f"{path}import fuzzing.campaign as c; {more}"))
        for more in ("pass", "c._RENEWED = 200")
    )

    assert kept["executions"] == replaced["executions"] == 1300
    assert kept["targets"] == replaced["targets"]
