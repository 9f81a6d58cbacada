"""Versions of signed files on the command line; loads no kernels, which verifying needs not."""

from __future__ import annotations

import argparse

from ..signing.signature import MAX_VERSION


def version_argument(text: str) -> int:
    """A version number, 1 to 2**63 - 1."""
    if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= MAX_VERSION:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a version of 1 to 2**63 - 1, got {text!r:.40}")


def add_versions(parser: argparse.ArgumentParser) -> None:
    """Which versions of a signed file pass."""
    parser.add_argument("--at-least", metavar="N", type=version_argument,
                        help="lowest version of a signed file to accept")  # fmt: skip
    parser.add_argument(
        "--record", metavar="FILE", help="remembers the newest version accepted, refuses older ones"
    )
