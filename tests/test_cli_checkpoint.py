"""``ffedge train --checkpoint``: killed, stopped and resumed, with the same model in the end."""

import os
import signal
import subprocess
import sys
import time

import pytest
from test_cli import ROOT, ffedge, one_object

from ffedge.checkpoint_store import lock
from ffedge.model_file import load_model

TRAIN = ["train", "digits", "--hidden", "40,40", "--precision", "int8", "--seed", "3"]
KEPT = ["--checkpoint", "states", "--every", "5steps"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "ffedge", *map(str, words)], env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def states():
    return [name for name in os.listdir("states") if name.endswith(".ffstate")]


def wait_for_a_state(process):
    end = time.monotonic() + 60
    while not (os.path.isdir("states") and states()):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def assert_same_models(one, other):
    first, second = load_model(one), load_model(other)
    for name, array in first.params.items():
        assert second.params[name].tobytes() == array.tobytes(), name
    assert first.training == second.training


def test_a_killed_training_goes_on_to_the_same_model(capsys):
    assert ffedge(*TRAIN, "--epochs", 150, "-o", "whole.ffedge", "--json") == 0
    process = start(*TRAIN, "--epochs", 150, *KEPT)
    wait_for_a_state(process)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    assert not os.path.exists("digits.ffedge")
    capsys.readouterr()

    assert ffedge(*TRAIN, "--epochs", 150, *KEPT, "--resume", "--json") == 0

    report = one_object(capsys.readouterr().out)
    assert report["checkpoints"]["resumed"] is not None
    assert report["checkpoints"]["saves"] > 0
    assert report["checkpoints"]["bytes_per_hour"] > 0
    assert report["measured_bytes"] == report["planned_bytes"]
    assert_same_models("whole.ffedge", "digits.ffedge")
    assert states() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_keeps_the_state_and_the_same_command_goes_on(capsys, number, code):
    assert ffedge(*TRAIN, "--epochs", 300, "-o", "whole.ffedge", "--json") == 0
    process = start(*TRAIN, "--epochs", 300, "--checkpoint", "states")
    assert process.stderr.readline().startswith("epoch 1/")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert "stopped  the state is kept in states; the same command goes on" in out
    assert not os.path.exists("digits.ffedge")
    assert len(states()) == 1

    capsys.readouterr()
    assert ffedge(*TRAIN, "--epochs", 300, "--checkpoint", "states") == 0
    assert "resume   from states: epoch " in capsys.readouterr().out
    assert_same_models("whole.ffedge", "digits.ffedge")


def test_sigterm_without_checkpoints_saves_the_model_and_exits_with_0():
    process = start(*TRAIN, "--epochs", 100000)
    assert process.stderr.readline().startswith("epoch 1/")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert "stopped  after" in out
    assert load_model("digits.ffedge").network.hidden == (40, 40)


def test_the_text_tells_what_was_saved(capsys):
    assert ffedge(*TRAIN, "--epochs", 3, *KEPT) == 0

    out = capsys.readouterr().out
    assert "\nsaved    12 states: " in out
    assert "resume" not in out


def test_another_run_in_the_folder_is_refused(capsys):
    process = start(*TRAIN, "--epochs", 100000, *KEPT)
    wait_for_a_state(process)
    process.kill()
    process.communicate()

    assert ffedge(*TRAIN, "--epochs", 7, *KEPT) == 5
    assert "expected a state of this run (digits, 64-40-40-10, seed 3), got one of another" in (
        capsys.readouterr().err
    )
    assert states()


def test_a_folder_in_use_is_refused(capsys):
    with lock("states"):
        assert ffedge(*TRAIN, "--epochs", 7, *KEPT) == 5

    assert "expected a folder that no other training uses" in capsys.readouterr().err


def test_resuming_from_nothing_is_refused(capsys):
    assert ffedge(*TRAIN, *KEPT, "--resume") == 5

    assert "expected a state to go on from, got none" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--every", "5s"], ["--resume"], ["--max-writes", "1MB/day"]])
def test_options_without_a_folder_are_refused(capsys, words):
    assert ffedge(*TRAIN, *words) == 2

    assert f"expected --checkpoint FOLDER with {words[0]}, got none" in capsys.readouterr().err


def test_a_limit_on_writes_is_kept_and_told(capsys):
    assert ffedge(*TRAIN, "--epochs", 5, *KEPT, "--max-writes", "1KB/day", "--json") == 0

    told = one_object(capsys.readouterr().out)["checkpoints"]
    assert told["saves"] == 1
    assert told["put_off"] == 20


def test_a_damaged_end_is_told(capsys):
    process = start(*TRAIN, "--epochs", 100000, *KEPT)
    wait_for_a_state(process)
    process.kill()
    process.communicate()
    (newest,) = sorted(states())[-1:]
    with open(os.path.join("states", newest), "ab") as file:
        file.write(b"torn")
    process = start(*TRAIN, "--epochs", 100000, *KEPT)
    assert process.stderr.readline().startswith("epoch ")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)

    assert f"damaged, gone past: {newest}: " in out
    assert process.returncode == 0


def test_layers_on_disk_are_not_taken_where_checkpoints_are_kept(capsys):
    words = ["train", "digits", "--hidden", "200,200", "--budget", "100KiB", *KEPT]

    assert ffedge(*words) == 3
    assert "The smallest budget that works is" in capsys.readouterr().err
