"""Black boxes between layers: whatever happens there, the layers around it learn unchanged.

Hinton 2022 (arXiv 2212.13345), abstract and section 7: Forward-Forward needs no derivative of what
stands between two layers, because nothing is propagated through it. A box is a frozen description;
``Network.dense(..., boxes={1: Quantizer()})`` puts one in front of layer 1.
"""

from __future__ import annotations

from .base import Box, Slot
from .converters import Converter, Quantizer
from .custom import BlackBox
from .mixing import FrozenNetwork, Permutation
from .noise import NoisyDropout
from .perturbed import Perturbed

#: Boxes by name, for model files.
BOXES: dict[str, type[Box]] = {
    "function": BlackBox,
    "quantizer": Quantizer,
    "converter": Converter,
    "permutation": Permutation,
    "frozen-network": FrozenNetwork,
    "noisy-dropout": NoisyDropout,
    "perturbed": Perturbed,
}

__all__ = [
    "BOXES",
    "BlackBox",
    "Box",
    "Converter",
    "FrozenNetwork",
    "NoisyDropout",
    "Permutation",
    "Perturbed",
    "Quantizer",
    "Slot",
]
