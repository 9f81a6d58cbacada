"""Learning rules: one file each, and the parts they are made of. ``named`` lists them by word.

A rule is a frozen description; ``base.ClassRule`` shows the flow of one batch in ten lines,
``contrast.Contrast`` that of positive against negative data.
"""

from .base import ClassRule, Rule
from .contrast import Contrast
from .goodness import GOODNESS, Goodness, MeanOfSquares, Sum, SumOfSquares
from .group import Group
from .labels import LABELS, Append, Label, Overwrite, Pattern
from .losses import LOSSES, Loss, Swish, SymBa, Threshold
from .named import NAMED_RULES, RULES, hinton, named_rule, word_for
from .negatives import NEGATIVES, HardLabel, LikelyLabel, Negatives, WrongLabel
from .readout import Readout

__all__ = [
    "GOODNESS",
    "LABELS",
    "LOSSES",
    "NAMED_RULES",
    "NEGATIVES",
    "RULES",
    "Append",
    "ClassRule",
    "Contrast",
    "Goodness",
    "Group",
    "HardLabel",
    "Label",
    "LikelyLabel",
    "Loss",
    "MeanOfSquares",
    "Negatives",
    "Overwrite",
    "Pattern",
    "Readout",
    "Rule",
    "Sum",
    "SumOfSquares",
    "Swish",
    "SymBa",
    "Threshold",
    "WrongLabel",
    "hinton",
    "named_rule",
    "word_for",
]
