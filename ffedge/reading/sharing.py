"""The first layer's product with the data, computed once for all labels.

A label of one in C inputs, set to a row's scale s, adds one row of the weight to the product, and
all labels give the input the same length. With base = data without label inputs,

    length(c) = EPSILON + sqrt((sum(base**2) + s**2) / inputs)          the same for every c
    layer0(c) = activation((base @ W + s * W[begin + c]) / length + b)

and for the neutral label, s / C in each of the C inputs, s**2 / C takes the place of s**2. Where a
label is something else (``Pattern``), each is a product of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels import dense, normalize, sharing
from ..kernels.provider import LIBRARY
from ..layers import activity
from ..tensor import PANEL, TensorSpec
from .base import layer_cost

if TYPE_CHECKING:
    from ..network import Network

Array = np.ndarray[Any, Any]


def _begin(network: Network) -> int | None:
    """``Rule.label_begin`` where labels can share."""
    # The compiled library has no kernel for it, and must do without Numba: there each label is a
    # product of its own.
    return network.rule.label_begin(network) if LIBRARY is None else None


def shared_needs(network: Network, batch: int) -> dict[str, TensorSpec]:
    """Buffers: the products, and each row's sum of squares. None if nothing is shared."""
    if _begin(network) is None:
        return {}
    return {
        "product": activity(network.layers[0].output_shape, batch),
        "neutral": activity(network.layers[0].output_shape, 1),
        "squares": TensorSpec((batch,), "float32"),
    }


def share(run: Any, count: int) -> int:
    """Compute what all labels have in common, of freshly fetched rows; multiply-adds."""
    network = run.network
    begin = _begin(network)
    if begin is None:
        return 0
    product = run.arena["reading.product"]
    # Measures the label's scale, and marks the inputs that it takes.
    network.rule.show_label(run, count, None)
    for i in range(begin, begin + network.classes):
        run.input[i // PANEL, :count, i % PANEL] = 0.0
    normalize.sum_of_squares(run.input, count, run.arena["reading.squares"])
    product[:, :count] = 0.0
    dense.add_product(run.input, count, run.layers[0].weight, run.index, run.offset, product)
    return count * layer_cost(network, 0)


def first_layer(run: Any, count: int, shown: Array | int | None, *, again: bool) -> int:
    """The first layer's activity with labels ``shown`` (None: neutral); multiply-adds.

    shown: a class for all rows, or int32 (count,). again: where nothing is shared, the
    input has been used up and is fetched once more.
    """
    network, layer = run.network, run.layers[0]
    begin = _begin(network)
    if begin is None:
        if again:
            run.fetch_again(count)
        if shown is not None:
            run.shown[:count] = shown
        network.rule.show_label(run, count, None if shown is None else run.shown)
        network.rule.normalize_input(run, count)
        layer.forward(run.input, count)
        return count * layer_cost(network, 0)
    weight, spread, done = layer.weight, np.float32(1), count * int(layer.width)
    if shown is None:
        weight = run.arena["reading.neutral"]
        sharing.neutral_row(layer.weight, begin, network.classes, weight)
        begin = 0
        spread /= np.float32(network.classes)
        # The mean: C rows of the weight, once for the whole batch.
        done += network.classes * int(layer.width)
    run.shown[:count] = 0 if shown is None else shown
    sharing.labelled_sums(
        run.arena["reading.product"], count, weight, begin, run.shown, run.label_scales,
        run.arena["reading.squares"], spread, layer.inputs, layer.bias, layer.out,
    )  # fmt: skip
    layer.activation.apply(layer.out, count, layer.width, layer.sums)
    return done
