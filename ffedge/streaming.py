"""Which layers of a network lie on disk while it is trained, and what is in memory of them.

A streamed layer's parameters, and the optimiser's state where all layers learn, are read before
the layer's turn in a step and written after it, always to the same bytes as those of the other
streamed layers: memory does not grow with depth.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ConfigError
from .network import Network
from .tensor import TensorSpec, panels


@dataclass(frozen=True, slots=True)
class Streaming:
    """One entry per layer; frozen, no arrays.

    panels: 0: the layer is resident; else how many panels (16 units each) of its weights are in
    memory at a time: all of them, or fewer for a layer that is trained in slices of its units.
    ahead: a whole layer is read while the one below computes, for the bytes of one more layer.
    behind: it is written back while the one above computes, for those of another one.
    outputs: in schedule layerwise, the outputs of the layers that have learned are kept on disk,
    in 8 bits, instead of running these layers again for every sample.

    Raises ConfigError unless every layer's panels are 0 or more.
    """

    panels: tuple[int, ...]
    ahead: bool = False
    behind: bool = False
    outputs: bool = False

    def __post_init__(self) -> None:
        if any(type(count) is not int or count < 0 for count in self.panels):
            raise ConfigError(f"Streaming: expected panels of 0 or more, got {self.panels}")

    @classmethod
    def of(cls, network: Network, *, ahead: bool = False, behind: bool = False) -> Streaming:
        """All layers on disk, each whole in its turn."""
        return cls(tuple(panels(width) for width in network.hidden), ahead, behind)

    def check(self, network: Network) -> None:
        """Raise ConfigError unless this describes the layers of ``network``."""
        most = [panels(width) for width in network.hidden]
        if len(self.panels) != len(most) or any(
            count > there for count, there in zip(self.panels, most, strict=True)
        ):
            raise ConfigError(
                f"Streaming: expected for each of {len(most)} layers at most its own panels "
                f"{most}, got {list(self.panels)}"
            )
        if self.outputs and (network.rule.rows_per_sample > 1 or not network.rule.learns("weight")):
            raise ConfigError(
                f"Streaming: expected outputs that depend on the sample alone, got the rule "
                f"{network.rule.name}, which shows it other data too; leave outputs out"
            )

    def streams(self, index: int) -> bool:
        """Whether layer ``index`` lies on disk between its turns."""
        return self.panels[index] > 0

    def slices(self, network: Network, index: int) -> bool:
        """Whether it is trained in slices of its units."""
        return 0 < self.panels[index] < panels(network.hidden[index])

    def turn(self, network: Network, index: int) -> tuple[int, int]:
        """First and last phase of a step in which its bytes are in use."""
        whole = not self.slices(network, index)
        last = min(index + 1 + (self.behind and whole), len(network.layers))
        return index + 1 - (self.ahead and whole), last

    def window(self, index: int, name: str, spec: TensorSpec) -> TensorSpec:
        """What is in memory of a parameter, or of its state: a slice of a weight, all of others."""
        if self.panels[index] and name == "weight":
            return TensorSpec((min(self.panels[index], spec.shape[0]), *spec.shape[1:]), spec.dtype)
        return spec


def bounds(count: int, step: int) -> list[tuple[int, int]]:
    """First and last panel (exclusive) of each slice of ``count`` panels.

    >>> bounds(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + step, count)) for first in range(0, count, step)]
