"""Learning rules: one file each, and the parts they are made of. ``named`` lists them by word.

A rule is a frozen description; ``base.ClassRule`` shows the flow of one batch in ten lines,
``contrast.Contrast`` that of positive against negative data.
"""

from .base import ClassRule, Rule
from .contrast import Contrast
from .goodness import GOODNESS, Goodness, MeanOfSquares, Sum, SumOfSquares
from .group import Group
from .headed import HEADS, Head, Headed, RidgeHead, SoftmaxHead
from .labels import LABELS, Append, Label, Overwrite, Pattern
from .losses import LOSSES, Loss, Swish, SymBa, Threshold
from .named import NAMED_RULES, RULES, hinton, named_rule, word_for
from .negatives import NEGATIVES, HardLabel, LikelyLabel, Negatives, WrongLabel
from .negatives_features import Corrupted, Generated, Hybrid, Mixed, OtherSample
from .readout import Readout
from .scff import SCFF

__all__ = [
    "GOODNESS",
    "HEADS",
    "LABELS",
    "LOSSES",
    "NAMED_RULES",
    "NEGATIVES",
    "RULES",
    "SCFF",
    "Append",
    "ClassRule",
    "Contrast",
    "Corrupted",
    "Generated",
    "Goodness",
    "Group",
    "HardLabel",
    "Head",
    "Headed",
    "Hybrid",
    "Label",
    "LikelyLabel",
    "Loss",
    "MeanOfSquares",
    "Mixed",
    "Negatives",
    "OtherSample",
    "Overwrite",
    "Pattern",
    "Readout",
    "RidgeHead",
    "Rule",
    "SoftmaxHead",
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
