"""``ffedge train`` with layers on disk: the same bits, a model file in place, nothing left over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import ROOT, ffedge, one_object

from ffedge.model_file import load_model
from ffedge.training_file import TrainingFile

INT8 = ["train", "digits", "--precision", "int8", "--hidden", "120,120,120", "--batch-size", "32"]
TIGHT = [*INT8, "--schedule", "sweep", "--budget", "50KiB"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_streamed_training_saves_the_bits_of_a_resident_one(capsys):
    for words in ([*TIGHT, "-o", "streamed.ffedge"], [*INT8, "-o", "resident.ffedge"]):
        assert ffedge(*words, "--epochs", 3, "--json") == 0
    streamed, resident = (load_model(f"{name}.ffedge") for name in ("streamed", "resident"))
    report = one_object(capsys.readouterr().out.splitlines(keepends=True)[0])

    for name, array in resident.params.items():
        assert streamed.params[name].tobytes() == array.tobytes(), name
    assert report["plan"]["streamed_layers"] > 0
    assert report["measured_bytes"] == report["planned_bytes"] <= 50 << 10
    assert report["storage"]["read"] >= report["storage"]["written"] > 50 << 10
    assert report["model_bytes"] == Path("streamed.ffedge").stat().st_size
    assert streamed.training["test_accuracy"] == resident.training["test_accuracy"]
    assert sorted(os.listdir()) == ["resident.ffedge", "streamed.ffedge"]


def test_the_text_says_what_is_done_for_the_budget(capsys):
    assert ffedge(*TIGHT, "--epochs", 1) == 0
    out = capsys.readouterr().out

    assert "layers on disk between their turns" in out
    assert "read and " in out
    assert "\ndisk     " in out


def test_a_streamed_model_is_exported_too(capsys):
    assert ffedge(*TIGHT, "--epochs", 1, "--export", "digits.onnx", "--json") == 0

    assert one_object(capsys.readouterr().out)["export"]["path"] == "digits.onnx"
    assert Path("digits.onnx").stat().st_size > 10_000


@pytest.mark.parametrize("words", [["--stream", "never"], ["--threads", "2"]])
def test_without_leave_the_budget_is_refused_and_nothing_written(capsys, words):
    assert ffedge(*TIGHT, *words) == 3

    assert "The smallest budget that works is" in capsys.readouterr().err
    assert os.listdir() == []


def test_a_disk_without_room_is_refused_in_words(capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert ffedge(*TIGHT) == 2

    assert "of disk for what does not stay in memory" in capsys.readouterr().err
    assert os.listdir() == []


def test_a_training_that_fails_leaves_the_old_model_and_no_file(capsys, monkeypatch):
    Path("digits.ffedge").write_bytes(b"the old model")

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(TrainingFile, "read", broken)
    assert ffedge(*TIGHT, "--epochs", 1) == 1

    assert "Input/output error" in capsys.readouterr().err
    assert os.listdir() == ["digits.ffedge"]
    assert Path("digits.ffedge").read_bytes() == b"the old model"


def test_ctrl_c_keeps_the_state_of_a_streamed_training():
    command = [sys.executable, "-m", "ffedge", *TIGHT, "--epochs", "100000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stderr.readline().startswith("epoch 1/")
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 130
    assert "stopped  after" in out
    assert load_model("digits.ffedge").network.hidden == (120, 120, 120)
    assert os.listdir() == ["digits.ffedge"]


def test_layers_that_were_never_reached_are_cut_off_the_file():
    words = [*INT8, "--schedule", "layerwise", "--budget", "40KiB", "--epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ffedge", *words], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr.readline().startswith("epoch 1/")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 130, (out, err)
    assert load_model("digits.ffedge").network.hidden == (120,)
