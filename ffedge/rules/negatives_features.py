"""Negative data made from the features of a batch: what is wrong with them can be seen, not read.

Each fills rows count..2*count-1 of the input from the batch in rows 0..count-1, from its seed and
``run.samples_seen``. A batch of one has no other sample: what is made of two is then its own copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..errors import ConfigError
from ..kernels import heads, negatives
from ..tensor import PANEL, TensorSpec, panels
from .negatives import NEGATIVES, Negatives

if TYPE_CHECKING:
    from ..network import Network

#: Sets the random numbers of negative features apart from those of the starting weights.
FEATURE_STREAM = 0x3C6EF372

#: A two-dimensional sample with this many values in both directions is an image, else a window.
IMAGE_SIDE = 8


def _share(where: str, name: str, value: float, high: float = 1.0) -> None:
    if not 0.0 <= value <= high:
        raise ConfigError(f"{where}: expected {name} in 0..{high:g}, got {value!r:.40}")


def _seed_of(run: Any) -> int:
    return int(run.seed ^ FEATURE_STREAM)


def _shift_of(run: Any, count: int) -> int:
    shift: int = negatives.partner_shift(_seed_of(run), run.samples_seen, count)
    return shift


@dataclass(frozen=True)
class Shaped(Negatives):
    """Base of those for which it matters where a feature lies in the sample.

    shape: (features,) of a table; (steps, channels) of a sensor window; (height, width) of an
    image, if both are at least 8; (height, width, channels) of any image, or of a window as
    (steps, 1, channels). None: the data's own where the command line or ``pretrain`` makes the
    network, else a table.
    """

    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.shape
        if shape is None:
            return
        if (
            not isinstance(shape, tuple)
            or not 1 <= len(shape) <= 3
            or any(type(side) is not int or not 1 <= side < 1 << 31 for side in shape)
        ):
            raise ConfigError(
                f"{type(self).__name__}: expected shape as 1 to 3 whole numbers, got {shape!r:.60}"
            )

    def check(self, network: Network) -> None:
        """The shape must have the network's features."""
        if self.shape is not None and math.prod(self.shape) != network.features:
            raise ConfigError(
                f"{type(self).__name__}: expected a shape of {network.features} features, got "
                f"{self.shape}"
            )

    def fitted(self, shape: tuple[int, ...]) -> Self:
        """With the data's shape, unless one was given; further dimensions count as channels."""
        if self.shape is not None:
            return self
        return replace(self, shape=(*shape[:2], math.prod(shape[2:])) if shape[2:] else shape)

    def grid(self, features: int) -> tuple[int, int, int]:
        """(height, width, channels): a table is as high as it has features."""
        shape = (features,) if self.shape is None else self.shape
        if len(shape) == 3:
            return shape[0], shape[1], shape[2]
        if len(shape) == 1:
            return shape[0], 1, 1
        return (shape[0], shape[1], 1) if min(shape) >= IMAGE_SIDE else (shape[0], 1, shape[1])


@dataclass(frozen=True)
class Hybrid(Shaped):
    """``m * a + (1 - m) * b`` of two samples with a mask m of large blobs.

    Hinton 2022 (arXiv 2212.13345), section 3.2. Random bits are blurred ``blurs`` times with
    [1/4, 1/2, 1/4] in both directions and cut at 0.5: what comes of it is right at short range and
    wrong at long range. In sensor windows the blobs run along time, through all channels; in tables
    a random half of the columns comes from the other sample.

    blurs: 0 to 100; of no meaning in tables, whose columns have no order.
    """

    blurs: int = 6
    name: ClassVar[str] = "hybrid"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.blurs) is not int or not 0 <= self.blurs <= 100:
            raise ConfigError(f"Hybrid: expected blurs in 0..100, got {self.blurs!r:.40}")

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """One mask, float32 (height, width)."""
        return {"mask": TensorSpec(self.grid(network.features)[:2], "float32")}

    def make(self, run: Any, count: int) -> None:
        """See ``kernels.negatives.hybrid``."""
        features = run.network.features
        table = self.shape is None or len(self.shape) == 1
        negatives.hybrid(
            run.input, count, _shift_of(run, count), features, self.grid(features)[2],
            _seed_of(run), run.samples_seen, 0 if table else self.blurs, run.mask,
        )  # fmt: skip


@dataclass(frozen=True)
class Corrupted(Shaped):
    """The sample, broken: values of other samples, zeros, silent or shifted sensors, noise.

    shuffled: chance of a value to be the same feature's of another sample: each is plausible, not
    all together. zeroed: chance to be 0, the mean of standard scaling. dropped: chance of a channel
    (of a window or image) to be 0 throughout. noise: standard deviation of what is added, in units
    of the scaled features, 0 to 100. offset: the same of one number that is added to a whole
    channel, a sensor out of adjustment. The first three lie in 0..1; one of the five is above 0.
    """

    shuffled: float = 0.5
    zeroed: float = 0.0
    dropped: float = 0.0
    noise: float = 0.0
    offset: float = 0.0
    name: ClassVar[str] = "corrupted"
    paired: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shuffled", "zeroed", "dropped"):
            _share("Corrupted", name, getattr(self, name))
        for name in ("noise", "offset"):
            _share("Corrupted", name, getattr(self, name), 100.0)
        if not (self.shuffled or self.zeroed or self.dropped or self.noise or self.offset):
            raise ConfigError("Corrupted: expected something to break, got 0 in all five")

    def check(self, network: Network) -> None:
        """A table has no channels to drop."""
        super().check(network)
        if self.dropped and self.grid(network.features)[2] < 2:
            raise ConfigError(
                "Corrupted: expected at least two channels for dropped, got a shape with one; use "
                "zeroed"
            )

    def make(self, run: Any, count: int) -> None:
        """See ``kernels.negatives.corrupted``."""
        features = run.network.features
        negatives.corrupted(
            run.input, count, features, self.grid(features)[2], np.float32(self.shuffled),
            np.float32(self.zeroed), np.float32(self.dropped), np.float32(self.noise),
            np.float32(self.offset), _seed_of(run), run.samples_seen,
        )  # fmt: skip


