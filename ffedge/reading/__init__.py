"""Reading out of a trained network: how its activity becomes a score for each class.

A read-out is a frozen description, independent of the learning rule where that is possible: it
asks the rule what its layers can say. ``Predictor(model, reading=...)`` uses one; a model carries
its own, ``named`` lists them by word, ``ffedge.fit_reading`` sets margins and intervals on data.
"""

from .base import Everything, Reading, full_cost
from .labels import OnePass, PerLabel, Shortlist
from .layers import EarlyExit, Interval
from .named import FORMS, READINGS, default_reading, named_reading

__all__ = [
    "FORMS",
    "READINGS",
    "EarlyExit",
    "Everything",
    "Interval",
    "OnePass",
    "PerLabel",
    "Reading",
    "Shortlist",
    "default_reading",
    "full_cost",
    "named_reading",
]
