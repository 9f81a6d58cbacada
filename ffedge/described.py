"""Frozen descriptions as JSON types and back: a name, the fields, and descriptions inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def describe(thing: Any) -> Any:
    """``{"name": ..., field: ...}`` of a frozen dataclass that has a ``name``, nested.

    Tuples become lists; all else stands as it is.
    """
    if is_dataclass(thing):
        values = {field.name: describe(getattr(thing, field.name)) for field in fields(thing)}
        return {"name": thing.name, **values}  # type: ignore[union-attr]
    return [describe(item) for item in thing] if isinstance(thing, tuple) else thing


def parse(description: Any, kinds: Mapping[str, Any]) -> Any:
    """The object of a ``describe`` result; ``kinds``: what may be made, by name.

    A class whose fields hold descriptions themselves says in ``parts`` of which kinds:
    ``parts = {"goodness": GOODNESS}``. Nothing else is followed, so what comes from a file nests
    no deeper than the classes do. Lists become tuples. Raises LookupError, TypeError or
    ValueError for what is no description, and what the class raises for its values.
    """
    options = dict(description)
    kind = kinds[options.pop("name")]
    parts = getattr(kind, "parts", {})
    for name, value in options.items():
        if name in parts:
            options[name] = None if value is None else parse(value, parts[name])
        elif isinstance(value, list):
            options[name] = tuple(value)
    return kind(**options)
