"""The model that a command reads, and the signature that it may have to have."""

from __future__ import annotations

import argparse

from ..errors import ConfigError
from ..model import Model
from ..model_file import load_model, read_model
from .version_arguments import add_versions


def add_model(parser: argparse.ArgumentParser, words: str = "model file of `ffedge train`") -> None:
    """The model file, and ``add_signature``."""
    parser.add_argument("model", metavar="MODEL", help=words)
    add_signature(parser)


def add_signature(parser: argparse.ArgumentParser) -> None:
    """``--require-signature`` and what belongs to it."""
    parser.add_argument("--require-signature", metavar="KEY",
                        help="refuse a model without a good signature in MODEL.sig by the owner "
                             "of this public key")  # fmt: skip
    add_versions(parser)


def open_model(options: argparse.Namespace, path: str) -> Model:
    """The model of a file, with the signature that the options ask for.

    Raises SignatureError (exit code 5) before anything of the model is looked at; what is
    loaded are the bytes that were verified.
    """
    refuse_versions_alone(options)
    if options.require_signature is None:
        return load_model(path)
    from ..signing import open_verified

    with open_verified(
        path, options.require_signature, at_least=options.at_least, record=options.record
    ) as (file, _):
        return read_model(file, path)


def refuse_versions_alone(options: argparse.Namespace) -> None:
    """Raise ConfigError if an option of versions has no signature to work on."""
    for name, value in (("--at-least", options.at_least), ("--record", options.record)):
        if value is not None and options.require_signature is None:
            raise ConfigError(
                f"signature: expected {name} beside --require-signature KEY, got it alone"
            )
