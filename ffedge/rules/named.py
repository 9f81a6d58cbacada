"""Rules by one word: what the command line and the estimator offer, and files know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .base import Rule
from .contrast import Contrast
from .fast_weights import FastWeights
from .goodness import MeanOfSquares, Sum, SumOfSquares
from .goodness_parts import Signed, TopK
from .group import Group
from .headed import Headed
from .labels import Append
from .losses import Swish, SymBa
from .negatives import Negatives
from .negatives_features import Corrupted, Generated, Hybrid, Mixed, OtherSample
from .objectives import Logistic
from .ordinal import Ordinal
from .prototypes import Prototypes
from .readout import Readout
from .scff import SCFF
from .side_channel import SideChannel
from .top_down import TopDown


def hinton(label_value: float = 3.0, peer: float = 0.03, head_gain: float = 10.0) -> Contrast:
    """Forward-Forward as published; Hinton 2022 (arXiv 2212.13345), section 3.3. See ``Contrast``.

    label_value: in units of the features' root mean square (3 equals the program's 1.0 on MNIST
    pixels).
    """
    return Contrast(label=Append(label_value), peer=peer, head_gain=head_gain)


#: What a model file may hold, by name; "hinton" is how Contrast's default was called at first.
RULES: dict[str, Any] = {
    "readout": Readout,
    "group": Group,
    "prototypes": Prototypes,
    "side-channel": SideChannel,
    "contrast": Contrast,
    "hinton": hinton,
    "ordinal": Ordinal,
    "scff": SCFF,
    "headed": Headed,
    "top-down": TopDown,
    "fast-weights": FastWeights,
}


def without_labels(negatives: Negatives) -> Headed:
    """Positive data against negatives made of them, as Hinton 2022, section 3.2, then a head."""
    return Headed(Contrast(negatives=negatives, label=None))


#: What the command line and ``FFClassifier`` offer by one word.
NAMED_RULES: dict[str, Rule] = {
    "readout": Readout(),
    "readout-frozen": Readout(frozen=True),
    "group": Group(),
    "group-mean": Group(squared=False),
    "prototypes": Prototypes(),
    "side-channel": SideChannel(),
    "side-channel-logistic": SideChannel(Logistic()),
    "hinton": hinton(),
    "hinton-collaborating": Contrast(collaboration=True),
    "hinton-minimising": Contrast(SumOfSquares(minimise=True)),
    "hinton-unsquared": Contrast(Sum()),
    "hinton-top-k": Contrast(TopK()),
    "hinton-signed": Contrast(Signed()),
    "symba": Contrast(MeanOfSquares(), SymBa(), peer=0.0),
    "swish": Contrast(MeanOfSquares(), Swish(), peer=0.0),
    "scff": Headed(SCFF(), first=0),
    "hybrid": without_labels(Hybrid()),
    "corrupted": without_labels(Corrupted()),
    "mixed": without_labels(Mixed()),
    "other-sample": without_labels(OtherSample()),
    "generated": without_labels(Generated()),
    "top-down": TopDown(),
    "fast-weights": FastWeights(),
}

#: What the command line and ``FFRegressor`` offer by one word, where the targets are numbers.
NUMBER_RULES: dict[str, Rule] = {
    "ordinal": Ordinal(),
    "ordinal-group": Ordinal(Group(smoothing=0.0)),
}

ALL_RULES = NAMED_RULES | NUMBER_RULES

#: Rules for classes, and what stands for them where the target is a number.
_FOR_NUMBERS = {"readout": "ordinal", "group": "ordinal-group"}


def named_rule(name: str, known: Mapping[str, Rule] = NAMED_RULES) -> Rule:
    """The rule of that name among the known ones; ConfigError if there is none."""
    if name not in known:
        raise ConfigError(f"rule: expected one of {', '.join(known)}, got {name!r}")
    return known[name]


def for_numbers(word: str) -> str:
    """The word of a rule that predicts numbers: ``word`` itself, or what stands for it.

    >>> for_numbers("readout"), for_numbers("ordinal-group")
    ('ordinal', 'ordinal-group')

    Raises ConfigError for a rule that knows classes only.
    """
    found = _FOR_NUMBERS.get(word, word)
    if found not in NUMBER_RULES:
        raise ConfigError(
            f"regression: expected one of the rules {', '.join(NUMBER_RULES)}, got {word}, which "
            "knows classes only"
        )
    return found


def word_for(rule: Rule) -> str:
    """What to call a rule in reports: its word, or the name of its kind.

    >>> word_for(hinton())
    'hinton'
    """
    words = [word for word, known in ALL_RULES.items() if known == rule]
    return words[0] if words else rule.name
