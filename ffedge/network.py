"""A network: layers, learning rule and number of classes. Frozen, without arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

from .activations import ACTIVATIONS, RELU, Activation
from .boxes import BOXES, Box, Perturbed, Slot
from .boxes.custom import with_functions
from .described import describe, parse
from .errors import ConfigError
from .fields import Fields
from .layers import PRECISIONS, Dense
from .rules import RULES, Readout, Rule

#: More layers are refused in a description from a file.
MAX_LAYERS = 65_536

_FIELDS = {"fields": Fields}


@dataclass(frozen=True, slots=True)
class Network:
    """What is trained: every reader (plan, trainer, exporters) starts from this description.

    layers: at least one; each layer's input is the output of the one below.
    classes: 2 to 65,536; 1 of a rule that learns without labels, whose one score says how normal a
    sample is. rule: how a layer learns.
    normalize_input: divide each sample by its root mean square before the first layer (float32).
    precision: "float32", or "int8": weights, readout and activations in 8 bits, see kernels/int8.
    input_parts: 1; or 2 for signed features in int8, whose positive and negative parts enter side
    by side.
    boxes: black boxes, each in front of another layer; see ``boxes``.

    Raises ConfigError if widths do not meet or the rule cannot train these layers.

    >>> Network.dense(784, (500, 500), 10).text
    '784-500-500-10'
    """

    layers: tuple[Dense, ...]
    classes: int
    rule: Rule
    normalize_input: bool = False
    precision: str = "float32"
    input_parts: int = 1
    boxes: tuple[Slot, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ConfigError("Network: expected at least one hidden layer, got none")
        if self.rule.unlabelled and self.classes != 1:
            raise ConfigError(
                f"Network: expected 1 class, which is a score, of the rule {self.rule.name} that "
                f"learns without labels, got {self.classes!r}; put a head on it: Headed(rule)"
            )
        if not self.rule.unlabelled and not 2 <= self.classes <= 65_536:
            raise ConfigError(f"Network: expected 2 to 65,536 classes, got {self.classes!r}")
        self._check_form()
        self._check_boxes()
        for i in range(1, len(self.layers)):
            there, wanted = math.prod(self.layers[i - 1].output_shape), self.entering(i)
            if there != wanted:
                raise ConfigError(
                    f"Network: expected layer {i} to take the {there} outputs of layer {i - 1}, "
                    f"got an input of {wanted}"
                )
        self._check_fields()
        if self.features < 1:
            raise ConfigError(
                f"Network: expected layer 0 to take more than the rule's "
                f"{self.rule.label_inputs(self.classes)} label inputs"
            )
        self._check_precision()
        self._check_activations()
        self.rule.check(self)

    def _check_activations(self) -> None:
        for i, layer in enumerate(self.layers):
            if layer.activation != RELU and not self.rule.any_activation:
                raise ConfigError(
                    f"Network: expected the activation relu in layer {i}, whose derivative the "
                    f"rule {self.rule.name} has built in, got {layer.activation.name}"
                )

    def _check_boxes(self) -> None:
        indices = [slot.index for slot in self.boxes]
        if indices != sorted(set(indices)) or (indices and indices[-1] >= len(self.layers)):
            raise ConfigError(
                f"Network: expected at most one box in front of each of {len(self.layers)} layers, "
                f"in order, got boxes in front of {indices}"
            )
        for slot in self.boxes:
            width = math.prod(self.layers[slot.index].input_shape)
            if slot.outputs != width:
                raise ConfigError(
                    f"Network: expected layer {slot.index} to take the {slot.outputs} outputs of "
                    f"the box in front of it, got an input of {width}"
                )
            learns = isinstance(slot.box, Perturbed)
            if learns and not (self.rule.teaches_boxes and self.precision == "float32"):
                raise ConfigError(
                    "Network: expected for a box that learns a rule whose layers have a loss of a "
                    "single pass (readout, group) and precision float32, got "
                    f"{self.rule.name} and {self.precision}"
                )
            if slot.box.size and not learns and slot.box.custom is not None:
                raise ConfigError(
                    f"Network: expected a box with parameters inside Perturbed, got "
                    f"{slot.box.custom.title!r} alone in front of layer {slot.index}"
                )
        if self.boxes and not self.rule.takes_boxes:
            raise ConfigError(
                f"Network: expected no black box with the rule {self.rule.name}, "
                f"{self.rule.why_no_boxes}"
            )

    def _check_fields(self) -> None:
        for i, layer in enumerate(self.layers):
            if layer.fields is None:
                continue
            boxed = self.box(i) is not None
            inputs = self.features if i == 0 and not boxed else layer.in_features
            if layer.fields.inputs != inputs:
                raise ConfigError(
                    f"Network: expected a grid of {inputs:,} inputs in the fields of layer {i}, "
                    f"got {layer.fields.inputs:,}: {layer.fields.grid} with depth "
                    f"{layer.fields.depth}"
                )
            if self.precision != "float32":
                raise ConfigError(
                    f"Network: expected no receptive fields in int8, got some in layer {i}; its "
                    "update kernels have no step that keeps weights at zero"
                )

    def _check_form(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"Network: expected precision one of {', '.join(PRECISIONS)}, got "
                f"{self.precision!r}"
            )
        if self.input_parts not in ((1, 2) if self.precision == "int8" else (1,)):
            raise ConfigError(
                f"Network: expected 1 input part (2 for signed features in int8), got "
                f"{self.input_parts!r}"
            )

    def _check_precision(self) -> None:
        if self.precision == "float32":
            return
        for i, layer in enumerate(self.layers):
            if layer.activation != RELU:
                raise ConfigError(
                    "Network: expected the activation relu in int8, whose bytes hold 0 to 127, "
                    f"got {layer.activation.name} in layer {i}"
                )
        if self.normalize_input:
            raise ConfigError("Network: expected normalize_input False in int8, got True")
        bound = self.rule.largest_score(self)
        if bound >= 2**31:
            raise ConfigError(
                "Network: expected int8 scores summed over the layers below 2**31, got up to "
                f"{bound:,}; use fewer or narrower layers"
            )

    @classmethod
    def dense(
        cls,
        features: int,
        hidden: Sequence[int],
        classes: int,
        rule: Rule | None = None,
        *,
        normalize_input: bool = False,
        precision: str = "float32",
        input_parts: int = 1,
        activations: Activation | Sequence[Activation] | None = None,
        fields: Sequence[Fields | None] | None = None,
        boxes: Mapping[int, Box] | None = None,
    ) -> Network:
        """Fully connected layers of the given widths; label inputs and parts are added.

        activations: of every layer, or one for each; None: what the rule prefers. fields: one for
        each layer, or None. boxes: by the number of the layer that takes in what comes out; 0
        stands in front of the first.
        """
        rule = Readout() if rule is None else rule
        activations = rule.activation if activations is None else activations
        each = [activations] * len(hidden) if isinstance(activations, Activation) else activations
        if len(each) != len(hidden):
            raise ConfigError(
                f"Network: expected an activation for each of {len(hidden)} layers, got {len(each)}"
            )
        seen = [None] * len(hidden) if fields is None else fields
        if len(seen) != len(hidden):
            raise ConfigError(
                f"Network: expected fields (or None) for each of {len(hidden)} layers, got "
                f"{len(seen)}"
            )
        width = features * input_parts + rule.label_inputs(classes)
        widths = [rule.inputs(width), *hidden]
        slots = _slots({} if boxes is None else boxes, widths[:-1])
        taken = {slot.index: slot.outputs for slot in slots}
        layers = tuple(
            Dense(taken.get(i, a), b, kind, own)
            for i, ((a, b), kind, own) in enumerate(zip(pairwise(widths), each, seen, strict=True))
        )
        return cls(layers, classes, rule, normalize_input, precision, input_parts, slots)

    def box(self, index: int) -> Slot | None:
        """The box in front of layer ``index``, or None."""
        return next((slot for slot in self.boxes if slot.index == index), None)

    def entering(self, index: int) -> int:
        """Width of what layer ``index`` takes in, before the box in front of it, if there is one.

        For layer 0: of the features, all parts, and the rule's label inputs.
        """
        slot = self.box(index)
        return math.prod(self.layers[index].input_shape) if slot is None else slot.inputs

    def with_functions(self, functions: Mapping[str, Callable[..., Any]]) -> Network:
        """The same with functions for its black boxes, by title; see ``boxes.BlackBox``.

        Raises ConfigError, naming the box, if one is left without a function.
        """
        if not self.boxes and not functions:
            return self
        network = replace(self, boxes=with_functions(self.boxes, functions))
        for slot in network.boxes:
            box = slot.box.custom
            if box is not None and box.function is None:
                raise ConfigError(
                    f"boxes: expected the function of the black box {box.title!r} in front of "
                    f"layer {slot.index}, which no model file holds, got none; give it as "
                    f"boxes={{{box.title!r}: function}}"
                )
        return network

    def small(self, width: int, count: int) -> Network:
        """``count`` layers of ``width`` units that run the same kernels as these; to warm them up.

        More layers where there are more kinds of activation, wider where the rule asks for it.
        """
        width = self.rule.fitting_width(width)
        kinds = list({type(layer.activation): layer.activation for layer in self.layers}.values())
        count = max(count, len(kinds))
        fields = None
        if any(layer.fields is not None for layer in self.layers):
            # One window that sees everything.
            sides = [self.features] + [width] * (count - 1)
            fields = [Fields((side,), (side,), (1,)) for side in sides]
        return Network.dense(
            self.features, [width] * count, self.classes, self.rule,
            normalize_input=self.normalize_input, precision=self.precision,
            input_parts=self.input_parts,
            activations=[kinds[i % len(kinds)] for i in range(count)], fields=fields,
        )  # fmt: skip

    @property
    def features(self) -> int:
        """Width of a sample: label inputs not counted, parts counted once."""
        inputs = self.input_width - self.rule.label_inputs(self.classes)
        return inputs // self.input_parts

    @property
    def input_width(self) -> int:
        """Width of what is brought in for one sample: features, in parts, and label inputs."""
        return self.rule.input_width(self.entering(0))

    @property
    def score_exponent(self) -> int:
        """e of the unit 2**-e of int8 class scores, in which the layers' votes are summed."""
        return self.rule.score_exponent(self)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(layer.out_features for layer in self.layers)

    @property
    def text(self) -> str:
        """Widths in one line: features, hidden layers, classes."""
        return "-".join(str(width) for width in (self.features, *self.hidden, self.classes))

    @property
    def short_text(self) -> str:
        """``text`` with equal neighbours counted.

        >>> Network.dense(784, (500,) * 32 + (100, 100), 10).short_text
        '784-32x500-100-100-10'
        """
        widths = [self.features, *self.hidden, self.classes]
        groups = [list(same) for _, same in groupby(widths)]
        parts = [
            "-".join(map(str, same)) if len(same) < 3 else f"{len(same)}x{same[0]}"
            for same in groups
        ]
        return "-".join(parts)

    @property
    def products(self) -> int:
        """Multiply-adds of one sample's way through all layers: the number of weights."""
        return sum(math.prod(layer.input_shape) * layer.out_features for layer in self.layers)

    @property
    def training_work(self) -> int:
        """Multiply-adds per sample in training, see ``rules.base.Work``."""
        work = self.rule.work(self)
        return (work.forward + work.update) * self.products + work.extra_training

    @property
    def prediction_work(self) -> int:
        """Multiply-adds per sample in prediction."""
        work = self.rule.work(self)
        return work.predict * self.products + work.extra_prediction

    def describe(self) -> dict[str, Any]:
        """A description made of JSON types; ``Network.parse`` reads it."""
        description = {
            "features": self.features,
            "hidden": list(self.hidden),
            "classes": self.classes,
            "rule": describe(self.rule),
            "normalize_input": self.normalize_input,
            "precision": self.precision,
            "input_parts": self.input_parts,
        }
        if any(layer.activation != RELU for layer in self.layers):
            description["activations"] = [describe(layer.activation) for layer in self.layers]
        if self.boxes:
            description["boxes"] = [[slot.index, slot.box.describe()] for slot in self.boxes]
        if any(layer.fields is not None for layer in self.layers):
            description["fields"] = [
                None if layer.fields is None else describe(layer.fields) for layer in self.layers
            ]
        return description

    @classmethod
    def parse(cls, description: Any) -> Network:
        """The network of a ``describe`` result, from anywhere: every field is checked.

        Raises ConfigError for a field that is missing, unknown or of the wrong kind.
        """
        try:
            rule = parse(description["rule"], RULES)
            hidden = [_whole(width) for width in description["hidden"]]
            if len(hidden) > MAX_LAYERS:
                raise ConfigError(f"expected at most {MAX_LAYERS:,} layers, got {len(hidden):,}")
            given = description.get("activations", [describe(RELU)] * len(hidden))
            fields = description.get("fields", [None] * len(hidden))
            return cls.dense(
                _whole(description["features"]), hidden, _whole(description["classes"]), rule,
                normalize_input=bool(description["normalize_input"]),
                precision=description["precision"], input_parts=_whole(description["input_parts"]),
                activations=[parse(each, ACTIVATIONS) for each in given],
                boxes=_parse_boxes(description.get("boxes", []), len(hidden)),
                fields=[None if each is None else parse(each, _FIELDS) for each in fields],
            )  # fmt: skip
        except ConfigError as error:
            # What stood there may be long, and the words quote it.
            raise ConfigError(f"network description: {error!s:.500}") from None
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"network description: expected the known fields, got {error!r:.200}"
            ) from None


def _slots(boxes: Mapping[int, Box], inputs: Sequence[int]) -> tuple[Slot, ...]:
    """The boxes with the widths that they take in, in the order of the layers."""
    for index in boxes:
        if type(index) is not int or not 0 <= index < len(inputs):
            raise ConfigError(
                f"Network: expected boxes in front of layers 0 to {len(inputs) - 1}, got one in "
                f"front of {index!r:.40}"
            )
    return tuple(Slot(index, inputs[index], boxes[index]) for index in sorted(boxes))


def _parse_boxes(described: Any, layers: int) -> dict[int, Box]:
    if not isinstance(described, list) or len(described) > layers:
        raise TypeError(f"{described!r:.40} where at most {layers:,} boxes belong")
    boxes = {_whole(index): parse(box, BOXES) for index, box in described}
    if len(boxes) != len(described):
        raise ValueError("two boxes in front of one layer")
    return boxes


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 40:
        raise TypeError(f"{value!r:.40} where a whole number below 2**40 belongs")
    return value
