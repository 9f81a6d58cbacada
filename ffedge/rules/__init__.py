"""Learning rules: one file each, and the parts they are made of. ``named`` lists them by word.

A rule is a frozen description; ``base.ClassRule`` shows the flow of one batch in ten lines,
``contrast.Contrast`` that of positive against negative data.
"""

from .base import ClassRule, Rule
from .contrast import Contrast
from .fast_weights import FastWeights
from .goodness import Goodness, MeanOfSquares, Sum, SumOfSquares
from .goodness_parts import GOODNESS, Regions, Signed, TopK
from .group import Group
from .headed import HEADS, Head, Headed, RidgeHead, SoftmaxHead
from .labels import LABELS, Append, Label, Overwrite, Pattern
from .losses import LOSSES, Loss, Swish, SymBa, Threshold
from .named import (
    ALL_RULES,
    NAMED_RULES,
    NUMBER_RULES,
    RULES,
    for_numbers,
    hinton,
    named_rule,
    word_for,
)
from .negatives import NEGATIVES, HardLabel, LikelyLabel, Negatives, WrongLabel
from .negatives_features import Corrupted, Generated, Hybrid, Mixed, OtherSample
from .objectives import OBJECTIVES, CrossEntropy, Logistic, Objective
from .ordinal import Ordinal
from .prototypes import Prototypes
from .readout import Readout
from .scff import SCFF
from .side_channel import SideChannel
from .top_down import TopDown

__all__ = [
    "ALL_RULES",
    "GOODNESS",
    "HEADS",
    "LABELS",
    "LOSSES",
    "NAMED_RULES",
    "NEGATIVES",
    "NUMBER_RULES",
    "OBJECTIVES",
    "RULES",
    "SCFF",
    "Append",
    "ClassRule",
    "Contrast",
    "Corrupted",
    "CrossEntropy",
    "FastWeights",
    "Generated",
    "Goodness",
    "Group",
    "HardLabel",
    "Head",
    "Headed",
    "Hybrid",
    "Label",
    "LikelyLabel",
    "Logistic",
    "Loss",
    "MeanOfSquares",
    "Mixed",
    "Negatives",
    "Objective",
    "Ordinal",
    "OtherSample",
    "Overwrite",
    "Pattern",
    "Prototypes",
    "Readout",
    "Regions",
    "RidgeHead",
    "Rule",
    "SideChannel",
    "Signed",
    "SoftmaxHead",
    "Sum",
    "SumOfSquares",
    "Swish",
    "SymBa",
    "Threshold",
    "TopDown",
    "TopK",
    "WrongLabel",
    "for_numbers",
    "hinton",
    "named_rule",
    "word_for",
]
