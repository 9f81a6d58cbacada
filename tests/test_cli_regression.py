"""Numbers on the command line: train, eval, predict, inspect, plan, export, and refusals."""

import csv
import io
import json

import numpy as np
import pytest
from test_cli import ffedge, one_object

from ffedge.model_file import load_model
from ffedge.network import Network
from ffedge.predict import Predictor
from ffedge.profiling.process import resident_bytes
from ffedge.recipe import Recipe
from ffedge.rules import Ordinal
from ffedge.rules.ordinal import CENTRES
from ffedge.sources import load


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A csv file with a number that depends on the other columns."""
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 3))
    y = 20 + 4 * X[:, 0] - X[:, 1]
    path = tmp_path_factory.mktemp("data") / "sensor.csv"
    rows = "".join(f"{a:.6f},{b:.6f},{c:.6f},{t:.6f}\n" for (a, b, c), t in zip(X, y, strict=True))
    path.write_text("a,b,c,heat\n" + rows)
    return path


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.ffedge"
    words = ["--hidden", "24,24", "--epochs", 100, "-o", path, "--json"]
    assert ffedge("train", table, "--label", "heat", "--regression", *words) == 0
    return path


@pytest.fixture
def call(capsys):
    """Run a command; (exit code, stdout, stderr)."""

    def run(*words):
        code = ffedge(*words)
        return code, *capsys.readouterr()

    return run


def test_training_reports_errors_in_the_targets_units(call, table, tmp_path):
    words = ["--hidden", "24", "--epochs", 100, "-o", tmp_path / "m.ffedge"]

    code, out, err = call("train", table, "--regression", *words)
    assert code == 0
    assert "3 features, numbers to predict in 16 bins" in out
    assert "rule ordinal" in out
    assert "valid    R2 0." in out
    assert "where the target has a standard deviation of " in out
    assert "valid R2 0." in err

    code, out, _ = call("train", table, "--regression", *words, "--json")
    report = one_object(out)
    assert report["validation_r2"] > 0.8
    assert report["validation_rmse"] < report["validation_std"]
    assert report["rule"] == "ordinal"
    assert report["data"]["classes"] == []
    assert load_model(tmp_path / "m.ffedge").training["validation_r2"] == report["validation_r2"]


@pytest.mark.parametrize(("rule", "wanted"), [("group", "ordinal-group"), ("ordinal", "ordinal")])
def test_rule_and_bins_can_be_chosen(call, table, tmp_path, rule, wanted):
    path = tmp_path / "m.ffedge"
    words = ["--rule", rule, "--bins", 12, "--hidden", "24", "--epochs", 2, "-o", path, "--json"]

    code, out, _ = call("train", table, "--regression", *words)

    assert code == 0
    assert one_object(out)["rule"] == wanted
    assert load_model(path).network.classes == 12


def test_a_budget_streams_a_regression_from_disk(call, table, tmp_path):
    path = tmp_path / "m.ffedge"
    words = ["--hidden", "160,160,160", "--budget", "100KiB", "--epochs", 4, "-o", path, "--json"]

    code, out, _ = call("train", table, "--regression", *words)

    report = one_object(out)
    assert code == 0
    assert report["measured_bytes"] <= 100 << 10
    assert report["storage"]["written"] > 0
    assert report["validation_r2"] > 0.3
    assert np.diff(load_model(path).params[CENTRES]).min() > 0


def test_a_regression_goes_on_from_a_model(call, table, trained, tmp_path):
    words = ["--from", trained, "--epochs", 1, "-o", tmp_path / "n.ffedge", "--json"]

    code, out, _ = call("train", table, "--regression", *words)

    assert code == 0
    assert one_object(out)["validation_r2"] > 0.85
    before, after = load_model(trained), load_model(tmp_path / "n.ffedge")
    assert np.array_equal(before.params[CENTRES], after.params[CENTRES])
    assert call("train", "digits", "--from", trained)[0] == 4


def test_checkpoints_bring_a_regression_back(call, table, tmp_path):
    words = ["--hidden", "16", "--epochs", 3, "--checkpoint", tmp_path / "c", "-o"]

    assert call("train", table, "--regression", *words, tmp_path / "a.ffedge")[0] == 0

    model = load_model(tmp_path / "a.ffedge")
    assert Predictor(model).centres.shape == (16,)


def test_eval_prints_r2_and_errors(call, table, trained):
    code, out, _ = call("eval", trained, table)
    assert code == 0
    assert out.startswith("R2 0.9")
    assert "MAE " in out
    assert "on 300 samples" in out

    report = one_object(call("eval", trained, table, "--json")[1])
    assert report["r2"] > 0.9
    assert report["mae"] < report["rmse"] < report["std"]
    assert (report["samples"], report["rule"]) == (300, "ordinal")


def test_predict_prints_values_and_intervals(call, table, trained):
    code, out, _ = call("predict", trained, table, "--interval", 0.8)

    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert list(rows[0]) == ["value", "low", "high"]
    assert len(rows) == 300
    for row in rows[:20]:
        assert float(row["low"]) < float(row["value"]) < float(row["high"])


def test_predict_gives_the_predictors_numbers_as_json(call, table, trained):
    features = np.loadtxt(table, delimiter=",", skiprows=1)[:, :3].astype(np.float32)
    predictor = Predictor(load_model(trained))

    code, out, _ = call("predict", trained, table, "--json", "--probabilities", "--interval", 0.5)

    report = one_object(out)
    assert code == 0
    assert np.allclose(report["values"], predictor.values(features))
    assert np.allclose(report["intervals"], predictor.interval(features, 0.5))
    assert np.allclose(report["probabilities"], predictor.probabilities(features))
    assert np.allclose(report["centres"], predictor.centres)


def test_predicted_probabilities_are_columns_of_the_bins(call, table, trained):
    _, out, _ = call("predict", trained, table, "--probabilities")

    header, first = out.splitlines()[:2]
    assert header.split(",")[0] == "value"
    assert len(header.split(",")) == 17
    assert sum(map(float, first.split(",")[1:])) == pytest.approx(1.0, abs=1e-4)


def test_inspect_shows_bins_and_targets(call, table, trained):
    _, out, _ = call("inspect", trained)
    assert "values     16 bins, " in out
    assert "validation R2 0." in out
    assert "classes" not in out
    report = one_object(call("inspect", trained, "--json")[1])
    assert report["bins"]["count"] == 16

    report = one_object(call("inspect", table, "--regression", "--json")[1])
    assert report["targets"]["min"] < report["targets"]["mean"] < report["targets"]["max"]


def test_plan_shows_the_buffers_of_a_regression(call):
    code, out, _ = call("plan", "10-64-64-16", "--rule", "ordinal", "--json")

    names = {buffer["name"] for buffer in json.loads(out)["buffers"]}
    assert code == 0
    assert {"targets", CENTRES} <= names


def test_profile_measures_what_was_planned(call, table):
    code, out, _ = call("profile", table, "--regression", "--hidden", "16", "--json")

    profile = one_object(out)
    assert code == 0
    assert profile["network"] == "3-16-16"


def test_what_a_regressions_kernels_take_is_measured_in_a_process_of_its_own(table):
    data, _ = load(table, numeric=True)

    found = resident_bytes(Network.dense(3, (16,), 16, Ordinal()), Recipe(), data)

    assert found["kernels"] > 0


def test_export_writes_one_value(call, trained, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    assert call("export", trained, "-o", tmp_path / "m.onnx", "--check", "require")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "refusal"),
    [
        (["--regression", "--rule", "hinton"], 2, "got hinton, which knows classes only"),
        (["--bins", "9"], 2, "expected --bins with --regression only"),
        (["--regression", "--bins", "5"], 2, "expected at least 6 bins"),
        (["--regression", "--precision", "int8"], 2, "its kernels make errors from class codes"),
        (["--regression", "--label", "nothing"], 4, "expected the label column 'nothing'"),
    ],
)
def test_what_a_regression_cannot_do_is_refused(call, table, tmp_path, words, code, refusal):
    found, _, err = call("train", table, *words, "-o", tmp_path / "m.ffedge")

    assert found == code
    assert refusal in err


def test_firmware_and_int8_are_refused_with_the_reason(call, table, trained, tmp_path):
    code, _, err = call(
        "export", trained, "--format", "firmware", "--board", "nrf52840", "-o", tmp_path / "f"
    )
    assert code != 0
    assert "expected a classifier, got a regression (rule ordinal)" in err
    code, _, err = call("quantize", trained, table, "-o", tmp_path / "q.ffedge")
    assert code == 2
    assert "its kernels make errors from class codes" in err


def test_an_interval_is_for_numbers_and_a_share(call, table, trained, tmp_path):
    assert call("predict", trained, table, "--interval", "1.5")[0] == 2
    words = ["--epochs", 1, "--hidden", "8", "-o", tmp_path / "d.ffedge"]
    assert call("train", "digits", *words)[0] == 0

    code, _, err = call("predict", tmp_path / "d.ffedge", "digits", "--interval", "0.9")

    assert code == 2
    assert "expected a model that predicts numbers" in err
