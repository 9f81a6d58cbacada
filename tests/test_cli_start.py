"""``ffedge train --from MODEL``: going on from a model, which may have to be signed."""

from pathlib import Path

import pytest
from test_cli import ffedge, one_object

from ffedge.model_file import load_model


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(*words):
    return ffedge("train", "digits", *words)


@pytest.fixture
def first():
    words = ["--hidden", "40,30", "--epochs", 5, "--precision", "int8", "--rule", "group"]
    assert train(*words, "-o", "first.ffedge", "--json") == 0
    return load_model("first.ffedge")


def test_it_goes_on_from_the_models_weights_scaling_network_and_rule(first, capsys):
    assert train("--from", "first.ffedge", "--rate", 0, "--epochs", 1, "-o", "same.ffedge") == 0
    assert train("--from", "first.ffedge", "--epochs", 1, "-o", "next.ffedge") == 0

    same, later = load_model("same.ffedge"), load_model("next.ffedge")
    assert later.network == same.network == first.network
    for name, array in first.params.items():
        assert same.params[name].tobytes() == array.tobytes(), name
    assert (later.params["layer1.weight"] != first.params["layer1.weight"]).any()
    assert "network  64-40-30-10; int8, rule group" in capsys.readouterr().out


def test_layers_on_disk_begin_with_the_model_too(first):
    budget = ["--budget", "20KiB", "--schedule", "sweep", "--batch-size", 16, "--epochs", 2]
    assert train("--from", "first.ffedge", *budget, "-o", "streamed.ffedge") == 0
    assert train("--from", "first.ffedge", *budget[2:], "-o", "resident.ffedge") == 0

    streamed, resident = load_model("streamed.ffedge"), load_model("resident.ffedge")
    for name, array in resident.params.items():
        assert streamed.params[name].tobytes() == array.tobytes(), name


def test_a_model_of_other_data_is_refused(first, capsys, tmp_path):
    lines = ["a,b,state", *(f"{i % 7},{i % 3},{i % 2}" for i in range(60))]
    (tmp_path / "other.csv").write_text("\n".join(lines))

    assert ffedge("train", "other.csv", "--label", "state", "--from", "first.ffedge") == 4
    assert "expected a model of 2 features and the classes of" in capsys.readouterr().err


def test_widths_beside_a_model_are_refused(first, capsys):
    assert train("--from", "first.ffedge", "--hidden", "20") == 2
    assert "leave one of --from and --hidden out" in capsys.readouterr().err


def test_a_signature_without_a_model_is_refused(capsys):
    assert train("--require-signature", "key.pem") == 2
    assert "expected --from MODEL with --require-signature" in capsys.readouterr().err


def test_a_signed_model_is_begun_with_and_a_changed_one_is_not(first, capsys):
    pytest.importorskip("cryptography")
    assert ffedge("sign", "--make-keys", "factory") == 0
    assert ffedge("sign", "first.ffedge", "--key", "factory.private.pem", "--version", 7) == 0
    signed = ["--from", "first.ffedge", "--require-signature", "factory.public.pem"]
    capsys.readouterr()

    assert train(*signed, "--epochs", 1, "-o", "next.ffedge", "--json") == 0
    assert one_object(capsys.readouterr().out)["network"] == "64-40-30-10"
    content = bytearray(Path("first.ffedge").read_bytes())
    content[-1] ^= 1
    Path("first.ffedge").write_bytes(content)
    assert train(*signed, "--epochs", 1, "-o", "other.ffedge") == 5


def test_checkpoints_tell_apart_what_a_training_began_with(first, capsys):
    from ffedge.cli.start import identity_of

    other = load_model("first.ffedge")
    other.params["layer0.weight"][0, 0, 0, 0] ^= 1

    assert len({identity_of(None), identity_of(first), identity_of(other)}) == 3
    assert identity_of(first) == identity_of(load_model("first.ffedge"))
