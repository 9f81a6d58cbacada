"""``ffedge sign`` and ``verify``, and what the other commands do with ``--require-signature``."""

import io
import json
import os
import pty
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cryptography")

from signed import write_keys

import ffedge.cli.model_argument as model_argument
from ffedge.cli import main
from ffedge.model import Model
from ffedge.model_file import load_model, read_model, save_model
from ffedge.signing import sign

ROOT = Path(__file__).resolve().parent.parent
SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture
def call(capsys):
    """Run a command; (exit code, stdout, stderr)."""

    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits.ffedge"
    words = ["train", "digits", "--epochs", "1", "--hidden", "8", "-o", str(path), "--json"]
    assert main(words) == 0
    return path


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, SEED)


@pytest.fixture
def model(trained, tmp_path, keys):
    """A copy of the model, signed as version 7."""
    path = Path(shutil.copy(trained, tmp_path / "digits.ffedge"))
    sign(path, keys[0], version=7)
    return path


def one_object(text):
    """The one JSON object that stdout must hold."""
    assert text.count("\n") == 1
    found = json.loads(text)
    assert type(found) is dict
    return found


def error_of(done, code):
    """The error of a command with --json, which must have ended with this code."""
    assert done[0] == code, done
    error = one_object(done[1])["error"]
    assert error["exit_code"] == code
    assert done[2] == f"ffedge: {error['message']}\n"
    return error


# --- sign and verify --------------------------------------------------------------------------


def test_keys_are_made_a_file_is_signed_and_verified(call, tmp_path):
    (tmp_path / "firmware.elf").write_bytes(b"\x7fELF and more")

    made = one_object(call("sign", "--make-keys", tmp_path / "factory", "--json")[1])
    signing = ["sign", tmp_path / "firmware.elf", "--key", made["private"], "--version", "3"]
    signed = one_object(call(*signing, "--json")[1])
    verifying = ["verify", tmp_path / "firmware.elf", "--key", made["public"]]
    found = one_object(call(*verifying, "--json")[1])

    assert made["encrypted"] is False
    assert stat.S_IMODE(Path(made["private"]).stat().st_mode) == 0o600
    assert signed["signature"] == f"{tmp_path}/firmware.elf.sig"
    assert Path(signed["signature"]).is_file()
    for report in (signed, found):
        assert report["path"] == f"{tmp_path}/firmware.elf"
        assert (report["name"], report["version"], report["bytes"]) == ("firmware.elf", 3, 13)
        assert report["key"] == made["key"]
        assert len(report["sha512"]) == 128


def test_the_same_in_words(call, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"13 bytes long")

    code, out, err = call("sign", "--make-keys", tmp_path / "factory")
    assert (code, err) == (0, "")
    assert "factory.private.pem: keep it here" in out
    assert "factory.public.pem: for devices" in out
    code, out, err = call("sign", tmp_path / "m.onnx", "--key", tmp_path / "factory.private.pem")
    assert (code, err) == (0, "")
    assert "m.onnx.sig: m.onnx, no version, 13 B" in out
    assert "devices that keep a record will refuse it" in out
    code, out, err = call("verify", tmp_path / "m.onnx", "--key", tmp_path / "factory.public.pem")
    assert (code, err) == (0, "")
    assert "m.onnx: good; m.onnx, no version, 13 B" in out


def test_no_command_prints_a_private_key(call, tmp_path, model, monkeypatch):
    monkeypatch.setenv("FFEDGE_PASSPHRASE", "open sesame")
    printed = ""
    for words in (
        ["sign", "--make-keys", tmp_path / "factory", "--encrypt"],
        ["sign", model, "--key", tmp_path / "factory.private.pem"],
        ["sign", model, "--key", tmp_path / "factory.private.pem", "--json"],
        ["verify", model, "--key", tmp_path / "factory.private.pem"],
        ["verify", model, "--key", tmp_path / "factory.public.pem"],
        ["doctor"],
    ):
        printed += "".join(call(*words)[1:])

    lines = (tmp_path / "factory.private.pem").read_text().split("\n")[1:-2]
    assert all(lines)
    assert not [line for line in (*lines, "open sesame") if line in printed]


def test_a_file_that_was_changed_has_exit_code_5(call, model, keys):
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)

    code, out, err = call("verify", model, "--key", keys[1])
    error = error_of(call("verify", model, "--key", keys[1], "--json"), 5)

    assert (code, out) == (5, "")
    assert "expected the bytes that were signed, got others" in err
    assert error["kind"] == "SignatureError"


