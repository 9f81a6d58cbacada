"""The command line: every command on a small model, exit codes, JSON, refusals in words."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ffedge.model_file import load_model

ROOT = Path(__file__).resolve().parent.parent


def ffedge(*words):
    """(exit code) of one command in this process."""
    from ffedge.cli import main

    return main([str(word) for word in words])


@pytest.fixture
def call(capsys):
    """Run a command; (exit code, stdout, stderr)."""

    def run(*words):
        code = ffedge(*words)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits.ffedge"
    words = ["train", "digits", "--epochs", 20, "--hidden", "32", "-o", path, "--json"]
    assert ffedge(*words) == 0
    return path


@pytest.fixture
def model(trained, tmp_path):
    return shutil.copy(trained, tmp_path / "digits.ffedge")


def one_object(text):
    """The one JSON object that stdout must hold."""
    assert text.count("\n") == 1
    assert text.endswith("\n")
    found = json.loads(text)
    assert type(found) is dict
    return found


# --- errors -----------------------------------------------------------------------------------


def damaged(tmp_path):
    (tmp_path / "damaged.ffedge").write_bytes(b"not a model at all")
    return tmp_path / "damaged.ffedge"


REFUSALS = {
    "unknown data": (["train", "no-such-set"], 4, "expected digits, mnist"),
    "too small a budget": (
        ["train", "digits", "--budget", "1KiB"], 3, "plan needs .* budget is 1,024 B",
    ),
    "an option that is none": (["train", "digits", "--colour", "red"], 2, "--colour red"),
    "a rule that is none": (["train", "digits", "--rule", "backprop"], 2, "invalid choice"),
    "bytes that are none": (["train", "digits", "--budget", "lots"], 2, "bytes: expected"),
    "widths that are none": (["train", "digits", "--hidden", "a,b"], 2, "expected widths"),
    "a width of zero": (["train", "digits", "--hidden", "0"], 2, "out_features >= 1, got 0"),
    "a batch of zero": (["train", "digits", "--batch-size", "0"], 2, "batch_size a whole"),
    "no epochs": (["train", "digits", "--epochs", "0"], 2, "epochs a whole"),
    "a rate that is none": (["train", "digits", "--rate", "nan"], 2, "expected rate in"),
    "too much validation": (["train", "digits", "--validation", "0.9"], 2, "--validation in"),
    "a label of digits": (["train", "digits", "--label", "x"], 4, "expected no label"),
    "a folder that is missing": (
        ["train", "digits", "-o", "{tmp}/no/m.ffedge"], 2, "expected a folder for",
    ),
    "a folder as output": (["train", "digits", "-o", "{tmp}"], 2, "expected a file to write"),
    "a damaged model": (["eval", "{damaged}", "digits"], 5, "damaged.ffedge: expected a model"),
    "a missing model": (["eval", "{tmp}/none.ffedge", "digits"], 5, "no such file"),
    "a damaged model to inspect": (["inspect", "{damaged}"], 5, "expected a model file"),
    "a damaged model to export": (["export", "{damaged}", "-o", "{tmp}/x"], 5, "expected a model"),
    "a damaged model to predict": (["predict", "{damaged}", "digits"], 5, "expected a model"),
    "a plan of two widths": (["plan", "64-10"], 2, "at least three widths"),
    "a plan over budget": (["plan", "784-500-10", "--budget", "64KiB"], 3, "B missing"),
    "no command": ([], 2, "COMMAND"),
    "a command that is none": (["teach"], 2, "invalid choice"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_refusal_has_its_exit_code_and_words(tmp_path, monkeypatch, call, case, as_json):
    words, expected, pattern = REFUSALS[case]
    monkeypatch.chdir(tmp_path)
    file = damaged(tmp_path)
    words = [word.format(tmp=tmp_path, damaged=file) for word in words]

    code, out, err = call(*words, *(["--json"] if as_json else []))

    assert code == expected
    assert err.splitlines()[-1].startswith("ffedge: ")
    assert "Traceback" not in err
    if as_json:
        error = one_object(out)["error"]
        assert error["exit_code"] == expected
        assert error["message"] == err[err.index("ffedge: ") + 8 :].rstrip("\n")
    else:
        assert out == ""
    assert re.search(pattern, err)
    assert sorted(os.listdir(tmp_path)) == ["damaged.ffedge"]


def test_other_data_than_the_models_are_refused(call, model, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.eye(4, dtype=np.float32), y=np.arange(4) % 2)
    np.savez(tmp_path / "named.npz", x=np.zeros((4, 64), np.float32), y=np.array(list("abab")))

    assert call("eval", model, tmp_path / "other.npz")[0] == 4
    code, _, err = call("eval", model, tmp_path / "named.npz")

    assert code == 4
    assert "expected classes among [0, 1, 2" in err


@pytest.mark.parametrize("batch", ["0", "-1"])
def test_evaluation_in_batches_of_none_is_refused(call, model, batch):
    code, _, err = call("eval", model, "digits", "--batch-size", batch)

    assert code == 2
    assert "batch of at least 1 sample" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_refused_before_training(call, tmp_path):
    tmp_path.chmod(0o500)
    try:
        code, _, err = call("train", "digits", "--epochs", "1", "-o", tmp_path / "m")
    finally:
        tmp_path.chmod(0o700)

    assert code == 2
    assert "can be written to" in err


def test_an_error_of_the_system_is_told_with_its_file(call, model, tmp_path):
    code, out, err = call("export", model, "-o", tmp_path / "no" / "m.onnx", "--json")

    assert code == 1
    assert err.startswith("ffedge: ")
    assert "No such file or directory" in one_object(out)["error"]["message"]


# --- the commands on a trained model ----------------------------------------------------------


def test_eval_tells_accuracy_class_by_class(call, model):
    code, out, err = call("eval", model, "digits")

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 13
    assert lines[-2].startswith("accuracy ")
    assert "multiply-adds" in lines[-1]

    report = one_object(call("eval", model, "digits", "--json")[1])
    assert report["samples"] == 359
    assert report["accuracy"] > 0.8
    assert report["network"] == "64-32-10"
    assert np.trace(report["confusion"]) / 359 == report["accuracy"]
    assert [row["class"] for row in report["classes"]] == list(range(10))
    assert sum(row["samples"] for row in report["classes"]) == 359


@pytest.mark.parametrize(("part", "samples"), [("test", 359), ("train", 1438), ("all", 1797)])
def test_eval_takes_the_part_that_is_asked_for(call, model, part, samples):
    report = one_object(call("eval", model, "digits", "--part", part, "--json")[1])

    assert report["samples"] == samples


def test_eval_obeys_a_budget(call, model):
    assert call("eval", model, "digits", "--budget", "1KiB")[0] == 3


def test_eval_shows_a_class_that_never_occurs(call, model, tmp_path):
    np.savez(tmp_path / "two.npz", x=np.zeros((4, 64), np.float32), y=np.array([0, 1, 0, 1]))

    code, out, _ = call("eval", model, tmp_path / "two.npz")

    assert code == 0
    assert "-" in out.splitlines()[3]


def test_inspect_shows_a_model(call, model):
    code, out, _ = call("inspect", model)

    assert code == 0
    assert "64-32-10" in out
    assert "layer0.weight" in out
    report = one_object(call("inspect", model, "--json")[1])
    assert report["bytes"] == sum(param["bytes"] for param in report["params"])
    assert report["training"]["data"] == "digits"
    assert report["rule"]["name"] == "readout"


def test_inspect_shows_a_data_set(call):
    code, out, _ = call("inspect", "digits")

    assert code == 0
    assert "1438" in out
    report = one_object(call("inspect", "digits", "--json")[1])
    assert (report["train_samples"], report["test_samples"]) == (1438, 359)
    assert report["feature_shape"] == [8, 8]
    assert sum(report["classes"].values()) == 1438


def test_plan_lists_every_buffer(call):
    code, out, _ = call("plan", "784-128-10", "--batch-size", "16")

    assert code == 0
    assert "weights:" in out
    assert "optimizer state:" in out
    report = one_object(call("plan", "784-128-10", "--batch-size", "16", "--json")[1])
    assert f"peak: {report['planned_bytes']:,} B" in out
    assert report["prediction_multiply_adds"] == 784 * 128 + 128 * 10
    assert f"work: {report['training_multiply_adds']:,} multiply-adds a sample in training" in out
    assert all(f"  {buffer['name']} " in out for buffer in report["buffers"])
    ends = [buffer["offset"] + buffer["bytes"] for buffer in report["buffers"]]
    assert max(ends) <= report["planned_bytes"]
    assert report["network"] == "784-128-10"


def test_plan_of_prediction_is_smaller(call):
    plans = [
        one_object(call("plan", "784-128-10", *more, "--json")[1])["planned_bytes"]
        for more in ([], ["--predict"])
    ]

    assert plans[1] < plans[0]


def test_plan_accepts_exactly_enough(call):
    words = ["plan", "64-32-10", "--batch-size", 64, "--schedule", "sweep", "--stream", "never"]
    peak = one_object(call(*words, "--json")[1])["planned_bytes"]

    assert call(*words, "--budget", peak)[0] == 0
    assert call(*words, "--budget", peak - 1)[0] == 3


def test_plan_says_what_it_takes_to_keep_a_budget_and_the_least_that_works(call):
    code, out, _ = call("plan", "784-500-500-10", "--budget", "2MiB", "--json")
    plan = one_object(out)

    assert code == 0
    assert plan["planned_bytes"] <= 2 << 20
    assert plan["plan"]["streamed_layers"] == 2
    assert plan["plan"]["step_reads"] > plan["plan"]["step_writes"] > 0
    assert plan["plan"]["slowdown"] > 1
    text = call("plan", "784-500-500-10", "--budget", "2MiB")[1]
    assert "2 of 2 layers on disk between their turns" in text
    assert "x as long as with enough memory" in text
    least = plan["plan"]["least_budget"]
    assert f"smallest budget that works: {least:,} B" in text
    assert f"smallest budget that works: {least:,} B" in call("plan", "784-500-500-10")[1]
    assert call("plan", "784-500-500-10", "--budget", least)[0] == 0
    code, _, err = call("plan", "784-500-500-10", "--budget", least - 1)
    assert code == 3
    assert f"The smallest budget that works is {least:,} B." in err


def test_a_slow_disk_shows_in_the_plan(call):
    words = ["plan", "784-500-500-10", "--budget", "2MiB", "--json", "--disk-speed"]

    slow, fast = (one_object(call(*words, speed)[1])["plan"] for speed in ("40MB", "10GB"))

    assert slow["slowdown"] > 10 * fast["slowdown"] > 10


def test_export_writes_onnx_and_checks_it(call, model, tmp_path):
    pytest.importorskip("onnxruntime")

    code, out, _ = call("export", model, "-o", tmp_path / "m.onnx", "--check", "auto")

    assert code == 0
    assert (tmp_path / "m.onnx").stat().st_size > 1000
    assert "checked with" in out
    report = one_object(call("export", model, "-o", tmp_path / "m.onnx", "--json")[1])
    assert report["bytes"] == (tmp_path / "m.onnx").stat().st_size
    assert report["checked_with"]


def test_export_can_go_unchecked(call, model, tmp_path):
    _, out, _ = call("export", model, "-o", tmp_path / "m.onnx", "--check", "off")

    assert "not checked" in out


def test_predict_gives_a_label_for_every_sample(call, model, tmp_path):
    report = one_object(call("predict", model, "digits", "--json")[1])
    code, out, _ = call("predict", model, "digits", "--probabilities")
    assert call("predict", model, "digits", "-o", tmp_path / "labels.csv")[0] == 0

    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0
    assert len(rows) == len(report["labels"]) == 359
    assert [int(row["label"]) for row in rows] == report["labels"]
    assert list(rows[0]) == ["label", *(f"p_{digit}" for digit in range(10))]
    assert all(abs(sum(float(row[f"p_{d}"]) for d in range(10)) - 1) < 1e-4 for row in rows)
    with open(tmp_path / "labels.csv") as file:
        assert [int(row["label"]) for row in csv.DictReader(file)] == report["labels"]


def test_predict_agrees_with_eval(call, model):
    from ffedge import load

    report = one_object(call("predict", model, "digits", "--json")[1])
    accuracy = one_object(call("eval", model, "digits", "--json")[1])["accuracy"]

    assert np.mean(np.array(report["labels"]) == load("digits")[1].labels) == accuracy


def test_predict_refuses_samples_of_another_width(call, model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 63), np.float32))

    code, _, err = call("predict", model, tmp_path / "x.npy")

    assert code == 4
    assert "expected" in err


# --- the program ------------------------------------------------------------------------------


def program(*words, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ffedge", *map(str, words)], capture_output=True,
        text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


def test_help_lists_the_commands_and_shows_examples():
    done = program("--help")

    assert done.returncode == 0
    for word in ("train", "eval", "predict", "plan", "export", "inspect", "exit codes", "example:"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["train", "eval", "predict", "plan", "export", "inspect"])
def test_every_command_has_an_example_that_it_understands(capsys, command):
    from ffedge.cli import parser

    with pytest.raises(SystemExit) as caught:
        ffedge(command, "--help")

    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "--json" in text
    examples = [line.split("ffedge ", 1)[1] for line in text.splitlines() if
                line.strip().startswith(("example: ffedge", "ffedge "))]  # fmt: skip
    assert examples
    for example in examples:
        assert parser().parse_args(example.split()).command == command


def test_the_version_is_told():
    import ffedge as package

    assert program("--version").stdout == f"ffedge {package.__version__}\n"


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    script = f"{sys.executable} -m ffedge plan 784-500-500-10 | head -n 1"

    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, cwd=ROOT,
        check=False,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.returncode == 0


def test_a_name_that_the_terminal_cannot_show_is_no_error(tmp_path, trained):
    from ffedge.model import Model
    from ffedge.model_file import save_model

    model = load_model(trained)
    names = tuple(f"käse{i}" for i in range(10))
    save_model(Model(model.network, model.params, names, (64,)), tmp_path / "m.ffedge")

    done = subprocess.run(
        [sys.executable, "-m", "ffedge", "inspect", tmp_path / "m.ffedge"], cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert rb"k\xe4se0" in done.stdout
