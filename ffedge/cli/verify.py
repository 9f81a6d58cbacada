"""``ffedge verify``: whether a file is what the owner of a key signed."""

from __future__ import annotations

import argparse
import json

from ..signing import verify
from ..units import show_bytes
from .version_arguments import add_versions

NAME = "verify"
HELP = "Verify the signature of a file, and that it is no older than one accepted before."
EXAMPLE = "example: ffedge verify digits.ffedge --key factory.public.pem --record versions.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """File, key and the versions to accept."""
    parser.add_argument("file", metavar="FILE", help="signed file; FILE.sig must lie beside it")
    parser.add_argument("--key", metavar="PUBLIC", required=True, help="public key file")
    parser.add_argument("--name", metavar="NAME",
                        help="what the file was signed as (default: its own name)")  # fmt: skip
    add_versions(parser)


def run(options: argparse.Namespace) -> int:
    """Verify and print; SignatureError (exit code 5) unless all of it is as it should be."""
    found = verify(
        options.file, options.key, at_least=options.at_least, record=options.record,
        name=options.name,
    )  # fmt: skip
    if options.json:
        print(json.dumps({"path": options.file, "record": options.record, **found.facts()}))
        return 0
    print(f"{options.file}: good; {found.name}, {found.version_text}, {show_bytes(found.nbytes)}")
    print(f"signed by key {found.key}")
    return 0