def test_versions_go_up_only(call, model, keys, tmp_path):
    record = tmp_path / "versions.json"
    words = ["verify", model, "--key", keys[1], "--record", record, "--json"]
    assert one_object(call(*words)[1])["record"] == str(record)

    sign(model, keys[0], version=6)
    assert "expected version 7 or newer, got version 6" in error_of(call(*words), 5)["message"]
    sign(model, keys[0])
    assert "got one without; sign the file again" in error_of(call(*words), 5)["message"]
    model.write_bytes(b"other content")
    sign(model, keys[0], version=7)
    assert "other content under the same version" in error_of(call(*words), 5)["message"]
    sign(model, keys[0], version=8)
    assert call(*words)[0] == 0
    assert "expected version 9 or newer" in call(*words[:-3], "--at-least", "9")[2]


def test_a_file_is_signed_and_verified_under_another_name(call, model, keys):
    assert call("sign", model, "--key", keys[0], "--name", "faces")[0] == 0

    assert call("verify", model, "--key", keys[1], "--name", "faces")[0] == 0
    assert error_of(call("verify", model, "--key", keys[1], "--json"), 5)


REFUSALS = {
    "nothing": (["sign"], 2, "expected FILE and --key PRIVATE, or --make-keys NAME"),
    "no key": (["sign", "{model}"], 2, "expected FILE and --key PRIVATE"),
    "no file": (["sign", "--key", "{private}"], 2, "expected FILE and --key PRIVATE"),
    "keys and a file": (["sign", "{model}", "--make-keys", "k"], 2, "alone, got file as well"),
    "keys and a key": (["sign", "--make-keys", "k", "--key", "x"], 2, "alone, got key as well"),
    "encrypted file": (
        ["sign", "{model}", "--key", "{private}", "--encrypt"], 2, "beside --make-keys only",
    ),
    "version 0": (["sign", "{model}", "--key", "{private}", "--version", "0"], 2, "1 to 2**63 - 1"),
    "version x": (["sign", "{model}", "--key", "{private}", "--version", "x"], 2, "1 to 2**63 - 1"),
    "version ²": (["sign", "{model}", "--key", "{private}", "--version", "²"], 2, "1 to 2**63 - 1"),
    "too late a version": (
        ["sign", "{model}", "--key", "{private}", "--version", str(2**63)], 2, "1 to 2**63 - 1",
    ),
    "a long version": (
        ["sign", "{model}", "--key", "{private}", "--version", "9" * 5000], 2, "1 to 2**63 - 1",
    ),
    "a public key to sign": (["sign", "{model}", "--key", "{public}"], 2, "got a public one"),
    "a missing file": (["sign", "{tmp}/none", "--key", "{private}"], 2, "none: expected a file to"),
    "no public key": (["verify", "{model}"], 2, "--key"),
    "a private key to verify": (["verify", "{model}", "--key", "{private}"], 2, "a private one"),
    "an unsigned file": (["verify", "{public}", "--key", "{public}"], 5, "sign the file with"),
    "keys in no folder": (["sign", "--make-keys", "{tmp}/no/k"], 1, "No such file or directory"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_its_exit_code_and_words(call, tmp_path, model, keys, case):
    words, expected, pattern = REFUSALS[case]
    names = {"tmp": tmp_path, "model": model, "private": keys[0], "public": keys[1]}
    before = sorted(os.listdir(tmp_path))

    done = call(*(word.format(**names) for word in words), "--json")

    error = one_object(done[1])["error"]
    assert (done[0], error["exit_code"]) == (expected, expected)
    assert pattern in error["message"]
    assert "Traceback" not in done[2]
    assert sorted(os.listdir(tmp_path)) == before


# --- passphrases ------------------------------------------------------------------------------


def test_the_passphrase_comes_from_the_environment(call, tmp_path, model, monkeypatch):
    monkeypatch.setenv("FFEDGE_PASSPHRASE", "öffne dich")
    words = ["sign", "--make-keys", tmp_path / "factory", "--encrypt", "--json"]
    assert one_object(call(*words)[1])["encrypted"] is True
    assert b"ENCRYPTED" in (tmp_path / "factory.private.pem").read_bytes()
    words = ["sign", model, "--key", tmp_path / "factory.private.pem"]

    assert call(*words)[0] == 0
    monkeypatch.setenv("FFEDGE_PASSPHRASE", "guess")
    assert "expected the passphrase of this key, got another one" in call(*words)[2]
    monkeypatch.setenv("FFEDGE_PASSPHRASE", "")
    assert "expected a passphrase, got none" in call(*words)[2]


def test_nobody_is_asked_where_there_is_no_terminal(call, tmp_path, model, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\n"))
    monkeypatch.delenv("FFEDGE_PASSPHRASE", raising=False)
    code, _, err = call("sign", "--make-keys", tmp_path / "factory", "--encrypt")
    assert code == 2
    assert "expected a passphrase for --encrypt, got none; set FFEDGE_PASSPHRASE" in err
    assert not (tmp_path / "factory.private.pem").exists()
    from ffedge.signing import make_keys

    make_keys(tmp_path / "factory", b"open sesame")
    code, _, err = call("sign", model, "--key", tmp_path / "factory.private.pem")
    assert code == 2
    assert "the key is encrypted: set FFEDGE_PASSPHRASE, or type it at a terminal" in err


def at_a_terminal(lines, *words):
    """(exit code, what the terminal shows) of a command whose questions are answered so."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("FFEDGE_PASSPHRASE", None)
    command = [sys.executable, "-m", "ffedge", *map(str, words)]
    terminal, its = pty.openpty()
    child = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True
    )
    os.close(its)
    shown, waiting = b"", list(lines)
    while True:
        try:
            shown += os.read(terminal, 1000)
        except OSError:  # the other end was closed
            break
        if waiting and shown.endswith(b": "):
            os.write(terminal, waiting.pop(0))
            shown += b"\n"
    os.close(terminal)
    return child.wait(), shown.decode()


def test_a_passphrase_is_typed_twice_and_not_shown(tmp_path, model):
    making = ["sign", "--make-keys", tmp_path / "factory", "--encrypt"]
    signing = ["sign", model, "--key", tmp_path / "factory.private.pem"]

    code, shown = at_a_terminal([b"sesame\n", b"sesami\n"], *making)
    assert code == 2
    assert "expected the same passphrase twice" in shown
    assert not (tmp_path / "factory.private.pem").exists()
    code, shown = at_a_terminal([b"sesame\n", b"sesame\n"], *making)
    assert code == 0, shown
    assert "sesame" not in shown
    code, shown = at_a_terminal([b"sesame\n"], *signing)
    assert code == 0, shown
    assert "sesame" not in shown
    assert at_a_terminal([b"\x04"], *signing)[0] == 2


# --- commands that read a model ---------------------------------------------------------------

COMMANDS = {
    "eval": ["eval", "{model}", "digits"],
    "predict": ["predict", "{model}", "digits"],
    "export": ["export", "{model}", "-o", "{tmp}/out", "--check", "off"],
    "quantize": ["quantize", "{model}", "digits", "-o", "{tmp}/out"],
    "inspect": ["inspect", "{model}"],
    "reading": ["reading", "{model}", "--set", "everything", "-o", "{tmp}/out"],
}


@pytest.fixture(params=COMMANDS)
def words(request, model, tmp_path):
    """One of the commands that read a model."""
    return [word.format(model=model, tmp=tmp_path) for word in COMMANDS[request.param]]


def test_every_command_that_reads_a_model_can_require_a_signature():
    from ffedge.cli import COMMANDS as ALL
    from ffedge.cli import parser

    reading = {
        name
        for name, module in ALL.items()
        if "open_model" in (ROOT / "ffedge" / "cli" / f"{module}.py").read_text()
    } | {"train"}  # by ``start``, see tests/test_cli_start.py
    able = set()
    for name in ALL:
        sub = parser(name)._subparsers._group_actions[0].choices[name]
        if "--require-signature" in sub.format_help():
            able.add(name)

    assert reading == able == {*COMMANDS, "train"}
    for name in reading:
        assert "load_model" not in (ROOT / "ffedge" / "cli" / f"{ALL[name]}.py").read_text()


def test_a_signed_model_is_taken_and_its_version_remembered(call, words, keys, tmp_path):
    record = tmp_path / "versions.json"
    plain = call(*words, "--json")

    done = call(*words, "--require-signature", keys[1], "--record", record, "--json")

    assert done[0] == plain[0] == 0
    assert one_object(done[1]).keys() == one_object(plain[1]).keys()
    assert json.loads(record.read_text())["accepted"][0]["version"] == 7


@pytest.mark.parametrize("change", ["flipped bit", "no signature", "other key", "older version"])
def test_a_model_without_a_good_signature_is_not_even_looked_at(
    call, words, model, keys, tmp_path, monkeypatch, change
):
    def fail(*_):
        pytest.fail("the model was read")

    monkeypatch.setattr(model_argument, "read_model", fail)
    monkeypatch.setattr(model_argument, "load_model", fail)
    options = ["--require-signature", keys[1]]
    if change == "flipped bit":
        content = bytearray(model.read_bytes())
        content[len(content) // 2] ^= 4
        model.write_bytes(content)
    elif change == "no signature":
        (tmp_path / "digits.ffedge.sig").unlink()
    elif change == "other key":
        sign(model, write_keys(tmp_path, OTHER_SEED, "other")[0], version=7)
    else:
        options += ["--at-least", "8"]

    error = error_of(call(*words, *options, "--json"), 5)

    assert error["kind"] == "SignatureError"
    assert not (tmp_path / "out").exists()


def test_a_signed_file_that_is_no_model_is_refused_and_not_remembered(
    call, words, model, keys, tmp_path
):
    model.write_bytes(b"not a model")
    sign(model, keys[0], version=9)
    record = tmp_path / "versions.json"

    error = error_of(call(*words, "--require-signature", keys[1], "--record", record, "--json"), 5)

    assert error["kind"] == "CheckpointError"
    assert not record.exists()


@pytest.mark.parametrize("option", [["--at-least", "3"], ["--record", "versions.json"]])
def test_versions_without_a_required_signature_are_refused(call, words, option):
    error = error_of(call(*words, *option, "--json"), 2)

    assert f"expected {option[0]} beside --require-signature KEY" in error["message"]


def test_inspect_requires_signatures_of_models_only(call, keys):
    done = call("inspect", "digits", "--require-signature", keys[1], "--json")

    assert "expected a model file (.ffedge, .safetensors) with" in error_of(done, 2)["message"]
    assert error_of(call("inspect", "digits", "--at-least", "1", "--json"), 2)


# --- between verifying and loading ------------------------------------------------------------


@pytest.fixture
def exchanged(model, tmp_path, monkeypatch):
    """The moment after verification, at which somebody writes another model over this one."""
    good = load_model(model)
    params = {name: np.zeros_like(array) for name, array in good.params.items()}
    save_model(Model(good.network, params, good.classes, good.feature_shape), tmp_path / "evil")
    evil = (tmp_path / "evil").read_bytes()

    def read(file, name):
        with open(model, "r+b") as target:
            target.write(evil)
            target.truncate()
        return read_model(file, name)

    monkeypatch.setattr(model_argument, "read_model", read)
    return evil


def test_a_file_exchanged_after_verification_changes_nothing(call, model, keys, exchanged):
    before = one_object(call("predict", model, "digits", "--json")[1])["labels"]

    words = ["predict", model, "digits", "--require-signature", keys[1], "--json"]
    labels = one_object(call(*words)[1])["labels"]

    assert model.read_bytes() == exchanged
    assert labels == before
    assert len(set(labels)) > 1
    assert one_object(call("predict", model, "digits", "--json")[1])["labels"] != before


def test_a_loader_that_opens_the_file_again_would_be_caught(
    call, model, keys, exchanged, monkeypatch
):
    before = one_object(call("predict", model, "digits", "--json")[1])["labels"]
    read = model_argument.read_model

    def read_again(file, name):
        read(file, name)
        return load_model(name)

    monkeypatch.setattr(model_argument, "read_model", read_again)
    words = ["predict", model, "digits", "--require-signature", keys[1], "--json"]

    assert one_object(call(*words)[1])["labels"] != before


# --- what is loaded ---------------------------------------------------------------------------


def loaded_after(*words):
    """Which packages a fresh interpreter has loaded after a command."""
    script = (
        "import sys; from ffedge.cli import main\n"
        f"assert main({[str(word) for word in words]!r}) == 0\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_verifying_loads_no_kernels_and_predicting_no_cryptography(model, keys):
    verifying = loaded_after("verify", model, "--key", keys[1])
    predicting = loaded_after("predict", model, "digits", "--json")

    assert "cryptography" in verifying
    assert not verifying & {"numpy", "numba", "llvmlite", "onnx", "torch"}
    assert "numpy" in predicting
    assert "cryptography" not in predicting


def test_without_the_package_its_extra_is_named(call, model, keys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)

    for words in (
        ["sign", model, "--key", keys[0]], ["verify", model, "--key", keys[1]],
        ["predict", model, "digits", "--require-signature", keys[1]],
    ):  # fmt: skip
        error = error_of(call(*words, "--json"), 2)
        assert error["kind"] == "MissingDependencyError"
        assert 'pip install "ffedge[sign]"' in error["message"]
    assert call("predict", model, "digits", "--json")[0] == 0
