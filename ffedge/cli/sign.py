"""``ffedge sign``: a signature for a file that goes to devices, and the keys for it."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys

from ..errors import ConfigError
from ..signing import make_keys, sign
from ..signing.signed_file import signature_path
from ..units import show_bytes
from .version_arguments import version_argument

NAME = "sign"
HELP = "Sign a model, an ONNX file or firmware for devices that verify it; make keys for that."
EXAMPLE = """\
examples:
  ffedge sign --make-keys factory
  ffedge sign digits.ffedge --key factory.private.pem --version 7
the passphrase of an encrypted key is asked for, or taken from FFEDGE_PASSPHRASE
"""

_VARIABLE = "FFEDGE_PASSPHRASE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """File, key and version; or the name of new keys."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="any file; FILE.sig is written")
    parser.add_argument("--key", metavar="PRIVATE",
                        help="private key file, which nobody else can read")  # fmt: skip
    parser.add_argument("--version", metavar="N", type=version_argument,
                        help="higher than that of the file before, for devices that keep a "
                             "record (default: none)")  # fmt: skip
    parser.add_argument("--name", metavar="NAME",
                        help="what devices call the file (default: its own name)")  # fmt: skip
    parser.add_argument("--make-keys", metavar="NAME",
                        help="write NAME.private.pem, which stays here, and NAME.public.pem, for "
                             "devices")  # fmt: skip
    parser.add_argument("--encrypt", action="store_true",
                        help="of --make-keys: the private key takes a passphrase")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Sign or make keys; ConfigError (exit code 2) for a key that cannot be used."""
    if options.make_keys is not None:
        return _make(options)
    if options.file is None or options.key is None:
        raise ConfigError("sign: expected FILE and --key PRIVATE, or --make-keys NAME")
    if options.encrypt:
        raise ConfigError("sign: expected --encrypt beside --make-keys only, got it with a file")
    made = sign(
        options.file, options.key, version=options.version, name=options.name,
        passphrase=_passphrase,
    )  # fmt: skip
    path = signature_path(options.file)
    if options.json:
        print(json.dumps({"path": options.file, "signature": path, **made.facts()}))
        return 0
    print(f"{path}: {made.name}, {made.version_text}, {show_bytes(made.nbytes)}")
    print(f"signed by key {made.key}")
    if made.version is None:
        print("devices that keep a record will refuse it; for those, sign it with --version")
    return 0


def _make(options: argparse.Namespace) -> int:
    for name in ("file", "key", "version", "name"):
        if getattr(options, name) is not None:
            raise ConfigError(f"sign: expected --make-keys NAME alone, got {name} as well")
    files = make_keys(options.make_keys, _new_passphrase() if options.encrypt else None)
    if options.json:
        print(json.dumps({
            "private": str(files.private), "public": str(files.public), "key": files.key,
            "encrypted": options.encrypt,
        }))  # fmt: skip
        return 0
    print(f"{files.private}: keep it here, and a copy in a safe place; signs")
    print(f"{files.public}: for devices; verifies")
    print(f"key {files.key}")
    return 0


def _passphrase(words: str = "passphrase of the private key: ") -> bytes:
    """From the environment, or else typed at a terminal without an echo; b"": there is none."""
    given = os.environ.get(_VARIABLE)
    if given is not None:
        return os.fsencode(given)
    if not sys.stdin.isatty():
        return b""
    try:
        return os.fsencode(getpass.getpass(words))
    except EOFError:
        return b""


def _new_passphrase() -> bytes:
    word = _passphrase("new passphrase: ")
    if not word:
        raise ConfigError(
            f"sign: expected a passphrase for --encrypt, got none; set {_VARIABLE}, or type it "
            "at a terminal"
        )
    if _VARIABLE not in os.environ and _passphrase("the same again: ") != word:
        raise ConfigError("sign: expected the same passphrase twice, got two different ones")
    return word
