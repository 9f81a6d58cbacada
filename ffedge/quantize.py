"""A float32 model as an int8 one: weights rounded to the grid, checked against data.

The int8 network's units are fixed by its widths (``layers.weight_exponent``), so conversion is
rounding and clipping; training in int8 from the start needs no conversion and no float copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .buffers import model_needs
from .errors import ConfigError, DataError
from .kernels.int8.input import INPUT_EXP
from .layers import forward_shift, readout_exponent, weight_exponent
from .model import Model
from .network import Network
from .predict import Predictor
from .rules import Readout
from .sources import Dataset
from .tensor import PANEL, panels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What conversion cost: accuracies 0..1 on the calibration data, share of clipped weights."""

    accuracy_before: float
    accuracy_after: float
    clipped: float


def quantize(model: Model, calibration: Dataset) -> tuple[Model, QuantizeReport]:
    """The int8 twin of a float32 model of the readout or group rule, and what it costs.

    calibration: labelled samples of the kind the model will see; they decide whether features
    below zero come (two input parts) and give both accuracies.

    Raises ConfigError for a model that is not float32 or whose rule has no int8 form, DataError
    for data of another width.
    """
    network = model.network
    if network.precision != "float32":
        raise ConfigError(f"quantize: expected a float32 model, got {network.precision}")
    if network.normalize_input:
        raise ConfigError("quantize: expected normalize_input False, got True")
    if calibration.width != network.features:
        raise DataError(
            f"quantize: expected calibration samples of {network.features} features, got "
            f"{calibration.width}"
        )
    parts = 2 if _comes_below_zero(model, calibration) else 1
    target = Network.dense(
        network.features, network.hidden, network.classes, network.rule,
        precision="int8", input_parts=parts,
        activations=[layer.activation for layer in network.layers],
        fields=[layer.fields for layer in network.layers],
    )  # fmt: skip
    params, clipped = _convert(model, target)
    twin = replace(model, network=target, params=params)
    before, after = _accuracy(model, calibration), _accuracy(twin, calibration)
    return twin, QuantizeReport(before, after, clipped)


def _comes_below_zero(model: Model, data: Dataset) -> bool:
    mean = model.params["input.mean"]
    if (mean > 0).any():
        return True
    for sample in range(data.n_samples):
        row = data.features[sample if data.rows is None else data.rows[sample]]
        if (row < mean).any():
            return True
    return False


def _convert(model: Model, target: Network) -> tuple[dict[str, Array], float]:
    """Parameters of ``target``, and the share of weights beyond the grid."""
    params = {need.name: np.zeros(need.spec.shape, need.spec.dtype) for need in model_needs(target)}
    clipped = total = 0
    for name in ("input.mean", "input.gain"):
        params[name][:] = model.params[name]
    for i, layer in enumerate(target.layers):
        exponent = weight_exponent(layer.in_features)
        readout = isinstance(target.rule, Readout)
        # A layer's length is normalised away: scaled down, its weights fit the grid.
        scale = _fitting_scale(model.dense_weight(i), exponent) if readout else 1.0
        weight = model.dense_weight(i) * scale
        if i == 0 and target.input_parts == 2:
            weight = np.concatenate([weight, -weight])
        steps = np.floor(weight * 2.0**exponent + 0.5)
        clipped += int((np.abs(steps) > 127).sum())
        total += steps.size
        params[f"layer{i}.weight"][:] = _to_quads(np.clip(steps, -127, 127).astype(np.int8))
        shift = forward_shift(layer.in_features)
        bias = np.floor(
            model.dense_weight(i, "bias")[0] * scale * 2.0 ** (INPUT_EXP + exponent) + 0.5
        )
        half = 1 << (shift - 1)
        params[f"layer{i}.bias"][:] = half
        params[f"layer{i}.bias"][: layer.out_features] += np.clip(
            bias, -(2**24), 2**24 - half
        ).astype(np.int32)
        if readout:
            unit = 2.0 ** readout_exponent(layer.out_features)
            matrix = np.floor(model.dense_weight(i, "readout") / scale * unit + 0.5)
            clipped += int((np.abs(matrix) > 127).sum())
            total += matrix.size
            rows = np.clip(matrix, -127, 127).astype(np.int8)
            params[f"layer{i}.readout"][:, : layer.out_features] = rows
    return params, clipped / total


def _fitting_scale(weight: Array, exponent: int) -> float:
    """The factor, at most 1, that brings all but a thousandth of the weights into the grid."""
    large = float(np.quantile(np.abs(weight), 0.999)) * 2.0**exponent
    return min(1.0, 127.0 / large) if large > 0.0 else 1.0


def _to_quads(weight: Array) -> Array:
    """int8 (I, O) in the kernels' layout, (panels, ceil(I/4), 16, 4)."""
    inputs, units = weight.shape
    quads, count = -(-inputs // 4), panels(units)
    padded = np.zeros((4 * quads, count * PANEL), np.int8)
    padded[:inputs, :units] = weight
    return padded.reshape(quads, 4, count, PANEL).transpose(2, 0, 3, 1)


def _accuracy(model: Model, data: Dataset) -> float:
    predictor = Predictor(model)
    right = sum(
        int((scores.argmax(axis=1) == labels).sum()) for scores, labels in predictor.batches(data)
    )
    return right / data.n_samples
