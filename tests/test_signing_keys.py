"""Key files: made for one owner's eyes, read within bounds, refused in words that give nothing."""

import os
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from signed import RFC_8032, write_keys

from ffedge.errors import ConfigError, MissingDependencyError
from ffedge.signing import make_keys, sign, verify
from ffedge.signing.keys import MAX_PASSPHRASE, read_private, read_public


@pytest.fixture
def file(tmp_path):
    (tmp_path / "m").write_bytes(b"a model")
    return tmp_path / "m"


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(tmp_path, secret, public, message, signature):
    files = write_keys(tmp_path, bytes.fromhex(secret))
    key, judge = read_private(files[0]), read_public(files[1])

    assert files[1].read_bytes().count(b"\n") == 3
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert judge.accepts(bytes.fromhex(signature), bytes.fromhex(message))
    assert not judge.accepts(bytes.fromhex(signature), bytes.fromhex(message) + b"\0")
    assert judge.key == key.public.key
    raw = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    pem = raw.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert files[1].read_bytes() == pem


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_private_key_is_for_its_owner_only(tmp_path, file, mask):
    old = os.umask(mask)
    try:
        made = make_keys(tmp_path / "factory")
    finally:
        os.umask(old)

    assert made.private.name == "factory.private.pem"
    assert made.public.name == "factory.public.pem"
    assert stat.S_IMODE(made.private.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.public.stat().st_mode) == 0o644 & ~mask
    assert made.private.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert made.public.read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
    assert sign(file, made.private).key == verify(file, made.public).key == made.key


def test_every_pair_is_another_one(tmp_path):
    assert len({make_keys(tmp_path / str(n)).key for n in range(5)}) == 5


@pytest.mark.parametrize("which", ["private", "public"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_keys_that_are_there_are_never_written_over(tmp_path, which, kind):
    there = tmp_path / f"factory.{which}.pem"
    if kind == "file":
        there.write_text("precious")
    else:
        there.symlink_to(tmp_path / "nowhere")

    with pytest.raises(ConfigError, match=f"got .*factory.{which}.pem, which is there already"):
        make_keys(tmp_path / "factory")

    assert os.listdir(tmp_path) == [there.name]
    assert kind == "link" or there.read_text() == "precious"


def test_a_key_that_appears_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    (tmp_path / "factory.public.pem").write_text("precious")

    with pytest.raises(FileExistsError):
        make_keys(tmp_path / "factory")

    assert os.listdir(tmp_path) == ["factory.public.pem"]
    assert (tmp_path / "factory.public.pem").read_text() == "precious"


def test_a_failing_disk_leaves_no_half_key(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        make_keys(tmp_path / "factory")

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "a\nb", "."])
def test_keys_need_a_name(tmp_path, name):
    with pytest.raises(ConfigError, match="make_keys: expected a printable name"):
        make_keys(f"{tmp_path}/{name}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_private_key_that_others_can_reach_is_refused(tmp_path, file, mode):
    private, _ = write_keys(tmp_path, bytes(32))
    private.chmod(mode)

    with pytest.raises(ConfigError, match=rf"mode 0600\), got mode {mode:04o}; if nobody .* chmod"):
        sign(file, private)
    assert not (tmp_path / "m.sig").exists()
    private.chmod(0o400)
    assert sign(file, private).name == "m"


def test_an_encrypted_key_signs_with_its_passphrase_only(tmp_path, file):
    made = make_keys(tmp_path / "factory", b"open sesame")
    asked = []

    def answer(word):
        return lambda: asked.append(word) or word

    assert made.private.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match="expected a passphrase, got none; the key is encrypted"):
        sign(file, made.private)
    with pytest.raises(ConfigError, match="expected a passphrase, got none; the key is encrypted"):
        sign(file, made.private, passphrase=answer(b""))
    for wrong in (b"open sesamE", b"x" * 5000):
        with pytest.raises(ConfigError, match="expected the passphrase of this key, got another"):
            sign(file, made.private, passphrase=answer(wrong))
    assert not (tmp_path / "m.sig").exists()
    assert sign(file, made.private, passphrase=answer(b"open sesame")).key == made.key
    assert verify(file, made.public).key == made.key
    assert len(asked) == 4


def test_nobody_is_asked_for_the_passphrase_of_a_plain_key(tmp_path, file):
    private, _ = write_keys(tmp_path, bytes(32))

    sign(file, private, passphrase=lambda: pytest.fail("asked"))

    assert (tmp_path / "m.sig").exists()


@pytest.mark.parametrize("word", [b"", b"x" * (MAX_PASSPHRASE + 1)], ids=len)
def test_a_passphrase_that_cannot_be_used_is_refused(tmp_path, word):
    with pytest.raises(ConfigError, match="expected a passphrase of 1 to 1,000 bytes, got"):
        make_keys(tmp_path / "factory", word)

    assert os.listdir(tmp_path) == []


def test_the_longest_passphrase_works(tmp_path, file):
    made = make_keys(tmp_path / "factory", b"x" * MAX_PASSPHRASE)

    assert sign(file, made.private, passphrase=lambda: b"x" * MAX_PASSPHRASE).key == made.key


def of_another_kind(kind):
    """(private, public) PEM of a key that is not Ed25519."""
    made = {
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "Ed448": ed448.Ed448PrivateKey.generate,
        "X25519": x25519.X25519PrivateKey.generate,
    }[kind]()
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed448", "X25519"])
def test_a_key_of_another_kind_is_refused(tmp_path, file, kind):
    for name, content in zip(("private", "public"), of_another_kind(kind), strict=True):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match="expected an Ed25519 private key, got a key of another"):
        sign(file, tmp_path / "private")
    with pytest.raises(ConfigError, match="expected an Ed25519 public key, got a key of another"):
        verify(file, tmp_path / "public")


