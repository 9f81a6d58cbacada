"""Key files: PEM, an Ed25519 pair; the private one as PKCS8, readable by its owner only.

The only file that imports ``cryptography``, and only when a key is made or read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, MissingDependencyError
from .regular_file import open_regular, read_at_most
from .signature import is_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

#: A longer key file is not ours.
MAX_KEY_FILE = 16384

#: Bytes; the library takes no longer ones.
MAX_PASSPHRASE = 1000

#: What to ask for the passphrase of an encrypted key; called only if the key is encrypted.
Passphrase = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Paths of a new pair; key: the public key's identity, 64 hex digits."""

    private: Path
    public: Path
    key: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Judges signatures; key: SHA-256 of the 32 raw bytes, 64 hex digits."""

    key: str
    _public: Ed25519PublicKey = field(repr=False)

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether the private key of this one signed exactly these bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Signs; ``public`` is what devices have."""

    public: PublicKey
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 (RFC 8032), 64 bytes."""
        made: bytes = self._private.sign(message)
        return made


def make_keys(stem: str | os.PathLike[str], passphrase: bytes | None = None) -> KeyFiles:
    """A new pair, in ``<stem>.private.pem`` (mode 0600) and ``<stem>.public.pem``.

    passphrase: encrypts the private one. Raises ConfigError if one of the files is there
    already, the name cannot be printed or the passphrase is empty or too long,
    MissingDependencyError without ``cryptography``, OSError as the system does.
    """
    kinds, serialization = _library("make_keys")
    if passphrase is not None and not 1 <= len(passphrase) <= MAX_PASSPHRASE:
        raise ConfigError(
            f"make_keys: expected a passphrase of 1 to {MAX_PASSPHRASE:,} bytes, got "
            f"{len(passphrase):,}"
        )
    if not is_name(os.path.basename(os.fspath(stem))):
        raise ConfigError(f"make_keys: expected a printable name, got {os.fspath(stem)!r:.80}")
    private = Path(f"{os.fspath(stem)}.private.pem")
    public = Path(f"{os.fspath(stem)}.public.pem")
    for path in (private, public):
        if os.path.lexists(path):
            raise ConfigError(
                f"make_keys: expected a new name, got {path}, which is there already; what it "
                "signed needs it: move it away yourself"
            )
    made = kinds.Ed25519PrivateKey.generate()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    lock: Any = serialization.NoEncryption()
    if passphrase is not None:
        lock = serialization.BestAvailableEncryption(passphrase)
    _write_new(private, made.private_bytes(pem, form, lock), 0o600)
    try:
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        _write_new(public, made.public_key().public_bytes(pem, info), 0o644)
    except BaseException:
        private.unlink()
        raise
    return KeyFiles(private, public, _public(made.public_key()).key)


def read_public(path: str | os.PathLike[str]) -> PublicKey:
    """The public key of a PEM file; ConfigError, naming the file, for anything else."""
    kinds, serialization = _library("verify")
    name, what = os.fspath(path), "a public key file"
    with open_regular(path, what, ConfigError) as file:
        content = read_at_most(file, MAX_KEY_FILE, name, what, ConfigError)
    if b"PRIVATE KEY-----" in content:
        raise ConfigError(
            f"{name}: expected a public key, got a private one, which belongs on no device; give "
            "the .public.pem that was made with it"
        )
    return _public(_ed25519(
        lambda: serialization.load_pem_public_key(content), kinds.Ed25519PublicKey, name, "public",
    ))  # fmt: skip


def read_private(path: str | os.PathLike[str], passphrase: Passphrase | None = None) -> PrivateKey:
    """The private key of a PEM file.

    Raises ConfigError, naming the file and nothing of what is in it, if anybody but its owner
    may read or write it, as ssh does, if it holds no Ed25519 key, or if the passphrase is
    missing or wrong.
    """
    kinds, serialization = _library("sign")
    name, what = os.fspath(path), "a private key file"
    with open_regular(path, what, ConfigError) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = read_at_most(file, MAX_KEY_FILE, name, what, ConfigError)
    if b"PUBLIC KEY-----" in content:
        raise ConfigError(
            f"{name}: expected a private key, got a public one; give the .private.pem that was "
            "made with it"
        )
    if mode & 0o077:
        raise ConfigError(
            f"{name}: expected a private key that only its owner can read (mode 0600), got mode "
            f"{mode:04o}; if nobody has copied it, run: chmod 600 {name}"
        )
    encrypted = b"ENCRYPTED PRIVATE KEY-----" in content
    word = passphrase() if encrypted and passphrase else None
    made: Ed25519PrivateKey = _ed25519(
        lambda: serialization.load_pem_private_key(content, word or None), kinds.Ed25519PrivateKey,
        name, "private", encrypted=encrypted, answered=bool(word),
    )  # fmt: skip
    return PrivateKey(_public(made.public_key()), made)


def _library(purpose: str) -> tuple[Any, Any]:
    """The modules of ``cryptography`` for Ed25519 and for key files."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingDependencyError("cryptography", "sign", purpose) from None
    return ed25519, serialization


def _ed25519(
    load: Callable[[], Any], kind: type[Any], name: str, half: str, *,
    encrypted: bool = False, answered: bool = False,
) -> Any:  # fmt: skip
    """What ``load`` finds, if it is a ``kind``; the library's own words are not repeated."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = load()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted and not answered:
            raise ConfigError(
                f"{name}: expected a passphrase, got none; the key is encrypted: set "
                "FFEDGE_PASSPHRASE, or type it at a terminal"
            ) from None
        if encrypted:
            raise ConfigError(
                f"{name}: expected the passphrase of this key, got another one, or the file is "
                "damaged"
            ) from None
        raise ConfigError(
            f"{name}: expected an Ed25519 {half} key in PEM, got something else; make a pair with "
            "`ffedge sign --make-keys NAME`"
        ) from None
    if not isinstance(found, kind):
        raise ConfigError(
            f"{name}: expected an Ed25519 {half} key, got a key of another kind; make a pair with "
            "`ffedge sign --make-keys NAME`"
        )
    return found


def _public(found: Ed25519PublicKey) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = found.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PublicKey(hashlib.sha256(raw).hexdigest(), found)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """A file that was not there, on disk with its folder's entry; deleted if that fails."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
