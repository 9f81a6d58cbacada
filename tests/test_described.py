"""Descriptions as JSON types: round trips of nested objects, and what is no description."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from ffedge.described import describe, parse


@dataclass(frozen=True)
class Inner:
    size: int = 3
    name: ClassVar[str] = "inner"


@dataclass(frozen=True)
class Outer:
    inner: Inner | None = field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)
    name: ClassVar[str] = "outer"
    parts: ClassVar[dict] = {"inner": {"inner": Inner}}


@pytest.mark.parametrize("thing", [Outer(), Outer(None), Outer(Inner(7), (5,))])
def test_a_description_survives_json_and_comes_back_equal(thing):
    text = json.dumps(describe(thing))

    assert parse(json.loads(text), {"outer": Outer}) == thing


def test_a_description_names_every_field():
    assert describe(Outer()) == {
        "name": "outer", "inner": {"name": "inner", "size": 3}, "sizes": [1, 2],
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [None, 3, {}, {"name": "other"}, {"name": ["outer"]}, {"name": "outer", "extra": 1},
     {"name": "outer", "inner": {"name": "outer"}}, {"name": "outer", "inner": "inner"}],
)  # fmt: skip
def test_what_is_no_description_is_refused(wrong):
    with pytest.raises((LookupError, TypeError, ValueError)):
        parse(wrong, {"outer": Outer})


def test_descriptions_nest_no_deeper_than_the_classes():
    deep = {"name": "inner", "size": {"name": "inner", "size": {}}}

    assert parse(deep, {"inner": Inner}).size == deep["size"]
