"""``ffedge stream``: a file learned test-then-train from the command line."""

import json

import numpy as np
import pytest
from conftest import clouds

from ffedge.cli import main
from ffedge.model_file import load_model


@pytest.fixture
def sensor(tmp_path):
    data = clouds(samples=3000, features=4)
    features = data.features.copy()
    features[2000:] *= 3
    rows = [
        ",".join([*map(repr, row), f"kind{label}"])
        for row, label in zip(features.tolist(), data.labels.tolist(), strict=True)
    ]
    path = tmp_path / "sensor.csv"
    path.write_text("a,b,c,d,label\n" + "\n".join(rows) + "\n")
    return path


def test_a_file_is_learned_as_a_stream_and_reported_on_the_way(sensor, capsys):
    assert main(["stream", str(sensor), "--label", "label", "--every", "1000"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["1,000", "2,000", "3,000"]
    assert "drift at 2,0" in lines[2]
    assert lines[3].endswith("1 drifts")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_json_holds_the_last_report_all_reports_and_the_drifts(sensor, capsys, precision, tmp_path):
    code = main(
        ["stream", str(sensor), "--label", "label", "--precision", precision, "--replay", "30",
         "--hidden", "16,12", "--every", "800", "--model", str(tmp_path / "m"), "--json"]
    )  # fmt: skip

    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (result["samples"], result["predicted"]) == (3000, 2999)
    assert [report["samples"] for report in result["reports"]] == [800, 1600, 2400, 3000]
    assert result["recent"] > 0.9
    assert 2000 < result["drifts"][0]["step"] < 2100
    assert (result["network"], result["replay"]) == ("4-16-12-3", 30)
    model = load_model(tmp_path / "m")
    assert model.classes == ("kind0", "kind1", "kind2")
    assert model.feature_names == ("a", "b", "c", "d")


def test_what_comes_before_the_first_prediction_is_null(tmp_path, capsys):
    (tmp_path / "two.csv").write_text("a,label\n1,x\n2,y\n")

    assert main(["stream", str(tmp_path / "two.csv"), "--every", "1", "--json"]) == 0

    first = json.loads(capsys.readouterr().out)["reports"][0]
    assert (first["predicted"], first["accuracy"]) == (0, None)


def test_a_budget_too_small_is_refused(sensor, capsys):
    assert main(["stream", str(sensor), "--label", "label", "--budget", "1KiB"]) == 3
    assert "B missing" in capsys.readouterr().err


def test_two_parts_come_one_after_the_other(tmp_path, capsys):
    data = clouds(samples=90, features=4)
    np.savez(
        tmp_path / "d.npz", x_train=data.features[:60], y_train=data.labels[:60],
        x_test=data.features[60:], y_test=data.labels[60:],
    )  # fmt: skip

    assert main(["stream", str(tmp_path / "d.npz"), "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["samples"] == 90


def test_a_model_that_could_not_be_written_is_refused_before_the_stream(tmp_path, capsys):
    words = ["stream", "digits", "--model", str(tmp_path / "nowhere" / "m.ffedge")]

    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "stream: expected a folder for" in err
    assert out == ""
