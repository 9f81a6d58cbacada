"""Sign a file, and take a file only with a good signature: any file, byte for byte.

The signature is judged before a byte of the file is read; it says how long the file is, so no
more than that is ever read of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from ..atomic import atomic_write
from ..errors import ConfigError, SignatureError
from .keys import Passphrase, PublicKey, read_private, read_public
from .regular_file import open_regular, read_at_most
from .signature import MAX_SIGNATURE_FILE, Signature, check_version, name_of, parse
from .versions import accepting

SUFFIX = ".sig"

_CHUNK = 1 << 18


def sign(
    path: str | os.PathLike[str], private_key: str | os.PathLike[str], *,
    version: int | None = None, name: str | None = None, passphrase: Passphrase | None = None,
) -> Signature:  # fmt: skip
    """Sign a file and write the signature beside it, in ``<path>.sig``, whole or not at all.

    version: 1 to 2**63 - 1, higher with every file of this name that devices shall take; None:
    none, for devices that keep no record. name: what devices call the file, its own by default.
    passphrase: asked if the key is encrypted. Raises ConfigError for a key or name that cannot
    be used or if there is no such file, MissingDependencyError without ``cryptography``.
    """
    check_version(version, "a version")
    name = name_of(path, name)
    key = read_private(private_key, passphrase)
    with open_regular(path, "a file to sign", ConfigError) as file:
        nbytes, digest = _digest(file)
    unsigned = Signature(name, version, nbytes, digest, key.public.key)
    made = Signature(name, version, nbytes, digest, key.public.key, key.sign(unsigned.message()))
    with atomic_write(signature_path(path)) as file:
        file.write(made.text())
    return made


def verify(
    path: str | os.PathLike[str], public_key: str | os.PathLike[str], *,
    at_least: int | None = None, record: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> Signature:  # fmt: skip
    """What the signature says of a file, if it is true; the file is read in pieces.

    at_least: lowest version to accept. record: file that remembers the newest version accepted;
    see ``versions``. name: what the signature must call the file, its own name by default.
    Raises SignatureError if the signature is missing, damaged, by another key, of another file
    or of an older version; ConfigError for a key that cannot be used; MissingDependencyError
    without ``cryptography``. To load what was verified, use ``open_verified``: the file may be
    another one by the time that somebody opens it again.
    """
    signature, file = _open(path, public_key, at_least, name)
    with file:
        nbytes, digest = _digest(file, signature.nbytes + 1)
        _compare(path, signature, nbytes, digest)
    with accepting(record, signature):
        return signature


@contextlib.contextmanager
def open_verified(
    path: str | os.PathLike[str], public_key: str | os.PathLike[str], *,
    at_least: int | None = None, record: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> Iterator[tuple[BinaryIO, Signature]]:  # fmt: skip
    """As ``verify``; the file to read from, and its signature.

    What can be read are the very bytes that were verified: they are in memory, and nobody can
    exchange them. The record takes the version in when the block ends without an exception, so
    that a file that cannot be used does not lock out the one before it.
    """
    signature, file = _open(path, public_key, at_least, name)
    with file:
        content = file.read(signature.nbytes)
        surplus = len(file.read(1))
    digest = hashlib.sha512(content).hexdigest()
    _compare(path, signature, len(content) + surplus, digest)
    with accepting(record, signature):
        yield io.BytesIO(content), signature


def signature_path(path: str | os.PathLike[str]) -> str:
    """Where the signature of a file lies."""
    return os.fspath(path) + SUFFIX


def _open(
    path: str | os.PathLike[str], public_key: str | os.PathLike[str],
    at_least: int | None, name: str | None,
) -> tuple[Signature, BinaryIO]:  # fmt: skip
    """A signature that the key's owner made, and the file that it may be of, of its length."""
    check_version(at_least, "a lowest version")
    name = name_of(path, name)
    key = read_public(public_key)
    signature = _read_signature(path, key)
    where = os.fspath(path)
    if signature.name != name:
        raise SignatureError(
            f"{where}: expected a signature of {name!r}, got one of {signature.name!r}; give the "
            "file its name, or name it with --name"
        )
    if at_least is not None and (signature.version is None or signature.version < at_least):
        raise SignatureError(
            f"{where}: expected version {at_least} or newer, got {signature.version_text}"
        )
    file = open_regular(path, "a signed file", SignatureError)
    size = os.fstat(file.fileno()).st_size
    if size != signature.nbytes:
        file.close()
        _compare(path, signature, size, "")
    return signature, file


def _read_signature(path: str | os.PathLike[str], key: PublicKey) -> Signature:
    where, what = signature_path(path), "a signature file"
    with open_regular(where, what, SignatureError, "; sign the file with `ffedge sign`") as file:
        content = read_at_most(file, MAX_SIGNATURE_FILE, where, what, SignatureError)
    signature = parse(content, where)
    if signature.key != key.key:
        raise SignatureError(
            f"{where}: expected a signature by key {key.key[:16]}, got one by key "
            f"{signature.key[:16]}; take the public key that belongs to it, if you trust it"
        )
    if not key.accepts(signature.signature, signature.message()):
        raise SignatureError(
            f"{where}: expected a signature by key {key.key[:16]}, got one that this key did not "
            "make; the signature was damaged or changed, take a copy of it"
        )
    return signature


def _compare(path: str | os.PathLike[str], signature: Signature, nbytes: int, digest: str) -> None:
    where = os.fspath(path)
    if nbytes != signature.nbytes:
        raise SignatureError(
            f"{where}: expected the {signature.nbytes:,} B that were signed, got a file of "
            "another length; it was cut short or changed, take a copy of it"
        )
    if digest != signature.sha512:
        raise SignatureError(
            f"{where}: expected the bytes that were signed, got others; the file was damaged or "
            "changed, take a copy of it"
        )


def _digest(file: BinaryIO, limit: int = 2**63) -> tuple[int, str]:
    """Number of bytes and SHA-512 of what can be read, ``limit`` bytes at most."""
    total, digest = 0, hashlib.sha512()
    buffer = memoryview(bytearray(_CHUNK))
    while total < limit:
        got = file.readinto(buffer[: min(_CHUNK, limit - total)])  # type: ignore[attr-defined]
        if not got:
            break
        digest.update(buffer[:got])
        total += got
    return total, digest.hexdigest()
