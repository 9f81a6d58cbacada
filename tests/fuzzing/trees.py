"""Changes of JSON: values of other kinds, extremes, deep nesting, keys twice."""

from __future__ import annotations

import json
import random
from typing import Any

_MARK = "\ue000raw:"

#: Written as they stand, because json.dumps would not.
_RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-0", "1" * 5000, "9" * 400, "9" * 4300, "-1",
    "1.5", "9223372036854775808", '"\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"\\u202e"',
    '"\\n\\n"', "[" * 60 + "]" * 60, "[" * 5000 + "]" * 5000, '{"a":' * 3000 + "1" + "}" * 3000,
    "1e-400", "4294967296", "65537", "131072",
)  # fmt: skip

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 2**31, 2**32, 2**62, 2**63, 10**18, 0.5, 1e308, -0.0, "", "x",
    "name", "A" * 300, "é", "\x00", [], {}, [1], [[]], {"a": 1}, ["x", "x"], [None], "F32", "I8",
    "sgd", "hinton", "group", "readout", "int8", "float32", "1", "__class__",
)  # fmt: skip


def change(rng: random.Random, tree: Any) -> Any:
    """The tree with one node changed; marks of raw text inside, see ``write``."""
    path = _pick(rng, tree)
    if not path:
        return _value(rng, tree)
    node = tree
    for step in path[:-1]:
        node = node[step]
    key = path[-1]
    kind = rng.randrange(10)
    if kind == 0 and isinstance(node, dict):
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[rng.choice(("", "x", "\x1b", "rule", "a_accuracy", "A" * 200, "\n"))] = node.pop(key)
    elif kind == 2 and isinstance(node, list):
        node[key:key] = [node[key]] * rng.choice((1, 2, 40, 1000))
    elif kind == 3 and isinstance(node, list):
        del node[key]
    elif kind == 4 and isinstance(node, dict):
        # Once more under the same key: the last one counts.
        node[f"{_MARK}twice:{key}"] = _value(rng, node[key])
    else:
        node[key] = _value(rng, node[key])
    return tree


def write(tree: Any) -> bytes:
    """JSON text with its marks resolved; a few braces for one too deep to be written."""
    try:
        text = json.dumps(tree)
    except RecursionError:
        return b"{" * 100
    mark = json.dumps(_MARK)[1:-1]
    text = text.replace(f"{mark}twice:", "")
    pieces = text.split(f'"{mark}')
    out = [pieces[0]]
    for piece in pieces[1:]:
        number, _, rest = piece.partition('"')
        out += [_RAW[int(number)], rest] if number.isdigit() else ['"', piece]
    return "".join(out).encode("utf-8", "surrogatepass")


def _value(rng: random.Random, old: Any) -> Any:
    chance = rng.random()
    if chance < 0.35:
        return f"{_MARK}{rng.randrange(len(_RAW))}"
    if chance < 0.5 and type(old) in (int, float) and abs(old) < 1e300:
        return old + rng.choice((1, -1, 1000, 0.5, -old, old, 1e30))
    if chance < 0.55:
        return [old]
    if chance < 0.6:
        return str(old)
    return rng.choice(_VALUES)


def _pick(rng: random.Random, tree: Any) -> list[Any]:
    """The way to one node, shallow ones as often as deep ones; [] for the tree itself."""
    path: list[Any] = []
    node = tree
    while True:
        if isinstance(node, dict) and node:
            step: Any = rng.choice(list(node))
        elif isinstance(node, list) and node:
            step = rng.randrange(len(node))
        else:
            return path
        path.append(step)
        node = node[step]
        if rng.random() < 0.35:
            return path
