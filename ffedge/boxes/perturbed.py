"""A black box with parameters that learns by trying: noise times the change of the cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..ranges import number_in
from ..tensor import TensorSpec
from .base import Array, Box
from .converters import Converter
from .custom import BlackBox
from .noise import draw, noise_spec

#: Parameters stay within.
LIMIT = 5.0


@dataclass(frozen=True)
class Perturbed(Box):
    """``v -= rate * (L(v + u) - L(v - u)) / 2 * u / sigma**2`` with u about N(0, sigma**2).

    Hinton 2022 (arXiv 2212.13345), section 7: small networks inside may learn slowly by correlating
    noise with changes of the cost, while the layers adapt fast. L is the local loss (nats, mean of
    the batch) of the layer behind the box, in every update before it learns itself; both signs of
    u are tried, so that L(v) and its curvature drop out. Two forward passes of that layer more.

    inner: the box with parameters v, which begin at 0, where it is as described, and stay within
    +-5: Converter or BlackBox(function, parameters=...). sigma: 1e-4 to 1, at least as large as
    what it takes to reach the next step of a box that rounds. rate: 0 to 10, times the layers'
    own factor of the hour; a rate too high drives a converter to where everything is 0 and
    nothing can be learned any more.
    In a rule whose layers have a loss of a single pass: readout, group; in float32.
    """

    inner: Box = field(default_factory=Converter)
    sigma: float = 0.2
    rate: float = 0.03
    name: ClassVar[str] = "perturbed"
    parts: ClassVar[dict[str, Any]] = {"inner": {"converter": Converter, "function": BlackBox}}

    def __post_init__(self) -> None:
        super().__post_init__()
        number_in(self, "sigma", 1e-4, 1.0)
        number_in(self, "rate", 0.0, 10.0)
        if not isinstance(self.inner, Converter | BlackBox) or self.inner.size == 0:
            raise ConfigError(
                "Perturbed: expected a box with parameters, a Converter or a BlackBox with "
                f"parameters=, got {self.inner!r:.80}"
            )

    @property
    def is_random(self) -> bool:
        """As the box inside."""
        return self.inner.is_random

    @property
    def rounds(self) -> bool:  # type: ignore[override]
        """As the box inside."""
        return self.inner.rounds

    @property
    def custom(self) -> BlackBox | None:
        """The function inside, if there is one."""
        return self.inner if isinstance(self.inner, BlackBox) else None

    def giving(self, function: Callable[..., Any]) -> Box:
        """The same with this function inside."""
        assert isinstance(self.inner, BlackBox)
        return replace(self, inner=self.inner.giving(function))

    def settled(self, params: dict[str, Array]) -> Box:
        """The box inside as it has become; it is normalised as this one."""
        return replace(self.inner.settled(params), normalize=self.normalize)

    def describe(self) -> dict[str, Any]:
        """With the description of the box inside."""
        return {
            "name": self.name, "inner": self.inner.describe(), "sigma": self.sigma,
            "rate": self.rate, "normalize": self.normalize,
        }  # fmt: skip

    def check(self, inputs: int) -> None:
        """What the box inside says."""
        self.inner.check(inputs)

    def outputs(self, inputs: int) -> int:
        """Of the box inside."""
        return self.inner.outputs(inputs)

    def params(self, inputs: int) -> dict[str, TensorSpec]:
        """v, which a model file holds."""
        return {"v": TensorSpec((self.inner.size,), "float32")}

    def kept(self, inputs: int) -> dict[str, TensorSpec]:
        """The noise, and v while it is tried out."""
        size = self.inner.size
        own = {"noise_of_v": noise_spec(size), "v_before": TensorSpec((size,), "float32")}
        return own | self.inner.kept(inputs)

    def workspace(self, inputs: int, rows: int) -> dict[str, TensorSpec]:
        """Of the box inside."""
        return self.inner.workspace(inputs, rows)

    def begin(self, inputs: int, arrays: dict[str, Array]) -> None:
        """As the box inside."""
        self.inner.begin(inputs, arrays)

    def apply(self, x: Array, out: Array, arrays: dict[str, Array], seed: int) -> None:
        """The box inside, with v as it is."""
        self.inner.apply(x, out, arrays, seed)

    def learn(
        self, arrays: dict[str, Array], loss: Callable[[], float], factor: float, seed: int
    ) -> None:
        """Try v + u and v - u, and step; ``loss`` tells what the v in ``arrays`` costs."""
        v, before = arrays["v"], arrays["v_before"]
        u = draw(v.size, seed, self.sigma, arrays["noise_of_v"])
        before[:] = v
        try:
            np.add(before, u, out=v)
            up = loss()
            np.subtract(before, u, out=v)
            down = loss()
        finally:
            v[:] = before
        slope = (up - down) / 2.0 / self.sigma**2
        u *= np.float32(-self.rate * factor * slope)
        v += u
        np.maximum(v, np.float32(-LIMIT), out=v)
        np.minimum(v, np.float32(LIMIT), out=v)
