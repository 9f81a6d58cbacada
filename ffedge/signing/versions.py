"""The record of versions: what a device has accepted, so that nobody can hand it an older one.

    {
      "ffedge_versions": 1,            the format of this file
      "accepted": [
        {"key": "…", "name": "digits.ffedge", "version": 7, "sha512": "…"},
        ...                            one for each key and name, in order of both
      ]
    }

JSON, ASCII, one spelling only, at most 1,000 entries. Without a file every version is accepted
and remembered; a damaged file is refused, never taken for a missing one. The record itself is
not signed: whoever can write to it can put the device back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..atomic import atomic_write
from ..errors import SignatureError
from .regular_file import open_regular, read_at_most
from .signature import MAX_VERSION, Signature, is_hex, is_name

FORMAT = 1

MAX_ENTRIES = 1000
_MAX_BYTES = MAX_ENTRIES * 2048

#: (key, name) and the newest accepted (version, sha512).
_Entries = dict[tuple[str, str], tuple[int, str]]


@contextlib.contextmanager
def accepting(record: str | os.PathLike[str] | None, signature: Signature) -> Iterator[None]:
    """Let a version pass if the record allows it; remember it if the block does not raise.

    record: None: everything passes. Another process that would change a record of the same
    folder waits until the block has ended. Raises SignatureError for a version below the newest
    accepted one, for the same version with other content, for a signature without a version,
    and for a damaged record; OSError as the system does.
    """
    if record is None:
        yield
        return
    # A link stays what it is, and what it points to is replaced.
    path = Path(os.path.realpath(record))
    with _locked(path.parent):
        entries = _read(path)
        newest = _allowed(entries, signature, path)
        yield
        if newest != entries:
            with atomic_write(path) as file:
                file.write(_text(newest))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The folder is what stays the same when the record is replaced by a new file.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _allowed(entries: _Entries, signature: Signature, path: Path) -> _Entries:
    """The entries with this version among them."""
    name, version = signature.name, signature.version
    if version is None:
        raise SignatureError(
            f"{name}: expected a signature with a version, for the record {path}, got one "
            "without; sign the file again with --version"
        )
    place = (signature.key, name)
    last, content = entries.get(place, (0, ""))
    if version < last:
        raise SignatureError(
            f"{name}: expected version {last} or newer, got version {version}; version {last} "
            f"was accepted before, as {path} says"
        )
    if version == last and content != signature.sha512:
        raise SignatureError(
            f"{name}: expected the content that was accepted as version {last} before, as {path} "
            "says, got other content under the same version; sign it with a higher one"
        )
    if place not in entries and len(entries) >= MAX_ENTRIES:
        raise SignatureError(
            f"{path}: expected room for one more name, got {len(entries):,} names already; "
            "begin another record"
        )
    return entries | {place: (version, signature.sha512)}


def _text(entries: _Entries) -> bytes:
    accepted = [
        {"key": key, "name": name, "version": version, "sha512": content}
        for (key, name), (version, content) in sorted(entries.items())
    ]
    return json.dumps({"ffedge_versions": FORMAT, "accepted": accepted}, indent=1).encode() + b"\n"


def _read(path: Path) -> _Entries:
    """The entries of a record; none if there is no file."""
    what = "a record of versions"
    if not os.path.lexists(path):
        return {}
    with open_regular(path, what, SignatureError) as file:
        content = read_at_most(file, _MAX_BYTES, str(path), what, SignatureError)
    try:
        parsed = json.loads(content.decode("ascii"))
        version = parsed["ffedge_versions"]
        if type(version) is int and version > FORMAT:
            raise SignatureError(
                f"{path}: expected record format {FORMAT}, got {version}; a newer ffedge wrote "
                "it: update ffedge"
            )
        entries: _Entries = {
            (entry["key"], entry["name"]): (entry["version"], entry["sha512"])
            for entry in parsed["accepted"]
        }
        whole = len(entries) <= MAX_ENTRIES and all(
            is_hex(key, 64) and is_name(name) and is_hex(sha512, 128)
            and type(number) is int and 1 <= number <= MAX_VERSION
            for (key, name), (number, sha512) in entries.items()
        )  # fmt: skip
        # One spelling only: an entry that stands there twice could hide the newer one.
        whole = whole and _text(entries) == content
    except (KeyError, TypeError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise SignatureError(
            f"{path}: expected a record of versions, got a damaged file or another one; restore "
            "it, or delete it to begin anew: older versions are then accepted again"
        )
    return entries
