"""A trained model: network, parameters, scaler and class names. Predicts, and can be saved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .buffers import model_needs, parameters
from .layers import forward_shift
from .network import Network
from .reading import Interval, Reading
from .tensor import PANEL

Array = np.ndarray[Any, Any]
Classes = tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """What a training run leaves behind; everything that prediction and export need.

    params: the buffers of ``model_needs`` by name, in their kernels' layout; views of a
    trainer's arena are allowed (``copy`` makes them independent).
    classes: labels in code order, all str or all int. feature_shape: of one raw sample.
    training: how it came about (recipe, epochs, figures); free JSON for people to read.
    reading: how it is read out where nothing else is said; None: all of it. ConfigError if the
    network cannot be read so.
    """

    network: Network
    params: dict[str, Array]
    classes: Classes
    feature_shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    reading: Reading | None = None

    def __post_init__(self) -> None:
        if self.reading is not None:
            self.reading.check(self.network)

    @property
    def precision(self) -> str:
        """The network's: "float32" or "int8"."""
        return self.network.precision

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters."""
        return sum(need.spec.nbytes for need in model_needs(self.network))

    def copy(self) -> Model:
        """The same model with its own arrays."""
        params = {name: array.copy() for name, array in self.params.items()}
        return Model(
            self.network, params, self.classes, self.feature_shape, self.feature_names,
            dict(self.training), self.reading,
        )  # fmt: skip

    def first_layers(self, count: int) -> Model:
        """The model cut off above ``count`` layers, for a training that got no further.

        A read-out that needs those above is dropped.
        """
        network = replace(self.network, layers=self.network.layers[:count])
        reading = self.reading
        if reading is not None and count < len(self.network.layers):
            # Margins are for the layers there were.
            reading = reading if reading.layers_needed(self.network) <= count else None
        if not self.params:
            # A description, whose arrays lie elsewhere.
            return replace(self, network=network, reading=reading)
        params = {
            need.name: self.params.get(need.name, np.zeros(need.spec.shape, need.spec.dtype))
            for need in model_needs(network)
        }
        return replace(self, network=network, params=params, reading=reading)

    def trimmed(self) -> Model:
        """The model without the layers that its read-out never runs."""
        if self.reading is None:
            return self
        model = self.first_layers(self.reading.layers_needed(self.network))
        whole = Interval(0, len(model.network.layers) - 1)
        return replace(model, reading=None) if model.reading == whole else model

    def loud_padding(self) -> str | None:
        """The first parameter whose lanes beyond its layer's width are not silent, or None.

        Kernels never look at widths: a stray value there would count as activity.
        """
        for i, layer in enumerate(self.network.layers):
            width = layer.out_features
            used = (width - 1) % PANEL + 1
            for name in parameters(self.network, i):
                array = self.params[f"layer{i}.{name}"]
                if self.precision == "float32" or name == "weight":
                    # (panels, I, 16) or (panels, quads, 16, 4)
                    idle = array[-1, :, used:]
                elif name == "bias":
                    # Holds the half of the rounding, which the shift removes.
                    idle = array[width:] >> forward_shift(layer.in_features)
                else:
                    idle = array[:, width:]
                if idle.any():
                    return f"layer{i}.{name}"
        return None

    def dense_weight(self, index: int, name: str = "weight") -> Array:
        """A parameter as a plain matrix, float32 (inputs, units): panels undone."""
        panels = self.params[f"layer{index}.{name}"]
        width = self.network.layers[index].out_features
        rows = panels.shape[1]
        return np.ascontiguousarray(panels.transpose(1, 0, 2).reshape(rows, -1)[:, :width])
