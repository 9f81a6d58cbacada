"""Byte counts as people write and read them."""

from __future__ import annotations

import re

from .errors import ConfigError

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "k": 2**10, "m": 2**20, "g": 2**30,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip


def parse_bytes(text: str | int) -> int:
    """Bytes from ``524288``, ``"512KiB"``, ``"0.5 MiB"`` or ``"1MB"``; at least 1.

    K, M and G alone are binary, as in KiB. Raises ConfigError for anything else.

    >>> parse_bytes("512KiB"), parse_bytes("1.5 MB")
    (524288, 1500000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or isinstance(text, bool):
        raise ConfigError(
            f"bytes: expected a number with an optional unit, as 524288, 512KiB or 0.5MB, "
            f"got {text!r}"
        )
    if len(match[1]) > 20:
        raise ConfigError(f"bytes: expected at most 20 digits, got {len(match[1])}")
    count = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if count < 1:
        raise ConfigError(f"bytes: expected at least 1, got {text!r}")
    return count


def show_text(text: str) -> str:
    r"""In one line that a terminal may be sent: what cannot be printed is shown by its number.

    >>> show_text("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def show_bytes(count: int) -> str:
    """Exact bytes with separators, the binary unit beside it where that helps.

    >>> show_bytes(524288)
    '524,288 B (512.0 KiB)'
    """
    if count < 1024:
        return f"{count:,} B"
    return f"{count:,} B ({short_bytes(count)})"


def short_bytes(count: int) -> str:
    """Rounded, in the largest binary unit that leaves at least 1.

    >>> short_bytes(524288), short_bytes(999)
    ('512.0 KiB', '999 B')
    """
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"