PEM = "-----BEGIN {0} KEY-----\n{1}\n-----END {0} KEY-----\n"
NOT_KEYS = {
    "nothing": "",
    "text": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI user@host\n",
    "zeros": "\0" * 200,
    "no base64": PEM.format("{half}", "????"),
    "too short": PEM.format("{half}", "MCowBQ=="),
    "no end": PEM.format("{half}", "MCowBQYDK2VwAyEA")[:40],
    "a certificate": "-----BEGIN CERTIFICATE-----\nMCow\n-----END CERTIFICATE-----\n",
    "garbage that says it is encrypted": PEM.format("ENCRYPTED PRIVATE", "MCow"),
}


@pytest.mark.parametrize("case", NOT_KEYS)
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path, file, case):
    path = tmp_path / "key"
    path.touch(mode=0o600)
    (tmp_path / "m.sig").write_text("unread")

    path.write_text(NOT_KEYS[case].replace("{half}", "PRIVATE"))
    with pytest.raises(
        ConfigError, match=r"expected (an Ed25519 private|a passphrase|the pass)"
    ) as e:
        sign(file, path)
    assert "MCow" not in str(e.value)
    assert e.value.__suppress_context__
    path.write_text(NOT_KEYS[case].replace("{half}", "PUBLIC"))
    with pytest.raises(ConfigError, match=r"expected (an Ed25519 public key in|a public key, got)"):
        verify(file, path)


def test_private_and_public_key_are_not_taken_for_each_other(tmp_path, file):
    private, public = write_keys(tmp_path, bytes(32))

    with pytest.raises(ConfigError, match="expected a private key, got a public one"):
        sign(file, public)
    with pytest.raises(ConfigError, match="got a private one, which belongs on no device"):
        verify(file, private)


def test_a_key_that_is_not_there_is_told(tmp_path, file):
    with pytest.raises(ConfigError, match="nokey: expected a private key file, got no such file"):
        sign(file, tmp_path / "nokey")
    with pytest.raises(ConfigError, match="expected a public key file, got a folder"):
        verify(file, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="expected a public key file, got a pipe or device"):
        verify(file, tmp_path / "pipe")


def test_a_link_to_a_private_key_has_the_mode_of_the_key(tmp_path, file):
    private, _ = write_keys(tmp_path, bytes(32))
    (tmp_path / "link").symlink_to(private)

    assert sign(file, tmp_path / "link").name == "m"
    private.chmod(0o644)
    with pytest.raises(ConfigError, match="got mode 0644"):
        sign(file, tmp_path / "link")


def test_keys_show_nothing_of_themselves(tmp_path):
    key = read_private(write_keys(tmp_path, bytes(32))[0])

    assert repr(key) == f"PrivateKey(public=PublicKey(key='{key.public.key}'))"


def test_without_the_package_its_extra_is_named(tmp_path, file, monkeypatch):
    private, public = write_keys(tmp_path, bytes(32))
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)

    for use in (
        lambda: make_keys(tmp_path / "factory"),
        lambda: sign(file, private),
        lambda: verify(file, public),
    ):
        with pytest.raises(MissingDependencyError, match=r'pip install "ffedge\[sign\]"'):
            use()
    assert not Path(tmp_path / "factory.private.pem").exists()
    assert not (tmp_path / "m.sig").exists()
