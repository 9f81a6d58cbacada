"""Forward-Forward as published: positive against negative data at a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import classes, normalize, readout, threshold
from ..tensor import PANEL, TensorSpec, panels
from .base import Rule

if TYPE_CHECKING:
    from ..network import Network


#: Sets the random numbers of wrong labels apart from those of the starting weights.
_LABEL_STREAM = 0x5BD1E995


@dataclass(frozen=True)
class Hinton(Rule):
    """Supervised Forward-Forward, faithfully; Hinton 2022 (arXiv 2212.13345), section 3.3.

    The label is part of the input: C inputs behind the features, the class's own one set to
    ``label_value``. A layer's goodness is the sum of squares of its activity, pushed above the
    threshold (its width) for the true label and below it for a wrong one. The wrong label is
    drawn from the network's own prediction on the neutral label (all 1 / C of the value), made
    by small softmax heads on the normalised activity of every layer but the first. A class's
    score is its goodness summed over the same layers: prediction costs one pass per class.

    Differences from the author's program: labels stand behind the features instead of over
    the first pixels, so that no feature is lost; each head learns from its own error, so that
    no activity outlives its layer.

    label_value: above 0, in units of the features' root mean square (3 equals the program's
    1.0 on MNIST pixels). peer: strength of peer normalisation, 0 to 1. head_gain: how much
    faster the heads learn, 0.001 to 1000.
    """

    label_value: float = 3.0
    peer: float = 0.03
    head_gain: float = 10.0
    name: ClassVar[str] = "hinton"
    rows_per_sample: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for field, low, high in (("label_value", 1e-3, 1e3), ("peer", 0.0, 1.0),
                                 ("head_gain", 1e-3, 1e3)):  # fmt: skip
            value = getattr(self, field)
            if not low <= value <= high:
                raise ConfigError(f"Hinton: expected {field} in {low:g}..{high:g}, got {value!r}")

    def check(self, network: Network) -> None:
        """Its goodness against a threshold needs more range than 8 bits."""
        if network.precision == "int8":
            raise ConfigError(
                "Hinton: expected precision float32, got int8; the rules readout and group "
                "train in int8"
            )

    def label_inputs(self, classes: int) -> int:
        """One input per class."""
        return classes

    @staticmethod
    def _has_head(network: Network, index: int) -> bool:
        """All layers but the first are read out; the first only if it is alone."""
        return index > 0 or len(network.layers) == 1

    def probability_factor(self, network: Network) -> float:
        """One over the number of layers read out."""
        return 1.0 / max(len(network.layers) - 1, 1)

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """head (panels, C, 16) float32 on the layers that are read out."""
        if not self._has_head(network, index):
            return {}
        width = network.layers[index].out_features
        return {"head": TensorSpec((panels(width), network.classes, PANEL), "float32")}

    def memory(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """means (panels, 1, 16) float32: running mean activity for peer normalisation."""
        width = network.layers[index].out_features
        return {"means": TensorSpec((panels(width), 1, PANEL), "float32")}

    def begin(self, run: Any, layer: Any) -> None:
        """Running means start at 0.5, as in the author's program."""
        if layer.active:
            layer.memory["means"][:] = 0.5

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's buffers, the label shown to the net, and the length of its input."""
        return super().workspace(network, batch) | {
            "shown": TensorSpec((batch,), "int32"),
            "input_length": TensorSpec((2 * batch,), "float32"),
        }

    def _show(self, run: Any, first: int, count: int, neutral: bool) -> None:
        """Write label inputs for ``run.shown`` (or the neutral label) and normalise the rows."""
        network = run.network
        on = np.float32(self.label_value)
        off = on / np.float32(network.classes) if neutral else np.float32(0)
        threshold.embed_label(
            run.input, first, count, network.features, network.classes, run.shown,
            off if neutral else on, off,
        )  # fmt: skip

    def _normalize_input(self, run: Any, rows: int) -> None:
        width = run.network.entering(0)
        normalize.normalize_rows(run.input, rows, width, run.input_length)

    def train_batch(self, run: Any, count: int) -> None:
        """Neutral pass: heads learn and propose wrong labels. Then positive beside negative."""
        self._propose(run, count)
        run.fetch_again(count)
        threshold.copy_rows(run.input, count, count)
        run.shown[:count] = run.labels[:count]
        self._show(run, 0, count, neutral=False)
        threshold.wrong_labels(
            run.total, count, run.labels, run.seed ^ _LABEL_STREAM, run.samples_seen, run.shown
        )
        self._show(run, count, count, neutral=False)
        rows = 2 * count
        self._normalize_input(run, rows)
        x = run.input
        layers = run.layers[: run.last_active + 1]
        for layer in layers:
            layer.forward(x, rows)
            layer.measure(rows)
            if layer.active:
                means = layer.memory["means"]
                threshold.track_means(layer.out, count, np.float32(0.1), means)
                loss, right = threshold.threshold_delta(
                    layer.out, count, layer.width, layer.length, np.float32(layer.width), means,
                    np.float32(self.peer), np.float32(layer.delta_rate()), layer.delta,
                )  # fmt: skip
                layer.note(loss / 2, right / 2, count)
                layer.update(x, rows)
            if layer is not layers[-1]:
                layer.rescale(rows)
                x = layer.out

    def _propose(self, run: Any, count: int) -> None:
        """Fill ``run.total`` with the heads' averaged log-probabilities; train active heads."""
        self._show(run, 0, count, neutral=True)
        self._normalize_input(run, count)
        run.total[:count] = 0.0
        layers = run.layers[: run.last_active + 1]
        heads = sum("head" in layer.params for layer in layers)
        x = run.input
        for layer in layers if heads else ():
            layer.forward(x, count)
            layer.normalize(count)
            x = layer.out
            if "head" not in layer.params:
                continue
            readout.readout_scores(x, count, layer.params["head"], run.scores)
            share = np.float32(1.0 / heads)
            classes.add_log_probabilities(run.scores, count, share, run.total)
            if layer.active:
                scale = np.float32(self.head_gain * layer.delta_rate())
                classes.class_errors(
                    run.scores, count, run.labels, scale, np.float32(0), run.errors
                )
                layer.step("head", run.errors, count, x)

    def score_batch(self, run: Any, count: int) -> None:
        """Goodness of every label, summed over all layers but the first; one pass per label."""
        for label in range(run.network.classes):
            if label:
                run.fetch_again(count)
            run.shown[:count] = label
            self._show(run, 0, count, neutral=False)
            self._normalize_input(run, count)
            run.total[:count, label] = 0.0
            x = run.input
            layers = run.layers[: run.last_active + 1]
            for layer in layers:
                layer.forward(x, count)
                layer.measure(count)
                # While only the first layer is trained, it speaks for itself.
                if layer.index > 0 or run.last_active == 0:
                    threshold.add_goodness(layer.length, count, label, run.total)
                if layer is not layers[-1]:
                    layer.rescale(count)
                    x = layer.out
