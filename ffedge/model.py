"""A trained model: network, parameters, scaler and class names. Predicts, and can be saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .buffers import model_needs
from .network import Network

Array = np.ndarray[Any, Any]
Classes = tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """What a training run leaves behind; everything that prediction and export need.

    params: the buffers of ``model_needs`` by name, in their kernels' layout; views of a
    trainer's arena are allowed (``copy`` makes them independent).
    classes: labels in code order, all str or all int. feature_shape: of one raw sample.
    training: how it came about (recipe, epochs, figures); free JSON for people to read.
    """

    network: Network
    params: dict[str, Array]
    classes: Classes
    feature_shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)

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
            dict(self.training),
        )  # fmt: skip

    def dense_weight(self, index: int, name: str = "weight") -> Array:
        """A parameter as a plain matrix, float32 (inputs, units): panels undone."""
        panels = self.params[f"layer{index}.{name}"]
        width = self.network.layers[index].out_features
        rows = panels.shape[1]
        return np.ascontiguousarray(panels.transpose(1, 0, 2).reshape(rows, -1)[:, :width])
