"""From the user's units to the network's: learned from training data, kept in the model.

``x = clip((raw - mean) * gain, -LIMIT, LIMIT)``, one mean and gain per feature.

"standard"  every feature to mean 0 and standard deviation 1; constant features become 0
"global"    zero stays zero; one gain for all features, so that their root mean square is 1.
            For pixels, counts and spectra: what is 0 stays sparse and relations are kept.
"shifted"   every feature to mean 1 and standard deviation 1/2: below two deviations it reaches 0.
            For signed data in int8: hardly anything is negative, so one input a feature does
            where "standard" needs two, and the weights of both signs are shared
"none"      mean 0, gain 1: the data are taken as they are
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import ConfigError
from .kernels.moments import add_moments
from .tensor import TensorSpec

Array = np.ndarray[Any, Any]

KINDS = ("standard", "global", "shifted", "none")

#: Standard deviations below the mean at which "shifted" data reach 0.
SHIFT = 2.0

#: A scaler has learned enough: one sample more would not change a digit of its moments.
ENOUGH = 2**53

#: Scaled values are clipped here: one broken sensor reading must not outshout a sample.
LIMIT = 8.0


def check_kind(kind: str) -> str:
    """``kind`` itself; ConfigError if there is no such scaling."""
    if kind not in KINDS:
        raise ConfigError(f"scaling: expected one of {', '.join(KINDS)}, got {kind!r}")
    return kind


class Scaler:
    """Learns mean and gain from a stream of rows; writes them into arrays it is given.

    mean, gain    float32 (width,)  the model's own, written by ``finish``
    moments       float64 (2, width) workspace: running mean and sum of squared distances
    """

    def __init__(self, kind: str, mean: Array, gain: Array, moments: Array) -> None:
        self.kind = check_kind(kind)
        self._mean, self._gain, self._moments = mean, gain, moments
        self.count = 0

    @staticmethod
    def workspace(width: int) -> TensorSpec:
        """The ``moments`` buffer."""
        return TensorSpec((2, width), "float64")

    def add(self, features: Array, subset: Array, first: int, last: int) -> None:
        """Take in samples first..last-1, up to ``ENOUGH`` in all; see ``kernels.moments``."""
        last = min(last, first + max(ENOUGH - self.count, 0))
        self.count = add_moments(features, subset, first, last, self.count, *self._moments)

    def finish(self) -> None:
        """Write mean and gain from what has been seen so far."""
        means, spread = self._moments
        if self.kind == "none" or self.count == 0:
            self._mean[:], self._gain[:] = 0.0, 1.0
            return
        variance = spread / self.count
        if self.kind in ("standard", "shifted"):
            # Below this a feature is constant but for rounding of its float32 values.
            noise = (np.abs(means) * np.finfo(np.float32).eps) ** 2 + 1e-30
            gain = 1.0 / np.sqrt(np.maximum(variance, noise))
            self._mean[:] = means
            self._gain[:] = np.where(variance > noise, gain, 0.0)
            if self.kind == "shifted":
                self._mean[:] = means - SHIFT / gain
                self._gain *= np.float32(1.0 / SHIFT)
            return
        power = float(np.mean(variance + means**2))
        self._mean[:] = 0.0
        self._gain[:] = 1.0 / np.sqrt(power) if power > 0.0 else 0.0
