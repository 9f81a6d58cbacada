"""Profiles as files: read with every figure checked, and compared with an older one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

from ..atomic import atomic_write
from ..errors import ConfigError

FORMAT = 1

#: A larger file is no profile.
MAX_BYTES = 64 << 20

_MOST_ROWS = 200_000
_LONGEST = 10_000

Check = Callable[[Any, str], None]


def save_profile(profile: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a profile as JSON, whole or not at all. Raises OSError as the system does."""
    with atomic_write(path) as file:
        file.write(json.dumps(profile, indent=1).encode() + b"\n")


def load_profile(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a profile. Raises ConfigError, naming the file and the field, for anything else."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: expected a profile, got {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name}: expected a profile, got more than {MAX_BYTES:,} B")
    try:
        found = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name}: expected the JSON of `ffedge profile -o`, got {str(error)[:200]}"
        ) from None
    try:
        return check_profile(found)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"the number {text}")


def check_profile(profile: Any) -> dict[str, Any]:
    """The known fields of a profile; ConfigError, naming the field, if one is not as it must be."""
    if not isinstance(profile, dict):
        raise ConfigError(f"expected a profile, got {type(profile).__name__}")
    if profile.get("format") != FORMAT or isinstance(profile.get("format"), bool):
        raise ConfigError(
            f"expected a profile of format {FORMAT}, got {str(profile.get('format'))[:40]}"
        )
    _fields(profile, _PROFILE, "profile")
    if profile["planned_bytes"] == 0:
        raise ConfigError("planned_bytes: expected at least 1, got 0")
    known = set(profile["categories"])
    for i, row in enumerate(profile["timeline"]):
        if row["bytes"].keys() != known:
            raise ConfigError(f"timeline[{i}].bytes: expected every category once")
    return {name: profile[name] for name in _PROFILE}


def _fields(thing: Any, checks: dict[str, Check], where: str) -> None:
    if not isinstance(thing, dict):
        raise ConfigError(f"{where}: expected an object, got {type(thing).__name__}")
    for name, check in checks.items():
        place = name if where == "profile" else f"{where}.{name}"
        if name not in thing:
            raise ConfigError(f"{place}: expected a value, got none")
        check(thing[name], place)


def _wrong(where: str, what: str, value: Any) -> ConfigError:
    shown = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return ConfigError(f"{where}: expected {what}, got {shown:.60}")


def _count(value: Any, where: str) -> None:
    if type(value) is not int or not 0 <= value < 2**63:
        raise _wrong(where, "a whole number from 0 on, below 2**63", value if _short(value) else "")


def _short(value: Any) -> bool:
    return type(value) is not int or abs(value) < 2**200


def _number(value: Any, where: str) -> None:
    if type(value) is int and abs(value) < 2**63:
        return
    if type(value) is not float or not math.isfinite(value):
        raise _wrong(where, "a finite number", value if _short(value) else "")


def _text(value: Any, where: str) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise _wrong(where, f"a text of at most {_LONGEST:,} characters", value)


def _truth(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false", value)


def _anything(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)


def _or_null(check: Check) -> Check:
    return lambda value, where: None if value is None else check(value, where)


def _list(check: Check, most: int = _MOST_ROWS) -> Check:
    def each(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(where, f"a list of at most {most:,}", value)
        for i, item in enumerate(value):
            check(item, f"{where}[{i}]")

    return each


def _object(checks: dict[str, Check]) -> Check:
    return lambda value, where: _fields(value, checks, where)


def _interval(value: Any, where: str) -> None:
    _list(_or_null(_count), 2)(value, where)
    if len(value) != 2 or value[0] is None:
        raise _wrong(where, "first and last", value)


def _each_value(check: Check) -> Check:
    def each(value: Any, where: str) -> None:
        _anything(value, where)
        for name, item in value.items():
            check(item, f"{where}.{name:.40}")

    return each


def _some(value: Any, where: str) -> None:
    if not isinstance(value, list) or not value:
        raise _wrong(where, "at least one row", value)


def _both(first: Check, second: Check) -> Check:
    def check(value: Any, where: str) -> None:
        first(value, where)
        second(value, where)

    return check


_ROW: dict[str, Check] = {
    "stage": _count, "phase": _count, "label": _text, "layer": _or_null(_count),
    "seconds": _number, "passes": _count, "bytes": _each_value(_count),
}  # fmt: skip
_BUFFER: dict[str, Check] = {
    "name": _text, "category": _text, "shape": _list(_count, 16), "dtype": _text,
    "bytes": _count, "offset": _count, "stages": _interval, "phases": _interval,
    "lifetime": _text,
}  # fmt: skip
_PROCESS: dict[str, Check] = {
    "interpreter": _count, "numpy": _count, "kernels": _count, "ffedge": _count,
    "training": _count, "peak": _count, "kernels_by": _text,
}  # fmt: skip
_FIT: dict[str, Check] = {
    "name": _text, "title": _text, "kind": _text, "memory_bytes": _count,
    "needed_bytes": _or_null(_count), "fits": _truth, "note": _text,
}  # fmt: skip
_PROFILE: dict[str, Check] = {
    "format": _count, "ffedge": _text, "network": _text, "rule": _text, "precision": _text,
    "data": _text, "recipe": _anything, "budget": _or_null(_count), "planned_bytes": _count,
    "measured_bytes": _count, "error_percent": _number, "alive_bytes": _count,
    "touched_bytes": _count, "step_bytes": _count, "categories": _list(_text, 100),
    "timeline": _both(_some, _list(_object(_ROW))), "buffers": _list(_object(_BUFFER)),
    "process": _object(_PROCESS), "storage": _each_value(_count), "samples": _count,
    "steps": _count, "seconds": _number, "seconds_unwatched": _or_null(_number),
    "overhead_percent": _or_null(_number), "fits": _list(_object(_FIT)),
}  # fmt: skip

#: Two profiles that differ in one of these measure different trainings.
_SAME = ("network", "rule", "precision", "data")


def compare(new: dict[str, Any], old: dict[str, Any], allowed_percent: float) -> dict[str, Any]:
    """Old and new peaks with their growth in percent; only the measured training peak decides.

    measured, planned, process: {"old", "new", "grown_percent"} (bytes; growth null if the old
    figure is 0). differs: what the two trainings do not have in common. grew: whether
    ``measured`` exceeds the old one by more than ``allowed_percent``.
    """
    pairs = {
        "measured": (old["measured_bytes"], new["measured_bytes"]),
        "planned": (old["planned_bytes"], new["planned_bytes"]),
        "process": (old["process"]["peak"], new["process"]["peak"]),
    }
    before, after = pairs["measured"]
    return {
        name: {"old": a, "new": b, "grown_percent": 100.0 * (b - a) / a if a else None}
        for name, (a, b) in pairs.items()
    } | {
        "allowed_percent": allowed_percent,
        "differs": [name for name in _SAME if old[name] != new[name]]
        + (["recipe"] if old["recipe"] != new["recipe"] else []),
        "grew": after > before * (1.0 + allowed_percent / 100.0),
    }  # fmt: skip
