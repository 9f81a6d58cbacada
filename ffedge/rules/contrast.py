"""Forward-Forward: positive against negative data, put together from its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..kernels import batch as rows_of
from ..kernels import classes, normalize, peers, readout
from ..kernels import goodness as kernels
from ..tensor import PANEL, TensorSpec, panels
from .base import Rule, Work
from .goodness import Goodness, SumOfSquares
from .goodness_parts import GOODNESS
from .labels import LABELS, Append, Label
from .losses import LOSSES, Loss, Threshold
from .negatives import NEGATIVES, HardLabel, Negatives

if TYPE_CHECKING:
    from ..network import Network

#: Weight of the newest batch in a unit's running mean activity.
MEAN_RATE = np.float32(0.1)


@dataclass(frozen=True)
class Contrast(Rule):
    """Each layer raises its goodness on positive rows and lowers it on negative ones.

    goodness: what is compared. loss: how. negatives: wrong labels, or other features. label: how
    a class enters the input; None where negatives are features, then nothing is supervised.
    peer: strength of peer normalisation, 0 to 1. head_gain: how much faster the heads of hard
    negatives learn, 0.001 to 1000. collaboration: a layer's loss sees the goodness of all layers,
    of which only its own moves (Lorberbom and others 2023, arXiv 2305.12393): one pass more over
    both rows, and one number per layer and row. normalize: divide each row of the input by its
    root mean square; False, without labels only, leaves a sample's own magnitude to be judged.

    The default is Hinton 2022 (arXiv 2212.13345), section 3.3. A class's score is its goodness
    summed over every layer but the first (a single layer speaks for itself): prediction costs one
    pass per class. Differences from the author's program: labels stand behind the features instead
    of over the first pixels, so that no feature is lost; each head learns from its own error, so
    that no activity outlives its layer.
    """

    goodness: Goodness = field(default_factory=SumOfSquares)
    loss: Loss = field(default_factory=Threshold)
    negatives: Negatives = field(default_factory=HardLabel)
    label: Label | None = field(default_factory=Append)
    peer: float = 0.03
    head_gain: float = 10.0
    collaboration: bool = False
    normalize: bool = True
    name: ClassVar[str] = "contrast"
    rows_per_sample: ClassVar[int] = 2
    any_activation: ClassVar[bool] = True
    parts: ClassVar[dict[str, Any]] = {
        "goodness": GOODNESS, "loss": LOSSES, "negatives": NEGATIVES, "label": LABELS,
    }  # fmt: skip

    def __post_init__(self) -> None:
        for part, kind in (("goodness", Goodness), ("loss", Loss), ("negatives", Negatives)):
            if not isinstance(getattr(self, part), kind):
                raise ConfigError(
                    f"Contrast: expected {part} such as {kind.__name__.lower()} objects of "
                    f"ffedge.rules, got {getattr(self, part)!r:.60}"
                )
        if self.label is not None and not isinstance(self.label, Label):
            raise ConfigError(
                f"Contrast: expected a label encoding or None, got {self.label!r:.60}"
            )
        for name, low, high in (("peer", 0.0, 1.0), ("head_gain", 1e-3, 1e3)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"Contrast: expected {name} in {low:g}..{high:g}, got {value!r}")
        if not isinstance(self.collaboration, bool):
            raise ConfigError(
                f"Contrast: expected collaboration True or False, got {self.collaboration!r:.40}"
            )
        if not isinstance(self.normalize, bool) or not (self.normalize or self.label is None):
            raise ConfigError(
                f"Contrast: expected normalize True beside a label, else True or False, got "
                f"{self.normalize!r:.40}"
            )
        if self.negatives.makes_labels and self.label is None:
            raise ConfigError(
                f"Contrast: expected a label encoding beside {self.negatives.name}, got None; "
                "without a label in the input, positive and negative rows would be the same"
            )
        if not self.negatives.makes_labels and self.label is not None:
            raise ConfigError(
                f"Contrast: expected label None beside {self.negatives.name}, whose rows differ by "
                f"their features, got {self.label.name}"
            )
        if self.loss.paired and not self.negatives.paired:
            raise ConfigError(
                f"Contrast: expected negatives made from the same sample for the paired loss "
                f"{self.loss.name}, got {self.negatives.name}; use Threshold()"
            )

    @property
    def no_layerwise(self) -> str:  # type: ignore[override]
        """Layers that collaborate hear those above them."""
        if self.collaboration:
            return "whose layers hear those above them"
        return self.negatives.no_layerwise

    def check(self, network: Network) -> None:
        """Its goodness against a threshold needs more range than 8 bits."""
        if network.precision == "int8":
            raise ConfigError(
                "Contrast: expected precision float32, got int8; squares, thresholds and the "
                "logistic loss need more range than 8 bits; the rules readout and group train in "
                "int8"
            )
        self.goodness.check(network)
        self.negatives.check(network)
        if self.label is not None:
            self.label.check(network)
        if self.collaboration and len(network.layers) == 1:
            raise ConfigError(
                "Contrast: expected at least two layers to collaborate, got one; leave "
                "collaboration out"
            )
        if self.collaboration and self._most_terms(network) > 1:
            raise ConfigError(
                f"Contrast: expected a goodness of one term for collaboration, got "
                f"{self.goodness.name}, whose regions have no counterpart in other layers"
            )

    @property
    def unlabelled(self) -> bool:  # type: ignore[override]
        """Without a label in the input, none is asked."""
        return self.label is None

    def fitted(self, shape: tuple[int, ...]) -> Contrast:
        """With the data's shape where its negatives ask for it."""
        return replace(self, negatives=self.negatives.fitted(shape))

    def fitting_width(self, width: int) -> int:
        """The goodness's."""
        return self.goodness.fitting_width(width)

    def label_inputs(self, classes: int) -> int:
        """What the label encoding adds."""
        return 0 if self.label is None else self.label.inputs(classes)

    @property
    def reads_labels(self) -> bool:
        """Where a label enters."""
        return self.label is not None

    @property
    def has_heads(self) -> bool:
        """Those that propose hard negatives."""
        return self.negatives.needs_heads

    def label_begin(self, network: Network) -> int | None:
        """The label encoding's."""
        return None if self.label is None else self.label.begin(network)

    def _most_terms(self, network: Network) -> int:
        return max(self.goodness.terms(network, i) for i in range(len(network.layers)))

    @staticmethod
    def _votes(network: Network, index: int) -> bool:
        """All layers but the first are read out; the first only if it is alone."""
        return index > 0 or len(network.layers) == 1

    def probability_factor(self, network: Network) -> float:
        """The loss's sharpness over the number of values that are summed."""
        voting = [i for i in range(len(network.layers)) if self._votes(network, i)]
        return self.loss.sharpness / sum(self.goodness.terms(network, i) for i in voting)

    def work(self, network: Network) -> Work:
        """Two rows forward and in the update; what hard negatives and listening add."""
        labels = network.classes if self.negatives.makes_labels else 1
        forward = 2 + self.negatives.passes(network) + (2 if self.collaboration else 0)
        voting = [n for i, n in enumerate(network.hidden) if self._votes(network, i)]
        heads = 2 * network.classes * sum(voting) if self.negatives.needs_heads else 0
        return Work(forward, 2, labels, heads)

    def params(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """head (panels, C, 16) float32 on layers that are read out, if negatives need it."""
        own = self.negatives.params(network, index)
        if not self.negatives.needs_heads or not self._votes(network, index):
            return own
        width = network.layers[index].out_features
        return own | {"head": TensorSpec((panels(width), network.classes, PANEL), "float32")}

    def memory(self, network: Network, index: int) -> dict[str, TensorSpec]:
        """means (panels, 1, 16) float32: running mean activity for peer normalisation."""
        width = network.layers[index].out_features
        means = {"means": TensorSpec((panels(width), 1, PANEL), "float32")} if self.peer else {}
        return means | self.negatives.memory(network, index)

    def begin(self, run: Any, layer: Any) -> None:
        """Running means start at 0.5, as in the author's program."""
        if layer.active and self.peer:
            layer.memory["means"][:] = 0.5
        self.negatives.begin(run, layer)

    def workspace(self, network: Network, batch: int) -> dict[str, TensorSpec]:
        """The base's buffers; goodness, slopes and lengths by row; the label shown to the net."""
        rows, terms = 2 * batch, self._most_terms(network)
        own = {
            "goodness": TensorSpec((rows, terms), "float32"),
            "slopes": TensorSpec((rows, terms), "float32"),
            "input_length": TensorSpec((rows,), "float32"),
            "label_scales": TensorSpec((rows,), "float32"),
            "shown": TensorSpec((batch,), "int32"),
        }
        if self.collaboration:
            own["all_goodness"] = TensorSpec((len(network.layers), rows), "float32")
        parts = (self.goodness.workspace(network, batch), self.negatives.workspace(network, batch))
        return super().workspace(network, batch) | own | parts[0] | parts[1]

    def show_label(self, run: Any, count: int, shown: Any) -> None:
        """Class codes ``shown``, or None for the neutral label, into fresh rows of the input."""
        self._show(run, 0, count, shown)

    def _show(self, run: Any, first: int, count: int, shown: Any) -> None:
        """Class codes ``shown``, or None for the neutral label, into rows first.. of the input."""
        if self.label is not None:
            self.label.show(run, first, count, shown)

    def normalize_input(self, run: Any, rows: int) -> None:
        """Divide each row, label and all, by its root mean square, if this is wanted."""
        if not self.normalize:
            return
        width = run.network.entering(0)
        normalize.normalize_rows(run.input, rows, width, run.input_length)

    def train_batch(self, run: Any, count: int) -> None:
        """Positive beside negative rows, layer by layer; nothing is looked back at."""
        if self.negatives.makes_labels:
            self.negatives.choose(run, self, count)
        rows = 2 * count
        if self.collaboration:
            self._pair(run, count)
            self._listen(run, rows)
            run.fetch_again(count)
        self._pair(run, count)
        x = run.input
        layers = run.layers[: run.last_active + 1]
        for layer in layers:
            layer.forward(x, rows)
            self.goodness.measure(run, layer, rows)
            if layer.active:
                self._learn(run, layer, x, count)
            if layer is not layers[-1]:
                layer.rescale(rows)
                x = layer.out

    def _pair(self, run: Any, count: int) -> None:
        """Make of the fetched rows a normalised input: 0.. positive, count.. negative."""
        if self.negatives.makes_labels:
            rows_of.copy_rows(run.input, count, count)
            self._show(run, 0, count, run.labels)
            self._show(run, count, count, run.shown)
        else:
            self.negatives.make(run, count)
        self.normalize_input(run, 2 * count)

    def _listen(self, run: Any, rows: int) -> None:
        """Every layer's goodness before any of them learns."""
        x = run.input
        layers = run.layers[: run.last_active + 1]
        for layer in layers:
            layer.forward(x, rows)
            self.goodness.measure(run, layer, rows)
            run.all_goodness[layer.index, :rows] = run.goodness[:rows, 0]
            layer.rescale(rows)
            x = layer.out
        run.all_goodness[len(layers) :] = 0.0

    def _learn(self, run: Any, layer: Any, x: Any, count: int) -> None:
        """Loss, delta and update of one layer from ``run.goodness``."""
        rows, scale = 2 * count, np.float32(layer.delta_rate())
        terms = self.goodness.terms(run.network, layer.index)
        threshold = self.goodness.threshold(layer.width // terms)
        if self.collaboration:
            kernels.add_others(run.all_goodness, rows, layer.index, run.goodness)
            layers = run.layers[: run.last_active + 1]
            threshold = sum(self.goodness.threshold(other.width) for other in layers)
        loss, right = self.loss.slopes(run, count, terms, threshold, scale)
        layer.note(loss, right, count)
        self.goodness.delta(run, layer, rows)
        if not (self.goodness.silent_is_flat and layer.activation.rectifies):
            layer.gate(rows)
        if self.peer:
            means = layer.memory["means"]
            peers.track_means(layer.out, count, MEAN_RATE, means)
            pull = np.float32(self.peer) * scale
            peers.add_peers(count, layer.width, means, pull, layer.delta)
        layer.update(x, rows)

    def propose(self, run: Any, count: int) -> None:
        """Fill ``run.total`` with the heads' averaged log-probabilities; train active heads."""
        self._show(run, 0, count, None)
        self.normalize_input(run, count)
        run.total[:count] = 0.0
        layers = run.layers[: run.last_active + 1]
        heads = sum("head" in layer.params for layer in layers)
        x = run.input
        for layer in layers if heads else ():
            layer.forward(x, count)
            self.measure(run, layer, count)
            layer.rescale(count)
            x = layer.out
            if "head" not in layer.params:
                continue
            self.head_scores(run, layer, count)
            share = np.float32(1.0 / heads)
            classes.add_log_probabilities(run.scores, count, share, run.total)
            if layer.active:
                scale = np.float32(self.head_gain * layer.delta_rate())
                classes.class_errors(
                    run.scores, count, run.labels, scale, np.float32(0), run.errors
                )
                layer.step("head", run.errors, count, x)

    def features(self, run: Any, count: int) -> Iterator[Any]:
        """As the base's, with the input and the layers normalised as in training."""
        self.normalize_input(run, count)
        x = run.input
        for layer in run.layers[: run.last_active + 1]:
            layer.forward(x, count)
            self.goodness.measure(run, layer, count)
            layer.rescale(count)
            x = layer.out
            yield layer

    def measure(self, run: Any, layer: Any, rows: int) -> None:
        """The layer's goodness, and to ``layer.length`` what ``rescale`` takes."""
        self.goodness.measure(run, layer, rows)

    def head_scores(self, run: Any, layer: Any, rows: int) -> None:
        """Write ``run.scores``: what the head says of the rescaled activity."""
        readout.readout_scores(layer.out, rows, layer.params["head"], run.scores)

    def collect(self, run: Any, layer: Any, rows: int, column: int, total: Any) -> None:
        """``measure``, and add the goodness of a layer that votes to a column of ``total``."""
        self.measure(run, layer, rows)
        # While only the first layer is trained, it speaks for itself.
        if layer.index > 0 or run.last_active == 0:
            terms = self.goodness.terms(run.network, layer.index)
            kernels.add_goodness(run.goodness, rows, terms, column, total)

    def score_batch(self, run: Any, count: int) -> None:
        """Goodness of every label, summed over all layers but the first; one pass per label."""
        for label in range(run.network.classes):
            if label:
                run.fetch_again(count)
            run.shown[:count] = label
            self._show(run, 0, count, run.shown)
            self.normalize_input(run, count)
            run.total[:count, label] = 0.0
            x = run.input
            layers = run.layers[: run.last_active + 1]
            for layer in layers:
                layer.forward(x, count)
                self.collect(run, layer, count, label, run.total)
                if layer is not layers[-1]:
                    layer.rescale(count)
                    x = layer.out
