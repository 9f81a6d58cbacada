"""Signatures for files that are sent to devices: Ed25519, with versions that only go up.

``signature`` is the signature file and what it vouches for, ``keys`` the key files and the only
file that imports ``cryptography``, ``versions`` what a device has accepted before,
``regular_file`` reads any of them within bounds, ``signed_file`` puts them together.
"""

from .keys import KeyFiles, make_keys
from .signature import Signature
from .signed_file import open_verified, sign, verify

__all__ = ["KeyFiles", "Signature", "make_keys", "open_verified", "sign", "verify"]
