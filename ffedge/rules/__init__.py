"""Learning rules: one file each. ``RULES`` names them for the command line and model files.

A rule is a frozen description; ``base.ClassRule`` shows the flow of one batch in ten lines.
"""

from __future__ import annotations

from ..errors import ConfigError
from .base import ClassRule, Rule
from .group import Group
from .hinton import Hinton
from .ordinal import Ordinal
from .readout import Readout

RULES: dict[str, type[Rule]] = {
    "readout": Readout,
    "group": Group,
    "hinton": Hinton,
    "ordinal": Ordinal,
}

#: What the command line and the estimator offer by one word.
NAMED_RULES: dict[str, Rule] = {
    "readout": Readout(),
    "readout-frozen": Readout(frozen=True),
    "group": Group(),
    "group-mean": Group(squared=False),
    "hinton": Hinton(),
    "ordinal": Ordinal(),
}


def named_rule(name: str) -> Rule:
    """The rule of that name; ConfigError if there is none."""
    if name not in NAMED_RULES:
        raise ConfigError(f"rule: expected one of {', '.join(NAMED_RULES)}, got {name!r}")
    return NAMED_RULES[name]


__all__ = [
    "NAMED_RULES",
    "RULES",
    "ClassRule",
    "Group",
    "Hinton",
    "Ordinal",
    "Readout",
    "Rule",
    "named_rule",
]
