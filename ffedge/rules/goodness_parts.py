"""Goodness of a part of the units, of several parts, or of parts that stand against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import goodness_parts
from ..tensor import TensorSpec
from .goodness import Goodness, MeanOfSquares, Sum, SumOfSquares

if TYPE_CHECKING:
    from ..network import Network

#: Fewest units that ``TopK`` looks at, if the layer has as many.
FEWEST = 5


@dataclass(frozen=True)
class TopK(Goodness):
    """``g = mean of the k largest y**2``, k = max(5, share * width): only these units learn.

    After the sparse goodness of arXiv 2604.13081, with squares; equation V16. Of equal units the
    lowest count. share: above 0 to 1; 1 is the mean of squares.

    The threshold is ``level`` times twice the goodness of a layer that has learned nothing:
    ReLU units of normal sums, whose largest share s has the mean square ``1 + a * pdf(a) / s``
    with ``a`` exceeded by s (for s = 1 that makes ``level``, as for the mean of squares).
    """

    share: float = 0.02
    name: ClassVar[str] = "top-k"
    silent_is_flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"TopK: expected share above 0 to 1, got {self.share!r:.40}")

    def count(self, width: int) -> int:
        """k of a layer.

        >>> TopK().count(500), TopK().count(100), TopK().count(3)
        (10, 5, 3)
        """
        return min(width, max(FEWEST, math.ceil(self.share * width)))

    def threshold(self, width: int) -> float:
        """``level * 2 * untrained goodness``

        >>> round(TopK().threshold(500), 1), TopK(share=1.0).threshold(500)
        (11.9, 1.0)
        """
        share = self.count(width) / width
        if share >= 0.5:
            # Half the units are silent.
            return self.sign * self.level / share
        normal = NormalDist()
        least = normal.inv_cdf(1.0 - share)
        return self.sign * self.level * 2.0 * (1.0 + least * normal.pdf(least) / share)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The numbers of each row's largest units, as a heap."""
        most = max(self.count(width) for width in network.hidden)
        return {"largest": TensorSpec((2 * batch, most), "int32")}

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """Mean of the k largest squares; ``run.largest`` remembers whose they are."""
        layer.measure(rows)
        count, sign = self.count(layer.width), np.float32(self.sign)
        goodness_parts.top_squares(
            layer.out, rows, layer.width, count, sign, run.largest, run.goodness
        )

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``slopes * 2 * y / k`` of the k largest, 0 else; after ``measure`` of the same rows."""
        count, sign = self.count(layer.width), np.float32(self.sign)
        goodness_parts.top_delta(layer.out, rows, count, run.slopes, sign, run.largest, layer.delta)


@dataclass(frozen=True)
class Regions(Goodness):
    """Local goodness: each region of units has its own ``g = sum of y**2`` and its own loss.

    Hinton 2022, section 10. The threshold of a region is ``level`` times its units. Every region
    learns as if it were a layer: the losses of a layer's regions are added (their mean is what is
    reported). A class's score is the sum over all regions.

    count: regions of layers without receptive fields, consecutive blocks of the same size; layers
    with ``Fields`` have theirs. None: every layer must have fields.
    """

    count: int | None = None
    name: ClassVar[str] = "regions"
    silent_is_flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count is not None and (type(self.count) is not int or not 1 <= self.count <= 65536):
            raise ConfigError(
                f"Regions: expected count in 1..65,536 or None, got {self.count!r:.40}"
            )

    def check(self, network: Network) -> None:
        """Every layer must have regions, of the same number of units each."""
        for i, layer in enumerate(network.layers):
            if layer.fields is None and self.count is None:
                raise ConfigError(
                    f"Regions: expected receptive fields in layer {i}, got none; give the layers "
                    "Fields over the image or series. The columns of a table have no neighbours: "
                    "there, name a count of regions, or use SumOfSquares()"
                )
            if layer.out_features % self.terms(network, i):
                raise ConfigError(
                    f"Regions: expected a multiple of {self.terms(network, i)} units in layer {i}, "
                    f"the same number for each region, got {layer.out_features}"
                )

    def fitting_width(self, width: int) -> int:
        """A multiple of the count."""
        count = self.count or 1
        return -(-width // count) * count

    def terms(self, network: Network, index: int) -> int:
        """One value of goodness for each region."""
        fields = network.layers[index].fields
        return (self.count or 1) if fields is None else math.prod(fields.regions)

    def threshold(self, width: int) -> float:
        """``level * units of the region``"""
        return self.sign * self.level * width

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """Sum of squares of each region."""
        layer.measure(rows)
        terms, sign = self.terms(run.network, layer.index), np.float32(self.sign)
        goodness_parts.region_squares(layer.out, rows, layer.width, terms, sign, run.goodness)

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``terms * slopes[region] * 2 * y``: slopes are those of the regions' mean loss."""
        terms = self.terms(run.network, layer.index)
        scale = np.float32(self.sign * terms)
        goodness_parts.region_delta(
            layer.out, rows, layer.width, terms, run.slopes, scale, layer.delta
        )


@dataclass(frozen=True)
class Signed(Goodness):
    """Feature detectors beside constraint detectors: ``g = sum+ of y**2 - sum- of y**2``.

    The first ``share`` of the units is to be active on positive data, the rest on negative data
    only, as detectors of violated constraints; Hinton 2022, section 10, after Welling, Hinton and
    Osindero 2003. share: 0.01 to 0.99.

    The threshold is ``level * (units of the first kind - units of the second)``: 0 for halves, and
    for a share of 1 what the sum of squares has.
    """

    share: float = 0.5
    name: ClassVar[str] = "signed"
    nonnegative: ClassVar[bool] = False
    silent_is_flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.01 <= self.share <= 0.99:
            raise ConfigError(
                f"Signed: expected share in 0.01..0.99, got {self.share!r:.40}; with one kind of "
                "unit alone use SumOfSquares, minimise=True for constraints"
            )

    def split(self, width: int) -> int:
        """Units of the first kind.

        >>> Signed().split(5), Signed(share=0.2).split(100)
        (2, 20)
        """
        return round(self.share * width)

    def check(self, network: Network) -> None:
        """Both kinds need a unit in every layer."""
        for i, width in enumerate(network.hidden):
            if not 0 < self.split(width) < width:
                raise ConfigError(
                    f"Signed: expected a unit of each kind in layer {i}, got {self.split(width)} "
                    f"of {width} to be maximised; widen the layer or change share"
                )

    def threshold(self, width: int) -> float:
        """``level * (split - (width - split))``"""
        return self.sign * self.level * (2 * self.split(width) - width)

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """Squares of the first units less those of the rest."""
        layer.measure(rows)
        split, sign = self.split(layer.width), np.float32(self.sign)
        goodness_parts.signed_squares(layer.out, rows, split, sign, run.goodness)

    def delta(self, run: Any, layer: Any, rows: int) -> None:
        """``+-slopes * 2 * y``"""
        split, sign = self.split(layer.width), np.float32(self.sign)
        goodness_parts.signed_delta(layer.out, rows, split, run.slopes, sign, layer.delta)


#: Kinds of goodness by name, for model files.
GOODNESS: dict[str, type[Goodness]] = {
    kind.name: kind for kind in (SumOfSquares, MeanOfSquares, Sum, TopK, Regions, Signed)
}
