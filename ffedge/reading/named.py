"""Read-outs by name: in model files, and in words on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError
from .base import Everything, Reading
from .labels import OnePass, PerLabel, Shortlist
from .layers import EarlyExit, Interval

if TYPE_CHECKING:
    from ..network import Network

#: What a model file may hold.
READINGS: dict[str, type[Reading]] = {
    kind.name: kind for kind in (Everything, PerLabel, OnePass, Shortlist, Interval, EarlyExit)
}

#: How each is written in one word.
FORMS = (
    "everything", "per-label", "one-pass", "shortlist:MOST", "interval:FIRST-LAST",
    "early-exit:MARGIN,MARGIN,...",
)  # fmt: skip


def named_reading(text: str) -> Reading:
    """The read-out of a text such as ``interval:0-1``; ConfigError for any other.

    A margin of ``-`` means that nobody leaves after that layer.

    >>> named_reading("early-exit:2.5,-")
    EarlyExit(margins=(2.5, None))
    """
    name, colon, rest = text.partition(":")
    try:
        if name == Shortlist.name and colon:
            return Shortlist(int(rest))
        if name == Interval.name and colon:
            first, last = rest.split("-")
            return Interval(int(first), int(last))
        if name == EarlyExit.name and colon:
            words = rest.split(",")
            return EarlyExit(tuple(None if word == "-" else float(word) for word in words))
        if name in (Everything.name, PerLabel.name, OnePass.name) and not colon:
            return READINGS[name]()
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
    raise ConfigError(f"reading: expected one of {', '.join(FORMS)}, got {text!r:.60}")


def default_reading(network: Network) -> Reading:
    """What is read where nothing else is asked for: all layers, all labels."""
    return PerLabel() if network.rule.reads_labels else Everything()
