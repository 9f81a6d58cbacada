"""Fields of a frozen description that must be numbers within bounds."""

from __future__ import annotations

from typing import Any

from .errors import ConfigError


def number_in(thing: Any, field: str, low: float, high: float) -> None:
    """Raise ConfigError unless ``thing.field`` is a Python number in low..high, and no bool."""
    value = getattr(thing, field)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise ConfigError(
            f"{type(thing).__name__}: expected {field} in {low:g}..{high:g}, got {value!r:.40}"
        )


def whole_in(thing: Any, field: str, low: int, high: int) -> None:
    """Raise ConfigError unless ``thing.field`` is a whole number in low..high."""
    value = getattr(thing, field)
    if type(value) is not int:
        raise ConfigError(
            f"{type(thing).__name__}: expected {field} a whole number, got {value!r:.40}"
        )
    number_in(thing, field, low, high)