@dataclass(frozen=True)
class Mixed(Negatives):
    """``a * x + (1 - a) * x'`` of two samples, a drawn evenly from low..high within 0..1."""

    low: float = 0.3
    high: float = 0.7
    name: ClassVar[str] = "mixed"

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.high <= 1.0:
            raise ConfigError(
                f"Mixed: expected 0 <= low <= high <= 1, got {self.low!r:.40} and {self.high!r:.40}"
            )

    def make(self, run: Any, count: int) -> None:
        """See ``kernels.negatives.mixed``."""
        negatives.mixed(
            run.input, count, _shift_of(run, count), np.float32(self.low), np.float32(self.high),
            _seed_of(run), run.samples_seen,
        )  # fmt: skip


@dataclass(frozen=True)
class OtherSample(Negatives):
    """Pairs of samples summed at the input: ``x + x`` is positive, ``x + x'`` negative.

    What Self-Contrastive Forward-Forward (arXiv 2409.11593) shows its first layer, both halves of
    which have the same weights; the rule ``SCFF`` does so in every layer, at half the cost. Where
    the input is normalised, this is ``Mixed(0.5, 0.5)``.
    """

    name: ClassVar[str] = "other-sample"

    def make(self, run: Any, count: int) -> None:
        """See ``kernels.negatives.paired``."""
        negatives.paired(run.input, count, _shift_of(run, count))


@dataclass(frozen=True)
class Generated(Negatives):
    """What a small decoder dreams: Hinton 2022, section 6.2.

    A linear map from the normalised activity of the last layer back to the features learns by its
    own squared error, beside the layers, from their activity on the batch (one pass more). A
    negative is what it makes of a sample's activity with ``blur`` of multiplicative noise on it,
    plus ``noise`` on every feature (both standard deviations, 0 to 10).

    gain: how much faster than a normalised least-mean-squares step at the recipe's rate the decoder
    learns, 0.001 to 1000. Needs all layers to learn at once
    (schedule sweep).
    """

    blur: float = 0.5
    noise: float = 0.0
    gain: float = 1.0
    name: ClassVar[str] = "generated"
    no_layerwise: ClassVar[str] = "whose last layer decodes from the first step on"
    paired: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _share("Generated", "blur", self.blur, 10.0)
        _share("Generated", "noise", self.noise, 10.0)
        if not 1e-3 <= self.gain <= 1e3:
            raise ConfigError(f"Generated: expected gain in 0.001..1000, got {self.gain!r:.40}")

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """decoder (panels, features, 16) float32 on the last layer."""
        if index < len(network.layers) - 1:
            return {}
        width = panels(network.layers[index].out_features)
        return {"decoder": TensorSpec((width, network.features, PANEL), "float32")}

    def passes(self, network: Network) -> int:
        """Of the sample, for its activity; the decoder's own work is not counted."""
        return 1

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The last layer's activity, what is decoded, and its errors."""
        features = network.features
        return {
            "hidden": TensorSpec((panels(network.hidden[-1]), batch, PANEL), "float32"),
            "decoded": TensorSpec((batch, features), "float32"),
            "decoder_errors": TensorSpec((panels(features), batch, PANEL), "float32"),
        }

    def make(self, run: Any, count: int) -> None:
        """One pass; the decoder learns; then what it makes of the disturbed activity."""
        *_, top = run.network.rule.features(run, count)
        hidden, decoder = run.hidden, top.params["decoder"]
        # The input's bytes have gone to the layers above, and will again.
        hidden[:, :count] = top.out[:, :count]
        run.fetch_again(count)
        run.network.rule.normalize_input(run, count)
        self._decode(run, count, decoder)
        scale = np.float32(self.gain * top.delta_rate() / top.width)
        negatives.decoder_errors(run.input, count, run.decoded, scale, run.decoder_errors)
        top.step("decoder", run.decoder_errors, count, hidden)
        seed, seen = _seed_of(run), run.samples_seen
        if self.blur:
            negatives.disturb(hidden, count, np.float32(self.blur), seed, seen)
            self._decode(run, count, decoder)
        noise = np.float32(self.noise)
        negatives.write_decoded(run.decoded, count, noise, seed ^ 1, seen, run.input)

    @staticmethod
    def _decode(run: Any, count: int, decoder: Any) -> None:
        run.decoded[:count] = 0.0
        heads.add_scores(run.hidden, count, decoder, run.decoded)


NEGATIVES.update({
    kind.name: kind for kind in (Hybrid, Corrupted, Mixed, OtherSample, Generated)
})  # fmt: skip
