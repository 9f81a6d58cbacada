"""The signature file ``FILE.sig``: what it says of a file, and the bytes that are signed.

    {
      "ffedge_signature": 1,           the format of this file
      "name": "digits.ffedge",         what the file is called, at most 255 bytes of UTF-8
      "version": 7,                    1 to 2**63 - 1, or null: none
      "bytes": 12345,                  the length of the file
      "sha512": "…",                   of the whole file, 128 hex digits
      "key": "…",                      SHA-256 of the public key's 32 bytes, 64 hex digits
      "signature": "…"                 Ed25519, 64 bytes in base64
    }

JSON, ASCII, indented by two, a line feed at the end, the keys in this order: another spelling of
the same values is refused, so that a signature has one form only. Ed25519 signs

    20 bytes  "ffedge signature 1" and two zero bytes
    32        key
     8        version, little-endian; 0: none
     8        bytes, little-endian
    64        sha512
    rest      name, UTF-8

Everything a reader relies on stands in there, and all lengths before the name are fixed: no two
sets of facts give the same bytes, and no other protocol's message begins like this.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import struct
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, SignatureError

FORMAT = 1

#: A longer signature file is not ours.
MAX_SIGNATURE_FILE = 4096

#: A name in UTF-8.
MAX_NAME = 255

MAX_VERSION = 2**63 - 1

_DOMAIN = b"ffedge signature 1\0\0"
_KEYS = ("ffedge_signature", "name", "version", "bytes", "sha512", "key", "signature")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says of a file; whether it is true, ``signed_file.verify`` finds out.

    name, version (None: none); nbytes and sha512 (128 hex digits) of the file; key: SHA-256 of
    the public key, 64 hex digits; signature: 64 bytes.
    """

    name: str
    version: int | None
    nbytes: int
    sha512: str
    key: str
    signature: bytes = b""

    def message(self) -> bytes:
        """The bytes that are signed."""
        numbers = struct.pack("<QQ", self.version or 0, self.nbytes)
        digest = bytes.fromhex(self.sha512)
        return _DOMAIN + bytes.fromhex(self.key) + numbers + digest + self.name.encode()

    def text(self) -> bytes:
        """The content of the signature file."""
        facts = (
            FORMAT, self.name, self.version, self.nbytes, self.sha512, self.key,
            base64.b64encode(self.signature).decode(),
        )  # fmt: skip
        return json.dumps(dict(zip(_KEYS, facts, strict=True)), indent=2).encode() + b"\n"

    def facts(self) -> dict[str, Any]:
        """The same as JSON types, without the signature itself."""
        return {
            "name": self.name, "version": self.version, "bytes": self.nbytes,
            "sha512": self.sha512, "key": self.key,
        }  # fmt: skip

    @property
    def version_text(self) -> str:
        """The version in words."""
        return "no version" if self.version is None else f"version {self.version}"


def parse(content: bytes, where: str) -> Signature:
    """The facts of a signature file; ``where`` names it.

    Raises SignatureError if they are not complete, within their bounds and in their one form.
    """
    try:
        facts = json.loads(content.decode("ascii"))
    except (ValueError, RecursionError):
        raise SignatureError(
            f"{where}: expected a signature file of ffedge, got something else; the file is "
            "damaged or was written by another program"
        ) from None
    if not isinstance(facts, dict) or "ffedge_signature" not in facts:
        raise SignatureError(f"{where}: expected a signature file of ffedge, got other JSON")
    if facts["ffedge_signature"] != FORMAT:
        raise SignatureError(
            f"{where}: expected signature format {FORMAT}, got "
            f"{facts['ffedge_signature']!r:.40}; a newer ffedge wrote it: update ffedge"
        )
    found = _read(facts)
    # Two readers must never take one file for different things: one spelling, no duplicates.
    if found is None or found.text() != content:
        raise SignatureError(
            f"{where}: expected a signature as ffedge writes it, got missing, surplus or "
            "impossible values; the file was changed"
        )
    return found


def _read(facts: dict[str, Any]) -> Signature | None:
    """The facts if each has its type and keeps its bounds."""
    try:
        signature = base64.b64decode(facts["signature"], validate=True)
        found = Signature(
            facts["name"], facts["version"], facts["bytes"], facts["sha512"], facts["key"],
            signature,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    numbers = _whole(found.nbytes, 0) and (found.version is None or _whole(found.version, 1))
    digests = is_hex(found.sha512, 128) and is_hex(found.key, 64)
    return found if numbers and digests and is_name(found.name) and len(signature) == 64 else None


def _whole(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MAX_VERSION


def is_hex(value: object, digits: int) -> bool:
    """Whether ``value`` is text of so many lower-case hex digits."""
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None


def is_name(value: object) -> bool:
    """Whether ``value`` can name a signed file: printable, no folder, at most 255 bytes."""
    if not isinstance(value, str) or not value.isprintable() or value in ("", ".", ".."):
        return False
    return "/" not in value and len(value.encode()) <= MAX_NAME


def name_of(path: str | os.PathLike[str], name: str | None) -> str:
    """``name``, or else the file's own; ConfigError if it cannot stand in a signature."""
    chosen = os.path.basename(os.fspath(path)) if name is None else name
    if not is_name(chosen):
        raise ConfigError(
            f"signature: expected a printable name without / of at most {MAX_NAME} bytes, got "
            f"{chosen!r:.80}; choose one with --name"
        )
    return chosen


def check_version(version: int | None, what: str) -> None:
    """Raise ConfigError unless ``version`` is None or a version number."""
    if version is not None and not _whole(version, 1):
        raise ConfigError(f"signature: expected {what} of 1 to 2**63 - 1, got {version!r:.40}")
