"""``ffedge train``: what it prints, saves and exports, and what Ctrl-C leaves behind."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_cli import ROOT, ffedge, one_object, program

from ffedge.model_file import load_model
from ffedge.predict import Predictor
from ffedge.sources import load

QUICK = ["train", "digits", "--epochs", "2", "--hidden", "32"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(capsys, *more):
    assert ffedge(*QUICK, *more) == 0
    return capsys.readouterr()


def test_json_is_one_object_with_all_figures(capsys):
    out, err = train(capsys, "--budget", "512KiB", "--json")

    report = one_object(out)
    assert err == ""
    expected = {
        "test_accuracy", "planned_bytes", "measured_bytes", "process_peak_bytes", "seconds",
        "epochs", "rule", "precision", "network",
    }  # fmt: skip
    assert expected <= report.keys()
    assert report["measured_bytes"] == report["planned_bytes"] <= 512 << 10
    assert (report["epochs"], report["network"]) == (2, "64-32-10")
    assert (report["rule"], report["precision"]) == ("readout", "float32")
    assert report["budget"] == 512 << 10
    assert report["step_bytes"] < 4096
    assert not report["interrupted"]
    assert report["model_bytes"] == Path("digits.ffedge").stat().st_size


def test_text_goes_to_stdout_and_progress_to_stderr(capsys):
    out, err = train(capsys)

    assert [line.split()[0] for line in out.splitlines()] == [
        "data", "network", "plan", "test", "valid", "memory", "time", "model",
    ]  # fmt: skip
    assert len(err.splitlines()) == 2
    pattern = r"epoch 2/2  layer all  goodness [\d.]+  train [\d.]+ %  valid [\d.]+ %  0 s left"
    assert re.fullmatch(pattern, err.splitlines()[1])
    assert "\r" not in err


@pytest.mark.parametrize("rule", ["readout", "readout-frozen", "group", "group-mean", "hinton"])
@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_the_accuracy_is_that_of_the_saved_model(capsys, rule, schedule):
    out, _ = train(
        capsys, "--rule", rule, "--schedule", schedule, "--hidden", "24,20", "--json", "-o", "m"
    )

    model, test = load_model("m"), load("digits")[1]
    accuracy = np.mean(Predictor(model).codes(test.features) == test.labels)

    assert json.loads(out)["test_accuracy"] == accuracy == model.training["test_accuracy"]


def test_the_widest_network_that_fits_is_chosen(capsys):
    assert ffedge("train", "digits", "--epochs", "1", "--budget", "100KB", "--json") == 0
    small = one_object(capsys.readouterr().out)
    assert ffedge("train", "digits", "--epochs", "1", "--json") == 0
    large = one_object(capsys.readouterr().out)

    assert small["planned_bytes"] <= 100_000
    assert small["planned_bytes"] > 50_000
    assert large["network"] == "64-500-500-10"


def test_equal_seeds_write_equal_models(capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(capsys, "--seed", seed, "-o", name)

    def weights(name):
        return load_model(name).params["layer0.weight"].tobytes()

    assert weights("a") == weights("b") != weights("c")


def test_export_beside_the_model(capsys):
    pytest.importorskip("onnxruntime")

    out, _ = train(capsys, "--export", "digits.onnx", "--json")

    export = json.loads(out)["export"]
    assert export["bytes"] == Path("digits.onnx").stat().st_size
    assert export["checked_with"]


def test_validation_can_be_left_out_and_chosen(capsys):
    without = json.loads(train(capsys, "--validation", "0", "--json").out)
    half = json.loads(train(capsys, "--validation", "0.5", "--json").out)

    assert "validation_accuracy" not in without
    assert without["data"]["train_samples"] == 1438
    assert half["data"]["train_samples"] == 719


def test_a_csv_file_is_trained_with_its_names(capsys, tmp_path):
    rng = np.random.default_rng(0)
    rows = ["height,weight,animal"]
    for i in range(120):
        kind = ("cat", "dog")[i % 2]
        rows.append(f"{rng.normal(i % 2 * 4):.3f},{rng.normal(9 - i % 2 * 4):.3f},{kind}")
    (tmp_path / "animals.csv").write_text("\n".join(rows) + "\n")

    assert ffedge("train", "animals.csv", "--hidden", "8", "--epochs", "40") == 0
    assert "% right" in capsys.readouterr().out
    model = load_model("animals.ffedge")
    (tmp_path / "new.csv").write_text("weight,height\n9.1,0.2\n5.0,4.1\n")
    assert ffedge("predict", "animals.ffedge", "new.csv") == 0

    assert model.classes == ("cat", "dog")
    assert model.feature_names == ("height", "weight")
    assert capsys.readouterr().out == "label\ncat\ndog\n"


def test_the_old_model_stays_when_a_new_training_is_refused(capsys):
    train(capsys)
    before = Path("digits.ffedge").read_bytes()

    assert ffedge(*QUICK, "--budget", "1KiB") == 3

    assert Path("digits.ffedge").read_bytes() == before


# --- interrupts and terminals -----------------------------------------------------------------

LONG = ["train", "digits", "--epochs", "10000", "--hidden", "64,64"]


def start(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "ffedge", *words], text=True, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


@pytest.mark.parametrize("schedule", ["sweep", "layerwise"])
def test_ctrl_c_saves_the_state_and_ends_with_130(schedule):
    process = start(*LONG, "--schedule", schedule, stderr=subprocess.PIPE)
    assert process.stderr.readline().startswith("epoch ")  # it is training

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert re.search(r"^stopped  after \d+ whole epochs; the last state was kept$", out, re.M)
    model, test = load_model("digits.ffedge"), load("digits")[1]
    accuracy = float(np.mean(Predictor(model).codes(test.features) == test.labels))
    assert f"test     {100 * accuracy:.2f} % right" in out
    # Layer by layer the upper layer is still untrained, and votes all the same.
    assert accuracy > (0.5 if schedule == "sweep" else 0.2)
    assert [name for name in os.listdir() if name.startswith(".")] == []


def test_ctrl_c_in_json_mode_still_prints_one_object():
    process = start(*LONG, "--json", stderr=subprocess.PIPE)
    time.sleep(4)

    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    report = one_object(out)
    assert report.get("interrupted") or report["error"]["exit_code"] == 130


def test_without_a_terminal_progress_is_plain_lines():
    done = program(*QUICK)

    assert done.returncode == 0
    assert "\r" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_on_a_terminal_progress_rewrites_its_line():
    ours, theirs = pty.openpty()
    process = start(*QUICK, "--epochs", "40", stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    out, _ = process.communicate(timeout=60)
    os.close(ours)

    text = seen.decode()
    assert process.returncode == 0
    assert text.count("\repoch ") >= 40
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "model    digits.ffedge" in out


def test_a_deep_network_is_told_in_short(capsys):
    words = ["train", "digits", "--hidden", ",".join(["16"] * 8), "--epochs", "1"]
    assert ffedge(*words) == 0
    out, err = capsys.readouterr()

    assert "network  64-8x16-10; float32" in out
    assert re.search(r"goodness [\d.]+ to [\d.]+ in 8 layers", err)
